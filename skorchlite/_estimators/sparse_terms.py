"""Polynomial terms of a sparse matrix, which are as sparse as it is or more."""

from typing import TypeGuard

import numpy as np
from sklearn.preprocessing import PolynomialFeatures

from .._exceptions import NoWeightError
from .._inputs.tables import SparseTable
from .._polynomials.basis import Basis
from .._polynomials.degrees import Degrees
from .._polynomials.multi_index import terms_of
from .._polynomials.sampling import SAMPLE_ROWS
from .._sources.row_source import Rows
from .._sources.sparse import SparseRows

_MOST = 3  # the total degree up to which the products of a row's entries are listed fast
_FULL = 0.1  # a part of the terms' entries above which they are no sparse matrix
_FEW_TERMS = 2_000  # whose Gram matrix is made without the zeros
_ROOM = 1 << 26  # entries of a matrix of terms that is solved with whole, to the last digit
_SEEN_ENTRIES = 1 << 23


class SparseTermRows(SparseRows):
    """The rows of a sparse matrix with the powers and products of its columns in their place.

    Zeros are zeros in any term, and columns of zeros are near zero, so that no other basis is
    needed.

    Parameters
    ----------
    source : SparseRows
    basis : Basis
        Of kind "raw".
    """

    def __init__(self, source: SparseRows, basis: Basis):
        X, y, weight = source.arrays
        super().__init__(_expanded(X, basis.terms.degrees), y, weight, source.device, source.first)
        self._start, self._step, self._index = source._start, source._step, source._index
        self.n_rows, self.basis = source.n_rows, basis


def stays_sparse(rows: Rows, degrees: Degrees, caller: str) -> TypeGuard[SparseRows]:
    """Return whether the terms of some rows are better made as a sparse matrix."""
    if type(rows) is not SparseRows or caller != "power" or not 1 < degrees.most <= _MOST:
        return False
    alike = len(set(degrees.of_columns)) == 1 and degrees.of_columns[0] in (1, degrees.most)
    matrix, n_terms = rows.arrays[0].matrix, degrees.n_terms
    if n_terms > _FEW_TERMS and min(rows.n_rows, n_terms) * n_terms <= _ROOM:
        return False
    counts = np.diff(matrix.indptr).astype(float)
    made = sum(np.prod([counts + i for i in range(k)], 0).sum() for k in (1, 2, 3)[: degrees.most])
    return alike and made <= _FULL * matrix.shape[0] * n_terms


def raw_basis(rows: SparseRows, degrees: Degrees, sampled: bool) -> Basis:
    """Return the powers of the columns as they are.

    Parameters
    ----------
    rows : SparseRows
    degrees : Degrees
    sampled : bool
        Whether a sample of the rows is kept, to find why a model has not the full rank.
    """
    X, _, weight = rows.arrays
    matrix = X.matrix if weight is None else X.matrix[weight > 0]
    if not matrix.shape[0]:
        raise NoWeightError
    low, high = (ends.toarray().ravel().astype(float) for ends in (matrix.min(0), matrix.max(0)))
    basis = Basis(terms_of(degrees), "power", "raw", low, high)
    step = max(matrix.shape[0] // SAMPLE_ROWS, 1)
    if sampled and min(matrix.shape[0], 2 * SAMPLE_ROWS) * matrix.shape[1] <= _SEEN_ENTRIES:
        basis.sampled_rows = matrix[::step].toarray().astype(float, copy=False)
    return basis


def _expanded(X: SparseTable, degrees: Degrees) -> SparseTable:
    features = PolynomialFeatures(
        (degrees.least, degrees.most),
        interaction_only=degrees.most > 1 and max(degrees.of_columns) == 1,
        include_bias=False,
    )
    return SparseTable(features.fit_transform(X.matrix.astype(X.dtype)).tocsr())

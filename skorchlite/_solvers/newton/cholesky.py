"""Symmetric positive semidefinite systems, which may have no unique solution.

Arrays are NumPy's, and the factors are torch's: NumPy has no triangular solve.

References
----------
Cox, Higham (1998), "Stability of Householder QR factorization for weighted least squares problems".
"""

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_LEAST = float(np.finfo(np.float64).tiny) + 1e-300


def cholesky(matrix: Array) -> tuple[Array, bool]:
    """Return the lower Cholesky factor of a matrix, and whether there is one."""
    if not len(matrix):
        return matrix, True
    lower, info = (part.numpy() for part in torch.linalg.cholesky_ex(torch.from_numpy(matrix)))
    return lower, not info


def solve_factorised(lower: Array, right: Array) -> Array:
    """Return the solution of a system with one right side, whose lower Cholesky factor is given."""
    if not len(right):
        return right
    # In place, which takes half the time of torch.cholesky_solve where the columns are few; in
    # memory of torch, since MKL rounds by how numbers lie, and those of NumPy lie anywhere.
    column, factor = torch.from_numpy(right[:, None]).clone(), torch.from_numpy(lower)
    torch.linalg.solve_triangular(factor, column, upper=False, out=column)
    torch.linalg.solve_triangular(factor.T, column, upper=True, out=column)
    return column.numpy()[:, 0]


def solve_positive(matrix: Array, right: Array) -> tuple[Array, bool]:
    """Return the solution of a symmetric positive semidefinite system, and whether it is unique.

    If it is not, the matrix is shifted, in units of its diagonal, by more than its rounding.
    """
    rounding = 4 * _EPS * max(len(matrix), 1)
    diagonal = matrix.diagonal()
    lower, found = cholesky(matrix)
    # A zero on the diagonal has no factor.
    unique = found and bool((lower.diagonal() ** 2 > rounding * diagonal).all())
    if not found:
        lower = _shifted_factor(matrix, np.where(diagonal > 0, diagonal, 1.0), 100 * rounding)
    return solve_factorised(lower, right), unique


def clear_of_rounding(matrix: Array, summed: float) -> Array:
    """Return a matrix of which rounding has made no direction, by a shift if need be.

    Along a direction without curvature a minimum is wherever rounding puts it, which may be far.

    Parameters
    ----------
    matrix : array of shape (k, k)
        Whose diagonal is one.
    summed : float
        The part of its entries that rounding may have made.
    """
    lower, found = cholesky(matrix)
    least = len(matrix) * summed
    if found and (lower.diagonal() ** 2 > least).all():
        return matrix
    return matrix + np.diag(np.full(len(matrix), 2 * least))


def factorised(matrix: Array) -> Array:
    """Return the Cholesky factor of a symmetric positive semidefinite matrix, shifted if need be.

    The shift is in units of the diagonal, and begins below what rounding leaves of the matrix.
    """
    lower, found = cholesky(matrix)
    if found:
        return lower
    diagonal = matrix.diagonal()
    return _shifted_factor(matrix, np.where(diagonal > _LEAST, diagonal, 1.0), _EPS)


def factor_of_rows(rows: Array) -> Array:
    """Return the Cholesky factor of ``rows^T rows``, but for signs, without making that product.

    Where rows are of very different sizes, the product has lost the small ones to rounding. An
    orthogonal triangularisation keeps their digits, as long as the large ones come first.
    """
    largest_first = (-abs(rows).max(1)).argsort(kind="stable")
    _, upper = torch.linalg.qr(torch.from_numpy(rows[largest_first]), mode="r")
    lower = upper.T.contiguous().numpy()
    return lower if lower.diagonal().all() else factorised(rows.T @ rows)


def _shifted_factor(matrix: Array, diagonal: Array, shift: float) -> Array:
    """Return the Cholesky factor of a matrix plus the least shift of its diagonal that has one."""
    lower, found = cholesky(matrix + np.diag(shift * diagonal))
    while not found and 100 * shift < 1e6:
        shift *= 100
        lower, found = cholesky(matrix + np.diag(shift * diagonal))
    return lower

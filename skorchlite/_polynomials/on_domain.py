"""A fitted polynomial in terms that other libraries have: products of powers or of Chebyshev's.

Columns are mapped from their range in the data to [-1, 1] by ``2 (x - low) / width - 1``. There
powers lose few digits as long as the degree is moderate, and Chebyshev's polynomials hardly any.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from .._linalg.rational import Rationals, as_integers
from .basis import Basis
from .change_of_basis import ChangeOfBasis, connections
from .column_functions import ColumnFunctions, Interval
from .families import family
from .multi_index import Terms, terms_of

Array = NDArray[np.float64]

_DIGITS_KEPT = 300.0  # how many times the predictions the parts may be that add up to them
_AS_ROUNDED = 4.0  # times the parts that the fitted terms have, whose rounding predictions show


@dataclass(frozen=True)
class OnDomain:
    """A polynomial of columns on their range in the data.

    Parameters
    ----------
    basis : Basis
    coef : array of shape (n_targets, n_terms)
        Coefficients of the terms of the basis.
    intercept : array of shape (n_targets,)
    """

    basis: Basis
    coef: Array
    intercept: Array

    @property
    def low(self) -> Array:
        """The lower end of each column's range."""
        return self.basis.domain[:, 0]

    @property
    def width(self) -> Array:
        """The length of each column's range.

        ``(x - low) / width`` is exactly 0 and 1 at its ends, which a mapping from the centre, that
        is rounded, is not.
        """
        return self.basis.domain[:, 1] - self.low

    @cached_property
    def _intervals(self) -> list[Interval]:
        halves = [Fraction(width) / 2 for width in self.width.tolist()]
        ends = zip(self.low.tolist(), halves, strict=True)
        return [Interval(Fraction(low) + half, half) for low, half in ends]

    @cached_property
    def terms(self) -> Terms:
        """The terms with those of lower degrees, which a shift of the columns brings in."""
        return terms_of(replace(self.basis.terms.degrees, least=1))

    def coefficients(self, name: str) -> tuple[Array, Array]:
        """Return (coef, intercept) for the terms of a family, exact but for one rounding.

        Parameters
        ----------
        name : {"power", "chebyshev"}
        """
        steps = [family(name, self.basis.terms.degree)] * len(self._intervals)
        own, others = ColumnFunctions.of(self.basis), ColumnFunctions(steps, self._intervals)
        change = ChangeOfBasis(self.terms, connections(own, others), lowest=0)
        below = np.zeros((self.basis.terms.n_below, len(self.coef)))
        values = np.concatenate((below, self.coef.T, self.intercept[None]))
        (integers,), whole = as_integers(torch.from_numpy(values))
        found = change.exactly(Rationals(integers, whole))
        return np.ascontiguousarray(found[:-1].T), found[-1]

    @cached_property
    def largest_parts(self) -> Array:
        """How large the parts may be that predictions keep their digits with, for each target.

        The size of the predictions is that on the data, as far as the terms are orthonormal on it,
        else the root of their mean square on the range of the columns.
        """
        own = self.coef, self.intercept
        coef, intercept = own if self.basis.kind == "orthogonal" else self.coefficients("chebyshev")
        size = np.hypot(np.linalg.norm(coef, axis=1), intercept)
        return np.maximum(_DIGITS_KEPT * size, _AS_ROUNDED * _parts(*own))

    def keeps_digits(self, coef: Array, intercept: Array) -> bool:
        """Return whether predictions by these coefficients are those of the model to 1e-12."""
        parts = _parts(coef, intercept)
        return bool((parts <= self.largest_parts).all() and np.isfinite(parts).all())


def _parts(coef: Array, intercept: Array) -> Array:
    return abs(coef).sum(1) + abs(intercept)

"""Moments of the terms of a polynomial with a penalty on its powers, for penalties of any size.

The terms of the rows are far from dependent, and the penalty is on other ones, which may be more
nearly dependent than doubles can hold. Combinations of the terms make it as easy to solve for as
none, for penalties of about the size that they are made for; see ``PenalisedBasis``. The products
of these are products of those of the terms, so that no size needs a pass over the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import floor, log10

import numpy as np
import torch
from numpy.typing import NDArray

from ..._objective.keyed_moments import KeyedMoments
from ..._polynomials.basis import Basis
from ..._polynomials.basis_selection import may_combine
from ..._polynomials.expanded import ExpandedRows
from ..._polynomials.penalised_basis import PenalisedBasis
from ..._solvers.paths.ridge_path import EPS
from ..._solvers.paths.scaled_moments import ScaledMoments, scaled_moments
from ..._sources.origin import Origin
from ..._sources.row_source import Rows
from .moment_search import MomentSearch

Array = NDArray[np.float64]

_FEW_ROUNDINGS = 4
_DECADES = 6  # of penalties for which combinations are made together


def size_of(alpha: float) -> int | None:
    """Return the number of the size of a penalty; None for zero."""
    return floor(log10(alpha) / _DECADES) if alpha else None


def weight_of(size: int) -> float:
    """Return the least penalty of a size."""
    return 10.0 ** (size * _DECADES)


def suits_combinations(terms: Rows, alphas: Array) -> bool:
    """Return whether terms are such that combinations of them are better than powers.

    Parameters
    ----------
    terms : Rows
        With terms that suit models without a penalty.
    alphas : array
        The weights of the penalty, all positive.
    """
    if not isinstance(terms, ExpandedRows):
        return False
    basis = terms.basis
    if basis.kind not in ("chebyshev", "orthogonal"):
        return False
    # With fewer rows than terms of several columns, the penalty alone determines some.
    if basis.terms.n_features > 1 and terms.fewer_than(2 * (terms.n_features + 1)):
        return False
    return all(may_combine(basis, float(alpha)) for alpha in (alphas.min(), alphas.max()))


@dataclass
class TermMoments(MomentSearch):
    """Moments of terms about their means, and of combinations that suit the penalties.

    Parameters
    ----------
    combination : callable
        Returns the combinations of these terms that suit penalties of a size.
    intercept : bool
        Whether the models have an intercept.
    """

    combination: Callable[[int], PenalisedBasis]
    intercept: bool
    _found: dict[int, MomentSearch] = field(default_factory=dict)

    def leading(self, rows: Rows) -> "TermMoments":
        """Return the search with the first terms, which are those of ``rows``."""
        found, basis, of_all = super().leading(rows), rows.basis, self.combination
        assert isinstance(found, TermMoments) and isinstance(basis, Basis)
        return replace(found, combination=lambda size: of_all(size).with_base(basis), _found={})

    def within(self, alphas: Array) -> list[tuple[slice, MomentSearch]]:
        """Return a search for each size of penalty among some, in descending order."""
        found: list[tuple[slice, MomentSearch]] = []
        first = 0
        for size, group in groupby(map(size_of, alphas.tolist())):
            stop = first + len(list(group))
            found.append((slice(first, stop), self if size is None else self._of_size(size)))
            first = stop
        return found

    def _of_size(self, size: int) -> MomentSearch:
        """Return the search with combinations of the terms that suit penalties of a size."""
        if size not in self._found:
            self._found[size] = self._combined(self.combination(size))
        return self._found[size]

    def _combined(self, basis: PenalisedBasis) -> MomentSearch:
        assert isinstance(self.rows, ExpandedRows)
        parts, t = basis.fitted_parts.numpy(), self.rows.n_targets
        shift, constants = self.origin.shift.numpy(), None
        if self.intercept:
            moved = np.concatenate((shift[:t], parts @ shift[t:]))
        else:
            constants, parts, moved = parts[:, 0], parts[:, 1:], np.zeros(t + len(parts))
        whole, train, test = (
            moments.combined(parts, constants, shift)
            for moments in (self.whole, self.train, self.test)
        )
        whole_size, train_size, test_size = (
            _sizes(moments, parts, constants, shift)
            for moments in (self.whole, self.train, self.test)
        )
        return CombinedMoments(
            ExpandedRows(self.rows.source, basis),
            Origin(torch.from_numpy(moved)),
            self.intercept,
            self.folds,
            _lifted(whole, whole_size),
            _lifted(train, train_size),
            test,
            self.factors,
            (whole_size, train_size, test_size),
        )


@dataclass
class CombinedMoments(MomentSearch):
    """Moments of combinations, which may be far smaller than what cancels in them.

    On some rows, that is: those of all rows are far from dependent, of which few may be far from
    the others.

    Parameters
    ----------
    sizes : tuple of array of shape (n_keys, n_combinations)
        What rounding errors are relative to, for all rows and for those of each training and test
        part.
    """

    sizes: tuple[Array, Array, Array]

    def problem(self, split: int | slice) -> ScaledMoments:
        """Return what a split, or each of several, minimises, without a penalty."""
        return self._scaled(self.train, split, self.sizes[1])

    def whole_problem(self) -> ScaledMoments:
        """Return the same for all rows."""
        return self._scaled(self.whole, 0, self.sizes[0])

    def _scaled(self, moments: KeyedMoments, key: int | slice, sizes: Array) -> ScaledMoments:
        return scaled_moments(moments, key, np.zeros(sizes.shape[1]), sizes[key])

    def summands(self, split: int | slice, coef: Array) -> Array:
        """Return the size of what adds up to predictions on the test rows."""
        return np.einsum("...d,...ndt->...nt", self.sizes[2][split], abs(coef))


def _sizes(moments: KeyedMoments, parts: Array, constants: Array | None, shift: Array) -> Array:
    """Return the size of what cancels in combinations, for each key; see ``CombinedMoments``."""
    squares = np.diagonal(moments.features, axis1=1, axis2=2) / moments.weight[:, None]
    found = np.sqrt(squares) @ abs(parts).T
    if constants is not None:
        t = moments.n_targets
        found += abs(constants) + abs(moments.mean + shift)[:, t:] @ abs(parts).T
    return found


def _lifted(moments: KeyedMoments, sizes: Array) -> KeyedMoments:
    """Return moments with squares that are no less than their rounding errors."""
    squares = np.diagonal(moments.features, axis1=1, axis2=2)
    least = _FEW_ROUNDINGS * EPS * sizes**2 * moments.weight[:, None]
    products, t = moments.products.copy(), moments.n_targets
    d = sizes.shape[1]
    products[:, range(d), range(t, t + d)] += np.maximum(least - squares, 0.0)
    return replace(moments, products=products)

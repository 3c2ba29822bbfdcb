"""A search over the degrees of a polynomial, whose moments are those of its largest degree.

Terms come in the order of their degrees, and each is made of those before it. So the products of
the terms up to a degree are the leading block of those of all, in any basis that is made degree by
degree: one pass over the rows is for the models of all degrees on all splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._exceptions import OutOfRangeError
from ..._inputs.fit_data import Data
from ..._objective.moments import MANY_COLUMNS
from ..._objective.penalties import make_penalty
from ..._polynomials.basis import Basis
from ..._polynomials.basis_selection import combinations
from ..._polynomials.degrees import Degrees
from ..._polynomials.multi_index import terms_of
from ..._polynomials.penalised_basis import PenalisedBasis
from ..._sources.feature_map import FeatureMap
from ..._sources.row_source import Rows
from ..polynomial_terms import PolynomialTerms, expanded
from .folds import Splits
from .grids import LEAST_SHARE
from .moment_search import MomentSearch
from .scoring import Scoring
from .search import Search, factors_of, slopes_of
from .term_moments import TermMoments, suits_combinations, weight_of

Array = NDArray[np.float64]

_ROWS = 10_000  # of which the variances of terms are taken, where their sizes are enough


def degrees_to_try(degree: Any) -> list[Any]:
    """Return each degree that is to be tried, as TorchPolyRegressor takes it."""
    if isinstance(degree, np.ndarray):
        degree = np.atleast_1d(degree).tolist()
    if not isinstance(degree, list):
        return [degree]
    if not degree:
        raise ValueError("degree is empty. Give the degrees to try.")
    for one in degree:
        number = isinstance(one, Integral) and not isinstance(one, bool)
        if not (number and one >= 1) and not isinstance(one, (tuple, list, np.ndarray)):
            raise ValueError(
                "A list as degree holds the degrees to try, of which each is an integer of at "
                "least 1, a tuple (min_degree, max_degree), or a list with the largest degree of "
                f"each column, got {degree!r}."
            )
    return [int(one) if isinstance(one, Integral) else one for one in degree]


def degree_searches(
    estimator: Any, data: Data, splits: Splits | None, scoring: Scoring | None
) -> list[Search]:
    """Return a search for each degree, from the fewest terms to the most.

    Parameters
    ----------
    estimator : TorchPolyRegressorCV
    data, splits, scoring
        As of ``Search``.
    """
    if not data.rows.rereadable:
        raise ValueError(
            "A search over degrees takes more than one pass over the data, and X can be read only "
            "once. Give arrays, or what can be read more than once."
        )
    searches: dict[Degrees, TermSearch] = {}
    for degree in degrees_to_try(estimator.degree):
        own = type(estimator)(**{**estimator.get_params(deep=False), "degree": degree})
        estimator._name_columns(own)
        search = TermSearch(own, data, splits, scoring, {"degree": degree})
        searches.setdefault(search.degrees, search)
    ordered = sorted(searches.values(), key=lambda search: search.degrees.n_terms)
    if estimator.penalty_factor is not None:
        _share_factors(ordered)
    nests: list[Nest] = []
    for search in reversed(ordered):
        nest = next((nest for nest in nests if nest.holds(search)), None)
        if nest is None:
            nest = Nest(search)
            nests.append(nest)
        nest.searches.append(search)
        search.nest = nest
    return list[Search](ordered)


def _share_factors(ordered: list["TermSearch"]) -> None:
    """Give each search its part of the penalty's factors, which are for the terms of the last."""
    whole = ordered[-1].estimator._penalty_factors(ordered[-1].degrees.n_terms).numpy()
    powers = terms_of(ordered[-1].degrees).powers
    for search in ordered:
        n_terms = search.degrees.n_terms
        if not np.array_equal(terms_of(search.degrees).powers, powers[:n_terms]):
            raise ValueError(
                "penalty_factor holds a factor for each term of the largest degree, and the terms "
                f"of degree={search.labels['degree']!r} are not the first of these. Give degrees "
                "of which each has the terms of those below, or one degree."
            )
        search.estimator.penalty_factor = whole[:n_terms]


@dataclass
class TermSearch(Search):
    """The search over the penalties of one degree."""

    nest: "Nest" = field(init=False)

    @cached_property
    def degrees(self) -> Degrees:
        """The degrees of its terms."""
        columns: PolynomialTerms = self.columns
        return columns.degrees(self.data.rows.n_features)

    @cached_property
    def is_of_sums(self) -> bool:
        """Whether products of the terms make the models."""
        least_squares = self.loss.quadratic and not self.by_batches
        own, few = self.estimator, self.degrees.n_terms <= MANY_COLUMNS
        smooth = not any(self.shares) and not own.positive
        # Polynomials of another family are on the domain of the training rows of each split.
        free = own.penalty is None and own.fit_intercept and self.degrees.least <= 1
        return least_squares and smooth and few and (free or own.basis == "power")

    @cached_property
    def _by_moments(self) -> Sequence[MomentSearch]:
        if not self.is_of_sums:
            return []
        found = self.nest.moments
        if self is self.nest.largest:
            return found
        return [part.leading(self._terms(part.rows.basis)) for part in found]

    def _terms(self, basis: FeatureMap) -> Rows:
        """Return the rows with those terms of a basis that are of these degrees."""
        assert isinstance(basis, Basis)
        return expanded(self.data.rows, basis.leading(self.degrees))

    def _check_rows(self) -> None:
        if not self.is_of_sums:
            self._check_rows_for_fits()

    def _slopes(self) -> tuple[float, tuple[float, float]]:
        factors = factors_of(self)
        if factors is None or factors.all():
            slopes, curvatures = (part[: self.degrees.n_terms] for part in self.nest.slopes)
        else:  # the terms that no penalty is on are others for each degree
            slopes, curvatures = slopes_of_terms(self, self.data.rows)
        known = curvatures[np.isfinite(curvatures) & (curvatures > 0)]
        finite = slopes[np.isfinite(slopes)]
        most = known.max(initial=0.0)
        return finite.max(initial=0.0), (most, known.min(initial=most))


def slopes_of_terms(search: TermSearch, rows: Rows) -> tuple[Array, Array]:
    """Return the slopes and the curvatures along the coefficients; see ``constant_slopes``."""
    try:
        return slopes_of(search, search.columns.fit(rows))
    except OutOfRangeError:
        search.data.check_finite(search.estimator)
    raise ValueError(
        "The numbers in X or y span so much that no weights of the penalty follow from them. "
        "Give alphas, or scale the columns first."
    )


@dataclass
class Nest:
    """Searches whose terms are the first ones of those of the largest.

    Parameters
    ----------
    largest : TermSearch
    searches : list of TermSearch
    """

    largest: TermSearch
    searches: list[TermSearch] = field(default_factory=list)
    _combinations: dict[int, PenalisedBasis] = field(default_factory=dict)

    def holds(self, search: TermSearch) -> bool:
        """Return whether the terms of a search are the first ones here."""
        if self.largest.is_of_sums != search.is_of_sums:
            return False
        own, other = (terms_of(one.degrees).powers for one in (self.largest, search))
        return np.array_equal(own[: len(other)], other)

    @cached_property
    def slopes(self) -> tuple[Array, Array]:
        """The slopes and the curvatures along the coefficients, at the best constant."""
        search = self.largest
        rows = search.data.rows
        # Sizes are enough, but for the least weight of "l1" that leaves nothing but the constant.
        sizes = max(search.shares) < LEAST_SHARE and rows.counted and not search.data.weighted
        if sizes:
            rows = rows.every(max(rows.n_rows // _ROWS, 1))
        return slopes_of_terms(search, rows)

    @cached_property
    def moments(self) -> Sequence[MomentSearch]:
        """The moments of all terms."""
        search = self.largest
        found: Sequence[MomentSearch] = []
        try:
            terms, centre = self._combined_terms, True
            if terms is None:
                terms = search.columns.fit(search.data.rows)
                centre = search.estimator.fit_intercept
            found = search._moments(terms, centre)
        except OutOfRangeError:
            search.data.check_finite(search.estimator)
        if not found:
            search._check_rows_for_fits()
            return found
        if self._combined_terms is None:
            return found
        more = {"combination": self._combination, "intercept": search.estimator.fit_intercept}
        return [TermMoments(**vars(part), **more) for part in found]

    @cached_property
    def _combined_terms(self) -> Rows | None:
        """The rows with terms of which combinations suit the penalties; None where powers do."""
        search = self.largest
        own, rows, degrees = search.estimator, search.data.rows, search.degrees
        if own.penalty is None or own.basis != "power" or degrees.least > 1 or degrees.most == 1:
            return None
        if own.penalty_factor is not None:  # which are on powers
            return None
        columns: PolynomialTerms = search.columns
        none = make_penalty(None, 0.0, 0.0, False)
        terms = replace(columns, penalised=False, penalty=none, fit_intercept=True).fit(rows)
        tried = np.concatenate([one.candidates.alphas.ravel() for one in self.searches])
        positive = tried[tried > 0]
        # Without any penalty the model depends on the constant, which combinations have parts in.
        zero = len(positive) < len(tried) and not own.fit_intercept
        if zero or not len(positive) or not suits_combinations(terms, positive):
            return None
        return terms

    def _combination(self, size: int) -> PenalisedBasis:
        """Return combinations that suit penalties of a size, which are made once."""
        if size not in self._combinations:
            terms, search = self._combined_terms, self.largest
            assert terms is not None and isinstance(terms.basis, Basis)
            intercept = search.estimator.fit_intercept
            found = combinations(search.data.rows, terms.basis, weight_of(size), intercept)
            self._combinations[size] = found
        return self._combinations[size]

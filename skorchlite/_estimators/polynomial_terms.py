"""The columns of a polynomial model: terms of the columns of X."""

from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np
import torch

from .._objective.penalties import Penalty
from .._polynomials.basis import Basis
from .._polynomials.basis_selection import BasisRequest, fitted_basis
from .._polynomials.degrees import Degrees, degrees_of
from .._polynomials.expanded import ExpandedRows
from .._polynomials.sampling import column_ranges
from .._solvers.base import CANCELLED, Solution
from .._solvers.incremental.learner import IncrementalLearner
from .._sources.feature_map import FeatureMap
from .._sources.row_source import Rows
from .available_memory import available_memory
from .columns import Columns
from .sparse_terms import SparseTermRows, raw_basis, stays_sparse

_OTHER_TERMS = (
    "A penalty was set after chunks that were learned in other terms than those that it is on. "
    "Call fit to begin anew."
)
_FELT = 1e-9  # relative to the slope of the loss
# But for the rounding errors of powers, or because of them.
_SURE = ("converged", "unresolved", "stalled_gap")
_ALWAYS_THERE = 64 << 20  # bytes, which it takes no time to ask for
_BYTES_A_TERM = 600  # of its entry in a table, its sums, and 16 rows of a block in the making


@dataclass(frozen=True)
class PolynomialTerms(Columns):
    """Products of polynomials of the columns.

    Parameters
    ----------
    degree : int, tuple or array-like
    interaction_only : bool
    family : str
        What the terms are products of.
    fit_intercept : bool
    penalty : Penalty
    penalised : bool
        Whether a penalty or a bound is asked for, be it of no weight.
    stochastic : bool
        Whether steps are along batches, or rows come in chunks.
    unscaled : bool
        Whether the terms are to be those of a textbook, which scales no column.
    least_squares : bool
    any_form : bool
        Whether the solver takes a penalty that is any quadratic form of the coefficients.
    """

    degree: Any
    interaction_only: bool
    family: str
    fit_intercept: bool
    penalty: Penalty
    penalised: bool
    stochastic: bool
    unscaled: bool
    least_squares: bool
    any_form: bool

    def count(self, n_features: int) -> int:
        """Return how many terms there are of so many columns of X."""
        return self.degrees(n_features).n_terms

    def add_up(self, n_features: int) -> bool:
        """Return whether sums over chunks, one after the other, make the model of all rows."""
        least = self.degrees(n_features).least
        return self.family == "power" or (self.fit_intercept and least <= 1)

    def fit(self, rows: Rows) -> Rows:
        """Return the rows of a fit with terms that suit them."""
        degrees = self.degrees(rows.n_features)
        if stays_sparse(rows, degrees, self.family):
            undetermined = not self.penalty.curves_all  # as the coefficients may be
            return SparseTermRows(rows, raw_basis(rows, degrees, sampled=undetermined))
        request = BasisRequest(
            degrees,
            self.family,
            self.fit_intercept,
            penalised=self.penalised,
            least_squares=self.least_squares,
            unscaled=self.unscaled,
            incremental=self.stochastic,
            curvature=self._form(degrees.n_terms),
        )
        return ExpandedRows(rows, fitted_basis(rows, request))

    def _form(self, n_terms: int) -> Any:
        """Return the curvatures of a penalty that may be taken as a quadratic form; else zero."""
        if not (self.any_form and self.penalty.smooth and self.penalty.curves_all):
            return 0.0
        return self.penalty.curvatures(torch.ones(n_terms, dtype=torch.float64)).numpy()

    def of(self, rows: Rows, basis: FeatureMap) -> Rows:
        """Return other rows with the terms of a basis."""
        assert isinstance(basis, Basis)
        return expanded(rows, basis)

    def go_on(self, rows: Rows, basis: FeatureMap) -> Rows:
        """Return the rows of a chunk with the terms of those before, in their domain."""
        assert isinstance(basis, Basis)
        low, high = self._reached(basis, rows)
        moved = basis.moved_to(basis.low, basis.high, in_family=self.penalised)
        return ExpandedRows(rows, moved.with_range(low, high))

    def widen(self, stream: IncrementalLearner, rows: Rows) -> None:
        """Make the terms of a stream fit for a chunk that reaches further than those before."""
        basis = stream.basis
        assert isinstance(basis, Basis)
        low, high = self._reached(basis, rows)
        if basis.penalty_root is not None:
            if not self.penalty.smooth:
                raise ValueError(_OTHER_TERMS)
        elif not stream.takes_other_terms:
            if self.penalised and not basis.diagonal:
                raise ValueError(_OTHER_TERMS)
            stream.basis = basis.with_range(low, high)
        elif basis.can_move(self.fit_intercept):
            moved = basis.moved_to(low, high, in_family=self.penalised)
            if not moved.has_same_terms(basis):
                terms = basis.conversion.coefficients_of(moved)
                stream.change_basis(moved, terms, rows.n_targets, self.fit_intercept)

    def certified(self, solution: Solution) -> Solution:
        """Return the solution; where powers cancel, no bound holds beside their rounding errors."""
        digits = solution.objective.basis.digits_lost
        lost = self.penalised and digits > CANCELLED and solution.status in _SURE
        if lost and not _is_held(solution):
            solution = replace(solution, status="cancelled").knowing(cancelled=digits)
        return replace(solution, optimality=nan) if solution.status == "cancelled" else solution

    def degrees(self, n_features: int) -> Degrees:
        """Return the degrees that terms may have, if there is memory for so many."""
        degrees = degrees_of(self.degree, n_features)
        degrees = degrees.without_powers() if self.interaction_only else degrees
        needed = degrees.n_formed * _BYTES_A_TERM
        if needed > _ALWAYS_THERE and needed > (room := available_memory()):
            raise ValueError(
                f"degree={self.degree} of {n_features} columns asks for {degrees.n_terms:,} terms, "
                f"which take about {_in_words(needed)} to fit, and there are {_in_words(room)} of "
                "memory. Lower the degree, give one for each column (a list), set "
                "interaction_only=True, or leave columns out."
            )
        return degrees

    def _reached(self, basis: Basis, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return how far each column reaches with the rows of a chunk."""
        if (basis.caller, basis.terms.degrees) != (self.family, self.degrees(rows.n_features)):
            raise ValueError(
                "partial_fit goes on with the terms of the chunks before, and degree, basis or "
                "interaction_only has changed since. Call fit to begin anew."
            )
        ranges = column_ranges(rows)
        return np.minimum(ranges.low, basis.low), np.maximum(ranges.high, basis.high)


def expanded(rows: Rows, basis: Basis) -> Rows:
    """Return rows with the terms of a basis in place of their columns."""
    if basis.kind == "raw" and stays_sparse(rows, basis.terms.degrees, basis.caller):
        return SparseTermRows(rows, basis)
    return ExpandedRows(rows, basis)


def _in_words(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:,.0f} MiB"


def _is_held(solution: Solution) -> bool:
    """Return whether the penalty keeps all coefficients from cancelling each other.

    It is felt beside the rounding errors of the gradient in every power, which are at most 1 in
    size, and so the bound on the gap holds.
    """
    objective = solution.objective
    felt = _FELT * objective.loss.largest_slope(solution.loss_curve[-1])
    kinked = objective.column_penalty.l1 >= felt
    curved = objective.column_penalty.curvature >= _FELT
    return solution.optimality <= _FELT and bool(kinked.all() or curved.all())

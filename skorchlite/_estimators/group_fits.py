"""The fits of all groups: many at a time, and one after the other those that are left."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._exceptions import OutOfRangeError
from .._inputs.conversion import to_numpy
from .._inputs.fit_data import Data
from .._objective.loss import Loss
from .._objective.penalties import Penalty
from .._polynomials.cancellation import MANY_DIGITS
from .._polynomials.local_powers import LocalPowers, PowerRows
from .._polynomials.sampling import column_ranges
from .._solvers.base import SolverControl
from .._solvers.grouped.problem import GroupProblem, GroupSolutions
from .._solvers.grouped.solver import solve_batch, takes_batches
from .._solvers.newton.bounds import NOTHING
from .._sources.group_batches import Frames, GroupedRows
from .._sources.row_source import Rows
from .group_models import Coefficients, OneFit
from .residual_rows import ResidualRows
from .returned import SEEN

Array = NDArray[np.float64]

_LARGE = 1 << 22  # entries of a group, from which it is read block by block, in a fit of its own
_MANY_FEATURES = 200  # beyond, a group takes as long beside others as it does alone
_MANY_UNDETERMINED = 64  # features, whose directions take longer to find than a fit in few rows
_LEAST_TOL = 1e-14  # that rounding lets a gap be measured to


@dataclass
class GroupFits:
    """The fits of all groups.

    Parameters
    ----------
    models : Coefficients
    rank : array of shape (n_groups,)
        -1 where it is not known.
    optimality : array of shape (n_groups,)
    converged : array of shape (n_groups,)
    n_iter : array of shape (n_groups,)
    separated : array of shape (n_groups,), bool
        Where the optimum is at infinity.
    raw : dict
        ``(coef, intercept)`` for powers of the columns as they are, by the number of the group:
        those of groups in which digits cancel between these.
    """

    models: Coefficients
    rank: NDArray[np.int64]
    optimality: Array
    converged: NDArray[np.bool_]
    n_iter: NDArray[np.int64]
    separated: NDArray[np.bool_]
    raw: dict[int, tuple[Array, Array]] = field(default_factory=dict)

    @classmethod
    def empty(
        cls, n_groups: int, n_targets: int, n_features: int, n_columns: int | None
    ) -> "GroupFits":
        """Return room for the fits; ``n_columns`` are those that terms are made of, if any are."""
        counts = np.zeros((2, n_groups), np.int64)
        mapped = (0, 0) if n_columns is None else (n_groups, n_columns)
        models = Coefficients(
            np.empty((n_groups, n_targets, n_features)),
            np.empty((n_groups, n_targets)),
            np.empty(mapped),
            np.empty(mapped),
        )
        no, unknown = np.zeros(n_groups, bool), np.full(n_groups, np.nan)
        return cls(models, counts[0], unknown, no, counts[1], no.copy())

    def put(
        self,
        groups: NDArray[np.int64],
        solutions: GroupSolutions,
        frames: Frames | None,
        tol: float,
    ) -> None:
        """Take the solutions of a batch of groups."""
        models = self.models
        models.coef[groups] = to_numpy(solutions.coef.mT)
        models.intercept[groups] = to_numpy(solutions.intercept)
        if frames is not None:
            models.centre[groups] = to_numpy(frames.centre)
            models.half[groups] = to_numpy(frames.half)
        self.rank[groups] = to_numpy(solutions.rank)
        self.optimality[groups] = to_numpy(solutions.optimality)
        self.n_iter[groups] = to_numpy(solutions.n_iter)
        if solutions.separated is not None:
            self.separated[groups] = to_numpy(solutions.separated)
        self.converged[groups] = (self.optimality[groups] <= tol) & ~self.separated[groups]

    def take(self, groups: NDArray[np.int64], others: "GroupFits") -> None:
        """Take the fits of some of the groups from others."""
        for name, part in vars(others.models).items():
            if len(part):
                getattr(self.models, name)[groups] = part
        for name in ("rank", "optimality", "converged", "n_iter", "separated"):
            getattr(self, name)[groups] = getattr(others, name)
        self.raw.update((int(groups[number]), given) for number, given in others.raw.items())

    def put_one(self, group: int, fit: OneFit) -> None:
        """Take what an estimator was fitted to."""
        estimator = fit.estimator
        for name, part in vars(fit.models).items():
            if len(part):
                getattr(self.models, name)[group] = part[0]
        if fit.raw is not None:
            self.raw[group] = fit.raw
        self.rank[group] = -1 if estimator.rank_ is None else estimator.rank_
        self.optimality[group] = estimator.optimality_
        self.converged[group], self.n_iter[group] = estimator.converged_, estimator.n_iter_
        self.separated[group] = fit.separated

    def of_columns(self, terms: LocalPowers | None) -> tuple[Array, Array]:
        """Return the coefficients and the intercepts for powers of the columns as they are."""
        coef, intercept = self.models.of_columns(terms)
        if self.raw:
            coef, intercept = coef.copy(), intercept.copy()
        for group, (own_coef, own_intercept) in self.raw.items():
            coef[group], intercept[group] = own_coef, own_intercept
        return coef, intercept


@dataclass(frozen=True)
class GroupModel:
    """What the groups are fitted with.

    Parameters
    ----------
    make, make_polynomial : callable
        Returns an estimator of one group, linear or a polynomial in the columns as they are; takes
        a penalty and its alpha.
    loss : Loss
    penalty : Penalty
    fit_intercept : bool
    control : SolverControl
    terms : LocalPowers or None
        What the features are made by; None for the columns as they are.
    shrinkage : float
    common : OneFit or None
        The model whose coefficients are what those of the groups are shrunk towards.
    """

    make: Callable[..., Any]
    make_polynomial: Callable[..., Any]
    loss: Loss
    penalty: Penalty
    fit_intercept: bool
    control: SolverControl
    terms: LocalPowers | None
    shrinkage: float = 0.0
    common: OneFit | None = None

    @property
    def cancels(self) -> bool:
        """Whether digits cancel in the model that coefficients are shrunk towards."""
        return self.common is not None and self.common.raw is not None

    def fit(self, data: Data) -> OneFit:
        """Fit all rows of some data as an estimator does, which has a remedy for what is hard."""
        rows = data.rows
        if self.terms is None:
            none = torch.zeros(0, rows.n_features, dtype=torch.float64)
            return self._fit_linear(data, rows, none, none)
        ranges = column_ranges(rows)
        low, high = torch.from_numpy(ranges.low)[None], torch.from_numpy(ranges.high)[None]
        if self.cancels or self.terms.cancel(low, high).any():
            return self._fit_polynomial(data, low, high)
        centre, half = self.terms.frame(low, high)
        return self._fit_linear(data, PowerRows(rows, self.terms, centre[0], half[0]), centre, half)

    def _fit_linear(self, data: Data, rows: Rows, centre: Tensor, half: Tensor) -> OneFit:
        """Fit a model that is linear in the columns of some rows."""
        estimator, pulled = self._estimator(self.make)
        residuals = None if pulled is None else ResidualRows(rows, pulled, None)
        own = rows if residuals is None else residuals
        (coef, intercept), separated = _fitted(estimator, data, own)
        if pulled is not None and residuals is not None:
            _count_rounding(estimator, *residuals.rounding())
            coef, intercept = coef + pulled.coef[0], intercept + pulled.intercept[0]
        frame = centre.numpy(), half.numpy()
        models = Coefficients(coef[None], intercept[None], *frame)
        return OneFit(estimator, models, separated=separated)

    def _fit_polynomial(self, data: Data, low: Tensor, high: Tensor) -> OneFit:
        """Fit a polynomial whose penalty is on powers that cancel, in terms that do not.

        Parameters
        ----------
        data : Data
        low, high : Tensor of shape (1, n_columns)
            The range of each column.
        """
        assert self.terms is not None
        terms, rows = replace(self.terms, mapped=True, centred=True), data.rows
        centre, half = terms.frame(low, high)
        estimator, pulled = self._estimator(self.make_polynomial)
        if pulled is not None:
            rows = ResidualRows(rows, pulled, terms)
        raw, separated = _fitted(estimator, data, rows)
        lost = self.penalty.smooth and estimator._basis.digits_lost >= MANY_DIGITS
        if lost or (pulled is not None and self.penalty.factors is not None):
            # For fewer rows than terms there are no other terms, and a point between two centres
            # that is not on the line between them is none for them. No bound knows what is lost.
            estimator.converged_, estimator.optimality_ = False, nan
        found = estimator._basis_solution
        coef, intercept = terms.of_basis(estimator._basis, found, (centre[0], half[0]))
        models = Coefficients(coef[None], intercept[None], centre.numpy(), half.numpy())
        if pulled is not None and self.common is not None:
            part, common = self._part, self.common.of_columns(self.terms)
            models = models.plus(pulled, terms)
            raw = raw[0] + part * common[0], raw[1] + part * common[1]
        return OneFit(estimator, models, raw, separated)

    def _estimator(self, make: Callable[..., Any]) -> tuple[Any, Coefficients | None]:
        """Return an estimator, and the model that what it is fitted to is the residual of, if any.

        Two ridges are one about a point between their centres, but for a constant.
        """
        if self.common is None:
            return make(), None
        pulled = self.common.models.scaled(self._part)
        if self.penalty.factors is None:
            return make(penalty="l2", alpha=self._both), pulled
        return make(penalty="l2", alpha=1.0, penalty_factor=self._both), pulled

    @property
    def _both(self) -> Any:
        """The curvature of both ridges; of each coefficient where the penalty has factors."""
        factors = self.penalty.factors
        return (
            self.penalty.curvature * (1.0 if factors is None else factors.numpy()) + self.shrinkage
        )

    @property
    def _part(self) -> Any:
        """How far that point is from zero, relative to the other centre."""
        return self.shrinkage / self._both


def _fitted(estimator: Any, data: Data, rows: Rows) -> tuple[tuple[Array, Array], bool]:
    """Fit an estimator to rows; return its solution, and whether the optimum is at infinity.

    The solution is the coefficients and the intercepts, one for each target.
    """
    solution = estimator._fit(replace(data, rows=rows), start=(None, None), task=None)
    found = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
    return found, solution.status == "separated"


def _count_rounding(estimator: Any, rounding: float, at_constant: float) -> None:
    """Count what rounding of the targets may have added to the objective of a fit."""
    # A target that is met leaves nothing but rounding.
    whole = max(estimator.loss_curve_[-1], NOTHING * at_constant)
    added = rounding / whole if whole > 0 else 0.0
    estimator.optimality_ = min(estimator.optimality_ + added, max(estimator.optimality_, 1.0))
    estimator.converged_ = bool(estimator.converged_ and added <= SEEN)


def fit_groups(
    grouped: GroupedRows, data: Data, model: GroupModel, check_finite: Callable[[], None]
) -> GroupFits:
    """Return the fits of all groups.

    Parameters
    ----------
    grouped : GroupedRows
    data : Data
        Of the same rows.
    model : GroupModel
    check_finite : callable
        Raises an error if a number of the data is not finite.
    """
    rows, n_columns = grouped.rows, None if grouped.terms is None else grouped.rows.n_features
    shape = len(grouped.counts), rows.n_targets, grouped.n_features
    fits = GroupFits.empty(*shape, n_columns)
    problem, tol = group_problem(model)
    batched = _batched(grouped, model, problem)
    for batch in grouped.batches(np.flatnonzero(batched)):
        solutions = solve_batch(batch, rows.n_targets, problem)
        fits.put(batch.groups.numpy(), solutions, batch.frames, tol)
    if np.isnan(fits.optimality[batched]).any():
        check_finite()
    ended = fits.converged | fits.separated
    if model.loss.log_link and model.common is not None:
        # Another model has no residuals here whose fit would be pulled towards it.
        ended |= batched
    for group in np.flatnonzero(~ended).tolist():
        try:
            fits.put_one(group, model.fit(replace(data, rows=grouped.of(group))))
        except (ValueError, OutOfRangeError):  # of numbers that are not finite: it knows no place
            check_finite()
            raise
        if not problem.n_free(grouped.n_features) and fits.rank[group] >= 0:
            fits.rank[group] = grouped.n_features
    return fits


def _batched(grouped: GroupedRows, model: GroupModel, problem: GroupProblem) -> NDArray[np.bool_]:
    """Return which groups are solved many at a time."""
    counts, d = grouped.counts, grouped.n_features
    if model.loss.log_link and model.common is not None:
        return np.ones(len(counts), bool)
    if model.cancels:
        return np.zeros(len(counts), bool)
    taken = (counts * (d + grouped.rows.n_targets) < _LARGE) & takes_batches(
        model.loss, model.penalty
    )
    if model.terms is not None and model.terms.mapped:
        return taken  # a fit would have the least norm in other terms than the caller's
    few = counts - model.fit_intercept < problem.n_free(d)
    undetermined = few & (d > _MANY_UNDETERMINED)
    return taken & ~undetermined & (d <= _MANY_FEATURES)


def group_problem(model: GroupModel) -> tuple[GroupProblem, float]:
    """Return what is minimised for many groups at a time, and the gap that is measured to."""
    common = None
    if model.common is not None:
        common = torch.from_numpy(model.common.of_columns(model.terms)[0].T.copy())
    tol = max(model.control.gap, _LEAST_TOL)
    control = replace(model.control, tol=tol)
    parts = model.loss, model.penalty, model.fit_intercept, control, model.shrinkage, common
    return GroupProblem(*parts), tol

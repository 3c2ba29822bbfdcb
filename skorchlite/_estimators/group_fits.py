"""The fits of all groups: many at a time, and one after the other those that are left."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._inputs.conversion import to_numpy
from .._inputs.fit_data import Data
from .._objective.loss import Loss
from .._objective.penalties import Penalty
from .._polynomials.local_powers import LocalPowers, PowerRows
from .._polynomials.sampling import column_ranges
from .._solvers.base import SolverControl
from .._solvers.grouped.problem import GroupProblem, GroupSolutions
from .._solvers.grouped.solver import solve_batch, takes_batches
from .._sources.blocks import Block
from .._sources.group_batches import Frames, GroupedRows
from .._sources.row_source import Rows, View

Array = NDArray[np.float64]

_LARGE = 1 << 22  # entries of a group, from which it is read block by block, in a fit of its own
_MANY_FEATURES = 200  # beyond, a group takes as long beside others as it does alone
_MANY_UNDETERMINED = 64  # features, whose directions take longer to find than a fit in few rows
_LEAST_TOL = 1e-14  # that rounding lets a gap be measured to


@dataclass
class Coefficients:
    """Coefficients of models, and what the columns were mapped by before terms were made of them.

    Parameters
    ----------
    coef : array of shape (n_models, n_targets, n_features)
    intercept : array of shape (n_models, n_targets)
    centre, half : array of shape (n_models, n_columns)
    """

    coef: Array
    intercept: Array
    centre: Array
    half: Array

    @classmethod
    def of(cls, coef: Array, intercept: Array, n_columns: int) -> "Coefficients":
        """Return those of models of columns as they are, in the shapes of fitted attributes."""
        n, last = len(coef), coef.shape[-1]
        centre = np.zeros((n, n_columns))
        return cls(coef.reshape(n, -1, last), intercept.reshape(n, -1), centre, centre + 1)

    def with_one(self, other: "Coefficients") -> "Coefficients":
        """Return these models, and others after them."""
        names = "coef", "intercept", "centre", "half"
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return Coefficients(*map(np.concatenate, pairs))

    def like(self, number: float) -> "Coefficients":
        """Return one model like these, whose coefficients are all the same number."""
        parts = (np.full_like(part[:1], number) for part in vars(self).values())
        return Coefficients(*parts)

    def of_columns(self, terms: LocalPowers | None) -> tuple[Array, Array]:
        """Return the coefficients and the intercepts for powers of the columns as they are."""
        if terms is None or not terms.mapped:
            return self.coef, self.intercept
        turn = terms.turn(torch.from_numpy(self.centre), torch.from_numpy(self.half))
        found = (torch.from_numpy(self.coef) @ turn.mT).numpy()
        return np.ascontiguousarray(found[..., :-1]), self.intercept + found[..., -1]


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
    """

    models: Coefficients
    rank: NDArray[np.int64]
    optimality: Array
    converged: NDArray[np.bool_]
    n_iter: NDArray[np.int64]

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
        return cls(models, counts[0], unknown, no, counts[1])

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
        self.converged[groups] = self.optimality[groups] <= tol

    def take(self, groups: NDArray[np.int64], others: "GroupFits") -> None:
        """Take the fits of some of the groups from others."""
        for name, part in vars(others.models).items():
            if len(part):
                getattr(self.models, name)[groups] = part
        for name in ("rank", "optimality", "converged", "n_iter"):
            getattr(self, name)[groups] = getattr(others, name)

    def put_one(self, group: int, estimator: Any, models: Coefficients) -> None:
        """Take what an estimator was fitted to."""
        for name, part in vars(models).items():
            if len(part):
                getattr(self.models, name)[group] = part[0]
        self.rank[group] = -1 if estimator.rank_ is None else estimator.rank_
        self.optimality[group] = estimator.optimality_
        self.converged[group], self.n_iter[group] = estimator.converged_, estimator.n_iter_


@dataclass(frozen=True)
class GroupModel:
    """What the groups are fitted with.

    Parameters
    ----------
    make : callable
        Returns an estimator of one group, for a penalty and its alpha.
    loss : Loss
    penalty : Penalty
    fit_intercept : bool
    control : SolverControl
    terms : LocalPowers or None
        What the features are made by; None for the columns as they are.
    shrinkage : float
    common : array of shape (n_targets, n_features) or None
        What the coefficients are shrunk towards.
    """

    make: Callable[..., Any]
    loss: Loss
    penalty: Penalty
    fit_intercept: bool
    control: SolverControl
    terms: LocalPowers | None
    shrinkage: float = 0.0
    common: Array | None = None

    def fit(self, data: Data) -> tuple[Any, Coefficients]:
        """Fit all rows of some data as an estimator does, which has a remedy for what is hard."""
        estimator, away, rows = self.make(), np.zeros(1), data.rows
        centre = half = torch.zeros(0, rows.n_features, dtype=torch.float64)
        if self.terms is not None:
            ranges = column_ranges(rows)
            low, high = torch.from_numpy(ranges.low), torch.from_numpy(ranges.high)
            centre, half = self.terms.frame(low[None], high[None])
            rows = PowerRows(rows, self.terms, centre[0], half[0])
        if self.common is not None:
            # Two ridges are one about a point between their centres, but for a constant.
            both = self.penalty.curvatures(torch.from_numpy(self.common)).numpy() + self.shrinkage
            away = self.shrinkage / both * self.common
            estimator = self.make(penalty="l2", alpha=1.0, penalty_factor=both)
            rows = ResidualRows(rows, away)
        estimator._fit(replace(data, rows=rows), start=(None, None), task=None)
        coef, intercept = np.atleast_2d(estimator.coef_) + away, np.atleast_1d(estimator.intercept_)
        return estimator, Coefficients(coef[None], intercept[None], centre.numpy(), half.numpy())


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
    for group in np.flatnonzero(~fits.converged).tolist():
        try:
            fits.put_one(group, *model.fit(replace(data, rows=grouped.of(group))))
        except ValueError:  # of numbers that are not finite, whose place in the data it cannot tell
            check_finite()
            raise
        if not problem.n_free(grouped.n_features) and fits.rank[group] >= 0:
            fits.rank[group] = grouped.n_features
    return fits


def _batched(grouped: GroupedRows, model: GroupModel, problem: GroupProblem) -> NDArray[np.bool_]:
    """Return which groups are solved many at a time."""
    counts, d = grouped.counts, grouped.n_features
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
    common = None if model.common is None else torch.from_numpy(model.common.T.copy())
    tol = max(model.control.gap, _LEAST_TOL)
    control = replace(model.control, tol=tol)
    parts = model.loss, model.penalty, model.fit_intercept, control, model.shrinkage, common
    return GroupProblem(*parts), tol


class ResidualRows(View):
    """The rows of another source, the targets less what some coefficients predict.

    Parameters
    ----------
    source : Rows
    coef : array of shape (n_targets, n_features)
    """

    def __init__(self, source: Rows, coef: Array):
        super().__init__(source)
        self.coef = coef

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that makes the same view of another source."""
        return partial(ResidualRows, coef=self.coef)

    def blocks(self, size: int, order: torch.Tensor | None = None) -> Any:
        """Yield ``(X, y, sample_weight)`` with these targets."""
        yield from map(self.view_block, self.source.blocks(size, order))

    def view_block(self, block: Block) -> Block:
        """Return a block with these targets."""
        X, y, weight = block
        wide = X if X.device.type == "mps" else X.double()
        return X, y - wide @ torch.from_numpy(self.coef.T.copy()).to(wide), weight

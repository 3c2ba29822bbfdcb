"""The fits of all groups: many at a time, and one after the other those that are left."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._inputs.conversion import to_numpy
from .._inputs.fit_data import Data
from .._objective.loss import Loss
from .._objective.penalties import Penalty
from .._solvers.base import SolverControl
from .._solvers.grouped.problem import GroupProblem, GroupSolutions
from .._solvers.grouped.solver import solve_batch, takes_batches
from .._sources.blocks import Block
from .._sources.group_batches import GroupedRows
from .._sources.row_source import Rows, View

Array = NDArray[np.float64]

_LARGE = 1 << 22  # entries of a group, from which it is read block by block, in a fit of its own
_LEAST_TOL = 1e-14  # that rounding lets a gap be measured to


@dataclass
class GroupFits:
    """The fits of all groups.

    Parameters
    ----------
    coef : array of shape (n_groups, n_targets, n_features)
    intercept : array of shape (n_groups, n_targets)
    rank : array of shape (n_groups,)
        -1 where it is not known.
    optimality : array of shape (n_groups,)
    converged : array of shape (n_groups,)
    n_iter : array of shape (n_groups,)
    """

    coef: Array
    intercept: Array
    rank: NDArray[np.int64]
    optimality: Array
    converged: NDArray[np.bool_]
    n_iter: NDArray[np.int64]

    @classmethod
    def empty(cls, n_groups: int, n_targets: int, n_features: int) -> "GroupFits":
        """Return room for the fits."""
        counts = np.zeros((2, n_groups), np.int64)
        return cls(
            np.empty((n_groups, n_targets, n_features)),
            np.empty((n_groups, n_targets)),
            counts[0],
            np.full(n_groups, np.nan),
            np.zeros(n_groups, bool),
            counts[1],
        )

    def put(self, groups: NDArray[np.int64], solutions: GroupSolutions, tol: float) -> None:
        """Take the solutions of a batch of groups."""
        self.coef[groups] = to_numpy(solutions.coef.mT)
        self.intercept[groups] = to_numpy(solutions.intercept)
        self.rank[groups] = to_numpy(solutions.rank)
        self.optimality[groups] = to_numpy(solutions.optimality)
        self.n_iter[groups] = to_numpy(solutions.n_iter)
        self.converged[groups] = self.optimality[groups] <= tol

    def put_one(self, group: int, model: Any, centre: Array) -> None:
        """Take what an estimator was fitted to, the coefficients being beside ``centre``."""
        self.coef[group] = np.atleast_2d(model.coef_) + centre
        self.intercept[group] = model.intercept_
        self.rank[group] = -1 if model.rank_ is None else model.rank_
        self.optimality[group], self.converged[group] = model.optimality_, model.converged_
        self.n_iter[group] = model.n_iter_


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
    shrinkage : float
    common : array of shape (n_targets, n_features) or None
        What the coefficients are shrunk towards.
    """

    make: Callable[..., Any]
    loss: Loss
    penalty: Penalty
    fit_intercept: bool
    control: SolverControl
    shrinkage: float = 0.0
    common: Array | None = None


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
    rows, n_groups = grouped.rows, len(grouped.counts)
    fits = GroupFits.empty(n_groups, rows.n_targets, rows.n_features)
    entries = grouped.counts * (rows.n_features + rows.n_targets)
    batched = np.full(n_groups, takes_batches(model.loss, model.penalty)) & (entries < _LARGE)
    tol = max(model.control.gap, _LEAST_TOL)
    problem = _problem(model, tol)
    for batch in grouped.batches(np.flatnonzero(batched)):
        groups = batch.groups.numpy()
        fits.put(groups, solve_batch(batch, rows.n_targets, problem), tol)
    if np.isnan(fits.optimality[batched]).any():
        check_finite()
    for group in np.flatnonzero(~fits.converged).tolist():
        _fit_one(fits, group, replace(data, rows=grouped.of(group)), model)
    return fits


def _problem(model: GroupModel, tol: float) -> GroupProblem:
    common = None if model.common is None else torch.from_numpy(model.common.T.copy())
    return GroupProblem(
        model.loss,
        model.penalty,
        model.fit_intercept,
        replace(model.control, tol=tol),
        model.shrinkage,
        common,
    )


def _fit_one(fits: GroupFits, group: int, data: Data, model: GroupModel) -> None:
    """Fit one group as an estimator of its own does, which has a remedy for all that is hard."""
    estimator, centre = model.make(), np.zeros(1)
    if model.common is not None:
        # Two ridges are one about a point between their centres, but for a constant.
        both = model.penalty.curvature + model.shrinkage
        centre = model.shrinkage / both * model.common
        estimator = model.make(penalty="l2", alpha=both)
        data = replace(data, rows=ResidualRows(data.rows, centre))
    estimator._fit(data, start=(None, None), task=None)
    fits.put_one(group, estimator, centre)


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
        return _Residuals(self.coef)

    def blocks(self, size: int, order: torch.Tensor | None = None) -> Any:
        """Yield ``(X, y, sample_weight)`` with these targets."""
        yield from map(self.view_block, self.source.blocks(size, order))

    def view_block(self, block: Block) -> Block:
        """Return a block with these targets."""
        X, y, weight = block
        wide = X if X.device.type == "mps" else X.double()
        return X, y - wide @ torch.from_numpy(self.coef.T.copy()).to(wide), weight


@dataclass(frozen=True)
class _Residuals:
    """Makes the view of a source; it can be pickled."""

    coef: Array

    def __call__(self, rows: Rows) -> Rows:
        return ResidualRows(rows, self.coef)

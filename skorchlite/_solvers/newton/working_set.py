"""Descent on the columns that matter, where a penalty with corners leaves most coefficients zero.

The minimum over a working set of the columns is the minimum over all when no other gradient exceeds
the corner of the penalty. A loss with corners has the gradient that its dual variables make: rows
at a corner may have any slope between those beside it, and have the ones that balance.

References
----------
Tibshirani, Bien, Friedman, Hastie, Simon, Taylor, Tibshirani (2012), "Strong rules for discarding
predictors in lasso-type problems", JRSS B 74(2).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..base import Monitor, Solution, SolverControl, is_near
from .bounds import Bound
from .crossover import descend
from .general_loss import descend_by_models
from .interior_point import InteriorPoint
from .kinks import Kinks
from .local_problem import LocalProblem

_ENTERING = 64  # columns in the first working set, and later at least
_ROUGH = 1e-3  # accuracy while columns enter
_VIOLATION = 1e-11  # of a corner, relative to the largest gradient at zero, that is rounding
_TIED = 1e-6  # of the objective: a residual that is at a corner but for rounding
_ROOM = 4  # rows at a corner for each column


def descend_on_columns(
    objective: Objective, start: Tensor | None, control: SolverControl
) -> Solution:
    """Minimise an objective whose loss is no quadratic and whose penalty has corners.

    ``max_iter`` is for each working set.
    """
    tol = control.gap
    d, t = objective.n_features, objective.rows.n_targets
    mean, deviation, covariance = objective.spread()
    objective = objective.centred(mean)
    scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))[t:]
    bounded = torch.full((d,), objective.penalty.positive)
    corners = Kinks(objective.column_penalty.corner / scale, bounded)
    steep = (covariance.abs() / scale[:, None]).amax(1)
    v = torch.zeros(d + 1, t, dtype=torch.float64)
    if start is not None and is_near(start, deviation):
        v[:-1] = start
    index = _widened(v, steep)
    largest, last, accuracy = 0.0, torch.inf, max(tol, _ROUGH)
    n_iter, curve = 0, list[float]()
    while True:
        part = objective.over(index)
        so_far = partial(_whole, objective, index, n_iter, curve)
        monitor = _of_whole(control.monitor, n_iter, so_far)
        solution = descend_by_models(part, replace(control, tol=accuracy, monitor=monitor))
        whole = so_far(solution)
        n_iter, curve, v = whole.n_iter, whole.loss_curve, whole.v
        slope = _slopes(objective, v, index, scale, corners) / scale[:, None]
        largest = max(largest, float(slope.abs().max()))
        slope[index] = 0
        pull = [corners.subgradient(torch.zeros_like(scale), column).abs() for column in slope.T]
        steep = torch.stack(pull).amax(0)
        missed = _missed(objective, v, steep, corners, scale, _VIOLATION * largest)
        steep[steep <= max(_VIOLATION, accuracy * (accuracy > tol)) * largest] = 0
        # Roughly solved, working sets may follow each other without end.
        idle = solution.loss_curve[-1] >= last * (1 - 0.1 * accuracy)
        settled = not steep.any() or (idle and accuracy > tol)
        last = solution.loss_curve[-1]
        if (settled and accuracy <= tol) or solution.status != "converged":
            return replace(whole, optimality=whole.optimality + missed)
        accuracy = tol if settled else accuracy
        index = index if settled else _widened(v, steep)


def _missed(
    objective: Objective, v: Tensor, steep: Tensor, corners: Kinks, scale: Tensor, rounding: float
) -> float:
    """Return what columns at zero may gain with slopes beyond the corner, relatively.

    The sum of the coefficients, each times its corner, is at most the objective. Without a corner
    they gain no more than against the curvature of the penalty, and anything where it has none,
    but for what is rounding.
    """
    held = corners.slope > 0
    if held.any():
        return float((steep / corners.slope)[held].max())
    steep, bent = (
        torch.where(steep > rounding, steep, 0.0),
        objective.column_penalty.curvature / scale**2,
    )
    if not steep.any():
        return 0.0
    gain = 0.5 * float((steep**2 / bent).sum()) if (bent > 0).all() else torch.nan
    least = float(objective.evaluate(v)[0].min())
    return gain / least if least > 0 else torch.nan


def _of_whole(monitor: Monitor, before: int, whole: Callable[[Solution], Solution]) -> Monitor:
    """Return what tells of a part of the descent as of one of the whole."""

    def tell(n_iter: int, value: float, gap: float | None, ended: Callable[[], Solution]) -> None:
        monitor(before + n_iter, value, gap, lambda: whole(ended()))

    return tell


def _whole(
    objective: Objective,
    index: Tensor,
    n_iter: int,
    curve: list[float],
    solution: Solution,
) -> Solution:
    """Return a solution over a part of the columns as one over all, after what went before."""
    v = _embedded(objective, solution.objective, index, solution.v)
    return replace(
        solution,
        objective=objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=n_iter + solution.n_iter,
        loss_curve=curve + solution.loss_curve,
    )


def _widened(v: Tensor, steep: Tensor) -> Tensor:
    """Return the columns that have a coefficient and those that would leave zero by most."""
    (support,) = v[:-1].any(1).nonzero(as_tuple=True)
    order = steep.argsort(descending=True)[: max(_ENTERING, len(support))]
    return torch.cat((support, order[steep[order] > 0])).unique()


def _embedded(objective: Objective, part: Any, index: Tensor, v: Tensor) -> Tensor:
    """Return coefficients and intercept of the part as those of the whole."""
    t = objective.rows.n_targets
    moved = part.origin.shift - objective.over(index).origin.shift
    whole = v.new_zeros(objective.n_features + 1, v.shape[1])
    whole[index] = v[:-1]
    whole[-1] = v[-1] + moved[:t] - (moved[t:] / part.origin.unit()[t:]) @ v[:-1]
    return whole


def _slopes(
    objective: Objective, v: Tensor, index: Tensor, scale: Tensor, corners: Kinks
) -> Tensor:
    """Return the gradient for all columns at the minimum over some of them."""
    if not objective.loss.corners:
        return objective.evaluate(v)[1][:-1]
    value, _ = objective.evaluate(v)
    reach = {j: _TIED * float(value[j]) for j in range(v.shape[1])}
    n = len(index) + 1
    _, models = objective.models(v, reach, _ROOM * n)
    whole = torch.stack(
        [_balanced(objective, models[j][1], index, scale, corners) for j in reach], 1
    )
    return whole + objective.column_penalty.curvature[:, None] * v[:-1]


def _balanced(
    objective: Objective, model: Any, index: Tensor, scale: Tensor, corners: Kinks
) -> Tensor:
    """Return the gradient of the loss whose slopes balance over some of the columns."""
    free = scale.new_zeros(int(objective.fit_intercept))
    unit = torch.cat((1 / scale[index], free + 1))
    columns = torch.cat((index, torch.full((len(free),), objective.n_features)))
    own = Kinks(
        torch.cat((corners.slope[index], free)), torch.cat((corners.bounded[index], free > 0))
    )
    u = model.point[columns] / unit
    part = replace(
        model,
        point=u,
        gradient=model.gradient[columns] * unit,
        hessian=model.hessian[columns][:, columns] * torch.outer(unit, unit),
        Z=model.Z[:, columns] * unit,
    )
    curvature = (torch.cat((objective.column_penalty.curvature[index], free)) * unit**2).diag()
    bound = Bound(objective.loss, own, curvature.diagonal(), 1.0, whitened=False, n_free=len(free))
    steps = InteriorPoint(LocalProblem(part, objective.loss, own, curvature, bound), u)
    descend(steps, 0.0)
    return (model.gradient - model.Z.T @ (model.share * steps.form.row_slopes()))[:-1]

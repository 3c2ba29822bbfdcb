"""Least norm among columns that a penalty with kinks leaves out.

Such a penalty says nothing of them, so that columns of these which depend on each other leave a
choice, and descents in single columns would follow what rounding makes of the difference. So as
many of them as are independent, by the rule of least squares, are fitted with all other columns.
What they predict is then written with the coefficients of least norm.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.moments import MANY_COLUMNS
from ..._objective.objective import Objective
from ..base import Solution, Solver, SolverControl
from .quadratic_model import QuadraticModel, measure, quadratic_model
from .underdetermined import RowGram

Array = NDArray[np.float64]
Ended = Callable[[], Solution]


def with_unpenalised(
    objective: Objective, start: Tensor | None, control: SolverControl, solve: Solver
) -> Solution:
    """Minimise an objective, with least norm in the columns that a penalty with kinks leaves out.

    Parameters
    ----------
    objective, start, control
        As of a solver.
    solve : Solver
    """
    found = _dependent(objective, control)
    if found is None:
        return solve(objective, start, control)
    free, model = found
    own = torch.ones(objective.n_features, dtype=torch.bool)
    own[free] = False
    own[free[_independent(model)]] = True
    kept = own.nonzero()[:, 0]
    whole = partial(_whole, objective=objective, kept=kept, free=free, model=model)

    def monitor(n_iter: int, value: float, optimality: float | None, ended: Ended) -> None:
        control.monitor(n_iter, value, optimality, lambda: whole(ended()))

    begin = None if start is None else torch.cat((start[kept], start[-1:]))
    return whole(solve(objective.over(kept), begin, replace(control, monitor=monitor)))


def least_norm_of_unpenalised(solution: Solution, control: SolverControl) -> Solution:
    """Return a solution with the least norm in the columns that a penalty with kinks leaves out."""
    objective = solution.objective
    found = _dependent(objective, control)
    if found is None:
        return solution
    return replace(solution, v=_least_norm(solution.v, objective, *found))


def _dependent(
    objective: Objective, control: SolverControl
) -> tuple[Tensor, QuadraticModel] | None:
    """Return the columns left out, and their model, where they depend on each other.

    None where they do not, where there are none, and where there are too many to know.
    """
    if not objective.penalty.leaves_choice:
        return None
    free = objective.penalty.unpenalised(objective.n_features).nonzero()[:, 0]
    if len(free) > MANY_COLUMNS:
        return None
    model = quadratic_model(objective.over(free), objective.double, control.data_eps)
    return None if model.metric.rank == len(free) else (free, model)


def _independent(model: QuadraticModel) -> list[int]:
    """Return as many columns of a model as its rank: in turn, of which most is left."""
    hessian, scale = model.quadratic.hessian, model.metric.scale
    if isinstance(hessian, RowGram):
        hessian = (hessian.Z.T @ hessian.Z).numpy()
    left, chosen = hessian / (scale[:, None] * scale), list[int]()
    left *= model.metric.live[:, None] & model.metric.live
    for _ in range(model.metric.rank):
        largest = int(left.diagonal().argmax())
        chosen.append(largest)
        column = left[:, largest] / left[largest, largest] ** 0.5
        left -= np.outer(column, column)
        left[largest], left[:, largest] = 0.0, 0.0
    return chosen


def _whole(
    solution: Solution, objective: Objective, kept: Tensor, free: Tensor, model: QuadraticModel
) -> Solution:
    """Return a solution in some of the columns as one in all of them."""
    moments = None
    if solution.moments is not None:  # of these columns, and chunks that may follow have all
        objective, quadratic = measure(objective, objective.double)
        moments = quadratic.moments
    own = objective.over(kept).units.carried(solution.v, solution.objective.origin)
    v = own.new_zeros(objective.n_features + 1, own.shape[1])
    v[kept], v[-1] = own[:-1], own[-1]
    v = _least_norm(v, objective, free, model)
    low = torch.zeros_like(v)
    return replace(solution, objective=objective, v=v, v_low=low, moments=moments)


def _least_norm(v: Tensor, objective: Objective, free: Tensor, model: QuadraticModel) -> Tensor:
    """Return the point with the least norm in some columns that predicts what v does."""
    w, unit = v[free], objective.column_penalty.unit[free, None]
    if isinstance(model.quadratic.hessian, RowGram):
        _, _, span = torch.linalg.svd(model.quadratic.hessian.Z / unit.T, full_matrices=False)
        span = span[: model.metric.rank]
        least = span.T @ (span @ (unit * w)) / unit
    else:
        found = model.least_norm(w.numpy(), to_caller=lambda part: unit.numpy() * part)
        least = torch.from_numpy(found)
    moved = least - w
    # Predictions are the same about the mean, which the columns of the model are measured from.
    origin = objective.over(free).origin
    far = (model.objective.origin.shift - origin.shift) / origin.unit()
    v = v.clone()
    v[free] += moved
    v[-1] -= far[-len(free) :] @ moved * objective.fit_intercept
    return v

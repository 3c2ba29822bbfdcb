"""Descent for one target after the other, whose curvatures and steps are their own."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import isnan, nan

import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..._sources.row_source import TargetRows
from ..base import Solution, SolverControl
from .settings import Settings

Solve = Callable[[Objective, Tensor | None, SolverControl, Settings], Solution]


def target_by_target(
    solve: Solve,
    objective: Objective,
    start: Tensor | None,
    control: SolverControl,
    settings: Settings,
) -> Solution:
    """Return the solutions for all targets as one; ``solve`` finds that of one target."""
    parts: list[Solution] = []
    for j in range(objective.rows.n_targets):
        target, point = objective.of_target(j), None if start is None else start[:, j : j + 1]
        validation = None if settings.validation is None else TargetRows(settings.validation, [j])
        monitor = partial(_report, control, objective, target, tuple(parts))
        solution = solve(
            target,
            point,
            replace(control, monitor=monitor),
            replace(settings, validation=validation),
        )
        parts.append(_carried(target, solution))
    return _together(objective, parts)


def _report(
    control: SolverControl,
    objective: Objective,
    target: Objective,
    before: tuple[Solution, ...],
    n_iter: int,
    value: float,
    optimality: float | None,
    ended: Callable[[], Solution],
) -> None:
    """Call the monitor after a step for one target, with a solution for all targets.

    It has the targets before as they are solved, and those after without coefficients.
    """

    def together() -> Solution:
        solution = _together(objective, [*before, _carried(target, ended())])
        n_missing = objective.rows.n_targets - solution.v.shape[1]
        v = torch.cat((solution.v, solution.v.new_zeros(len(solution.v), n_missing)), 1)
        return replace(solution, v=v, v_low=torch.zeros_like(v))

    control.monitor(n_iter, value, optimality, together)


def _carried(objective: Objective, solution: Solution) -> Solution:
    """Return a solution in the coordinates of an objective with another origin."""
    v = objective.units.carried(solution.v, solution.objective.origin)
    return replace(solution, objective=objective, v=v)


def _together(objective: Objective, parts: list[Solution]) -> Solution:
    """Return the solutions for several targets as one."""
    unfinished = [part.status for part in parts if part.status != "converged"]
    v, gaps = torch.cat([part.v for part in parts], 1), [part.optimality for part in parts]
    validated = [part.validation_curve for part in parts if part.validation_curve is not None]
    return Solution(
        objective=objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=max(part.n_iter for part in parts),
        loss_curve=_sum([part.loss_curve for part in parts]),
        optimality=nan if any(map(isnan, gaps)) else max(gaps),
        status=unfinished[0] if unfinished else "converged",
        validation_curve=_sum(validated) if len(validated) == len(parts) else None,
        n_updates=max(part.n_updates for part in parts),
        facts={"norm": max(part.facts.get("norm", 0) for part in parts)},
    )


def _sum(curves: list[list[float]]) -> list[float]:
    """Return the sum of curves; a shorter one goes on at its last value."""
    longest = max(map(len, curves))
    return [sum(curve[min(i, len(curve) - 1)] for curve in curves) for i in range(longest)]

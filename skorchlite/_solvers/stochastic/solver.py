"""Stochastic descent in epochs, with a step that is given or one that it finds itself.

References
----------
Prechelt (1998), "Early stopping - but when?", Neural Networks: Tricks of the Trade. For the two
descents see ``sgd`` and ``svrg``.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf, isfinite, isnan, nan
from typing import Any

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.objective import Objective
from ..._sources.row_source import TargetRows
from ..base import Monitor, Solution, SolverControl, is_near
from .certificates import Certificate
from .early_stopping import Watch, _mean_point
from .minibatches import Minibatches
from .settings import Settings
from .sgd import Loop, make_loop
from .step_size import stable_step
from .svrg import VarianceReduced

Ended = Callable[[], Solution]

_RISEN = 2.0  # times the first objective: a descent that ended there was none
_CLEAR = 0.9  # of the objective at zero: an epoch with less on average does not end above it
_BLURRED = 1e-6  # of the objective: what rounding may leave without a word
_ROUNDINGS = 100.0  # by so many the objective that the batches add up may be off


def stochastic(
    objective: Objective,
    start: Tensor | None,
    control: SolverControl,
    settings: Settings,
) -> Solution:
    """Minimise an objective with any loss, by steps along the gradients of batches.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
        In coordinates of the objective, None for zero.
    control : SolverControl
        Where the step is given, ``tol`` is of the objective, absolute, or of the validation loss,
        relative to that of a constant; else of the gradient, relative. ``max_iter`` is of epochs,
        after each of which the monitor is called.
    settings : Settings

    Returns
    -------
    Solution
    """
    own_step, alike = settings.learning_rate == "auto", objective.loss.quadratic
    if own_step and start is not None:
        _, deviation, _ = objective.spread()
        start = start if is_near(start[:-1], deviation) else None
    if own_step and objective.rows.n_targets > 1 and not alike:
        return _target_by_target(objective, start, control, settings)
    loop = make_loop(objective, start, settings, control.dtype, control.data_eps)
    watch = Watch(loop.objective, settings, control.tol)

    def told(n_iter: int, value: float, optimality: float | None, ended: Ended) -> None:
        control.monitor(n_iter, value, optimality, lambda: watch.record(ended()))

    watched = replace(control, monitor=told)
    if own_step:
        solution = _with_own_step(loop, settings, start is not None, watch, watched)
    else:
        solution = _with_given_step(loop, settings, watch, watched)
    return watch.record(solution)


def _target_by_target(
    objective: Objective,
    start: Tensor | None,
    control: SolverControl,
    settings: Settings,
) -> Solution:
    """Minimise for one target after the other, whose curvatures and steps are their own."""
    parts: list[Solution] = []
    for j in range(objective.rows.n_targets):
        one, point = objective.of_target(j), None if start is None else start[:, j : j + 1]
        validation = None if settings.validation is None else TargetRows(settings.validation, j)
        carried = partial(_carried, one)
        monitor = _of_all(control.monitor, objective, parts, carried)
        own = replace(settings, validation=validation)
        solution = stochastic(one, point, replace(control, monitor=monitor), own)
        parts.append(carried(solution))
    return _together(objective, parts)


def _carried(objective: Objective, solution: Solution) -> Solution:
    """Return a solution in the coordinates of an objective with another origin."""
    v = objective.units.carried(solution.v, solution.objective.origin)
    return replace(solution, objective=objective, v=v)


def _of_all(
    monitor: Monitor,
    objective: Objective,
    before: list[Solution],
    carried: Callable[[Solution], Solution],
) -> Monitor:
    """Return what tells of the descent for one target as of one for all; others are at the mean."""

    def tell(n_iter: int, value: float, optimality: float | None, ended: Ended) -> None:
        def together() -> Solution:
            solution = _together(objective, [*before, carried(ended())])
            n_missing = objective.rows.n_targets - solution.v.shape[1]
            missing = solution.v.new_zeros(len(solution.v), n_missing)
            v = torch.cat((solution.v, missing), 1)
            return replace(solution, v=v, v_low=torch.zeros_like(v))

        monitor(n_iter, value, optimality, together)

    return tell


def _together(objective: Objective, parts: list[Solution]) -> Solution:
    """Return the solutions for several targets as one."""
    unfinished = [part for part in parts if part.status != "converged"]
    v, curves = torch.cat([part.v for part in parts], 1), [part.validation_curve for part in parts]
    gaps, norms = [part.optimality for part in parts], [part.facts.get("norm", 0) for part in parts]
    return Solution(
        objective=objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=max(part.n_iter for part in parts),
        loss_curve=_sums([part.loss_curve for part in parts]),
        optimality=nan if any(map(isnan, gaps)) else max(gaps),
        status=unfinished[0].status if unfinished else "converged",
        validation_curve=None if None in curves else _sums(curves),
        n_updates=max(part.n_updates for part in parts),
        facts={"norm": max(norms)},
    )


def _sums(curves: list[Any]) -> list[float]:
    """Return the sum of curves, each of which stays where it ended."""
    longest = max(map(len, curves))
    return [sum(curve[min(i, len(curve) - 1)] for curve in curves) for i in range(longest)]


def _with_given_step(
    loop: Loop,
    settings: Settings,
    watch: Watch,
    control: SolverControl,
) -> Solution:
    """Run the loop until the objective, or the validation loss, no longer falls by tol."""
    objective, tol = loop.objective, control.tol
    whole = loop.optimizer.needs_closure or not objective.loss.separable
    batches = Minibatches(
        objective, settings.batch_size, settings.generator, loop.u.dtype, whole=whole
    )
    status, curve, best, idle = "max_iter_epochs", list[float](), inf, 0
    kept, at_zero = loop.u.clone(), torch.zeros(loop.u.shape[1], dtype=torch.float64)

    def ended(status: str = "completed") -> Solution:
        v = loop.point() if watch.point is None else watch.point
        return _solution(loop, v, len(curve), curve, nan, status)

    while len(curve) < control.max_iter:
        before = loop.u.clone()
        value = loop.epoch(batches, None if curve else at_zero)
        if not isfinite(value):
            return _diverged(loop, kept, curve, batches.n_batch)
        curve.append(value)
        loop.schedule.after_epoch(value)
        stop = watch(loop.point())
        control.monitor(len(curve), value, nan, ended)
        if not watch.stops:
            slow = tol is not None and value > best - tol
            idle = idle + 1 if slow else 0
            stop = idle >= settings.n_iter_no_change
        if value < best:
            best, kept = value, before
        if stop:
            if loop.schedule.stalled():
                status = "converged"
                break
            idle = watch.idle = 0
    if not torch.isfinite(loop.u).all():
        return _diverged(loop, kept, curve, batches.n_batch)
    if curve[-1] > _RISEN * curve[0] + (tol or 0.0):
        return _diverged(loop, kept, curve, batches.n_batch, "rising")
    if watch.point is None and _is_above(loop, curve[-1], at_zero):
        return _diverged(loop, kept, curve, batches.n_batch, "above_zero")
    if tol is None and status != "converged":
        status = "completed"
    return ended(status)


def _is_above(loop: Loop, last: float, bound: Tensor) -> bool:
    """Return whether the loop ended above a bound; the last epoch tells where it is far below."""
    if len(bound) == 1 and last < _CLEAR * loop.objective.units.total(bound):
        return False
    try:
        value, _ = loop.objective.evaluate(loop.point())
    except OutOfRangeError:
        return True
    rounding = _ROUNDINGS * torch.finfo(loop.u.dtype).eps
    return not bool((value <= bound * (1 + rounding)).all())


def _diverged(
    loop: Loop, kept: Tensor, curve: list[float], n_batch: int, status: str = "diverged"
) -> Solution:
    """Return the point before the epoch with the least objective, or a constant, and a status."""
    objective, v = loop.objective, loop.point(kept)
    value, _ = objective.evaluate(v)
    constants = [torch.zeros_like(v)]
    if objective.fit_intercept:
        constants.append(_mean_point(objective, objective.rows))
    for constant in constants:
        other, _ = objective.evaluate(constant)
        v, value = torch.where(other < value, constant, v), torch.minimum(other, value)
    loop.reset(kept)
    facts = divergence(loop, len(curve) + 1, n_batch)
    curve.append(loop.objective.units.total(value))
    return _solution(loop, v, len(curve), curve, nan, status).knowing(**facts)


def divergence(loop: Loop, epoch: int, n_batch: int) -> dict[str, float]:
    """Return what there is to say of a loop that diverged and was put back."""
    return {
        "t": loop.t - 1,
        "epoch": epoch,
        "rate": loop.schedule.rate(loop.t),
        "bound": stable_step(loop.objective, loop.coordinates, n_batch, loop.v),
    }


def _with_own_step(
    loop: Loop, settings: Settings, started: bool, watch: Watch, control: SolverControl
) -> Solution:
    """Let the variance-reduced descent find its own step."""
    descent = VarianceReduced(loop, settings)
    if not started:
        loop.u.copy_(descent.constant())

    def ended() -> Solution:
        v, curve = descent.end()
        if watch.point is not None:
            v, curve = watch.point, descent.curve
        record = descent.n_iter, curve, nan, "completed"
        return replace(_solution(loop, v, *record), n_updates=descent.n_updates)

    def told(n_iter: int, value: float) -> None:
        control.monitor(n_iter, value, nan, ended)

    certificate = Certificate(descent, loop.coordinates.metric, control)
    gap = certificate.gap_of_end
    status = descent.run(control, settings.n_iter_no_change, told, watch, gap)
    if watch.curve == []:  # the start was the optimum
        watch(descent.point(descent.u))
    solution, facts = ended(), {"norm": descent.anchor.optimality}
    if watch.point is not None:  # it is the validation rows by which it is the best
        left = certificate.gap(solution.v)
    else:
        left = gap(solution.v)
        status = _status(status, left, control.tol)
    status = "converged" if status == "watched" else status
    return replace(solution, optimality=left, status=status, facts=facts)


def _status(status: str, gap: float, tol: float | None) -> str:
    """Return how a descent ended, from what it says itself and the gap, NaN where none is known."""
    if tol is None or isnan(gap) or status == "watched":
        return status
    if gap <= tol or (status == "converged" and gap <= _BLURRED):  # stalled by rounding
        return "converged"
    return status if status == "max_iter_epochs" else "stalled_gap"


def _solution(
    loop: Loop,
    v: Tensor,
    n_iter: int,
    curve: list[float],
    optimality: float,
    status: str,
) -> Solution:
    """Return the record of a descent, at the solution of minimum norm where there are many."""
    metric = loop.coordinates.metric
    if metric is not None and metric.rank < loop.objective.n_features:
        v = torch.cat((v[:-1] - metric.excess(v[:-1], loop.objective.units.to_caller), v[-1:]))
    return Solution(
        objective=loop.objective,
        v=v.clone(),
        v_low=torch.zeros_like(v),
        n_iter=n_iter,
        loss_curve=list(curve),
        optimality=optimality,
        rank=None if metric is None else metric.rank,
        status=status,
        n_updates=loop.t - 1,
    )

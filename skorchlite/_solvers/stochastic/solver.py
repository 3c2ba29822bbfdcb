"""Stochastic descent in epochs, with a step that is given or one that it finds itself.

For the two descents see ``given_step`` and ``svrg``.
"""

from dataclasses import replace
from functools import partial
from math import isnan, nan

from torch import Tensor

from ..._objective.objective import Objective
from ..base import Solution, SolverControl, is_near
from .certificates import Certificate
from .early_stopping import Watch
from .given_step import GivenStep
from .settings import Settings
from .start import Start, make_start
from .svrg import VarianceReduced
from .target_by_target import target_by_target

_BLURRED = 1e-6  # the gap up to which a descent that rounding has stopped counts as converged


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
        Where the descent finds its step, ``tol`` is the relative gap or, where no bound is known,
        the norm of the gradient relative to that at the constant model. Where the step is given,
        it is how much the objective has to fall in an epoch. With early stopping it is how much the
        validation loss has to fall, relative to that of a constant model. ``max_iter`` counts
        epochs; the monitor is called after each.
    settings : Settings

    Returns
    -------
    Solution
    """
    own_step = settings.learning_rate == "auto"
    if own_step and start is not None:
        _, deviation, _ = objective.spread()
        start = start if is_near(start[:-1], deviation) else None
    if own_step and objective.rows.n_targets > 1 and not objective.loss.quadratic:
        return target_by_target(stochastic, objective, start, control, settings)
    begun = make_start(objective, start, settings, control)
    watch = Watch(begun.objective, settings, control.tol)
    if not own_step:
        return GivenStep(begun, settings, watch, control).run()
    return _with_own_step(begun, settings, start is not None, watch, control)


def _with_own_step(
    start: Start, settings: Settings, started: bool, watch: Watch, control: SolverControl
) -> Solution:
    """Minimise by variance-reduced descent, which finds its own step."""
    descent = VarianceReduced(start, settings)
    if not started:
        descent.u.copy_(descent.problem.constant(descent.u))
    ended = partial(_ended, start, descent, watch)
    certificate = Certificate(descent, start.coordinates.metric, control)
    status = descent.run(
        control,
        settings.n_iter_no_change,
        report=lambda n_iter, value: control.monitor(n_iter, value, nan, ended),
        monitor=watch,
        gap=certificate.gap_of_end,
    )
    if watch.curve == []:  # the start was the optimum
        watch(descent.problem.point(descent.u))
    solution = ended()
    if watch.point is not None:  # the best point on the validation rows, whatever its gap
        left = certificate.gap(solution.v)
    else:
        left = certificate.gap_of_end(solution.v)
        status = _status(status, left, control.tol)
    status = "converged" if status == "watched" else status
    status = "separated" if status == "converged" and certificate.separated else status
    return replace(solution, optimality=left, status=status, facts={"norm": descent.optimality})


def _ended(start: Start, descent: VarianceReduced, watch: Watch) -> Solution:
    """Return the solution where a descent is, or at the best point on the validation rows."""
    v, curve = descent.end()
    if watch.point is not None:
        v, curve = watch.point, descent.curve
    solution = start.solution(v, curve, n_updates=descent.n_updates)
    return watch.record(replace(solution, n_iter=descent.n_iter))


def _status(status: str, gap: float, tol: float | None) -> str:
    """Return the status of a descent, from its own and the gap, which is NaN where unknown."""
    if tol is None or isnan(gap) or status == "watched":
        return status
    if gap <= tol or (status == "converged" and gap <= _BLURRED):
        return "converged"
    return status if status == "max_iter_epochs" else "stalled_gap"

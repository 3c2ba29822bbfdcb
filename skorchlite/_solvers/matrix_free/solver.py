"""Full-batch descent by gradients: for wide data, and for losses of any kind.

The descent is by conjugate gradients where the objective is quadratic, else by limited-memory
quasi-Newton steps. A loss with kinks is smoothed, less and less. Coordinates are those of least
squares where their matrix has room, except for squared error, whose solution they would already
need, and for penalties with kinks, which are those of single coefficients; else columns are centred
and scaled. Where sparse rows are fewer than columns, a quadratic has coordinates of the rows.

Steps along gradients may stall before the bound is as close as is asked for, at kinks and where
columns are nearly dependent. A small problem is ended by Newton's steps then.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..._objective.moments import MANY_COLUMNS
from ..._objective.objective import Objective
from ..base import Solution, SolverControl
from ..continuation import continued, monitor_of_whole
from ..newton.scaled import Scaled, Whitened
from ..newton.small_problems import newton_is_cheap
from ..newton.solver import newton
from .conjugate_gradient import ConjugateDescent
from .gaps import left_at, relative_gaps, with_zeros
from .lbfgs import QuasiNewton
from .row_space import RowSpace, suits_row_space
from .smoothing import minimise_smoothed

_STEPS = 200  # of a small problem, before it is ended by Newton's
_PASSES = 250  # over its rows: line searches of a loss with kinks may take ten each
_CLOSER = 1e-3  # than tol asks for: a bound by the gradient is far from the gap that it bounds
_FLAT = 1e-7  # a relative subgradient that counts as zero where no bound is known


def gradient(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    """Minimise an objective with any loss and any penalty.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
        In coordinates of the objective, None for zero. The intercept starts at the mean of the
        targets.
    control : SolverControl
        ``tol`` is of the coefficients, columns scaled, for a loss without kinks; ``max_iter`` is
        for all stages together. The sums are in double precision.

    Returns
    -------
    Solution
        For a loss with kinks, ``optimality`` is the relative gap to a lower bound, and
        ``loss_curve`` has an entry for each stage.
    """
    most = min(control.max_iter, _STEPS) if _is_small(objective) else control.max_iter
    solution = _descend(objective, start, replace(control, max_iter=most))
    # Of squared error, the least curvature that the steps have met is no bound on all.
    sure = solution.status == "converged" and not _is_quadratic(objective)
    # Where all is explained it may have been on the way to infinity, which Newton's steps see.
    sure &= not objective.loss.log_link
    if sure or solution.n_iter >= control.max_iter or not _is_small(objective):
        return solution

    def whole(last: Solution) -> Solution:
        return continued(last, solution.n_iter, solution.loss_curve)

    monitor = monitor_of_whole(control.monitor, solution.n_iter, whole)
    return whole(newton(objective, None, control.after(solution.n_iter, monitor)))


def _is_quadratic(objective: Objective) -> bool:
    return objective.loss.quadratic and objective.penalty.smooth


def _is_small(objective: Objective) -> bool:
    """Return whether Newton steps are cheap, and can be taken.

    With a log link of few columns nothing else gives a bound.
    """
    loss = objective.loss
    few = loss.log_link and objective.n_features <= MANY_COLUMNS
    return few or (loss.convex and newton_is_cheap(objective))


def _descend(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    """Return the end of the descent in coordinates of like curvature."""
    quadratic = _is_quadratic(objective)
    few = objective.n_features <= MANY_COLUMNS and objective.penalty.smooth
    problem: Scaled
    if few and not quadratic:
        problem = Whitened(objective, control.dtype, control.data_eps)
    elif quadratic and start is None and suits_row_space(objective):
        problem = RowSpace(objective, control.data_eps)
    else:
        problem = Scaled(objective, control.data_eps)
    point = problem.start(None if start is None else start[:-1])
    solve = _by_conjugate_gradients if quadratic else _by_quasi_newton
    return solve(problem, point, control)


def _by_conjugate_gradients(problem: Scaled, u: Tensor, control: SolverControl) -> Solution:
    descent = ConjugateDescent(problem, u, control.monitor)
    status = descent.run(control.gap, control.max_iter)
    left = problem.gaps(descent.gradient, descent.least_curvature)
    gaps, near = relative_gaps(left, descent.value, descent.first_value, control.gap)
    status = "converged" if status == "stalled" and near.all() else status
    return replace(descent.solution(), status=status, optimality=float(gaps.max()))


def _by_quasi_newton(problem: Scaled, u: Tensor, control: SolverControl) -> Solution:
    most = _PASSES if _is_small(problem.objective) else torch.inf
    descent = QuasiNewton(problem, u, control.max_iter, control.monitor, most)
    solve = minimise_smoothed if problem.objective.loss.kinked else _minimise_smooth
    status, gap = solve(descent, control.gap)
    if not problem.resolved:
        status, gap = "unresolved", torch.nan
    facts = {"norm": descent.flatness}
    return replace(descent.solution(), status=status, optimality=gap, facts=facts)


def _minimise_smooth(descent: QuasiNewton, tol: float) -> tuple[str, float]:
    """Minimise a smooth loss; return (status, relative gap)."""
    problem = descent.problem
    descent.curve.append(descent.total)
    descent.run(lambda: _CLOSER * tol * descent.scale_of_norm())
    ended = "max_iter" if descent.active.any() else "stalled"
    if not problem.objective.loss.convex:  # nothing is known of it away from here
        met = bool((descent.norm <= tol * descent.scale_of_norm()).all())
        settled = met or (ended == "stalled" and descent.flatness <= _FLAT)
        return "converged" if settled else ended, torch.nan
    u, _ = with_zeros(problem, descent.u, descent.value, descent.gradient, tol)
    if not torch.equal(u, descent.u):
        descent.u = u
        descent.measure()
    left = _left(descent)
    gaps, near = relative_gaps(left, descent.value, descent.first_value, tol)
    return "converged" if near.all() else ended + "_gap", float(gaps.max())


def _left(descent: QuasiNewton) -> Tensor:
    """Return how much lower the objective of each target may be."""
    problem = descent.problem
    if problem.objective.loss.log_link:
        small = _is_small(problem.objective)  # then Newton's steps end it
        return torch.inf * descent.value if small else _left_by_curvature(descent)
    bound, lefts = problem.bound(), []
    many = problem.objective.n_features > MANY_COLUMNS
    for j, value in enumerate(descent.value.tolist()):
        left = left_at(problem, bound, descent.u[:, j], descent.gradient[:, j], value)
        if many and left >= value:  # an estimate, by the least curvature that the steps have met
            left = 0.5 * float(descent.norm[j] ** 2 / descent.least_curvature[j])
        lefts.append(left)
    return descent.value.new_tensor(lefts)


def _left_by_curvature(descent: QuasiNewton) -> Tensor:
    """Return the same for a loss whose value does not say how far the minimum may be.

    It is what the slopes gain against the curvature of the penalty. In coordinates without one it
    is an estimate, by the least curvature that the steps have met.
    """
    problem = descent.problem
    penalty = torch.cat((problem.objective.column_penalty.curvature, torch.zeros(1).double()))
    curvature = (penalty[:, None] * problem.unit**2).expand_as(descent.subgradient)
    curvature = torch.where(curvature > 0, curvature, descent.least_curvature)
    slope = descent.subgradient
    return 0.5 * torch.where(slope != 0, slope**2 / curvature, 0.0).sum(0)

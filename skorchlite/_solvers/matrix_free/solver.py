"""Full-batch descent by gradients: for wide data, and for losses of any kind.

The descent is by conjugate gradients where the objective is quadratic, else by limited-memory
quasi-Newton steps. A loss with corners is smoothed, less and less. Coordinates are those of least
squares where their matrix has room, but for squared error, which they would solve, and for
penalties with corners, which are those of single coefficients; else columns are centred and scaled.

Where steps along gradients stall before the bound is as close as is asked for, as they do at kinks
and where columns are nearly dependent, a small problem is ended by Newton's.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..._objective.moments import MANY_COLUMNS
from ..._objective.objective import Objective
from ..base import Solution, SolverControl
from ..newton.bounds import AtZero
from ..newton.kinks import worth_of_zeros
from ..newton.scaled import Scaled, Whitened
from ..newton.solver import newton
from .conjugate_gradient import ConjugateDescent
from .lbfgs import Descent

_SMALL = 1 << 21  # rows times columns, whose Newton steps take no longer than the descent before
_STEPS = 200  # of a small problem, before it is ended by Newton's
_PASSES = 250  # over its rows: line searches of a loss with corners may take ten each
_SHRINK = 0.1  # of the width of a smoothed loss, from stage to stage
_STAGE = 1e-3  # of what smoothing leaves: what is left of a stage
_STALE = 2  # stages without gain, after which rounding errors are all that is left
_CLEAR = 1e-3  # of a corner: what a slope is inside it by where a coefficient is surely zero
_TINY = 1e-9  # of the deviation of the targets: what a coefficient may be worth
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
        ``tol`` is of the coefficients, columns scaled, for a loss without corners; ``max_iter`` is
        for all stages together. The sums are in double precision.

    Returns
    -------
    Solution
        For a loss with corners, ``optimality`` is the relative gap to a lower bound, and
        ``loss_curve`` has an entry for each stage.
    """
    most = min(control.max_iter, _STEPS) if _is_small(objective) else control.max_iter
    solution = _descend(objective, start, replace(control, max_iter=most))
    # Of squared error, the least curvature that the steps have met is no bound on all.
    sure = solution.status == "converged" and not _is_quadratic(objective)
    if sure or solution.n_iter >= control.max_iter or not _is_small(objective):
        return solution
    n_iter, curve = solution.n_iter, solution.loss_curve

    def tell(n: int, value: float, gap: float | None, ended: Any) -> None:
        control.monitor(n_iter + n, value, gap, lambda: _joined(n_iter, curve, ended()))

    last = newton(objective, None, control.after(n_iter, tell))
    return _joined(n_iter, curve, last)


def _is_quadratic(objective: Objective) -> bool:
    return objective.loss.quadratic and objective.penalty.smooth


def _is_small(objective: Objective) -> bool:
    """Return whether Newton steps are cheap, and can be taken."""
    d = objective.n_features
    return (
        d <= MANY_COLUMNS and objective.loss.convex and objective.rows.fewer_than(_SMALL // (d + 1))
    )


def _joined(n_iter: int, curve: list[float], last: Solution) -> Solution:
    """Return the record of a descent that went on after so many steps."""
    return replace(last, n_iter=n_iter + last.n_iter, loss_curve=[*curve, *last.loss_curve])


def _descend(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    tol, max_iter, data_eps = control.gap, control.max_iter, control.data_eps
    quadratic = _is_quadratic(objective)
    few = objective.n_features <= MANY_COLUMNS and objective.penalty.smooth
    problem: Scaled = (
        Whitened(objective, control.dtype, data_eps)
        if few and not quadratic
        else Scaled(objective, data_eps)
    )
    point = problem.start(None if start is None else start[:-1])
    if quadratic:
        conjugate = ConjugateDescent(problem, point, control.monitor)
        status = conjugate.run(tol, max_iter)
        gaps, near = _met(conjugate.gaps, conjugate.value, conjugate.first_value, tol)
        status = "converged" if status == "stalled" and near.all() else status
        return replace(conjugate.solution(), status=status, optimality=float(gaps.max()))
    most = _PASSES if _is_small(objective) else torch.inf
    descent = Descent(problem, point, max_iter, control.monitor, most)
    solve = _by_smoothing if objective.loss.corners else _directly
    status, gap = solve(descent, tol)
    if not problem.resolved:
        status, gap = "unresolved", torch.nan
    facts = {"norm": descent.flatness}
    return replace(descent.solution(), status=status, optimality=gap, facts=facts)


def _directly(descent: Descent, tol: float) -> tuple[str, float]:
    """Minimise a smooth loss; return (status, relative gap)."""
    problem = descent.problem
    descent.curve.append(problem.objective.units.total(descent.value))
    descent.run(lambda: _CLOSER * tol * descent.precise())
    ended = "max_iter" if descent.active.any() else "stalled"
    met = bool((descent.norm <= tol * descent.precise()).all())
    if not problem.objective.loss.convex:  # nothing is known of it away from here
        settled = met or (ended == "stalled" and descent.flatness <= _FLAT)
        return "converged" if settled else ended, torch.nan
    x, _ = _settled(problem, descent.x, descent.value, descent.gradient, tol)
    if not torch.equal(x, descent.x):
        descent.x = x
        descent.value, descent.gradient = problem.evaluate(x, problem.objective.loss)
    bound, lefts = problem.bound(), []
    for j, value in enumerate(descent.value.tolist()):
        most = _left(problem, bound, descent.x[:, j], descent.gradient[:, j], value)
        many = problem.objective.n_features > MANY_COLUMNS
        if many and most >= value:  # by the least curvature that the steps have met
            most = 0.5 * float(descent.norm[j] ** 2 / descent.least[j])
        lefts.append(most)
    left = descent.value.new_tensor(lefts)
    gaps, near = _met(left, descent.value, descent.first_value, tol)
    return "converged" if near.all() else ended + "_gap", float(gaps.max())


def _settled(
    problem: Scaled, x: Tensor, value: Tensor, gradient: Tensor, tol: float
) -> tuple[Tensor, Tensor]:
    """Send coefficients to zero that are tiny, or whose slope is inside the corner, if free.

    Return the point, and its value for each target.
    """
    slope = -gradient if problem.positive else gradient.abs()
    inside = slope < (1 - _CLEAR) * problem.corner
    zero = inside | (x.abs() <= _TINY * problem.target_deviation)
    zero &= problem.bounded & (problem.corner > 0)
    if not x[zero].any():
        return x, value
    settled = torch.where(zero, 0.0, x)
    there, _ = problem.evaluate(settled, problem.objective.loss)
    free = there <= value * (1 + worth_of_zeros(tol))
    return torch.where(free, settled, x), torch.where(free, there, value)


def _met(left: Tensor, value: Tensor, first: Tensor, tol: float) -> tuple[Tensor, Tensor]:
    """Return the relative gap of each target, and whether it is as small as tol or rounding."""
    at_zero, values = [AtZero.of(each) for each in first.tolist()], value.tolist()
    triples = zip(at_zero, left.tolist(), values, strict=True)
    gaps = value.new_tensor([zero.relative(*pair) for zero, *pair in triples])
    made = [zero.rounded(each) for zero, each in zip(at_zero, values, strict=True)]
    return gaps, gaps <= value.new_tensor(made).clamp(min=tol)


def _left(problem: Scaled, bound: Any, x: Tensor, gradient: Tensor, value: float) -> float:
    """Return how much lower than at x the objective of a target may be, at most."""
    k = len(bound.corners.slope)
    return bound.left(x[:k], gradient[:k], value, lambda: problem.gram[:k, :k])


def _by_smoothing(descent: Descent, tol: float) -> tuple[str, float]:
    """Minimise smoothed forms of a loss with corners; return (status, relative gap).

    For small widths the solution is affine in the width, and so two of them tell the last one.
    """
    problem, loss = descent.problem, descent.problem.objective.loss
    bracket = _Bracket(problem, descent.x, descent.value, tol)
    descent.curve.append(problem.objective.units.total(bracket.upper))
    # Of each target its own: of one that is far smaller, that of the others would hide all.
    width = torch.where(bracket.upper > 0, bracket.upper, 1.0) / loss.smoothed(1.0).bound
    before, stale, (gap, met) = descent.x, 0, bracket.gap
    ahead = torch.zeros_like(met)
    while not met.all() and stale < _STALE and not descent.spent:
        smoothed, last, active = loss.smoothed(width), gap, ~met
        descent.enter(smoothed, active)
        share = torch.where(ahead, _STAGE**2, _STAGE)  # the bound from below is closer then
        away = problem.size(descent.x) / bracket.bound.least_share**0.5
        enough = share * smoothed.bound / away
        descent.run(enough.clone)
        x = descent.x
        limit = problem.within(x - _SHRINK / (1 - _SHRINK) * (before - x), x.sign())
        ahead = bracket.narrow(descent, smoothed.tangents(), limit)
        before, (gap, met), width = x, bracket.gap, width * _SHRINK
        descent.x = torch.where(ahead, _SHRINK * x + (1 - _SHRINK) * limit, x)
        descent.curve.append(problem.objective.units.total(bracket.upper))
        stale = 0 if (gap < 0.5 * last)[active].any() else stale + 1
    descent.x = bracket.x
    if met.all():
        return "converged", float(gap.max())
    return "stalled_gap" if stale >= _STALE else "max_iter_gap", float(gap.max())


class _Bracket:
    """Bounds on the minimum of each target, the upper one attained at ``x``."""

    def __init__(self, problem: Scaled, x: Tensor, value: Tensor, tol: float):
        self.problem, self.x, self.upper, self.first, self.tol = problem, x, value, value, tol
        self.lower = torch.zeros_like(value)  # as no loss is below zero
        self.bound = problem.bound()

    @property
    def gap(self) -> tuple[Tensor, Tensor]:
        """The distance of the bounds, relative to the objective, and whether it is small enough."""
        return _met(self.upper - self.lower, self.upper, self.first, self.tol)

    def narrow(self, descent: Descent, tangents: Any, limit: Tensor) -> Tensor:
        """Take up the end of a stage; return for which targets ``limit`` is the better point."""
        problem, x = descent.problem, descent.x
        values = []
        for point in (x, limit):
            value, _ = problem.evaluate(point, problem.objective.loss)
            better = value < self.upper
            self.upper = torch.where(better, value, self.upper)
            self.x = torch.where(better, point, self.x)
            values.append(value)
        # Where the descent ended short of the minimum, that may be lower by its slope.
        lower, gradient = problem.evaluate(x, tangents)
        for j, upper in enumerate(self.upper.tolist()):
            left = _left(problem, self.bound, x[:, j], gradient[:, j], upper)
            self.lower[j] = max(float(self.lower[j]), float(lower[j]) - left)
        self.x, self.upper = _settled(problem, self.x, self.upper, gradient, self.tol)
        return values[1] < values[0]

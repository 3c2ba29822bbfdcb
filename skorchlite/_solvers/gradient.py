"""Full-batch descent that holds no matrix: for wide data, and for losses of any kind.

Columns are centred and scaled to like curvature. The descent is by conjugate gradients where the
objective is quadratic, else by limited-memory quasi-Newton steps. A loss with corners is smoothed,
less and less.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .conjugate import ConjugateDescent
from .limited_memory import Descent, Scaled
from .solution import Report, Solution

_SHRINK = 0.1  # of the width of a smoothed loss, from stage to stage
_STAGE = 1e-3  # of what smoothing leaves: what is left of a stage
_STALE = 2  # stages without gain, after which rounding errors are all that is left
_EXACT_FIT = 1e-6  # of the first objective: smaller ones are no scale to measure a gap by
_NEAR = 1e-7  # a relative subgradient that counts as zero where rounding stops the descent


def gradient(
    objective: Any,
    start: Tensor | None,
    *,
    tol: float,
    max_iter: int,
    dtype: torch.dtype,
    data_eps: float,
    report: Report,
) -> Solution:
    """Minimise an objective with any loss and any penalty.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
        In coordinates of the objective, None for zero. The intercept starts at the mean of the
        targets.
    tol : float
        Stop when the coefficients, columns scaled, are estimated to be this close, relatively; for
        a loss with corners, when the objective is.
    max_iter : int
        Most steps, of all stages together.
    dtype : torch.dtype
        Not used: the sums are in double precision.
    data_eps : float
        Relative rounding of the data itself: a column with no more deviation is constant.
    report : Report

    Returns
    -------
    Solution
        For a loss with corners, ``optimality`` is the relative gap to a lower bound, and
        ``loss_curve`` has an entry for each stage.
    """
    problem = Scaled(objective, data_eps)
    point = problem.start(None if start is None else start[:-1])
    if objective.loss.quadratic and objective.penalty.smooth:
        descent: Any = ConjugateDescent(problem, point, report)
        status, optimality = _settled(descent, descent.run(tol, max_iter)), descent.optimality
    else:
        descent = Descent(problem, point, max_iter, report)
        solve = _by_smoothing if objective.loss.corners else _directly
        status, optimality = solve(descent, tol)
    return replace(descent.solution(), status=status, optimality=optimality)


def _settled(descent: Any, status: str) -> str:
    """Return how a descent ended, where rounding is all that is left of its gradient."""
    return "converged" if status == "stalled" and descent.optimality <= _NEAR else status


def _directly(descent: Descent, tol: float) -> tuple[str, float]:
    """Minimise a smooth loss; return (status, relative subgradient)."""
    descent.curve.append(descent.problem.objective.total(descent.value))
    descent.run(lambda: tol * descent.precise())
    if descent.active.any():
        return "max_iter", descent.optimality
    met = (descent.norm <= tol * descent.precise()).all()
    return _settled(descent, "converged" if met else "stalled"), descent.optimality


def _by_smoothing(descent: Descent, tol: float) -> tuple[str, float]:
    """Minimise smoothed forms of a loss with corners; return (status, relative gap).

    For small widths the solution is affine in the width, and so two of them tell the last one.
    """
    problem, loss = descent.problem, descent.problem.objective.loss
    bracket = _Bracket(descent.x, descent.value)
    descent.curve.append(problem.objective.total(bracket.upper))
    width = float(bracket.upper.max()) / loss.smoothed(1.0).bound
    before, stale, gap = descent.x, 0, bracket.gap
    ahead = torch.zeros_like(gap, dtype=torch.bool)
    while (gap > tol).any() and stale < _STALE and descent.n_iter < descent.max_iter:
        smoothed, last = loss.smoothed(width), gap
        descent.enter(smoothed, gap > tol)
        share = torch.where(ahead, _STAGE**2, _STAGE)  # the bound from below is closer then
        enough = share * smoothed.bound / problem.size(descent.x)
        descent.run(enough.clone)
        x = descent.x
        limit = problem.within(x - _SHRINK / (1 - _SHRINK) * (before - x), x.sign())
        ahead = bracket.narrow(descent, smoothed.tangents(), limit)
        before, gap, width = x, bracket.gap, width * _SHRINK
        descent.x = torch.where(ahead, _SHRINK * x + (1 - _SHRINK) * limit, x)
        descent.curve.append(problem.objective.total(bracket.upper))
        stale = 0 if (gap < 0.5 * last)[last > tol].any() else stale + 1
    descent.x = bracket.x
    if not (gap > tol).any():
        return "converged", float(gap.max())
    return "stalled_gap" if stale >= _STALE else "max_iter_gap", float(gap.max())


class _Bracket:
    """Bounds on the minimum of each target, the upper one attained at ``x``."""

    def __init__(self, x: Tensor, value: Tensor):
        self.x, self.upper, self.first = x, value, value
        self.lower = torch.full_like(value, -torch.inf)

    @property
    def gap(self) -> Tensor:
        """The distance of the bounds, relative to the objective."""
        unit = torch.maximum(self.upper, _EXACT_FIT * self.first)
        return torch.where(unit > 0, (self.upper - self.lower) / unit, 0.0)  # 0: a constant target

    def narrow(self, descent: Descent, tangents: Any, limit: Tensor) -> Tensor:
        """Take up the end of a stage; return for which targets ``limit`` is the better point."""
        problem, x = descent.problem, descent.x
        lower, _ = problem.evaluate(x, tangents)
        # Where the descent ended short of the minimum, that may be lower by its slope.
        self.lower = torch.maximum(self.lower, lower - descent.norm * problem.size(x))
        values = []
        for point in (x, limit):
            value, _ = problem.evaluate(point, problem.objective.loss)
            better = value < self.upper
            self.upper = torch.where(better, value, self.upper)
            self.x = torch.where(better, point, self.x)
            values.append(value)
        return values[1] < values[0]

"""A loss with kinks by smoothed ones, less and less smooth, between two bounds.

References
----------
Beck, Teboulle (2012), "Smoothing and first order methods: a unified framework", SIAM Journal on
Optimization 22(2).
"""

import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..newton.scaled import Scaled
from .gaps import left_at, relative_gaps, with_zeros
from .lbfgs import QuasiNewton

_SHRINK = 0.1  # of the width of a smoothed loss, from stage to stage
_STAGE = 1e-3  # of what smoothing leaves: what is left of a stage
_STALE = 2  # stages without gain, after which rounding errors are all that is left


def minimise_smoothed(descent: QuasiNewton, tol: float) -> tuple[str, float]:
    """Minimise smoothed forms of a loss with kinks; return (status, relative gap).

    For small widths the solution is affine in the width, and so two of them show where the next
    ones lead.
    """
    problem, loss = descent.problem, descent.problem.objective.loss
    bracket = _Bracket(problem, descent.u, descent.value, tol)
    descent.curve.append(problem.objective.units.total(bracket.upper))
    # Of each target its own: one that is far smaller would be lost in the width of the others.
    width = torch.where(bracket.upper > 0, bracket.upper, 1.0) / loss.smoothed(1.0).bound
    before, stale, (gap, met) = descent.u, 0, bracket.gap
    ahead = torch.zeros_like(met)
    while not met.all() and stale < _STALE and not descent.spent:
        smoothed, last, active = loss.smoothed(width), gap, ~met
        descent.enter(smoothed, active)
        accuracy = torch.where(ahead, _STAGE**2, _STAGE)  # the lower bound is closer then
        away = problem.size(descent.u) / bracket.bound.least_share**0.5
        enough = accuracy * smoothed.bound / away
        descent.run(enough.clone)
        u = descent.u
        limit = problem.within(u - _SHRINK / (1 - _SHRINK) * (before - u), u.sign())
        ahead = bracket.narrow(u, smoothed.tangents(), limit)
        before, (gap, met), width = u, bracket.gap, width * _SHRINK
        descent.u = torch.where(ahead, _SHRINK * u + (1 - _SHRINK) * limit, u)
        descent.curve.append(problem.objective.units.total(bracket.upper))
        stale = 0 if (gap < 0.5 * last)[active].any() else stale + 1
    descent.u = bracket.u
    if met.all():
        return "converged", float(gap.max())
    return "stalled_gap" if stale >= _STALE else "max_iter_gap", float(gap.max())


class _Bracket:
    """Bounds on the minimum of each target, the upper one attained at ``u``."""

    def __init__(self, problem: Scaled, u: Tensor, value: Tensor, tol: float):
        self.problem, self.u, self.upper, self.first, self.tol = problem, u, value, value, tol
        self.lower = torch.zeros_like(value)  # as no loss is below zero
        self.bound = problem.bound()

    @property
    def gap(self) -> tuple[Tensor, Tensor]:
        """The distance of the bounds, relative to the objective, and whether it is small enough."""
        return relative_gaps(self.upper - self.lower, self.upper, self.first, self.tol)

    def narrow(self, u: Tensor, tangents: Loss, limit: Tensor) -> Tensor:
        """Take up the end u of a stage; return for which targets ``limit`` is the better point.

        Parameters
        ----------
        u : Tensor of shape (k, n_targets)
        tangents : Loss
            Lines below the loss, of the smoothed loss of the stage.
        limit : Tensor of shape (k, n_targets)
            Where this stage and the one before it lead for a width of zero.
        """
        problem, values = self.problem, []
        for point in (u, limit):
            value, _ = problem.evaluate(point, problem.objective.loss)
            better = value < self.upper
            self.upper = torch.where(better, value, self.upper)
            self.u = torch.where(better, point, self.u)
            values.append(value)
        # Where the descent ended short of the minimum, that may be lower by its slope.
        lower, gradient = problem.evaluate(u, tangents)
        for j, upper in enumerate(self.upper.tolist()):
            left = left_at(problem, self.bound, u[:, j], gradient[:, j], upper)
            self.lower[j] = max(float(self.lower[j]), float(lower[j]) - left)
        self.u, self.upper = with_zeros(problem, self.u, self.upper, gradient, self.tol)
        return values[1] < values[0]

"""Conjugate gradients, for a quadratic objective whose matrix is never formed.

A pass over the rows multiplies a direction by the Hessian, which gives the length of the step along
it exactly. The gradient follows from that; now and then it is taken from the data anew, which ends
the drift of rounding errors, and before an end it always is.

References
----------
Hestenes, Stiefel (1952), "Methods of conjugate gradients for solving linear systems". van der
Vorst, Ye (2000), "Residual replacement strategies for Krylov subspace iterative methods", SIAM
Journal on Scientific Computing 22(3).
"""

import torch
from torch import Tensor

from ..base import Monitor, Solution
from ..newton.scaled import Scaled
from .lbfgs import solution_at

_EPS = torch.finfo(torch.float64).eps
_ANEW = 50  # steps, after which the gradient is taken from the data
_IDLE = 2  # of these that gain nothing


class ConjugateDescent:
    """The iterate ``x``, a column for each target, in coordinates of like curvature.

    Parameters
    ----------
    problem : Scaled
    x : Tensor of shape (k, n_targets)
        Where to start.
    monitor : Monitor
    """

    def __init__(self, problem: Scaled, x: Tensor, monitor: Monitor):
        self.problem, self.monitor = problem, monitor
        self.n_iter, self.change = 0, 0.0
        self.x = problem.start(None)
        self._measure()
        self.first_norm = self.norm
        self.least = torch.full_like(self.first_norm, torch.inf)
        if not torch.equal(x, self.x):
            self.x = x
            self._measure()
            self.first_norm = torch.maximum(self.first_norm, self.norm)
        self.curve = [problem.objective.units.total(self.value)]
        self.first_value = self.value

    @property
    def norm(self) -> Tensor:
        """The norm of the gradient for each target."""
        return torch.linalg.vector_norm(self.gradient, dim=0)

    @property
    def flatness(self) -> float:
        """The largest norm of a gradient, relative to that of the first."""
        return float(torch.nan_to_num(self.norm / self.first_norm, 0.0).max())

    @property
    def gaps(self) -> Tensor:
        """How far each target may be above its least objective.

        It is a bound where no direction is less curved than the least curvature, which is that of
        the penalty or else that of the steps.
        """
        problem = self.problem
        bent = (problem.objective.column_penalty.curvature[:, None] * problem.unit[:-1] ** 2)[
            problem.unit[:-1] > 0
        ]
        least = torch.maximum(self.least, bent.min()) if bent.any() else self.least
        gap = torch.where(self.norm > 0, 0.5 * self.norm**2 / least, 0.0)
        return torch.where(torch.isinf(least), torch.nan, gap)

    def run(self, tol: float, max_iter: int) -> str:
        """Step until the coefficients are within tol, relatively; return how it ended."""
        idle, lowest = 0, self.norm
        while True:
            direction = -self.gradient
            for _ in range(_ANEW):
                if not self._above(tol).any() or self.n_iter >= max_iter:
                    break
                direction = self._step(direction)
            self._measure()
            self.curve[-1] = self.problem.objective.units.total(self.value)
            if not self._above(tol).any():
                return "converged"
            if self.n_iter >= max_iter:
                return "max_iter"
            idle = 0 if (self.norm < 0.5 * lowest)[self._above(tol)].any() else idle + 1
            lowest = torch.minimum(lowest, self.norm)
            if idle >= _IDLE:
                return "stalled"

    def solution(self) -> Solution:
        """Return the record of the descent so far."""
        return solution_at(self)

    def _measure(self) -> None:
        problem = self.problem
        self.value, self.gradient = problem.evaluate(self.x, problem.objective.loss)

    def _above(self, tol: float) -> Tensor:
        """Return for which targets the error may be above tol.

        It is the gradient over the least curvature, here that seen so far.
        """
        size = torch.linalg.vector_norm(self.x[:-1], dim=0)
        size = torch.where(size > 0, size, self.problem.target_deviation)
        scale = torch.minimum(self.least * size, self.first_norm)
        return self.norm > torch.maximum(tol * scale, _EPS * self.first_norm)

    def _step(self, direction: Tensor) -> Tensor:
        """Step to the minimum along the direction; return the next one."""
        bend = self.problem.hessian_product(direction)
        curvature, square = (direction * bend).sum(0), (self.gradient**2).sum(0)
        length = torch.where(curvature > 0, square / curvature, 0.0)
        self.x = self.x + length * direction
        self.gradient = self.gradient + length * bend
        self.value = (self.value - 0.5 * length * square).clamp(min=0)
        seen = curvature / (direction * direction).sum(0)
        self.least = torch.where(seen > 0, torch.minimum(self.least, seen), self.least)
        largest = self.x.abs().amax(0)
        moved = (length * direction).abs().amax(0) / largest
        self.change = float(moved.nan_to_num(0.0).max())
        self.n_iter += 1
        self.curve.append(self.problem.objective.units.total(self.value))
        self.monitor(self.n_iter, self.curve[-1], None, self.solution)
        ratio = torch.where(square > 0, (self.gradient**2).sum(0) / square, 0.0)
        return ratio * direction - self.gradient

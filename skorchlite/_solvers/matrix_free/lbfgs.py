"""Limited-memory quasi-Newton steps (L-BFGS) on the coefficients that are free to move.

Those that a proximal step would send to zero go there, and none crosses zero within a step. Targets
descend side by side, each with a step length and a memory of its own, in passes that they share.

References
----------
Andrew, Gao (2007), "Scalable training of L1-regularized log-linear models". Bertsekas (1982),
"Projected Newton methods for optimization problems with simple constraints". Hager, Zhang (2005),
"A new conjugate gradient method with guaranteed descent and an efficient line search". Nocedal,
Wright (2006), "Numerical optimization", chapter 7.
"""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.loss import Loss
from ..base import Monitor
from ..newton.scaled import Scaled
from .iterate import Iterate

_PAIRS = 30  # steps that are remembered
_TRIALS = 20  # points along a direction
_IDLE = 100  # steps without any gain, after which rounding errors are all that is left
_DECREASE = 1e-4  # the part of the decrease that the slope promises that a step must make
_CURVATURE = 0.8  # the part of the slope that is left, where rounding hides the decrease
_DESCENT = 1e-10  # of the norms: the least cosine of a direction of descent
_EPS = torch.finfo(torch.float64).eps


class _Memory:
    """The inverse Hessian of each target, as the last steps have shown it.

    A pair is a step and the change of the gradient along it.
    """

    def __init__(self) -> None:
        self.pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=_PAIRS)

    def forget(self, targets: Tensor) -> None:
        """Drop the steps of some targets."""
        for step, _ in self.pairs:
            step *= ~targets

    def least_curvature(self, like: Tensor) -> Tensor:
        """Return the least curvature along the steps; zero where there are none."""
        least = torch.full_like(like, torch.inf)
        for step, change in self.pairs:
            curvature = (step * change).sum(0) / (step * step).sum(0)
            least = torch.where(curvature > 0, torch.minimum(least, curvature), least)
        return torch.where(torch.isinf(least), 0.0, least)

    def apply(self, gradient: Tensor, free: Tensor, scale: Tensor) -> Tensor:
        """Return the inverse Hessian of the free coordinates times the gradient.

        Pairs are restricted to these: a part of the inverse of the whole Hessian would not be the
        inverse of a part.

        Parameters
        ----------
        gradient : Tensor of shape (k, n_targets)
        free : Tensor of shape (k, n_targets), bool
        scale : Tensor of shape (n_targets,)
            The inverse Hessian before the first pair, a multiple of the identity.
        """
        q, done = gradient * free, []
        for step, change in reversed(self.pairs):
            step, change = step * free, change * free
            curvature = (step * change).sum(0)
            usable = curvature > _EPS * (change * change).sum(0) * scale
            inverse = torch.where(usable, 1 / curvature, 0.0)
            coefficient = inverse * (step * q).sum(0)
            q = q - coefficient * change
            done.append((step, change, inverse, coefficient))
        q = q * scale
        for step, change, inverse, coefficient in reversed(done):
            q = q + (coefficient - inverse * (change * q).sum(0)) * step
        return q


class QuasiNewton(Iterate):
    """Descent by limited-memory steps; targets that are not ``active`` stay where they are.

    Parameters
    ----------
    problem : Scaled
    u : Tensor of shape (k, n_targets)
        Where to start.
    max_iter : int
    monitor : Monitor
    max_passes : float, default=inf
        How many passes over the rows its line searches may take.
    """

    def __init__(
        self,
        problem: Scaled,
        u: Tensor,
        max_iter: int,
        monitor: Monitor,
        max_passes: float = torch.inf,
    ):
        super().__init__(problem, monitor)
        self.max_iter, self.max_passes, self.n_passes = max_iter, max_passes, 0
        self.u = u
        self.length = torch.ones_like(self.first_norm)
        self.enter(problem.objective.loss, torch.ones_like(self.first_norm, dtype=torch.bool))
        self.first_value = self.value
        self.first_norm = torch.maximum(self.first_norm, self.norm)

    def enter(self, loss: Loss, active: Tensor) -> None:
        """Go on with another loss, for the targets that are active."""
        self.loss, self.active = loss, active
        self.memory, self.fresh = _Memory(), torch.ones_like(active)
        self.measure(loss)
        self.best_value, self.best_norm = self.value, self.norm
        self.idle = torch.zeros_like(self.value)

    @property
    def flatness(self) -> float:
        """The largest norm of a subgradient, relative to that of the first."""
        return float(torch.nan_to_num(self.norm / self.first_norm, 0.0).max())

    @property
    def least_curvature(self) -> Tensor:
        """The least curvature that the remembered steps have met."""
        return self.memory.least_curvature(self.norm)

    def run(self, enough: Callable[[], Tensor]) -> None:
        """Step until the norm of the subgradient is small enough, or rounding or time ends it."""
        floor = _EPS * self.first_norm
        self.active = self.active & (self.norm > floor)
        while self.active.any() and not self.spent:
            if self._step():
                self.n_iter += 1
                total = self.total
                if self.loss is self.problem.objective.loss:
                    self.curve.append(total)
                self.monitor(self.n_iter, total, None, self.solution)
            small = self.norm <= torch.maximum(enough(), floor)
            self.active = self.active & ~small & (self.idle < _IDLE)

    @property
    def spent(self) -> bool:
        """Whether there are as many steps, or passes over the rows, as it may take."""
        return self.n_iter >= self.max_iter or self.n_passes >= self.max_passes

    def _step(self) -> bool:
        """Take a step; return whether any target moved."""
        u, value, gradient, moved = self._search_line(self._direction())
        step, change = u - self.u, gradient - self.gradient
        failed = self.active & ~moved
        self.active = self.active & (moved | ~self.fresh)
        self.memory.forget(failed)
        self.fresh = (self.fresh & ~moved) | failed
        if not moved.any():
            return False
        self.memory.pairs.append((step, change))
        curvature = (step * change).sum(0)
        # Without positive curvature along the step, nothing says how long the next one may be.
        length = torch.where(curvature > 0, curvature / (change * change).sum(0), 4 * self.length)
        self.length = torch.where(moved, length, self.length)
        self.u, self.value, self.gradient = u, value, gradient
        self.subgradient = self.problem.subgradient(u, gradient)
        self.step = step
        self._watch()
        return True

    def _watch(self) -> None:
        """Count the steps since one that gained more than rounding."""
        gained = self.value < self.best_value - 10 * _EPS * self.best_value.abs()
        gained |= self.norm < 0.9 * self.best_norm
        self.idle = torch.where(gained, 0.0, self.idle + 1)
        self.best_value = torch.minimum(self.best_value, self.value)
        self.best_norm = torch.minimum(self.best_norm, self.norm)

    def _direction(self) -> Tensor:
        """Return a direction of descent for each active target."""
        u, slope, problem = self.u, self.subgradient, self.problem
        proximal = u - self.length * slope
        orthant = problem.orthant(u, slope)
        to_zero = problem.kinked & (proximal.sign() != orthant)
        newton = -self.memory.apply(slope * ~to_zero, ~to_zero, self.length)
        direction = torch.where(to_zero, -u, newton)
        outward = problem.kinked & (u == 0) & (direction.sign() != orthant)
        direction = torch.where(outward, 0.0, direction)
        norms = torch.linalg.vector_norm(direction, dim=0) * self.norm
        descends = (direction * slope).sum(0) < -_DESCENT * norms
        direction = torch.where(descends, direction, -self.length * slope)
        return torch.where(self.active, direction, 0.0)

    def _search_line(self, direction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (point, value, gradient, whether it is lower) for each target, by backtracking."""
        problem, u = self.problem, self.u
        orthant = problem.orthant(u, self.subgradient)
        value, gradient, point = self.value, self.gradient, u
        length, lower = torch.ones_like(value), torch.zeros_like(self.active)
        for _ in range(_TRIALS):
            trial = problem.within(u + length * direction, orthant)
            self.n_passes += 1
            try:
                value_there, gradient_there = problem.evaluate(trial, self.loss)
            except OutOfRangeError:
                length = torch.where(lower, length, 0.1 * length)
                continue
            step = trial - u
            slope = (self.subgradient * step).sum(0)
            end = ((gradient_there + problem.kinks.slope * orthant) * step).sum(0)
            found = self.active & ~lower & self._is_lower(value_there, slope, end)
            value = torch.where(found, value_there, value)
            gradient = torch.where(found, gradient_there, gradient)
            point, lower = torch.where(found, trial, point), lower | found
            if (lower | ~self.active).all():
                break
            shorter = torch.nan_to_num(slope / (slope - end), 0.1).clamp(1e-3, 0.5)
            length = torch.where(lower, length, shorter * length)
        return point, value, gradient, lower

    def _is_lower(self, value: Tensor, slope: Tensor, end: Tensor) -> Tensor:
        """Return whether steps decrease the objective enough.

        Where rounding hides the decrease, the slopes at both ends of a step show it.

        Parameters
        ----------
        value : Tensor of shape (n_targets,)
            At the end of the step.
        slope, end : Tensor of shape (n_targets,)
            The derivative along the step, times its length, at its start and at its end.
        """
        enough = value <= self.value + _DECREASE * slope
        noise = 10 * _EPS * torch.maximum(self.value.abs(), self.first_value.abs())
        hidden = ((value - self.value).abs() <= noise) & (end <= -_CURVATURE * slope)
        return (slope < 0) & (enough | hidden)

"""Limited-memory quasi-Newton steps on the coefficients that are free to move.

Those that a proximal step would send to zero go there, and none crosses zero within a step. Targets
descend side by side, each with a step length and a memory of its own, on passes that they share.

References
----------
Andrew, Gao (2007), "Scalable training of L1-regularized log-linear models". Bertsekas (1982),
"Projected Newton methods for optimization problems with simple constraints". Hager, Zhang (2005),
"A new conjugate gradient method with guaranteed descent and an efficient line search". Nocedal,
Wright (2006), "Numerical optimization", chapter 7.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.loss import Loss
from ..base import Monitor, Solution
from ..newton.scaled import Scaled

_PAIRS = 30  # steps that are remembered
_TRIALS = 20  # points along a direction
_IDLE = 100  # steps without any gain, after which rounding errors are all that is left
_DECREASE = 1e-4  # the part of the decrease that the slope promises that a step must make
_EPS = torch.finfo(torch.float64).eps


class _Memory:
    """The inverse Hessian, for each target, as far as the last steps tell."""

    def __init__(self) -> None:
        self.pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=_PAIRS)

    def forget(self, targets: Tensor) -> None:
        """Drop the steps of some targets."""
        for step, _ in self.pairs:
            step *= ~targets

    def least_curvature(self, like: Tensor) -> Tensor:
        """Return the least curvature along the steps; zero where there are none."""
        least = torch.full_like(like, torch.inf)
        for step, bend in self.pairs:
            curvature = (step * bend).sum(0) / (step * step).sum(0)
            least = torch.where(curvature > 0, torch.minimum(least, curvature), least)
        return torch.where(torch.isinf(least), 0.0, least)

    def apply(self, gradient: Tensor, free: Tensor, scale: Tensor) -> Tensor:
        """Return the inverse Hessian of the free coordinates times the gradient.

        Pairs are restricted to these: of the inverse of the whole, a part would be no inverse.
        """
        q, done = gradient * free, []
        for step, bend in reversed(self.pairs):
            step, bend = step * free, bend * free
            curvature = (step * bend).sum(0)
            usable = curvature > _EPS * (bend * bend).sum(0) * scale
            inverse = torch.where(usable, 1 / curvature, 0.0)
            weight = inverse * (step * q).sum(0)
            q = q - weight * bend
            done.append((step, bend, inverse, weight))
        q = q * scale
        for step, bend, inverse, weight in reversed(done):
            q = q + (weight - inverse * (bend * q).sum(0)) * step
        return q


class Descent:
    """The iterate ``x``, a column for each target; those not ``active`` stay where they are."""

    def __init__(
        self,
        problem: Scaled,
        x: Tensor,
        max_iter: int,
        monitor: Monitor,
        max_passes: float = torch.inf,
    ):
        self.problem, self.max_iter, self.monitor = problem, max_iter, monitor
        self.max_passes, self.n_passes = max_passes, 0
        self.n_iter, self.change = 0, 0.0
        self.curve: list[float] = []
        loss = problem.objective.loss
        _, gradient = problem.evaluate(problem.start(None), loss)
        self.first_norm = torch.linalg.vector_norm(gradient, dim=0)
        self.x = x
        self.length = torch.ones_like(self.first_norm)
        self.enter(loss, torch.ones_like(self.first_norm, dtype=torch.bool))
        self.first_value = self.value
        self.first_norm = torch.maximum(self.first_norm, self.norm)

    def enter(self, loss: Loss, active: Tensor) -> None:
        """Go on with another loss, for the targets that are active."""
        self.loss, self.active = loss, active
        self.memory, self.fresh = _Memory(), torch.ones_like(active)
        self.value, self.gradient = self.problem.evaluate(self.x, loss)
        self.subgradient = self.problem.subgradient(self.x, self.gradient)
        self.best_value, self.best_norm = self.value, self.norm
        self.idle = torch.zeros_like(self.value)

    @property
    def norm(self) -> Tensor:
        """The norm of the subgradient for each target."""
        return torch.linalg.vector_norm(self.subgradient, dim=0)

    @property
    def flatness(self) -> float:
        """The largest norm of a subgradient, relative to that of the first."""
        return float(torch.nan_to_num(self.norm / self.first_norm, 0.0).max())

    def precise(self) -> Tensor:
        """Return the norm of a subgradient that leaves an error as large as the coefficients.

        The error is the subgradient over the least curvature, here that seen of late.
        """
        size = torch.linalg.vector_norm(self.x[:-1], dim=0)
        size = torch.where(size > 0, size, self.problem.target_deviation)
        return torch.minimum(self.least * size, self.first_norm)

    @property
    def least(self) -> Tensor:
        """The least curvature that the last steps have met."""
        return self.memory.least_curvature(self.norm)

    def run(self, enough: Callable[[], Tensor]) -> None:
        """Step until the norm of the subgradient is small enough, or rounding or time ends it."""
        floor = _EPS * self.first_norm
        self.active = self.active & (self.norm > floor)
        while self.active.any() and not self.spent:
            if self._step():
                self.n_iter += 1
                total = self.problem.objective.units.total(self.value)
                if self.loss is self.problem.objective.loss:
                    self.curve.append(total)
                self.monitor(self.n_iter, total, None, self.solution)
            small = self.norm <= torch.maximum(enough(), floor)
            self.active = self.active & ~small & (self.idle < _IDLE)

    @property
    def spent(self) -> bool:
        """Whether there are as many steps, or passes over the rows, as it may take."""
        return self.n_iter >= self.max_iter or self.n_passes >= self.max_passes

    def solution(self) -> Solution:
        """Return the record of the descent so far."""
        return solution_at(self)

    def _step(self) -> bool:
        """Take a step; return whether any target moved."""
        x, value, gradient, moved = self._search_line(self._direction())
        step, bend = x - self.x, gradient - self.gradient
        failed = self.active & ~moved
        self.active = self.active & (moved | ~self.fresh)
        self.memory.forget(failed)
        self.fresh = (self.fresh & ~moved) | failed
        if not moved.any():
            return False
        self.memory.pairs.append((step, bend))
        curvature = (step * bend).sum(0)
        # Along a line or downward bend nothing says how long a step may be.
        length = torch.where(curvature > 0, curvature / (bend * bend).sum(0), 4 * self.length)
        self.length = torch.where(moved, length, self.length)
        self.x, self.value, self.gradient = x, value, gradient
        self.subgradient = self.problem.subgradient(x, gradient)
        change = step.abs().amax(0) / x.abs().amax(0)
        self.change = float(torch.nan_to_num(change, 0.0)[moved].max())
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
        x, slope, problem = self.x, self.subgradient, self.problem
        proximal = x - self.length * slope
        orthant = problem.orthant(x, slope)
        to_zero = problem.bounded & (proximal.sign() != orthant)
        newton = -self.memory.apply(slope * ~to_zero, ~to_zero, self.length)
        direction = torch.where(to_zero, -x, newton)
        outward = problem.bounded & (x == 0) & (direction.sign() != orthant)
        direction = torch.where(outward, 0.0, direction)
        sizes = torch.linalg.vector_norm(direction, dim=0) * self.norm
        descends = (direction * slope).sum(0) < -1e-10 * sizes
        direction = torch.where(descends, direction, -self.length * slope)
        return torch.where(self.active, direction, 0.0)

    def _search_line(self, direction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (point, value, gradient, whether it is lower) for each target."""
        problem, x = self.problem, self.x
        orthant = problem.orthant(x, self.subgradient)
        value, gradient, point = self.value, self.gradient, x
        length, lower = torch.ones_like(value), torch.zeros_like(self.active)
        for _ in range(_TRIALS):
            trial = problem.within(x + length * direction, orthant)
            self.n_passes += 1
            try:
                at, bend = problem.evaluate(trial, self.loss)
            except OutOfRangeError:
                length = torch.where(lower, length, 0.1 * length)
                continue
            step = trial - x
            slope = (self.subgradient * step).sum(0)
            end = ((bend + problem.corner * orthant) * step).sum(0)
            found = self.active & ~lower & self._lower(at, slope, end)
            value, gradient = torch.where(found, at, value), torch.where(found, bend, gradient)
            point, lower = torch.where(found, trial, point), lower | found
            if (lower | ~self.active).all():
                break
            shorter = torch.nan_to_num(slope / (slope - end), 0.1).clamp(1e-3, 0.5)
            length = torch.where(lower, length, shorter * length)
        return point, value, gradient, lower

    def _lower(self, value: Tensor, slope: Tensor, end: Tensor) -> Tensor:
        """Return whether steps decrease the objective enough.

        Where rounding hides the decrease, the slopes at both ends of a step tell it.
        """
        enough = value <= self.value + _DECREASE * slope
        noise = 10 * _EPS * torch.maximum(self.value.abs(), self.first_value.abs())
        hidden = ((value - self.value).abs() <= noise) & (end <= -0.8 * slope)
        return (slope < 0) & (enough | hidden)


def solution_at(descent: Any) -> Solution:
    """Return the record of a descent in scaled coordinates, so far."""
    problem, v = descent.problem, descent.problem.solution(descent.x)
    return Solution(
        objective=problem.objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=descent.n_iter,
        loss_curve=list(descent.curve),
        rank=None if problem.metric is None else problem.metric.rank,
        change=descent.change,
    )

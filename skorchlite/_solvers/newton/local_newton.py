"""Newton steps on the model of a loss that bends everywhere.

Where hardly a row is within the bend of the loss the descent begins with a wider one. Corners of
the penalty are left to the quadratic model of each step, as long as a few steps are enough: as hard
a problem as the whole is by interior point steps, a model would be solved a hundred times else.

References
----------
Lee, Sun, Saunders (2014), "Proximal Newton-type methods for minimizing composite functions", SIAM
Journal on Optimization 24(3).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..._linalg.gram import weighted_gram
from ..._objective.local_model import Model
from ..._objective.loss import Loss
from .active_set import minimise_quadratic
from .bounds import AtZero, Bound
from .interior_point import InteriorPoint, root_mean_square
from .kinks import Corners, solve_positive

_SHRINK = 0.1  # of the width, from one stage to the next
_STEPS = 100  # in a stage
_FEW_STEPS = 10  # where the penalty has corners
_LOST = 10.0  # of the objective: a model that gains as much is none of it
_SLACK = 1e-3  # what a stage but the last may leave to gain, relative to the objective
_DAMPING = 1e-3  # relative to the mean curvature, where few rows have any
_FEW = 10  # rows with curvature for each coordinate
_GENTLE = 1e-12  # damping otherwise
_FLAT = 0.1  # slope at which a line search ends, relative to that at its start
_TRIALS = 40
_WIDE = 10.0  # times as wide as its bends, a loss begins with wider ones
_ROUNDING = 1e-14  # of the objective


@dataclass
class Slopes:
    """The objective at a point."""

    value: float
    gradient: Tensor  # without the corners of the penalty
    hessian: Tensor
    pull: Tensor  # the subgradient of least norm
    mean: float  # curvature of a row


class LocalDescent:
    """Descend on a model.

    Parameters
    ----------
    model : Model
    loss : object
        Smooth, and not in pieces.
    corners : Corners
        Of the penalty.
    curvature : Tensor of shape (k, k)
        Of the penalty.
    bound : Bound
    x : Tensor of shape (k,)
        Where to start.
    radius : float, default=inf
        Not used: the loss bends everywhere.
    """

    at_edge = False

    def __init__(
        self,
        model: Model,
        loss: Loss,
        corners: Corners,
        curvature: Tensor,
        bound: Bound,
        x: Tensor,
        radius: float = torch.inf,
    ):
        self.model, self.loss, self.corners, self.bound = model, loss, corners, bound
        self.curvature, self.quadratic = curvature, model.hessian + curvature
        self.smooth = not (corners.slope.any() or corners.bounded.any())
        self.start, self.x, self.raw = x, x, model.Z @ x
        self.n_iter, self.left = 0, torch.inf
        self.curve: list[float] = []
        # Differences below are made of rounding, where hardly anything of y is left to explain.
        first = self.value(0 * x, 0 * self.raw)
        self.at_zero = AtZero(first, loss.nothing(max(first, 0.0)))
        self.best = self.value(x, self.raw), x

    def minimise(self, tol: float, max_iter: int, rough: bool = False) -> None:
        """Descend until rounding is all that is left to gain; the last steps cost little."""
        if self.smooth:
            self._descend(_STEPS, max_iter)
            return
        if self.best[0] <= _WIDE * self.loss.bend**2 or not len(self.model.y):
            self._descend(_FEW_STEPS, max_iter)
        if self.gap > tol and len(self.model.y):
            self._cross(tol, max_iter)

    def _cross(self, tol: float, max_iter: int) -> None:
        """Take interior point steps, and keep the better end."""
        steps = InteriorPoint(
            self.model, self.loss, self.corners, self.curvature, self.bound, self.start
        )
        steps.minimise(tol, max_iter - self.n_iter)
        self.n_iter += steps.n_iter
        self.curve += [min(value, self.best[0]) for value in steps.curve]
        if steps.best[0] <= self.best[0]:
            self.best, self.left = steps.best, steps.left
        else:
            self.left = min(self.left, self.best[0] - steps.lower)

    def _descend(self, n_steps: int, max_iter: int) -> None:
        """Take Newton steps, and bound what is left then."""
        times = self.best[0] / self.loss.bend / self.loss.bend
        while times > _WIDE:
            self._stage(self.loss.widened(times), _SLACK, n_steps, max_iter)
            times = max(_SHRINK * times, 1.0)
        self._stage(self.loss, 0.0, n_steps, max_iter)
        slopes = self._slopes(self.loss)
        self._settle(slopes)
        value, x = self.best
        gradient = slopes.gradient + slopes.hessian @ (x - self.x)
        self.left = self.bound.left(x, gradient, value, self.gram)

    @property
    def gap(self) -> float:
        """What is left to gain at most, relative to the objective."""
        return self.at_zero.relative(self.left, self.best[0])

    @property
    def blurred(self) -> float:
        """What of the gap may be made of rounding errors."""
        value, x = self.best
        blurred = self.at_zero.relative(self.bound.blurred(x, value), value)
        return blurred + self.at_zero.rounded(value)

    @property
    def moved(self) -> float:
        """How far predictions moved, root mean square."""
        return root_mean_square(self.model.Z @ (self.best[1] - self.start))

    @cached_property
    def first_gradient(self) -> Tensor:
        """The gradient at the start, without the corners of the penalty."""
        raw = self.model.Z @ self.start
        slope = self.model.share * self.loss.gradient(self.model.y, raw)
        return self.model.Z.T @ slope + self.model.far(self.start)[1] + self.curvature @ self.start

    def value(self, x: Tensor, raw: Tensor, loss: Any = None) -> float:
        """Return the objective at x, whose raw predictions are given."""
        losses = (loss or self.loss).value(self.model.y, raw)
        penalty = 0.5 * (x @ (self.curvature @ x)) + self.corners.value(x)
        return float(self.model.share @ losses + self.model.far(x)[0] + penalty)

    def _stage(self, loss: Loss, slack: float, n_steps: int, max_iter: int) -> None:
        """Take Newton steps on a loss until they gain no more than that part of it."""
        for _ in range(n_steps):
            slopes = self._slopes(loss)
            target, gain = self._newton_step(slopes)
            if (slack and gain < slack * slopes.value) or self.n_iter >= max_iter:
                break
            if not self.smooth and gain > _LOST * slopes.value:  # no loss is below zero
                break
            length = self._move(loss, target, gain)
            if not length:  # the gain was made of rounding, and would be again
                break
            if gain <= _ROUNDING**1.5 * slopes.value:  # no step after this one sees a gain
                break

    def _move(self, loss: Loss, target: Tensor, gain: float) -> float:
        """Go as far towards the target as the objective falls, and return the part of the way."""
        step = target - self.x
        noise = gain <= _ROUNDING * abs(self.best[0])
        length = 1.0 if noise else self._search_line(loss, step, gain)
        self.x = self.x + length * step if length != 1 else target  # whose zeros are exact
        self.x = torch.where(self.corners.bounded, self.x.clamp(min=0), self.x)
        self.raw = self.model.Z @ self.x
        self.n_iter += 1
        self._improve(self.x, self.raw)
        self.curve.append(self.best[0])
        return length

    def _improve(self, x: Tensor, raw: Tensor) -> None:
        # Of values that differ by rounding the later is the better: it has the smaller gradient,
        # and its zeros are exact.
        value = self.value(x, raw)
        if value <= self.best[0] * (1 + _ROUNDING) + self.at_zero.nothing:
            self.best = value, x

    def _settle(self, slopes: Slopes) -> None:
        """Send coefficients to zero that a proximal step from the best point would."""
        x = self.best[1]
        step = 1 / slopes.hessian.diagonal().clamp(min=torch.finfo(x.dtype).tiny)
        landed = self.corners.prox(
            x - (slopes.gradient + slopes.hessian @ (x - self.x)) * step, step
        )
        settled = torch.where(landed == 0, torch.zeros_like(x), x)
        if not torch.equal(settled, x):
            self._improve(settled, self.model.Z @ settled)

    def _slopes(self, loss: Loss) -> Slopes:
        model, x = self.model, self.x
        bent = model.share * loss.curvature(model.y, self.raw)
        slope = model.share * loss.gradient(model.y, self.raw)
        gradient = model.Z.T @ slope + model.far(x)[1] + self.curvature @ x
        return Slopes(
            value=self.value(x, self.raw, loss),
            gradient=gradient,
            hessian=weighted_gram(model.Z, bent) + self.quadratic,
            pull=self.corners.subgradient(x, gradient),
            mean=float(bent.sum()),
        )

    def _newton_step(self, slopes: Slopes) -> tuple[Tensor, float]:
        """Return the minimum of the quadratic model, and what going there is to gain."""
        hessian = self._damped(slopes)
        if self.smooth:
            step, _ = solve_positive(hessian, -slopes.gradient)
            return self.x + step, float(-(slopes.gradient @ step))
        target = minimise_quadratic(hessian, slopes.gradient, self.corners, self.x)
        change = self.corners.value(target) - self.corners.value(self.x)
        return target, float(-(slopes.gradient @ (target - self.x)) - change)

    def _damped(self, slopes: Slopes) -> Tensor:
        """Return the Hessian with a shift for directions in which hardly a row has curvature.

        The shift is a part of the curvature that all kept rows would have, so that directions in
        which all of them hardly differ are damped no more than others. It goes with the gradient.
        """
        diagonal = slopes.hessian.diagonal()
        hessian = slopes.hessian + (_GENTLE * diagonal).diag()
        residual = float((self.model.y - self.raw).abs().mean()) if len(self.raw) else 0.0
        if residual and slopes.mean < _FEW * _DAMPING:
            shift = float(torch.linalg.vector_norm(slopes.pull)) / residual
            hessian = hessian + shift * self.gram()
        flat = hessian.diagonal() <= 0
        return hessian + flat.double().diag() if flat.any() else hessian

    def gram(self) -> Tensor:
        """Return the products of the columns over the rows that are kept."""
        return self._gram + self.quadratic

    @cached_property
    def _gram(self) -> Tensor:
        return weighted_gram(self.model.Z, self.model.share)

    def _search_line(self, loss: Loss, step: Tensor, gain: float) -> float:
        """Return how far to go along a step: to where the objective no longer falls.

        The slope along a line never falls, so that its zero lies between a length at which it is
        below zero and one at which it is not. With corners a step ends at its end at the latest,
        where coefficients are exactly zero.
        """
        raw_step = self.model.Z @ step
        bend = float(step @ (self.quadratic @ step))
        start = float((self.model.far(self.x)[1] + self.curvature @ self.x) @ step)

        def slope(length: float) -> float:
            raw = self.raw + length * raw_step
            rows = (self.model.share * loss.gradient(self.model.y, raw)) @ raw_step
            corner = (self.corners.slope * (self.x + length * step).sign()) @ step
            return float(rows + bend * length + corner) + start

        low, high = (0.0, -gain), (1.0, slope(1.0))
        while self.smooth and high[1] < -_FLAT * gain and high[0] < 1e9:
            low, high = high, (3 * high[0], slope(3 * high[0]))
        for _ in range(_TRIALS):
            if abs(high[1]) <= _FLAT * gain or high[1] <= 0:
                return high[0]
            reach = high[0] - low[0]
            length = low[0] + reach * min(max(low[1] / (low[1] - high[1]), 0.05), 0.95)
            here = (length, slope(length))
            if abs(here[1]) <= _FLAT * gain:
                return length
            low, high = (here, high) if here[1] < 0 else (low, here)
        return low[0]

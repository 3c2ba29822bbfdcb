"""The objective of one target near a point, and its minimum.

Rows whose residuals are near a break of the loss are kept as they are; the others stay in their
piece, so that one quadratic stands for all of them. Newton steps descend on the whole. Corners of
the loss are rounded with a width that shrinks until a lower bound on the objective says that no
more is to be gained.

References
----------
Madsen, Nielsen (1993), "A finite smoothing algorithm for linear l1 estimation", SIAM Journal on
Optimization 3(2). Portnoy, Koenker (1997), "The Gaussian hare and the Laplacian tortoise",
Statistical Science 12(4). Lee, Sun, Saunders (2014), "Proximal Newton-type methods for minimizing
composite functions", SIAM Journal on Optimization 24(3).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._models import Model
from .corners import Corners, minimise_quadratic, solve_positive

_SHRINK = 0.1  # of the width, from one stage to the next
_STEPS = 100  # in a stage
_SLACK = 1e-3  # what a stage may leave to gain, relative to the gap that its width leaves
_DAMPING = 1e-3  # relative to the mean curvature, where few rows have any
_FEW = 10  # rows with curvature for each coordinate
_GENTLE = 1e-12  # damping otherwise
_FLAT = 0.1  # slope at which a line search ends, relative to that at its start
_TRIALS = 40


@dataclass
class Slopes:
    """The smoothed objective at a point."""

    value: float
    gradient: Tensor
    hessian: Tensor
    band: Tensor  # slope of the loss where it has curvature, 0 elsewhere
    bound: float  # what the width takes off the objective at most, where the gradient vanishes
    rows: int  # with curvature


class LocalDescent:
    """Descend on a model.

    Parameters
    ----------
    model : Model
    loss : object
    corners : Corners
        Of the penalty.
    curvature : Tensor of shape (k,)
        Of the penalty.
    x : Tensor of shape (k,)
        Where to start.
    """

    def __init__(
        self,
        model: Model,
        loss: Any,
        corners: Corners,
        curvature: Tensor,
        x: Tensor,
    ):
        self.model, self.loss, self.corners, self.curvature = model, loss, corners, curvature
        self.smooth = not (corners.slope.any() or corners.bounded.any())
        self.x, self.raw = x, model.Z @ x
        self.n_iter, self.change = 0, torch.inf
        self.curve: list[float] = []
        self.width = 0.0
        self.best, self.lower = (self.value(x, self.raw), x), -torch.inf

    def minimise(self, width: float, tol: float, max_iter: int) -> None:
        """Descend until ``best`` is within ``tol`` of ``lower``, relatively.

        Parameters
        ----------
        width : float
            Of the first smoothing, in units of y; of no effect on a loss without corners.
        """
        if not self.loss.corners:
            self._stage(self.loss, 0.0, tol, max_iter)
            return
        least = 1e-15 * float(self.model.y.abs().max()) if len(self.model.y) else 0.0
        while True:
            loss = self.loss.smoothed(width)
            way = self._stage(loss, _SLACK, tol, max_iter)
            if self.gap <= tol:  # a bound from a minimum that was come close to only
                way = self._stage(loss, 0.0, tol, max_iter)
            self.width = width
            if self.gap <= tol or width <= least or self.n_iter >= max_iter:
                return
            width *= _SHRINK
            step = (1 - _SHRINK) * way
            moved = self.raw + self.model.Z @ step
            narrower = self.loss.smoothed(width)
            if self.value(self.x + step, moved, narrower) < self.value(self.x, self.raw, narrower):
                self.x, self.raw = self.x + step, moved

    @property
    def gap(self) -> float:
        """What is left to gain at most, relative to the objective."""
        value = self.best[0]
        return max(value - self.lower, 0.0) / value if value > 0 else 0.0

    def value(self, x: Tensor, raw: Tensor, loss: Any = None) -> float:
        """Return the objective at x, whose raw predictions are given."""
        losses = (loss or self.loss).value(self.model.y, raw)
        penalty = 0.5 * (self.curvature * x * x).sum() + self.corners.value(x)
        return float(self.model.share @ losses + self.model.far(x)[0] + penalty)

    def _stage(self, loss: Any, slack: float, tol: float, max_iter: int) -> Tensor:
        """Take Newton steps on a smooth loss until they gain nothing that matters.

        Returns the way to the corners, at whose end the objective is looked at too.
        """
        last = torch.inf
        for _ in range(_STEPS):
            slopes = self._slopes(loss)
            step, gain = self._newton_step(slopes)
            lower = slopes.value + slopes.bound - gain
            enough = slack * (self.best[0] - lower)
            if self._is_done(gain, last, enough, tol) or self.n_iter >= max_iter:
                break
            last = gain
            length = self._search_line(loss, step, gain)
            before = self.x
            self.x = before + length * step if length != 1 else before + step
            self.x = torch.where(self.corners.bounded, self.x.clamp(min=0), self.x)
            self.raw = self.model.Z @ self.x
            size = float(before.abs().max().clamp(min=self.x.abs().max()))
            self.change = float((self.x - before).abs().max()) / size if size else 0.0
            self.n_iter += 1
            self._improve(self.x, self.raw)
            self.curve.append(self.best[0])
        self.lower = lower
        way = self._way_to_corners(slopes) if self.loss.corners else torch.zeros_like(self.x)
        self._improve(self.x + way, self.raw + self.model.Z @ way)
        return way

    def _is_done(self, gain: float, last: float, enough: float, tol: float) -> bool:
        value = abs(self.best[0])
        if self.loss.corners:
            return gain <= max(0.01 * tol * value, enough)
        rounding = 1e-13 * value  # gains below may be made of it, and are no measure
        return self.change <= tol or gain <= 1e-3 * rounding or (gain <= rounding and gain >= last)

    def _improve(self, x: Tensor, raw: Tensor) -> None:
        value = self.value(x, raw)
        if value < self.best[0]:
            self.best = value, x

    def _slopes(self, loss: Any) -> Slopes:
        model, x = self.model, self.x
        slope = loss.gradient(model.y, self.raw)
        bent = loss.curvature(model.y, self.raw)
        far_value, far_gradient = model.far(x)
        penalty = 0.5 * (self.curvature * x * x).sum() + self.corners.value(x)
        value = model.share @ loss.value(model.y, self.raw) + far_value + penalty
        pulled = model.share * slope
        gradient = model.Z.T @ pulled + far_gradient + self.curvature * x
        (rows,) = bent.nonzero(as_tuple=True)
        Z = model.Z[rows]
        hessian = Z.T @ (Z * (model.share * bent)[rows, None])
        hessian = hessian + model.hessian + self.curvature.diag()
        width = getattr(loss, "width", 0.0)
        return Slopes(
            value=float(value),
            gradient=gradient,
            hessian=hessian,
            band=torch.where(bent > 0, pulled, torch.zeros_like(pulled)),
            bound=0.5 * width * float(pulled @ slope),
            rows=len(rows) if model.exact or self.loss.corners else len(model.y) + len(x) * _FEW,
        )

    def _newton_step(self, slopes: Slopes) -> tuple[Tensor, float]:
        """Return the step to the minimum of the quadratic model, and what it is to gain."""
        hessian = self._damped(slopes)
        if self.smooth:
            step, _ = solve_positive(hessian, -slopes.gradient)
            return step, float(-(slopes.gradient @ step))
        linear = slopes.gradient - hessian @ self.x
        target = minimise_quadratic(hessian, linear, self.corners, self.x)
        step = target - self.x
        change = self.corners.value(target) - self.corners.value(self.x)
        return step, float(-(slopes.gradient @ step) - change)

    def _damped(self, slopes: Slopes) -> Tensor:
        """Return the Hessian with a shift for directions in which few rows have curvature."""
        diagonal = slopes.hessian.diagonal()
        few = slopes.rows < _FEW * len(diagonal)
        shift = (_DAMPING if few else _GENTLE) * float(diagonal.mean())
        residual = float((self.model.y - self.raw).abs().mean()) if len(self.raw) else 0.0
        if few and residual:
            shift += 0.01 * float(slopes.gradient.abs().max()) / residual
        if not shift:
            shift = 1.0
        return slopes.hessian + shift * torch.ones_like(diagonal).diag()

    def _search_line(self, loss: Any, step: Tensor, gain: float) -> float:
        """Return how far to go along a step: to where the objective no longer falls.

        The slope along a line never falls, so that its zero lies between a length at which it is
        below zero and one at which it is not. With corners a step ends at its end at the latest,
        where coefficients are exactly zero.
        """
        raw_step = self.model.Z @ step
        far = self.model.far(self.x)[1] + self.curvature * self.x
        bend = step @ (self.model.hessian @ step) + (self.curvature * step) @ step
        start = float(far @ step)

        def slope(length: float) -> float:
            raw = self.raw + length * raw_step
            rows = (self.model.share * loss.gradient(self.model.y, raw)) @ raw_step
            x = self.x + length * step
            corner = (self.corners.slope * x.sign()) @ step
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

    def _way_to_corners(self, slopes: Slopes) -> Tensor:
        """Return the way that the minimum goes as the width shrinks to nothing.

        It is straight while the same rows are in the bands about the corners and the same
        coefficients are not zero; the residuals in the bands end at their corners.
        """
        (free,) = self.corners.free(self.x).nonzero(as_tuple=True)
        pull = -(self.model.Z.T @ slopes.band)[free]
        way = torch.zeros_like(self.x)
        way[free], _ = solve_positive(slopes.hessian[free][:, free], pull)
        return way

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
from functools import cached_property
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
_WIDE = 10.0  # times as wide as its bends, a loss begins with wider ones
_IDLE = 3  # steps that gain no more than rounding
_ROUNDING = 1e-14  # of the objective
_EPS = torch.finfo(torch.float64).eps


@dataclass
class Slopes:
    """The smoothed objective at a point."""

    value: float
    gradient: Tensor
    hessian: Tensor
    slope: Tensor  # of the loss in each row
    bent: Tensor  # its curvature there
    pull: Tensor  # the subgradient of least norm
    rows: int  # with curvature
    mean: float  # curvature of a row


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
    radius : float
        How far predictions may move, root mean square: rows that are not kept leave their piece of
        the loss further on, and without them the model may have no minimum.
    """

    def __init__(
        self,
        model: Model,
        loss: Any,
        corners: Corners,
        curvature: Tensor,
        x: Tensor,
        radius: float = torch.inf,
    ):
        self.model, self.loss, self.corners, self.curvature = model, loss, corners, curvature
        self.smooth = not (corners.slope.any() or corners.bounded.any())
        self.x, self.raw = x, model.Z @ x
        self.start, self.radius, self.at_edge = self.raw, radius, False
        self.n_iter, self.change = 0, torch.inf
        self.curve: list[float] = []
        self.width = 0.0
        self.best, self.lower = (self.value(x, self.raw), x), -torch.inf
        # Differences below are made of rounding, where hardly anything of y is left to explain.
        self.floor = _ROUNDING * self.value(0 * x, 0 * self.raw)

    def minimise(self, width: float, tol: float, max_iter: int) -> None:
        """Descend until ``best`` is within ``tol`` of ``lower``, relatively.

        Parameters
        ----------
        width : float
            Of the first smoothing, in units of y; of no effect on a loss without corners.
        """
        if not self.loss.corners:
            self._widen_and_minimise(tol, max_iter)
            return
        if self.best[0] <= self.floor:
            self.lower = 0.0
        least = 1e-15 * max(float(torch.linalg.vector_norm(self.model.y, torch.inf)), self.best[0])
        while self.gap > tol and width > least and self.n_iter < max_iter and not self.at_edge:
            loss = self.loss.smoothed(width)
            way = self._stage(loss, _SLACK, tol, max_iter)
            if self.gap <= tol:  # a bound from a minimum that was come close to only
                way = self._stage(loss, 0.0, tol, max_iter)
            self.width = width
            width *= _SHRINK
            self._follow((1 - _SHRINK) * way, self.loss.smoothed(width))

    def _widen_and_minimise(self, tol: float, max_iter: int) -> None:
        """Begin with wider bends where hardly a row is within those that the loss has."""
        times = self.loss.bend and self.best[0] / self.loss.bend / self.loss.bend
        while times > _WIDE:
            way = self._stage(self.loss.widened(times), _SLACK, tol, max_iter)
            narrower = max(_SHRINK * times, 1.0)
            self._follow((1 - narrower / times) * way, self.loss.widened(narrower))
            times = narrower
        self._stage(self.loss, 0.0, tol, max_iter)

    def _follow(self, step: Tensor, loss: Any) -> None:
        """Take a step if it is downhill for a loss."""
        raw = self.raw + self.model.Z @ step
        if self.value(self.x + step, raw, loss) < self.value(self.x, self.raw, loss):
            self.x, self.raw = self.x + step, raw

    @property
    def gap(self) -> float:
        """What is left to gain at most, relative to the objective."""
        value = self.best[0]
        return max(value - self.lower - self.floor, 0.0) / value if value > 0 else 0.0

    def value(self, x: Tensor, raw: Tensor, loss: Any = None) -> float:
        """Return the objective at x, whose raw predictions are given."""
        losses = (loss or self.loss).value(self.model.y, raw)
        penalty = 0.5 * (self.curvature * x * x).sum() + self.corners.value(x)
        return float(self.model.share @ losses + self.model.far(x)[0] + penalty)

    def _stage(self, loss: Any, slack: float, tol: float, max_iter: int) -> Tensor:
        """Take Newton steps on a smooth loss until they gain nothing that matters.

        Returns the way to the corners, at whose end the objective is looked at too.
        """
        lowest, least, idle, size = torch.inf, torch.inf, 0, torch.inf
        for _ in range(_STEPS):
            slopes = self._slopes(loss)
            target, gain = self._newton_step(slopes)
            gains = slopes.value < lowest * (1 - _ROUNDING / 10) or gain < 0.5 * least
            idle = 0 if gains else idle + 1
            lowest, least = min(lowest, slopes.value), min(gain, least)
            last = idle >= _IDLE or self.n_iter >= max_iter or self.at_edge
            if self._is_done(loss, slopes, gain, size, slack, tol, last) or last:
                break
            size = self._move(loss, target, gain)
        way = self._way_to_corners(slopes) if loss.width else torch.zeros_like(self.x)
        self._improve(self.x + way, self.raw + self.model.Z @ way)
        self._settle(slopes)
        return way

    def _is_done(
        self,
        loss: Any,
        slopes: Slopes,
        gain: float,
        size: float,
        slack: float,
        tol: float,
        last: bool,
    ) -> bool:
        """Set the lower bound; return whether a stage has come close enough to its minimum.

        That is a part of the gap that its smoothing leaves, or of what ``tol`` allows.
        """
        if not self.loss.corners:
            self.lower = slopes.value - gain
            if last and loss.pieces:
                self.lower, _ = self._bound(loss, slopes)
            return gain <= slack**2 * self.best[0] if slack else size <= tol
        allowed = 0.01 * tol * self.best[0]
        if gain > max(slack * (self.best[0] - slopes.value), allowed) and not last:
            return False  # a bound would cost more than it tells
        lower, left = self._bound(loss, slopes)
        self.lower = max(self.lower, lower)  # rounding spoils the bounds of narrow smoothings
        return left <= max(slack * (self.best[0] - lower), allowed)

    def _move(self, loss: Any, target: Tensor, gain: float) -> float:
        """Go as far towards the target as the objective falls; return the size of a whole step."""
        before, step = self.x, target - self.x
        noise = gain <= _ROUNDING * abs(self.best[0])
        length = 1.0 if noise else self._search_line(loss, step, gain)
        length = self._within_radius(length, step)
        self.x = before + length * step if length != 1 else target  # whose zeros are exact
        self.x = torch.where(self.corners.bounded, self.x.clamp(min=0), self.x)
        self.raw = self.model.Z @ self.x
        self.n_iter += 1
        self._improve(self.x, self.raw)
        self.curve.append(self.best[0])
        size = float(torch.maximum(before.abs(), self.x.abs()).max())
        self.change = float(step.abs().max()) / size if size else 0.0
        return self.change

    def _bound(self, loss: Any, slopes: Slopes) -> tuple[float, float]:
        """Return a lower bound on the objective, and what is left to gain on the smoothed one.

        The slopes of the rows at the end of an undamped Newton step on the free coefficients are
        those of a bound, if all rows with curvature keep it. Otherwise what the subgradient may
        gain is taken off, as far as coefficients and residuals say that it may reach.
        """
        size = self._residual + float(torch.linalg.vector_norm(self.x))
        (free,) = self.corners.free(self.x).nonzero(as_tuple=True)
        step = torch.zeros_like(self.x)
        step[free], _ = solve_positive(slopes.hessian[free][:, free], -slopes.pull[free])
        bend = slopes.hessian @ step
        raw_step = self.model.Z @ step
        keeps = loss.curvature(self.model.y, self.raw + raw_step) > 0
        change = float(step @ (slopes.pull + 0.5 * bend))  # above zero where it is all rounding
        if change <= 0 and (keeps | (slopes.bent == 0)).all():
            slope = slopes.slope + slopes.bent * raw_step
            value = slopes.value + change
            pull = self.corners.subgradient(self.x, slopes.gradient + bend).abs()
            left = float((slopes.pull @ step).abs())
        else:
            slope, value, pull = slopes.slope, slopes.value, slopes.pull.abs()
            left = 0.0
        beside = torch.minimum(pull * size, pull**2 / (2 * self.curvature)).nan_to_num()
        gap = 0.5 * loss.width * float(self.model.share @ slope**2)
        return value + gap - float(beside.sum()), left + float(beside.sum())

    @property
    def _residual(self) -> float:
        return float((self.model.y - self.raw).abs().mean()) if len(self.raw) else 0.0

    def _within_radius(self, length: float, step: Tensor) -> float:
        """Return the length of a step, or how far it may go."""
        if self.radius == torch.inf:
            return length
        left = self.radius - _root_mean_square(self.raw - self.start)
        most = max(left, 0.0) / _root_mean_square(self.model.Z @ step)
        self.at_edge = length > most
        return min(length, most)

    def _improve(self, x: Tensor, raw: Tensor) -> None:
        if _root_mean_square(raw - self.start) > (1 + _SLACK) * self.radius:
            return
        # Of values that differ by rounding the later is the better: its zeros are exact.
        value = self.value(x, raw)
        if value <= self.best[0] * (1 + _EPS):
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

    def _slopes(self, loss: Any) -> Slopes:
        model, x = self.model, self.x
        slope = loss.gradient(model.y, self.raw)
        bent = loss.curvature(model.y, self.raw)
        far_value, far_gradient = model.far(x)
        penalty = 0.5 * (self.curvature * x * x).sum() + self.corners.value(x)
        value = model.share @ loss.value(model.y, self.raw) + far_value + penalty
        gradient = model.Z.T @ (model.share * slope) + far_gradient + self.curvature * x
        (rows,) = bent.nonzero(as_tuple=True)
        Z = model.Z[rows]
        hessian = Z.T @ (Z * (model.share * bent)[rows, None])
        hessian = hessian + model.hessian + self.curvature.diag()
        return Slopes(
            value=float(value),
            gradient=gradient,
            hessian=hessian,
            slope=slope,
            bent=bent,
            pull=self.corners.subgradient(x, gradient),
            mean=float(model.share @ bent),
            rows=len(rows) if model.exact or self.loss.corners else len(model.y) + len(x) * _FEW,
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
        """Return the Hessian with a shift for directions in which few rows have curvature.

        The shift is a part of the curvature that all kept rows would have, so that directions in
        which all of them hardly differ are damped no more than others.
        """
        diagonal = slopes.hessian.diagonal()
        hessian = slopes.hessian + (_GENTLE * diagonal).diag()
        if slopes.rows < _FEW * len(diagonal):
            shift = _DAMPING * slopes.mean
            if self._residual:
                shift += 0.01 * float(torch.linalg.vector_norm(slopes.pull)) / self._residual
            hessian = hessian + shift * self._gram
        flat = hessian.diagonal() <= 0
        return hessian + flat.double().diag() if flat.any() else hessian

    @cached_property
    def _gram(self) -> Tensor:
        return self.model.Z.T @ (self.model.Z * self.model.share[:, None])

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
        band = torch.where(slopes.bent > 0, slopes.slope, torch.zeros_like(slopes.slope))
        pull = -(self.model.Z.T @ (self.model.share * band))[free]
        way = torch.zeros_like(self.x)
        way[free], _ = solve_positive(slopes.hessian[free][:, free], pull)
        return way


def _root_mean_square(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x)) / max(len(x), 1) ** 0.5 + torch.finfo(x.dtype).tiny

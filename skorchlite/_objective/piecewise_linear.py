"""Piecewise linear losses, and smooth ones that are close to them.

References
----------
Moreau (1965), "Proximite et dualite dans un espace hilbertien". Beck, Teboulle (2012), "Smoothing
and first order methods: a unified framework", SIAM Journal on Optimization 22(2).
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .loss import Hinge, Loss


class PiecewiseLinear(Loss):
    """Convex and linear in r between its breaks.

    Parameters
    ----------
    breaks : tuple of float
        In ascending order.
    slopes : tuple of float
        In r; one more than breaks, ascending.
    """

    kinked = True
    smoothness = 0.0

    def __init__(self, breaks: tuple[float, ...], slopes: tuple[float, ...]):
        self.breaks, self.slopes = breaks, slopes
        self.steepest = max(-slopes[0], slopes[-1])
        if len(breaks) == 1:  # the line through the break is zero
            self.hinges: tuple[Hinge, ...] = (Hinge(1.0, breaks[0], slopes[0], slopes[1]),)
        else:
            self.hinges = (
                Hinge(-1.0, -breaks[0], slopes[1], -slopes[0]),
                Hinge(1.0, breaks[1], slopes[1], slopes[2]),
            )
        # The loss is the largest of its lines; the middle one passes through (0, 0) or the break.
        offsets = [0.0]
        for at, (left, right) in zip(breaks, pairwise(slopes), strict=True):
            offsets.append(offsets[-1] + (left - right) * at)
        lowest = min(max(s * b + o for s, o in zip(slopes, offsets, strict=True)) for b in breaks)
        self._lines = [(s, o - lowest) for s, o in zip(slopes, offsets, strict=True)]

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        return self._at(y - raw_prediction)

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry; at a kink, that on its right."""
        r = y - raw_prediction
        slope = torch.full_like(r, -self.slopes[0])
        for at, (left, right) in zip(self.breaks, pairwise(self.slopes), strict=True):
            slope -= (right - left) * (r >= at)
        return slope

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return zero, which is the curvature between kinks."""
        return torch.zeros_like(raw_prediction)

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        return value / min(-self.slopes[0], self.slopes[-1]) + max(map(abs, self.breaks))

    def largest_slope(self, value: float) -> float:
        """Return how large slopes can be."""
        return self.steepest

    def nothing(self, value: float) -> float:
        """Return the mean loss of the rounding errors of residuals with the mean loss ``value``."""
        return 1e-17 * value  # less than for other losses: a weak penalty may matter from there on

    def smoothed(self, width: Any) -> "Smoothed":
        """Return a smooth loss, which is below this one by at most ``smoothed.bound``."""
        return Smoothed(self, width)

    def _at(self, r: Tensor) -> Tensor:
        (slope, offset), *rest = self._lines
        value = slope * r + offset
        for slope, offset in rest:
            value = torch.maximum(value, slope * r + offset)
        return value


class QuantileLevels(Loss):
    """The pinball loss of several levels, of which each is that of a target of its own.

    Parameters
    ----------
    levels : tuple of float
        Between 0 and 1, in ascending order.
    apart : {"rows", "domain"} or None
        Where no level's predictions may be above those of the next: on the rows, on the box of
        the columns' ranges, or nowhere in particular.
    """

    kinked, smoothness, breaks = True, 0.0, (0.0,)

    def __init__(self, levels: tuple[float, ...], apart: str | None = None):
        self.levels, self.apart = levels, apart
        self.steepest = max(max(level, 1 - level) for level in levels)

    def of_target(self, target: int) -> PiecewiseLinear:
        """Return the loss of one level."""
        level = self.levels[target]
        return PiecewiseLinear((0.0,), (level - 1, level))

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry; a column of predictions for each level."""
        r, above = y - raw_prediction, self._like(y)
        return torch.maximum(above * r, (above - 1) * r)

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry; at the kink, that on its right."""
        return (y < raw_prediction).to(y.dtype) - self._like(y)

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return zero, which is the curvature beside the kink."""
        return torch.zeros_like(raw_prediction)

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        return max(self.of_target(j).largest_residual(value) for j in range(len(self.levels)))

    def largest_slope(self, value: float) -> float:
        """Return how large slopes can be."""
        return self.steepest

    def nothing(self, value: float) -> float:
        """Return the mean loss of the rounding errors of residuals with the mean loss ``value``."""
        return self.of_target(0).nothing(value)

    def _like(self, y: Tensor) -> Tensor:
        return torch.tensor(self.levels, dtype=y.dtype, device=y.device)


class Smoothed(Loss):
    """The Moreau envelope ``min_s loss(s) + (r - s)^2 / (2 width)`` of a piecewise linear loss.

    It is quadratic in a band about each kink, of ``width`` times the jump of the slope, and beside
    the bands linear with the slope of the loss. It lies below the loss by at most ``bound``.

    Parameters
    ----------
    loss : PiecewiseLinear
    width : float, or Tensor of shape (n_targets,)
        In units of y per unit of slope.
    """

    def __init__(self, loss: PiecewiseLinear, width: Any):
        self.loss, self.width = loss, width
        self.bound = 0.5 * width * max(slope**2 for slope in loss.slopes)
        self.breaks = tuple(
            at + width * slope
            for at, pair in zip(loss.breaks, pairwise(loss.slopes), strict=True)
            for slope in pair
        )

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        slope, width = -self.gradient(y, raw_prediction), self.width_like(y)
        return self.loss._at(y - raw_prediction - width * slope) + slope**2 * (width / 2)

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        width = self.width_like(y)
        r = (y - raw_prediction) / width
        total = torch.full_like(r, -self.loss.slopes[0])
        for at, (left, right) in zip(self.loss.breaks, pairwise(self.loss.slopes), strict=True):
            total -= (r - (at / width + left)).clamp_(0, right - left)
        return total

    def width_like(self, y: Tensor) -> Any:
        """Return the width on the device of the targets."""
        return self.width.to(y) if isinstance(self.width, Tensor) else self.width

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        r = y - raw_prediction
        inside = torch.zeros_like(r)
        for low, high in zip(self.breaks[::2], self.breaks[1::2], strict=True):
            inside += (r > low) & (r < high)
        return inside / self.width

    def tangents(self) -> "Tangents":
        """Return the tangents of the true loss with the slopes of this one."""
        return Tangents(self)


class Tangents:
    """The line with the slope of the smoothed loss that touches the true one, for each entry.

    Where the smoothed objective is least, the sum of the lines is least too. As a bound from below
    it is closer than the smoothed objective.
    """

    def __init__(self, smoothed: Smoothed):
        self.smoothed = smoothed
        self.gradient, self.check = smoothed.gradient, smoothed.check

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the height of the line of each entry."""
        slope = self.gradient(y, raw_prediction)
        return self.smoothed.value(y, raw_prediction) + 0.5 * self.smoothed.width_like(y) * slope**2

"""The base class of losses: functions of one residual, with derivatives and bounds.

A loss knows nothing of rows, weights or coefficients, which an objective composes it with.
Residuals are ``r = y - raw_prediction``; derivatives are in the raw prediction.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor

ROUNDED = 1e-14  # the relative rounding error of residuals, which are sums over the columns


@dataclass(frozen=True)
class Hinge:
    """``max over low <= d <= high of  d t - smoothing * phi(d)``, where ``t = sign * r - at``.

    ``phi(d)`` is ``1/2 d^2``: losses that are linear or quadratic in pieces are sums of these. Of a
    round hinge it is ``((1 + d) log(1 + d) + (1 - d) log(1 - d)) / 2`` instead, and d is between -1
    and 1: ``log cosh t``.
    """

    sign: float = 1.0
    at: float = 0.0
    low: float = 0.0
    high: float = inf
    smoothing: float = 0.0
    round: bool = False


class Loss(ABC):
    """A function of the residual; the defaults are those of a smooth convex loss.

    Attributes
    ----------
    quadratic : bool
        Whether the curvature is the same everywhere.
    kinked : bool
        Whether it has kinks, where the slope jumps.
    pieces : bool
        Whether it is quadratic, or linear, between its breaks.
    residual : bool
        Whether it depends on the residual alone, and not on the target besides.
    convex : bool
        Whether it is convex, with a curvature that is known.
    log_link : bool
        Whether the raw prediction is the logarithm of the prediction.
    by_row : bool
        Whether each row has a loss of its own, and not only their mean.
    separable : bool
        Whether the mean over some rows is that over parts of them.
    breaks : tuple of float
        The residuals at which pieces meet.
    hinges : tuple of Hinge
        Their sum is the loss, if it is in pieces and not quadratic.
    round_hinges : tuple of Hinge
        Their sum is the loss, if it has a curvature everywhere and linear ends.
    curved_to : float
        The residual up to which a smooth loss with linear ends is curved.
    width : float
        Of the smoothing of kinks.
    smoothness : float
        The largest curvature.
    steepest : float
        The largest slope.
    slopes : tuple of float
        Of the pieces, if they are lines.
    largest_residual : callable
        Returns how large residuals can be where the mean loss is a value.
    """

    quadratic, kinked, pieces = False, False, True
    residual, convex, by_row, separable = True, True, True, True
    log_link = False
    breaks: tuple[float, ...] = ()
    hinges: tuple[Hinge, ...] = ()
    round_hinges: tuple[Hinge, ...] = ()
    curved_to, width, smoothness, steepest = 0.0, 0.0, 1.0, inf
    slopes: tuple[float, ...] = ()
    largest_residual: Callable[[float], float]

    @abstractmethod
    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""

    @abstractmethod
    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""

    def check(self, y: Tensor, weight: Tensor | None = None) -> None:
        """Raise if a target is outside of the domain, in a row that has weight."""
        return  # losses of residuals take any number

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        raise TypeError(f"of {type(self).__name__} no curvature is known")

    def of_target(self, target: int) -> "Loss":
        """Return the loss of one target: the same for all, unless each has one of its own."""
        return self

    def expected_curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return what the curvature is on average over targets whose mean is the prediction."""
        return self.curvature(y, raw_prediction)

    def link(self, mean: Tensor) -> Tensor:
        """Return the raw predictions of the best constant, about, from the mean of the targets."""
        return mean

    def distance(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return how far raw predictions are from those of least loss."""
        return (y - raw_prediction).abs()

    def smoothed(self, width: Any) -> Any:
        """Return a smooth loss that is close to this one, for a loss with kinks."""
        raise TypeError(f"{type(self).__name__} has no kinks")

    def tangents(self) -> Any:
        """Return lines below the loss that was smoothed to this one."""
        raise TypeError(f"{type(self).__name__} is no smoothed form of another loss")

    def widened(self, times: float) -> "Loss":
        """Return the loss with its curved part that many times as wide, if it has linear ends."""
        raise TypeError(f"{type(self).__name__} has no curved part between linear ends")

    def largest_slope(self, value: float) -> float:
        """Return how large slopes can be (root mean square) where the mean loss is ``value``."""
        return min((2 * self.smoothness * max(value, 0.0)) ** 0.5, self.steepest)

    def change(self, moved: float, value: float) -> float:
        """Return how much changing predictions by ``moved`` can add to the mean loss ``value``."""
        slope = self.largest_slope(value) + self.smoothness * moved
        return moved * min(slope, self.steepest)

    def nothing(self, value: float) -> float:
        """Return the mean loss of the rounding errors of residuals with the mean loss ``value``."""
        return 0.5 * self.smoothness * (ROUNDED * self.largest_residual(value)) ** 2

"""What every loss is: a function of one residual, with derivatives and bounds.

Losses say nothing of rows, weights or coefficients: an objective composes them with those.
Residuals are ``r = y - raw_prediction``; derivatives are in the raw prediction.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor

ROUNDED = 1e-14  # of residuals, in a sum over the columns


@dataclass(frozen=True)
class Hinge:
    """``max over low <= d <= high of  d t - bend * phi(d)``, where ``t = sign * r - at``.

    ``phi(d)`` is ``1/2 d^2``: losses that are linear or quadratic in pieces are sums of these. Of a
    round hinge it is ``((1 + d) log(1 + d) + (1 - d) log(1 - d)) / 2`` instead, and d is between -1
    and 1: ``log cosh t``.
    """

    sign: float = 1.0
    at: float = 0.0
    low: float = 0.0
    high: float = inf
    bend: float = 0.0
    round: bool = False


class Loss(ABC):
    """What a built-in loss is unless it says otherwise: smooth, of the residual alone."""

    quadratic = False  # whether the curvature is the same everywhere
    corners = False  # whether the slope jumps
    pieces = True  # whether it is quadratic between its breaks
    residual = True  # whether it depends on the residual alone
    convex = True  # and has a curvature
    by_row = True  # whether each row has a loss of its own, and not only their mean
    separable = True  # whether the loss of some rows is a mean over parts of them
    breaks: tuple[float, ...] = ()
    hinges: tuple[Hinge, ...] = ()  # whose sum it is, if it is in pieces and not quadratic
    round_hinges: tuple[Hinge, ...] = ()  # whose sum it is, if it has a curvature everywhere
    bend = 0.0  # the residual up to which a smooth loss with linear ends is round
    width = 0.0  # of the smoothing of corners
    smoothness = 1.0  # the largest curvature
    steepest = inf  # the largest slope
    slopes: tuple[float, ...] = ()  # of the pieces, if they are lines
    # Returns how large residuals can be where the mean loss is a value, of losses that bound it.
    largest_residual: Any

    @abstractmethod
    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""

    @abstractmethod
    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction, where it is known."""
        raise TypeError(f"of {type(self).__name__} no curvature is known")

    def smoothed(self, width: Any) -> Any:
        """Return a smooth loss close to this one, where it has corners."""
        raise TypeError(f"{type(self).__name__} has no corners")

    def tangents(self) -> Any:
        """Return lines below the loss that this one is the smoothed form of."""
        raise TypeError(f"{type(self).__name__} is no smoothed form of another loss")

    def widened(self, times: float) -> "Loss":
        """Return the loss with its bend that many times as wide, where it is round."""
        raise TypeError(f"{type(self).__name__} is not round")

    def largest_slope(self, value: float) -> float:
        """Return how large slopes can be, root mean square, where the mean loss is ``value``."""
        return min((2 * self.smoothness * max(value, 0.0)) ** 0.5, self.steepest)

    def change(self, moved: float, value: float) -> float:
        """Return how much moving predictions so far can add to the mean loss ``value``."""
        slope = self.largest_slope(value) + self.smoothness * moved
        return moved * min(slope, self.steepest)

    def nothing(self, value: float) -> float:
        """Return the mean loss of rounding errors of what has the mean loss ``value``."""
        return 0.5 * self.smoothness * (ROUNDED * self.largest_residual(value)) ** 2

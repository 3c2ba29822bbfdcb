"""The built-in losses; ``LOSSES`` and ``LOG_LINKS`` name them, and ``make_loss`` makes them.

``breaks`` are the residuals at which the pieces of a loss that is made of linear and quadratic ones
meet.
"""

from collections.abc import Callable
from math import expm1, inf, log, log1p
from typing import Any

import torch
from torch import Tensor

from .callable_loss import CallableLoss
from .log_link import LogLink
from .loss import Hinge, Loss
from .piecewise_linear import PiecewiseLinear


class SquaredError(Loss):
    """``1/2 r^2``: half the squared residual, as in SGDRegressor."""

    quadratic = True

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        return (2 * value) ** 0.5

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        return 0.5 * (raw_prediction - y) ** 2

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return raw_prediction - y

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        return torch.ones_like(raw_prediction)


class Huber(Loss):
    """``1/2 r^2`` up to ``|r| = epsilon``, ``epsilon |r| - 1/2 epsilon^2`` beyond."""

    def __init__(self, epsilon: float):
        if not epsilon > 0:
            raise ValueError(
                f"loss='huber' with epsilon={epsilon} is zero everywhere. Give an epsilon above 0, "
                "or use loss='absolute_error'."
            )
        self.epsilon = self.steepest = epsilon
        self.breaks = (-epsilon, epsilon)
        self.hinges = (Hinge(1.0, 0.0, -epsilon, epsilon, 1.0),)

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        square = 2 * value
        inside = square <= self.epsilon**2
        return square**0.5 if inside else value / self.epsilon + self.epsilon / 2

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        r = y - raw_prediction
        near = r.clamp(-self.epsilon, self.epsilon)
        return near * (r - 0.5 * near)

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return (raw_prediction - y).clamp(-self.epsilon, self.epsilon)

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        return ((y - raw_prediction).abs() <= self.epsilon).to(y.dtype)


class HuberOfScale(Huber):
    """Huber's loss with ``epsilon = ratio * scale``, for a scale that a solver is to find.

    Parameters
    ----------
    ratio : float, default=1.35
        That of HuberRegressor: with normal noise 95 % as efficient as least squares.
    """

    def __init__(self, ratio: float = 1.35):
        super().__init__(ratio)
        self.ratio = ratio

    def at(self, scale: float) -> Huber:
        """Return the loss with a scale."""
        return Huber(self.ratio * scale)

    @property
    def at_zero(self) -> PiecewiseLinear:
        """The limit of that loss divided by the scale, as this goes to zero."""
        return PiecewiseLinear((0.0,), (-self.ratio, self.ratio))


class SquaredEpsilonInsensitive(Loss):
    """``max(0, |r| - epsilon)^2``: without the half, as in SGDRegressor and LinearSVR."""

    smoothness = 2.0

    def __init__(self, epsilon: float):
        self.epsilon = epsilon
        self.breaks = (-epsilon, epsilon)
        self.hinges = (
            Hinge(1.0, epsilon, 0.0, inf, 0.5),
            Hinge(-1.0, epsilon, 0.0, inf, 0.5),
        )

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        return value**0.5 + self.epsilon

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        return self._excess(y, raw_prediction) ** 2

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return 2 * self._excess(y, raw_prediction)

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        return 2.0 * ((y - raw_prediction).abs() >= self.epsilon).to(y.dtype)

    def _excess(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        return torch.nn.functional.softshrink(raw_prediction - y, self.epsilon)


class Expectile(Loss):
    """``quantile r^2`` above zero, ``(1 - quantile) r^2`` below: at 0.5 that of squared error.

    References
    ----------
    Newey, Powell (1987), "Asymmetric least squares estimation and testing", Econometrica 55(4).
    """

    breaks = (0.0,)

    def __init__(self, quantile: float):
        self.above, self.below = 2 * quantile, 2 * (1 - quantile)  # curvatures
        self.smoothness = max(self.above, self.below)
        self.hinges = (
            Hinge(1.0, 0.0, 0.0, inf, 1 / self.above),
            Hinge(-1.0, 0.0, 0.0, inf, 1 / self.below),
        )

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        return (2 * value / min(self.above, self.below)) ** 0.5

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        return 0.5 * self.curvature(y, raw_prediction) * (raw_prediction - y) ** 2

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return self.curvature(y, raw_prediction) * (raw_prediction - y)

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        above = (y >= raw_prediction).to(y.dtype)  # where() of two numbers has single precision
        return self.above * above + self.below * (1 - above)


class LogCosh(Loss):
    """``log cosh r``: near ``1/2 r^2`` for small residuals, ``|r| - log 2`` for large ones.

    Parameters
    ----------
    times : float, default=1.0
        The loss is ``times log cosh(r / times)``, which is curved over a range that many times as
        wide and has the same slopes beyond.
    """

    pieces = False
    curved_to = 1.0
    steepest = 1.0

    def __init__(self, times: float = 1.0):
        self.times = times
        self.round_hinges = (Hinge(1.0, 0.0, -1.0, 1.0, times, round=True),)

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        value = value / self.times
        return self.times * (value + log1p((-expm1(-2 * value)) ** 0.5))

    def widened(self, times: float) -> "LogCosh":
        """Return the loss with its curved part that many times as wide, and the same slopes."""
        return LogCosh(times)

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        r = (y - raw_prediction).abs() / self.times
        # cosh r = 1 + 2 sinh(r / 2)^2 keeps the digits of a small residual.
        small = torch.log1p(2 * torch.sinh(r.clamp(max=1) / 2) ** 2)
        large = r + torch.log1p(torch.exp(-2 * r)) - log(2)
        return self.times * torch.where(r < 1, small, large)

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return torch.tanh((raw_prediction - y) / self.times)

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        x = torch.exp(-2 * (raw_prediction - y).abs() / self.times)
        return 4 * x / (1 + x) ** 2 / self.times


def make_loss(
    loss: str | Callable, epsilon: Any, quantile: float, power: float = 1.5, literal: bool = False
) -> Loss:
    """Return the loss object for a name of ``LOSSES`` or ``LOG_LINKS``, or a callable."""
    if not isinstance(loss, str):
        return CallableLoss(loss, literal)
    if loss in LOG_LINKS:
        return LogLink(LOG_LINKS[loss] or power, loss)
    return LOSSES[loss](epsilon, quantile)


LOSSES = {
    "squared_error": lambda epsilon, quantile: SquaredError(),
    "absolute_error": lambda epsilon, quantile: PiecewiseLinear((0.0,), (-1.0, 1.0)),
    "huber": lambda epsilon, quantile: HuberOfScale() if epsilon == "auto" else Huber(epsilon),
    "quantile": lambda epsilon, quantile: PiecewiseLinear((0.0,), (quantile - 1, quantile)),
    "expectile": lambda epsilon, quantile: Expectile(quantile),
    "epsilon_insensitive": lambda epsilon, quantile: PiecewiseLinear(
        (-epsilon, epsilon), (-1.0, 0.0, 1.0)
    ),
    "squared_epsilon_insensitive": lambda epsilon, quantile: SquaredEpsilonInsensitive(epsilon),
    "log_cosh": lambda epsilon, quantile: LogCosh(),
}

# The powers of the mean that variances are proportional to; None for the one that is given.
LOG_LINKS = {"poisson": 1.0, "gamma": 2.0, "tweedie": None}

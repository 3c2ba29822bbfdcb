"""Losses, pointwise in the raw prediction; ``LOSSES`` names them.

A loss says nothing of rows, weights or coefficients: an objective composes it with those. Residuals
are ``r = y - raw_prediction``; derivatives are in the raw prediction. ``breaks`` are the residuals
at which the pieces of a loss that is made of linear and quadratic ones meet. A loss with corners
has a ``smoothed(width)``.

References
----------
Moreau (1965), "Proximite et dualite dans un espace hilbertien". Beck, Teboulle (2012), "Smoothing
and first order methods: a unified framework", SIAM Journal on Optimization 22(2).
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import expm1, inf, log, log1p
from typing import Any

import torch
from torch import Tensor

_ROUNDED = 1e-14  # of residuals, in a sum over the columns


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


class Loss:
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
    largest_residual: Any  # returns how large residuals can be where the mean loss is a value

    def largest_slope(self, value: float) -> float:
        """Return how large slopes can be, root mean square, where the mean loss is ``value``."""
        return min((2 * self.smoothness * max(value, 0.0)) ** 0.5, self.steepest)

    def change(self, moved: float, value: float) -> float:
        """Return how much moving predictions so far can add to the mean loss ``value``."""
        slope = self.largest_slope(value) + self.smoothness * moved
        return moved * min(slope, self.steepest)

    def nothing(self, value: float) -> float:
        """Return the mean loss of rounding errors of what has the mean loss ``value``."""
        return 0.5 * self.smoothness * (_ROUNDED * self.largest_residual(value)) ** 2


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


class PiecewiseLinear(Loss):
    """Convex and linear in r between its breaks.

    Parameters
    ----------
    breaks : tuple of float
        In ascending order.
    slopes : tuple of float
        In r; one more than breaks, ascending.
    """

    corners = True
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
        """Return the derivative of each entry; at a corner, that on its right."""
        r = y - raw_prediction
        slope = torch.full_like(r, -self.slopes[0])
        for at, (left, right) in zip(self.breaks, pairwise(self.slopes), strict=True):
            slope -= (right - left) * (r >= at)
        return slope

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return zero, which is the curvature between corners."""
        return torch.zeros_like(raw_prediction)

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        return value / min(-self.slopes[0], self.slopes[-1]) + max(map(abs, self.breaks))

    def largest_slope(self, value: float) -> float:
        """Return how large slopes can be."""
        return self.steepest

    def nothing(self, value: float) -> float:
        """Return the mean loss of rounding errors of what has the mean loss ``value``."""
        return 1e-17 * value  # a penalty may be felt from there on

    def smoothed(self, width: Any) -> "Smoothed":
        """Return the loss with its corners rounded, below it by at most ``smoothed.bound``."""
        return Smoothed(self, width)

    def _at(self, r: Tensor) -> Tensor:
        (slope, offset), *rest = self._lines
        value = slope * r + offset
        for slope, offset in rest:
            value = torch.maximum(value, slope * r + offset)
        return value


class Smoothed(Loss):
    """The Moreau envelope ``min_s loss(s) + (r - s)^2 / (2 width)`` of a piecewise linear loss.

    It is quadratic in bands of ``width`` times the jump of the slope about each corner and, beside
    them, linear with the slope of the loss. It lies below the loss by at most ``bound``.

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
        """Return the width where the targets are."""
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

    Where the smoothed objective is least the sum of the lines is too, and that is a bound from
    below, closer than the smoothed objective itself.
    """

    def __init__(self, smoothed: Smoothed):
        self.smoothed, self.gradient = smoothed, smoothed.gradient

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the height of the line of each entry."""
        slope = self.gradient(y, raw_prediction)
        return self.smoothed.value(y, raw_prediction) + 0.5 * self.smoothed.width_like(y) * slope**2


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


class LogCosh(Loss):
    """``log cosh r``: near ``1/2 r^2`` for small residuals, ``|r| - log 2`` for large ones.

    Parameters
    ----------
    times : float, default=1.0
        The loss is ``times log cosh(r / times)``: its bend that many times as wide, its slopes
        beyond the same.
    """

    pieces = False
    bend = 1.0
    steepest = 1.0

    def __init__(self, times: float = 1.0):
        self.times = times
        self.round_hinges = (Hinge(1.0, 0.0, -1.0, 1.0, times, round=True),)

    def largest_residual(self, value: float) -> float:
        """Return how large the mean absolute residual can be where the mean loss is ``value``."""
        value = value / self.times
        return self.times * (value + log1p((-expm1(-2 * value)) ** 0.5))

    def widened(self, times: float) -> "LogCosh":
        """Return the loss with its bend that many times as wide, and the same slopes beyond."""
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


class CallableLoss(Loss):
    """A callable or ``torch.nn`` loss module ``(y_pred, y_true)``, through autograd.

    It is called with the predictions and targets of some rows, both of shape (n_rows,), and returns
    one loss a row, or their mean.

    Parameters
    ----------
    function : callable
    literal : bool, default=False
        Whether a module that sums over its rows is to be taken so, and not as a mean.
    """

    pieces = False
    residual = False
    convex = False

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], literal: bool = False):
        function = _instance(function) if isinstance(function, type) else function
        _check_signature(function)
        if getattr(function, "reduction", None) in (("mean",) if literal else ("mean", "sum")):
            function = copy.copy(function)  # the caller's stays as it is
            vars(function)["reduction"] = "none"
        self.function = function
        self.by_row, self.separable = self._probe()
        self._check_gradient()

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry; the mean of the rows for each where there is but that."""
        return self._each_target(self._values, y, raw_prediction)

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return self._each_target(self._slopes, y, raw_prediction)

    def slopes_beside_zero(self) -> tuple[float, float] | None:
        """Return the slopes in r just below and above r = 0; None where the slope does not jump."""
        (below, above), (further_below, further_above) = map(self._slopes_at, (1e-6, 1e-3))
        # The difference in a smooth loss shrinks with the distance.
        jump, further = above - below, further_above - further_below
        return (below, above) if jump > 0.5 * further > 0 else None

    def _slopes_at(self, distance: float) -> tuple[float, float]:
        """Return the mean slopes in r where r is that far below and above zero."""
        y, _ = _example()
        below, above = (-self.gradient(y, y + sign * distance).mean() for sign in (1, -1))
        return float(below), float(above)

    def _values(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        return self.function(raw_prediction, y).expand(len(y)).to(raw_prediction.dtype)

    def _slopes(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        with torch.enable_grad():
            point = raw_prediction.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(self._values(y, point).sum(), point)
        return slopes

    @staticmethod
    def _each_target(function: Any, y: Tensor, raw_prediction: Tensor) -> Tensor:
        if y.ndim == 1:
            return function(y, raw_prediction)
        columns = zip(y.unbind(1), raw_prediction.unbind(1), strict=True)
        return torch.stack([function(*column) for column in columns], 1)

    def _probe(self) -> tuple[bool, bool]:
        """Return whether the function gives one loss a row, and whether it splits over the rows."""
        y, raw_prediction = _example()
        whole = self.function(raw_prediction, y)
        if not isinstance(whole, Tensor) or whole.shape not in ((), (4,)):
            got = tuple(whole.shape) if isinstance(whole, Tensor) else type(whole).__name__
            raise ValueError(
                "A loss given as a callable takes (y_pred, y_true), both of shape (n_samples,), "
                f"and returns a tensor of shape (n_samples,) or (); for 4 samples this one "
                f"returned {got}."
            )
        if whole.ndim == 1:
            return True, True
        halves = [self.function(raw_prediction[i : i + 2], y[i : i + 2]) for i in (0, 2)]
        return False, bool(torch.isclose(whole, (halves[0] + halves[1]) / 2, rtol=1e-5))

    def _check_gradient(self) -> None:
        """Raise if autograd does not find how the loss depends on the predictions."""
        y, raw_prediction = _example()
        with torch.enable_grad():
            point = raw_prediction.requires_grad_()
            try:
                value = self.function(point, y)
            except RuntimeError as error:  # such as of numpy()
                raise ValueError(
                    f"The loss cannot be differentiated by autograd: {error} Compute it with "
                    "functions of torch only."
                ) from error
            slopes = None
            if value.requires_grad:
                (slopes,) = torch.autograd.grad(value.sum(), point, allow_unused=True)
        if slopes is None:
            raise ValueError(
                "The loss does not depend on y_pred, or not in a way that autograd can follow: it "
                "is a constant, detached (by detach(), item(), numpy() or torch.tensor()), or does "
                "not use y_pred. Compute it from y_pred with functions of torch only."
            )


def _example() -> tuple[Tensor, Tensor]:
    """Return some targets and predictions."""
    y = torch.tensor([0.3, 0.9, 0.4, 0.7], dtype=torch.float64)
    return y, torch.tensor([0.5, 0.2, 0.6, 0.1], dtype=torch.float64)


def _instance(kind: type) -> Any:
    """Return a loss of a class that was given in place of one."""
    try:
        return kind()
    except TypeError as error:
        raise ValueError(
            f"loss={kind.__name__} is a class that cannot be made without arguments: {error}. Give "
            "an object of it."
        ) from error


def _check_signature(function: Callable) -> None:
    """Raise if a loss cannot be called with predictions and targets alone."""
    called = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # such as of a function that is written in C
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(
            f"A loss given as a callable takes (y_pred, y_true) and nothing else, and {name} "
            f"takes {signature}: {error}. Give what has the rest, such as a function of two "
            "arguments or functools.partial; for weights use sample_weight."
        ) from error


def make_loss(loss: Any, epsilon: float, quantile: float, literal: bool = False) -> Any:
    """Return the loss object for a name of ``LOSSES`` or a callable."""
    return LOSSES[loss](epsilon, quantile) if isinstance(loss, str) else CallableLoss(loss, literal)


LOSSES = {
    "squared_error": lambda epsilon, quantile: SquaredError(),
    "absolute_error": lambda epsilon, quantile: PiecewiseLinear((0.0,), (-1.0, 1.0)),
    "huber": lambda epsilon, quantile: Huber(epsilon),
    "quantile": lambda epsilon, quantile: PiecewiseLinear((0.0,), (quantile - 1, quantile)),
    "epsilon_insensitive": lambda epsilon, quantile: PiecewiseLinear(
        (-epsilon, epsilon), (-1.0, 0.0, 1.0)
    ),
    "squared_epsilon_insensitive": lambda epsilon, quantile: SquaredEpsilonInsensitive(epsilon),
    "log_cosh": lambda epsilon, quantile: LogCosh(),
}

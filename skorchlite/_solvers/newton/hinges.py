"""Hinges, whose sum a loss or penalty in pieces is.

Arrays are NumPy's: a descent makes some thousand operations on them, and of few rows the time goes
into the calls, of which one of torch takes several times as long.
"""

from collections.abc import Iterable, Sequence
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import dot, weighted_sum
from ..._objective.loss import Hinge, Loss

Array = NDArray[np.float64]

_INNER = 1 - float(np.finfo(np.float64).eps)  # the last slope of round hinges before their ends


class Hinges:
    """Weighted hinges in ``t = sign * form - at``, some of each of m forms.

    A form is a residual or a coefficient. A hinge is a maximum over a dual variable in an interval,
    which is its slope in t:

        hinge(t) = max over low <= d <= high of  d t - width / 2 d^2

    Parameters
    ----------
    hinges : sequence of Hinge
        Of each form. They are of one kind, all or none with a width, and all of their intervals
        have an upper end or none has.
    weight : array of shape (m,)
        Of each form.
    low, high : array of shape (1, m), default=None
        The ends of each interval, in place of those of the hinge.

    Attributes
    ----------
    smooth : bool
        Whether slopes change gradually from one end to the other, without a jump.
    """

    def __init__(
        self,
        hinges: Sequence[Hinge],
        weight: Array,
        low: Array | None = None,
        high: Array | None = None,
    ):
        widths = {h.smoothing for h in hinges}
        # One number for all, as of most losses, is faster in a small fit.
        self.width: Any = widths.pop() if len(widths) == 1 else _column(h.smoothing for h in hinges)
        self.weight = weight
        self.smooth = any(h.smoothing for h in hinges)
        self.sign, self.at = _column(h.sign for h in hinges), _column(h.at for h in hinges)
        self.low = _column(h.low for h in hinges) if low is None else low
        self.high = _column(h.high for h in hinges) if high is None else high
        self.capped = bool(np.isfinite(self.high).all())
        self.round = hinges[0].round
        self._plain = not self.at.any() and bool((self.sign == 1).all())

    def t(self, form: Array) -> Array:
        """Return t, of shape (hinges, m), as what follows has."""
        return form[None] if self._plain else self.sign * form - self.at

    def along(self, part: Array) -> Array:
        """Return the sum over the hinges of each form of a part of their slopes, in the form."""
        return part[0] if self._plain else _summed(self.sign * part)

    def values(self, form: Array) -> Array:
        """Return the sum of the hinges of each form, without weights."""
        t = self.t(form)
        if self.smooth:
            slope = self._slope_at(t)
            return _summed(slope * (t - 0.5 * self.width * slope))
        return _summed(np.maximum(self.low * t, self.high * t))

    def value(self, form: Array) -> float:
        """Return the weighted sum of the hinges."""
        return dot(self.weight, self.values(form))

    def slope_in_form(self, form: Array) -> Array:
        """Return the slope of the sum of the hinges of each form."""
        return self.along(self.slope(form) if self.smooth else self.slope_of_pieces(form))

    def curvature_in_form(self, form: Array) -> Array:
        """Return the curvature of the sum of the hinges of each form."""
        return _summed(self.curvature(form))

    def slope(self, form: Array) -> Array:
        """Return the slopes in t, of smooth hinges."""
        return self._slope_at(self.t(form))

    def slope_of_pieces(self, form: Array) -> Array:
        """Return the slopes in t beside the kinks; at a kink, that below it."""
        return np.where(self.t(form) > 0, self.high, self.low)

    def curvature(self, form: Array) -> Array:
        """Return the second derivatives in t, of smooth hinges."""
        t = self.t(form) / self.width
        return ((t > self.low) & (t < self.high)) / self.width

    def excess(self, form: Array, d: Array) -> float:
        """Return by how much the hinges exceed ``d t - width / 2 d^2``, which is never negative."""
        t = self.t(form)
        if self.smooth:
            best = self._slope_at(t)
            parts = (best - d) * (t - 0.5 * self.width * (best + d))
        elif self.capped:
            parts = np.maximum((self.high - d) * t, (self.low - d) * t)
        else:
            parts = np.where(t > 0, 0.0, (self.low - d) * t)
        return weighted_sum(parts, self.weight)

    def inverse_slope(self, d: Array, room: Array) -> Array:
        """Return the t at which d is the slope, from its distances from the ends too."""
        return self.width * d

    def inverse_curvature(self, room: Array) -> Array | float:
        """Return the derivative of that t in d."""
        return self.width

    def _slope_at(self, t: Array) -> Array:
        return np.minimum(np.maximum(t / self.width, self.low), self.high)


class RoundHinges(Hinges):
    """Hinges whose slope is ``tanh(t / width)``: they have no pieces."""

    def values(self, form: Array) -> Array:
        """Return the sum of the hinges of each form, without weights."""
        return self.width * _summed(_log_cosh(self.t(form) / self.width))

    def curvature(self, form: Array) -> Array:
        """Return the second derivatives in t."""
        x = np.exp(-2 / self.width * abs(self.t(form)))
        return 4 / self.width * x / (1 + x) ** 2

    def inverse_slope(self, d: Array, room: Array) -> Array:
        """Return the t at which d is the slope, from its distances from the ends too."""
        # Near the ends d itself has too few digits.
        return 0.5 * self.width * (np.log(room[0]) - np.log(room[1]))

    def inverse_curvature(self, room: Array) -> Array | float:
        """Return the derivative of that t in d."""
        return self.width / (room[0] * room[1])

    def excess(self, form: Array, d: Array) -> float:
        """Return by how much the hinges exceed ``d t - width phi(d)``, which is never negative."""
        t, inner = self.t(form) / self.width, d.clip(-_INNER, _INNER)
        phi = inner * np.arctanh(inner) + 0.5 * np.log1p(-inner * inner)
        phi = np.where(inner == d, phi, log(2))
        excess = np.maximum(_log_cosh(t) - d * t + phi, 0.0)
        excess = np.where(d == np.tanh(t), 0.0, excess)
        return self.width * weighted_sum(excess, self.weight)

    def _slope_at(self, t: Array) -> Array:
        return np.tanh(t / self.width)


def hinges_of(loss: Loss, share: Array) -> Hinges:
    """Return the hinges of rows with these shares of the weight, whose sum a loss is."""
    if loss.hinges:
        return Hinges(loss.hinges, share)
    return RoundHinges(loss.round_hinges, share)


def _log_cosh(t: Array) -> Array:
    size = abs(t)
    # cosh t = 1 + 2 sinh(t / 2)^2 keeps the digits of a small t.
    small = np.log1p(2 * np.sinh(np.minimum(size, 1.0) / 2) ** 2)
    large = size + np.log1p(np.exp(-2 * size)) - log(2)
    return np.where(size < 1, small, large)


def _column(numbers: Iterable[float]) -> Array:
    return np.array(list(numbers), dtype=np.float64)[:, None]


def _summed(parts: Array) -> Array:
    return parts[0] if len(parts) == 1 else parts.sum(0)

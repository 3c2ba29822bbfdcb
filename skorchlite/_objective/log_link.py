"""Losses of a mean that is the exponential of the raw prediction: half the unit deviance.

For a variance that is a power of the mean, the loss is, but for a constant, a sum of two
exponentials: ``y mean^(1 - power) / (power - 1) + mean^(2 - power) / (2 - power)``. Its derivatives
and a bound on what is left to gain come from these.

References
----------
Dunn, Smyth (2018), "Generalized Linear Models With Examples in R", chapters 5 and 12. Boyd,
Vandenberghe (2004), "Convex Optimization", section 5.5.
"""

from math import inf

import torch
from torch import Tensor

from .loss import ROUNDED, Loss

# Logarithm of an exponential. Rows without weight may be anywhere, and infinity times a weight of
# zero is no number. No others come near that but in steps that are not taken.
_LARGEST = 500.0
_FAR = 100.0  # logarithm of an exponential from where on steps are relative to it


class LogLink(Loss):
    """Half the unit deviance of ``mean = exp(raw_prediction)``, which is zero where that is ``y``.

    Parameters
    ----------
    power : float
        Of the mean, to which the variance is proportional, from 1 (Poisson) over 2 (gamma) to 3
        (inverse Gaussian). The loss is convex in the raw prediction up to 2.
    name : str
        For errors.
    """

    pieces = False
    residual = False
    log_link = True
    smoothness = inf

    def __init__(self, power: float, name: str):
        self.power, self.name = power, name
        self.convex = power <= 2
        # One exponential falls at this rate as raw predictions rise, the other rises at that one.
        self.falling, self.rising = power - 1, 2 - power
        self._furthest = _LARGEST / max(self.falling, self.rising)  # raw prediction

    def largest_residual(self, value: float) -> float:
        """Return how far raw predictions may be from those of least loss: any distance at y = 0."""
        return inf

    def largest_slope(self, value: float) -> float:
        """Return how large slopes may be: as large as targets, of which nothing is known here."""
        return inf

    def nothing(self, value: float) -> float:
        """Return the mean loss of the rounding errors of raw predictions, relative to a value."""
        return ROUNDED * value

    def link(self, mean: Tensor) -> Tensor:
        """Return the raw predictions of the best constant; zero where there is none."""
        return mean.where(mean > 0, 1.0).log()

    def distance(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return how far raw predictions are from those of least loss."""
        return (raw_prediction - y.log()).abs()

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        falling, rising, there = self.falling, self.rising, y > 0
        log_y = y.where(there, 1.0).log()
        away = raw_prediction - log_y
        bounded = self._bounded(away)
        # Without their tangents at y, the exponentials keep the digits of targets that are met.
        value = torch.zeros_like(away)
        for rate, size in ((-falling, falling), (rising, rising)):
            if rate:
                value += torch.expm1(rate * bounded).sub_(rate * away).clamp_(min=0) / size
        if rising != 0:
            value *= torch.exp(rising * log_y)
        if rising > 0:
            value = value.where(there, torch.exp(rising * self._bounded(raw_prediction)) / rising)
        return value

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        falling, rising = self.exponentials(y, raw_prediction)
        return rising - falling

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction."""
        falling, rising = self.exponentials(y, raw_prediction)
        return self.falling * falling + self.rising * rising

    def expected_curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return what the curvature is on average over targets whose mean is the prediction."""
        return self.exponentials(y, raw_prediction)[1]

    def exponentials(self, y: Tensor, raw_prediction: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y mean^(1 - power)`` and ``mean^(2 - power)``, which are equal at the target."""
        falling, raw_prediction = y, self._bounded(raw_prediction)
        if self.falling:  # of a target of zero also where the mean is, too
            falling = torch.exp(-self.falling * raw_prediction).mul_(y).where(y > 0, 0.0)
        if not self.rising:
            return falling, torch.ones_like(raw_prediction)
        return falling, torch.exp(self.rising * raw_prediction)

    def _bounded(self, x: Tensor) -> Tensor:
        return x.clamp(-self._furthest, self._furthest)

    def dual_gap(self, falling: Tensor, rising: Tensor, change: Tensor) -> Tensor:
        """Return the gap of each entry between its loss and the dual point that a step leads to.

        The step changes raw predictions by ``change``, and the dual point is the slope that the
        loss would have there were it a parabola. There is none where an exponential would fall
        below zero: then what is returned is no bound, but as much more as the exponential would
        fall below.

        Parameters
        ----------
        falling, rising : Tensor
            The exponentials at the raw predictions.
        change : Tensor
        """
        gap = torch.zeros_like(change)
        if self.falling:
            gap += falling * _above_line(-self.falling * change) / self.falling
        if self.rising:
            gap += rising * _above_line(self.rising * change) / self.rising
        return gap

    def fall(self, raw_prediction: Tensor, change: Tensor) -> Tensor:
        """Return the change of the logarithm of the exponential that rises, relative to how far.

        Means that go to zero without end do so by one a step. Those of rows far from the others
        are soon next to nothing, where they stay, but for the digits of a number that is large.
        """
        far = (self.rising / _FAR * raw_prediction).abs().clamp_(min=1.0)
        return self.rising * change / far

    def check(self, y: Tensor, weight: Tensor | None = None) -> None:
        """Raise if a target is outside of the domain."""
        positive = self.power >= 2
        outside = (y <= 0) if positive else (y < 0)
        if not bool(outside.any()) or not (weight is None or bool(outside[weight > 0].any())):
            return
        least = "above 0" if positive else "not below 0"
        raise ValueError(
            f"Some value(s) of y are out of the valid range of the loss {self.name!r}, whose "
            f"targets are {least}. Leave those rows out, shift y, or use another loss."
        )


def _above_line(x: Tensor) -> Tensor:
    """Return ``(1 + x) log(1 + x) - x``; ``-x`` below -1."""
    inside = x.clamp(min=-1)
    return torch.special.xlog1py(1 + inside, inside).sub_(x).clamp_(min=0)

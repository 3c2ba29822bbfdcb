"""Proximal steps, which follow an update where the penalty has kinks: ``"l1"`` and ``positive``.

References
----------
Tsuruoka, Tsujii, Ananiadou (2009), "Stochastic gradient descent training for L1-regularized
log-linear models with cumulative penalty".
"""

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Proximal(Protocol):
    """A proximal step."""

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients x towards zero in place, after a step of that rate."""


class ProximalPenalty:
    """The proximal map of the penalty.

    Parameters
    ----------
    l1 : Tensor of shape (n_features, 1)
        The slope of the penalty on either side of zero.
    positive : bool
        Whether coefficients below zero are excluded.
    """

    def __init__(self, l1: Tensor, positive: bool):
        self.l1, self.positive = l1, positive

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients x towards zero in place, after a step of that rate."""
        l1 = rate * self.l1
        if self.positive:
            x.sub_(l1).clamp_(min=0)
        else:
            x.sub_(torch.clamp(x, -l1, l1))


class CumulativePenalty:
    """The cumulative penalty of Tsuruoka, with which noise does not lift coefficients off zero.

    A coefficient is moved towards zero by as much as the penalty of all steps so far amounts to,
    less what it has been moved already.

    Parameters
    ----------
    x : Tensor
        The coefficients.
    l1, positive
        See ``ProximalPenalty``.
    """

    def __init__(self, x: Tensor, l1: Tensor, positive: bool):
        self.l1, self.positive = l1, positive
        self._due, self._paid = 0.0, torch.zeros_like(x)

    @cached_property
    def _kinked(self) -> bool:
        """Whether there is a penalty, asked for once: at each step, a card would be waited for."""
        return bool(self.l1.any())

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients x towards zero in place, after a step of that rate."""
        if self._kinked:
            self._due += rate
            due = self._due * self.l1
            moved = x - torch.clamp(x, self._paid - due, self._paid + due)
            self._paid += moved - x
            x.copy_(moved)
        if self.positive:
            x.clamp_(min=0)

"""Proximal steps, which follow an update where the penalty has kinks: ``"l1"`` and ``positive``.

References
----------
Tsuruoka, Tsujii, Ananiadou (2009), "Stochastic gradient descent training for L1-regularized
log-linear models with cumulative penalty".
"""

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
    corner : Tensor of shape (n_features, 1)
        The slope of the penalty on either side of zero.
    positive : bool
        Whether coefficients below zero are excluded.
    """

    def __init__(self, corner: Tensor, positive: bool):
        self.corner, self.positive = corner, positive

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients x towards zero in place, after a step of that rate."""
        corner = rate * self.corner
        if self.positive:
            x.sub_(corner).clamp_(min=0)
        else:
            x.sub_(torch.minimum(torch.maximum(x, -corner), corner))


class CumulativePenalty:
    """The cumulative penalty of Tsuruoka, with which noise does not lift coefficients off zero.

    A coefficient is moved towards zero by as much as the penalty of all steps so far amounts to,
    less what it has been moved already.

    Parameters
    ----------
    x : Tensor
        The coefficients.
    corner, positive
        See ``ProximalPenalty``.
    """

    def __init__(self, x: Tensor, corner: Tensor, positive: bool):
        self.corner, self.positive = corner, positive
        self._due, self._paid = 0.0, torch.zeros_like(x)

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients x towards zero in place, after a step of that rate."""
        if self.corner.any():
            self._due += rate
            due = self._due * self.corner
            lowered = (x - (due + self._paid)).clamp_(min=0)
            raised = (x + (due - self._paid)).clamp_(max=0)
            moved = torch.where(x > 0, lowered, torch.where(x < 0, raised, x))
            self._paid += moved - x
            x.copy_(moved)
        if self.positive:
            x.clamp_(min=0)

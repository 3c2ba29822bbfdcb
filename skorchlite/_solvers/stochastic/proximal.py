"""What follows an update where the penalty has kinks: "l1" and positive=True."""

from typing import Protocol

import torch
from torch import Tensor


class Proximal(Protocol):
    """``"l1"`` and ``positive`` after a step: what moves coefficients towards zero, or to it."""

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients, after a step of that rate."""


class ProximalPenalty:
    """``"l1"`` and ``positive`` after a step: where the corners of the penalty send its end."""

    def __init__(self, corner: Tensor, positive: bool):
        self.corner, self.positive = corner, positive

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients towards zero, after a step of that rate."""
        corner = rate * self.corner
        if self.positive:
            x.sub_(corner).clamp_(min=0)
        else:
            x.sub_(torch.minimum(torch.maximum(x, -corner), corner))


class CumulativePenalty:
    """``"l1"`` and ``positive`` after a step, so that noise does not lift coefficients off zero.

    A coefficient is moved towards zero by what all steps so far would have moved it, less what it
    was moved already.
    """

    def __init__(self, x: Tensor, corner: Tensor, positive: bool):
        self.corner, self.positive = corner, positive
        self._due, self._paid = 0.0, torch.zeros_like(x)

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients towards zero, after a step of that rate."""
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

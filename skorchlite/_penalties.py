"""Penalties on the coefficients in the caller's units; ``PENALTIES`` names them."""

import torch
from torch import Tensor


class NoPenalty:
    """``R(w) = 0``."""

    def __init__(self, alpha: float):
        self.curvature = 0.0

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each column of w."""
        return w.new_zeros(w.shape[1])

    def gradient(self, w: Tensor) -> Tensor:
        """Return the gradient at w."""
        return torch.zeros_like(w)


class L2:
    """``alpha R(w) = alpha / 2 ||w||^2``: one solution, whatever the rank of the data."""

    def __init__(self, alpha: float):
        self.curvature = alpha

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each column of w."""
        return 0.5 * self.curvature * (w * w).sum(0)

    def gradient(self, w: Tensor) -> Tensor:
        """Return the gradient at w."""
        return self.curvature * w


PENALTIES = {None: NoPenalty, "l2": L2}

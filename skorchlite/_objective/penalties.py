"""Penalties on the coefficients in the caller's units; ``PENALTIES`` names them."""

from torch import Tensor


class Penalty:
    """``curvature / 2 ||w||^2 + l1 ||w||_1``, over ``w >= 0`` where ``positive``.

    Parameters
    ----------
    curvature, l1 : float
        Weights of the two norms, ``alpha`` included.
    positive : bool
        Whether coefficients below zero are excluded.
    """

    def __init__(self, curvature: float, l1: float, positive: bool):
        self.curvature, self.l1, self.positive = curvature, l1, positive

    @property
    def smooth(self) -> bool:
        """Whether it has a gradient everywhere: no l1 norm and no bound."""
        return not (self.l1 or self.positive)

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each column of w."""
        value = w.new_zeros(w.shape[1])
        if self.curvature:  # zero times a square that overflows is NaN
            value += 0.5 * self.curvature * (w * w).sum(0)
        return value + self.l1 * w.abs().sum(0) if self.l1 else value

    def times(self, number: float) -> "Penalty":
        """Return the penalty with a weight that is so many times as large."""
        return Penalty(number * self.curvature, number * self.l1, self.positive)

    def gradient(self, w: Tensor) -> Tensor:
        """Return the gradient of the smooth part at w."""
        return self.curvature * w


def make_penalty(penalty: str | None, alpha: float, l1_ratio: float, positive: bool) -> Penalty:
    """Return the penalty object for a name of ``PENALTIES``."""
    l2, l1 = (alpha * part for part in PENALTIES[penalty](l1_ratio))
    return Penalty(l2, l1, positive)


# The parts of alpha that multiply (1/2 ||w||^2, ||w||_1).
PENALTIES = {
    None: lambda l1_ratio: (0.0, 0.0),
    "l2": lambda l1_ratio: (1.0, 0.0),
    "l1": lambda l1_ratio: (0.0, 1.0),
    "elasticnet": lambda l1_ratio: (1.0 - l1_ratio, l1_ratio),
}

"""Penalties on the coefficients in the caller's units; ``PENALTIES`` names them."""

from typing import Self

import torch
from torch import Tensor


class Penalty:
    """``sum_j c_j (curvature / 2 w_j^2 + l1 |w_j|)``, over ``w >= 0`` where ``positive``.

    Parameters
    ----------
    curvature, l1 : float
        Weights of the two norms, ``alpha`` included.
    positive : bool
        Whether coefficients below zero are excluded.
    factors : Tensor of shape (n_features,), default=None
        ``c``, which differ and are not negative; None where all are 1.
    """

    def __init__(self, curvature: float, l1: float, positive: bool, factors: Tensor | None = None):
        self.curvature, self.l1, self.positive = curvature, l1, positive
        self.factors = factors

    @property
    def smooth(self) -> bool:
        """Whether it has a gradient everywhere: no l1 norm and no bound."""
        return not (self.l1 or self.positive)

    @property
    def curves_all(self) -> bool:
        """Whether it has a curvature along every coefficient, so that one minimum is the least."""
        return bool(self.curvature) and (self.factors is None or bool((self.factors > 0).all()))

    @property
    def keeps_span(self) -> bool:
        """Whether smooth losses have their minimum in the span of the rows, in units of its own.

        It is there where all coefficients are curved, or none.
        """
        return self.curves_all or not self.curvature

    @property
    def leaves_choice(self) -> bool:
        """Whether it is one with kinks, and some coefficients have neither kinks nor a bound."""
        zeros = self.factors is not None and bool((self.factors == 0).any())
        return zeros and bool(self.l1) and not self.positive

    def free(self, n_features: int) -> Tensor:
        """Return which coefficients it has no curvature along."""
        if not self.curvature:
            return torch.ones(n_features, dtype=torch.bool, device="cpu")
        if self.factors is None:
            return torch.zeros(n_features, dtype=torch.bool, device="cpu")
        return self.factors == 0

    def curvatures(self, like: Tensor) -> Tensor:
        """Return the curvature along each coefficient, as many as ``like`` has columns."""
        ones = like.new_ones(like.shape[-1])
        return self.curvature * (ones if self.factors is None else self.factors.to(like))

    def slopes(self, like: Tensor) -> Tensor:
        """Return the slope of the l1 norm in each coefficient, as many as ``like`` has columns."""
        ones = like.new_ones(like.shape[-1])
        return self.l1 * (ones if self.factors is None else self.factors.to(like))

    def unpenalised(self, n_features: int) -> Tensor:
        """Return which coefficients no part of it is on, but for a bound."""
        if not (self.curvature or self.l1):
            return torch.ones(n_features, dtype=torch.bool, device="cpu")
        if self.factors is None:
            return torch.zeros(n_features, dtype=torch.bool, device="cpu")
        return self.factors == 0

    def factors_like(self, w: Tensor) -> Tensor | float:
        """Return the factors as a column beside w."""
        return 1.0 if self.factors is None else self.factors.to(w)[:, None]

    def over(self, index: Tensor) -> Self:
        """Return the penalty on some of the coefficients."""
        if self.factors is None:
            return self
        return type(self)(self.curvature, self.l1, self.positive, self.factors[index])

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each column of w."""
        value = w.new_zeros(w.shape[1])
        if self.curvature:  # zero times a square that overflows is NaN
            value += 0.5 * self.curvature * self._factored(w * w).sum(0)
        return value + self.l1 * self._factored(w.abs()).sum(0) if self.l1 else value

    def times(self, number: float) -> "Penalty":
        """Return the penalty with a weight that is so many times as large."""
        parts = number * self.curvature, number * self.l1
        return Penalty(*parts, self.positive, self.factors)

    def gradient(self, w: Tensor) -> Tensor:
        """Return the gradient of the smooth part at w."""
        return self.curvature * self._factored(w)

    def _factored(self, part: Tensor) -> Tensor:
        """Return what each coefficient has times its factor, without a kernel for ones."""
        return part if self.factors is None else self.factors.to(part)[:, None] * part


def make_penalty(
    penalty: str | None,
    alpha: float,
    l1_ratio: float,
    positive: bool,
    factors: Tensor | None = None,
) -> Penalty:
    """Return the penalty object for a name of ``PENALTIES``.

    Factors that are all the same are one of alpha, so that nothing else sees them.
    """
    if factors is not None and len(factors) and bool((factors == factors[0]).all()):
        alpha, factors = alpha * float(factors[0]), None
    l2, l1 = (alpha * part for part in PENALTIES[penalty](l1_ratio))
    return Penalty(l2, l1, positive, factors if l2 or l1 else None)


# The parts of alpha that multiply (1/2 ||w||^2, ||w||_1).
PENALTIES = {
    None: lambda l1_ratio: (0.0, 0.0),
    "l2": lambda l1_ratio: (1.0, 0.0),
    "l1": lambda l1_ratio: (0.0, 1.0),
    "elasticnet": lambda l1_ratio: (1.0 - l1_ratio, l1_ratio),
}

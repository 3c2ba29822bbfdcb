"""The kinks of a penalty."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

_ZEROS = 1e-12  # of the objective, which exact zeros may cost
_PART = 0.1  # of the tolerance, if that is more

# Of NumPy in Newton's method, whose many steps are on few numbers; tensors may be on a card.
AnyArray = TypeVar("AnyArray", Tensor, np.ndarray)


@dataclass
class Kinks(Generic[AnyArray]):
    """What is not smooth: ``sum_j slope_j |u_j|``, and ``u_j >= 0`` where ``bounded_j``.

    Parameters
    ----------
    slope : array or Tensor of shape (k,)
    bounded : array or Tensor of shape (k,), bool
    """

    slope: AnyArray
    bounded: AnyArray

    @cached_property
    def rigid(self) -> AnyArray:
        """Where there is a kink or bound at zero."""
        return (self.slope > 0) | self.bounded

    @cached_property
    def steepest_down(self) -> AnyArray:
        """The lower ends of the subdifferentials at zero, whose upper ends are the slopes."""
        low = -self.slope
        low[self.bounded] = -inf
        return low

    def over(self, index: AnyArray | slice) -> "Kinks[AnyArray]":
        """Return those of some coordinates."""
        return Kinks(self.slope[index], self.bounded[index])

    def value(self, u: AnyArray) -> float:
        """Return the value at u."""
        return float(self.slope @ abs(u))

    def prox(self, u: AnyArray, step: AnyArray) -> AnyArray:
        """Return the proximal point of u, in the metric ``1 / step``."""
        return u - u.clip(self.steepest_down * step, self.slope * step)

    def free(self, u: AnyArray) -> AnyArray:
        """Return where a small change of u has a smooth effect."""
        return (u != 0) | ~self.rigid

    def outward(self, u: AnyArray) -> AnyArray:
        """Return the signs of u, where there is a kink or bound at zero; 0 elsewhere."""
        return self.rigid * (1.0 * (u > 0) - 1.0 * (u < 0))

    def inside(self, gradient: AnyArray, part: float) -> AnyArray:
        """Return where the smooth part's gradient is inside the kink by a part of its slope."""
        least = (1 - part) * self.slope
        return (-gradient < least) & ((gradient < least) | self.bounded)

    def beyond(self, gradient: AnyArray) -> AnyArray:
        """Return the subgradient of least norm at zero, from the gradient of the smooth part."""
        return gradient - self._taken_up(gradient)

    def subgradient(self, u: AnyArray, gradient: AnyArray) -> AnyArray:
        """Return the subgradient of least norm, from the gradient of the smooth part."""
        beside = gradient + (self.slope * (u > 0) - self.slope * (u < 0))
        return beside - self._taken_up(gradient) * (u == 0)

    def _taken_up(self, gradient: AnyArray) -> AnyArray:
        """Return what the subdifferential at zero takes up of a gradient, exactly if it can."""
        return gradient.clip(-self.slope, -self.steepest_down)


def no_kinks(k: int) -> Kinks[np.ndarray]:
    """Return no kinks for k coordinates."""
    return Kinks(np.zeros(k), np.zeros(k, dtype=bool))


def worth_of_zeros(tol: float) -> float:
    """Return what part of the objective may be lost for coefficients that are exactly zero."""
    return max(_ZEROS, _PART * tol)

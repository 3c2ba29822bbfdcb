"""The kinks of a penalty, and systems that may have no unique solution."""

from dataclasses import dataclass

import torch
from torch import Tensor

_ZEROS = 1e-12  # of the objective, which exact zeros may cost
_PART = 0.1  # of the tolerance, if that is more


@dataclass
class Kinks:
    """What is not smooth: ``sum_j slope_j |u_j|``, and ``u_j >= 0`` where ``bounded_j``.

    Parameters
    ----------
    slope : Tensor of shape (k,)
    bounded : Tensor of shape (k,), bool
    """

    slope: Tensor
    bounded: Tensor

    @classmethod
    def none(cls, like: Tensor) -> "Kinks":
        """Return no kinks for coordinates like those of a vector."""
        return cls(torch.zeros_like(like), torch.zeros_like(like, dtype=torch.bool))

    def over(self, index: Tensor) -> "Kinks":
        """Return those of some coordinates."""
        return Kinks(self.slope[index], self.bounded[index])

    def followed_by_free(self, n_free: int) -> "Kinks":
        """Return these, followed by as many coordinates that have no kink, such as an intercept."""
        free = self.slope.new_zeros(n_free)
        return Kinks(torch.cat((self.slope, free)), torch.cat((self.bounded, free > 0)))

    def value(self, u: Tensor) -> Tensor:
        """Return the value at u."""
        return (self.slope * u.abs()).sum()

    def prox(self, u: Tensor, step: Tensor) -> Tensor:
        """Return the proximal point of u, in the metric ``1 / step``."""
        shrunk = (u.abs() - self.slope * step).clamp(min=0) * u.sign()
        return torch.where(self.bounded, shrunk.clamp(min=0), shrunk)

    def free(self, u: Tensor) -> Tensor:
        """Return where a small change of u has a smooth effect."""
        return (u != 0) | ((self.slope == 0) & ~self.bounded)

    def outward(self, u: Tensor) -> Tensor:
        """Return the signs of u, where there is a kink or bound at zero; 0 elsewhere."""
        return torch.where((self.slope > 0) | self.bounded, u.sign(), torch.zeros_like(u))

    def inside(self, gradient: Tensor, part: float) -> Tensor:
        """Return where the smooth part's gradient is inside the kink by a part of its slope."""
        least = (1 - part) * self.slope
        return torch.where(self.bounded, -gradient < least, gradient.abs() < least)

    def subgradient(self, u: Tensor, gradient: Tensor) -> Tensor:
        """Return the subgradient of least norm, from the gradient of the smooth part."""
        at_zero = (gradient.abs() - self.slope).clamp(min=0) * gradient.sign()
        at_bound = (gradient + self.slope).clamp(max=0)
        at_zero = torch.where(self.bounded, at_bound, at_zero)
        return torch.where(u == 0, at_zero, gradient + self.slope * u.sign())


def worth_of_zeros(tol: float) -> float:
    """Return what part of the objective may be lost for coefficients that are exactly zero."""
    return max(_ZEROS, _PART * tol)


def solve_positive(matrix: Tensor, right: Tensor) -> tuple[Tensor, bool]:
    """Return the solution of a symmetric positive semidefinite system, and whether it is unique.

    If it is not, the matrix is shifted, in units of its diagonal, by more than its rounding.
    """
    rounding = 4 * torch.finfo(matrix.dtype).eps * max(len(matrix), 1)
    diagonal = matrix.diagonal()
    diagonal = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal))
    lower, info = torch.linalg.cholesky_ex(matrix)
    unique = not info and bool((lower.diagonal() ** 2 > rounding * diagonal).all())
    if info:
        lower = _shifted_factor(matrix, diagonal, 100 * rounding)
    return torch.cholesky_solve(right[:, None], lower)[:, 0], unique


def factorised(matrix: Tensor) -> Tensor:
    """Return the Cholesky factor of a symmetric positive semidefinite matrix, shifted if need be.

    The shift is in units of the diagonal, and begins below what rounding leaves of the matrix.
    """
    lower, info = torch.linalg.cholesky_ex(matrix)
    if not info:
        return lower
    diagonal = matrix.diagonal()
    floor = torch.finfo(matrix.dtype).tiny + 1e-300
    diagonal = torch.where(diagonal > floor, diagonal, torch.ones_like(diagonal))
    return _shifted_factor(matrix, diagonal, torch.finfo(matrix.dtype).eps)


def _shifted_factor(matrix: Tensor, diagonal: Tensor, shift: float) -> Tensor:
    """Return the Cholesky factor of a matrix plus the least shift of its diagonal that has one."""
    lower, info = torch.linalg.cholesky_ex(matrix + (shift * diagonal).diag())
    while info and 100 * shift < 1e6:
        shift *= 100
        lower, info = torch.linalg.cholesky_ex(matrix + (shift * diagonal).diag())
    return lower

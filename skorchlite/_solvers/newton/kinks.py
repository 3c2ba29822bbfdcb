"""The corners of a penalty, and systems that may have no unique solution."""

from dataclasses import dataclass

import torch
from torch import Tensor

_ZEROS = 1e-12  # of the objective, which exact zeros may cost
_SHARE = 0.1  # of the tolerance, if that is more


@dataclass
class Corners:
    """What is not smooth: ``sum_j slope_j |x_j|``, and ``x_j >= 0`` where ``bounded_j``.

    Parameters
    ----------
    slope : Tensor of shape (k,)
    bounded : Tensor of shape (k,), bool
    """

    slope: Tensor
    bounded: Tensor

    def value(self, x: Tensor) -> Tensor:
        """Return the value at x."""
        return (self.slope * x.abs()).sum()

    def prox(self, x: Tensor, step: Tensor) -> Tensor:
        """Return where a step to x is drawn to, in the metric ``1 / step``."""
        shrunk = (x.abs() - self.slope * step).clamp(min=0) * x.sign()
        return torch.where(self.bounded, shrunk.clamp(min=0), shrunk)

    def free(self, x: Tensor) -> Tensor:
        """Return where a small change of x has a smooth effect."""
        return (x != 0) | ((self.slope == 0) & ~self.bounded)

    def outward(self, x: Tensor) -> Tensor:
        """Return the signs of x, where there is a corner or bound at zero; 0 elsewhere."""
        return torch.where((self.slope > 0) | self.bounded, x.sign(), torch.zeros_like(x))

    def inside(self, gradient: Tensor, part: float) -> Tensor:
        """Return where the gradient of the smooth part is inside the corner by a part of it."""
        least = (1 - part) * self.slope
        return torch.where(self.bounded, -gradient < least, gradient.abs() < least)

    def subgradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Return the subgradient of least norm, from the gradient of the smooth part."""
        at_zero = (gradient.abs() - self.slope).clamp(min=0) * gradient.sign()
        at_bound = (gradient + self.slope).clamp(max=0)
        at_zero = torch.where(self.bounded, at_bound, at_zero)
        return torch.where(x == 0, at_zero, gradient + self.slope * x.sign())


def worth_of_zeros(tol: float) -> float:
    """Return what part of the objective may be lost for coefficients that are exactly zero."""
    return max(_ZEROS, _SHARE * tol)


def solve_positive(matrix: Tensor, right: Tensor) -> tuple[Tensor, bool]:
    """Return the solution of a symmetric positive semidefinite system, and whether it is unique.

    If it is not, the matrix is shifted, in units of its diagonal, by more than its rounding.
    """
    rounding = 4 * torch.finfo(matrix.dtype).eps * max(len(matrix), 1)
    diagonal = matrix.diagonal()
    diagonal = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal))
    lower, info = torch.linalg.cholesky_ex(matrix)
    unique = not info and bool((lower.diagonal() ** 2 > rounding * diagonal).all())
    shift = 100 * rounding
    while info and shift < 1e6:
        lower, info = torch.linalg.cholesky_ex(matrix + (shift * diagonal).diag())
        shift *= 100
    return torch.cholesky_solve(right[:, None], lower)[:, 0], unique


def factorised(matrix: Tensor) -> Tensor:
    """Return the Cholesky factor of a symmetric positive semidefinite matrix, shifted if need be.

    The shift is in units of the diagonal, and begins below what rounding leaves of the matrix.
    """
    diagonal = matrix.diagonal()
    floor = torch.finfo(matrix.dtype).tiny + 1e-300
    diagonal = torch.where(diagonal > floor, diagonal, torch.ones_like(diagonal))
    lower, info = torch.linalg.cholesky_ex(matrix)
    shift = torch.finfo(matrix.dtype).eps
    while info and shift < 1e6:
        lower, info = torch.linalg.cholesky_ex(matrix + (shift * diagonal).diag())
        shift *= 100
    return lower

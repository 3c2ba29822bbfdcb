"""The preconditioner: a root of the inverse Hessian, the rank, and what rounding made of both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

FAR_UNITS = 1e5  # times the solution: what is larger is not taken off for the least norm
_PLAIN = 1e4  # a condition number up to which nothing depends on its value
_POWER_STEPS = 12


@dataclass
class Metric:
    """``factor @ factor.T`` is the (pseudo-)inverse of the Hessian.

    Parameters
    ----------
    factor : Tensor of shape (d, rank)
    scale : Tensor of shape (d,)
        The deviation of each column, 1 for a constant one.
    condition : float
        An upper estimate of the condition number of the Hessian with its columns scaled.
    live : Tensor of shape (d,)
        Which columns are not constant.
    null : Tensor of shape (d, d - rank) or None
        Directions along which the objective does not change; None where there are none, or where
        the factor has no part in them in the caller's units.
    blur : Tensor of shape (n_directions,) or None
        The part of the curvature along each direction, from 0 to 1, that rounding may have made,
        where only sums over the rows are kept; None where the rows are.
    noise : float, default=0.0
        The largest part of the deviation of a column that the rounding of its entries may have
        made, such as directions that are left out may have.
    """

    factor: Tensor
    scale: Tensor
    condition: float
    live: Tensor
    null: Tensor | None = None
    blur: Tensor | None = None
    noise: float = 0.0

    @property
    def rank(self) -> int:
        """The number of directions along which the objective changes."""
        return self.factor.shape[1]

    def blurred(self, n_null: int = 0) -> float:
        """Return the largest part of a curvature that the rounding of sums may have made.

        Parameters
        ----------
        n_null : int, default=0
            How many directions are known to have no curvature: rounding made all that they seem to
            have, and they do not count.
        """
        if self.blur is None or not len(self.blur):
            return 0.0
        parts = self.blur.sort(descending=True)[0]
        n_known = min(n_null - int((~self.live).sum()), int((parts >= 1).sum()))
        parts = parts[max(n_known, 0) :]
        return float(parts[0]) if len(parts) else 0.0

    def apply(self, gradient: Tensor) -> Tensor:
        """Return the Newton step against the gradient."""
        return self.factor @ (self.factor.T @ gradient)

    @cached_property
    def _gradient_unit(self) -> Tensor:
        return (self.live / self.scale)[:, None]

    def norm(self, gradient: Tensor) -> Tensor:
        """Return the norm of a gradient for each target, columns scaled."""
        return torch.linalg.vector_norm(gradient * self._gradient_unit, dim=0)

    def excess(
        self, w: Tensor, to_caller: Callable[[Tensor], Tensor], far: float = FAR_UNITS
    ) -> Tensor:
        """Return what to take off w so that it has minimum norm in the caller's units.

        Nothing where that is ``far`` times as large as w: its rounding would move predictions.
        """
        if self.null is None or not self.null.shape[1]:
            return torch.zeros_like(w)
        null = self.null / torch.linalg.vector_norm(to_caller(self.null), dim=0)
        span, triangle = torch.linalg.qr(to_caller(null))
        part = span.T @ to_caller(w)
        excess = null @ torch.linalg.solve_triangular(triangle, part, upper=True)
        norm, scale = torch.linalg.vector_norm, self.scale[:, None]
        small = norm(scale * excess, dim=0) <= far * norm(scale * w, dim=0)
        return torch.where(small, excess, torch.zeros_like(w))


def cholesky_metric(hessian: Tensor) -> Metric | None:
    """Return the metric by a Cholesky factorization of the scaled Hessian, or None.

    None where a column is constant or the factorization breaks down.
    """
    scale = hessian.diagonal().sqrt()
    scaled = hessian / torch.outer(scale, scale)
    inverse, condition = inverse_factor(scaled)
    if inverse is None:
        return None
    return Metric(inverse.T / scale[:, None], scale, condition, torch.ones_like(scale))


def inverse_factor(matrix: Tensor) -> tuple[Tensor | None, float]:
    """Return the inverse of the Cholesky factor of a matrix, and its condition, estimated upwards.

    None and infinity where the factorization breaks down.
    """
    lower, info = torch.linalg.cholesky_ex(matrix)
    if info:
        return None, torch.inf
    inverse = matrix.new_ones(len(matrix)).diag()
    torch.linalg.solve_triangular(lower, inverse, upper=False, out=inverse)
    # The largest eigenvalue is at most the trace; the inverse of the smallest is the square of the
    # 2-norm of this inverse, at most that of its Frobenius norm.
    condition = float(matrix.trace()) * float(torch.linalg.vector_norm(inverse)) ** 2
    if condition > _PLAIN:  # a closer estimate, which costs more
        largest = float(matrix.abs().sum(0).max())  # at most the 1-norm
        condition = min(condition, largest * _squared_norm(inverse))
    return inverse, condition


def _squared_norm(matrix: Tensor) -> float:
    """Return the square of the 2-norm of a matrix, by the power method.

    It starts from the longest column, here the one that depends most on the others.
    """
    v = matrix[:, (matrix * matrix).sum(0).argmax()]
    for _ in range(_POWER_STEPS):
        v = matrix.T @ (v / torch.linalg.vector_norm(v))
        length = torch.linalg.vector_norm(v)
        v = matrix @ (v / length)
    return float(length) ** 2

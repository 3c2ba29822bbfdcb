"""The preconditioner: a root of the inverse Hessian, the rank, and what rounding made of both."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray

from ..._linalg.products import divided, dot, norm, product, quietly

Array = NDArray[np.float64]

FAR_UNITS = 1e5  # times the solution: what is larger is not taken off for the least norm
_PLAIN = 1e4  # a condition number up to which nothing depends on its value
_POWER_STEPS = 12


@dataclass
class Metric:
    """``factor @ factor.T`` is the (pseudo-)inverse of the Hessian.

    Parameters
    ----------
    factor : array of shape (d, rank)
    scale : array of shape (d,)
        The deviation of each column, 1 for a constant one.
    condition : float
        An upper estimate of the condition number of the Hessian with its columns scaled.
    live : array of shape (d,)
        Which columns are not constant.
    null : array of shape (d, d - rank) or None
        Directions along which the objective does not change; None where there are none, or where
        the factor has no part in them in the caller's units.
    blur : array of shape (n_directions,) or None
        The part of the curvature along each direction, from 0 to 1, that rounding may have made,
        where only sums over the rows are kept; None where the rows are.
    noise : float, default=0.0
        The largest part of the deviation of a column that the rounding of its entries may have
        made, such as directions that are left out may have.
    """

    factor: Array
    scale: Array
    condition: float
    live: NDArray[np.bool_]
    null: Array | None = None
    blur: Array | None = None
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
        parts = np.sort(self.blur)[::-1]
        n_known = min(n_null - int((~self.live).sum()), int((parts >= 1).sum()))
        parts = parts[max(n_known, 0) :]
        return float(parts[0]) if len(parts) else 0.0

    def apply(self, gradient: Array) -> Array:
        """Return the Newton step against the gradient."""
        return product(self.factor, product(self.factor.T, gradient))

    def norm(self, gradient: Array) -> Array:
        """Return the norm of a gradient for each target, columns scaled."""
        return np.linalg.norm(gradient * (self.live / self.scale)[:, None], axis=0)

    @quietly
    def excess(
        self, w: Array, to_caller: Callable[[Array], Array], far: float = FAR_UNITS
    ) -> Array:
        """Return what to take off w so that it has minimum norm in the caller's units.

        Nothing where that is ``far`` times as large as w: its rounding would move predictions.
        """
        if self.null is None or not self.null.shape[1]:
            return np.zeros_like(w)
        n_null = self.null.shape[1]
        turned = to_caller(np.concatenate((self.null, w), 1))
        along, of_w = turned[:, :n_null], turned[:, n_null:]
        length = np.linalg.norm(along, axis=0)
        span, triangle = torch.linalg.qr(torch.from_numpy(along / length))
        part = span.T @ torch.from_numpy(of_w)
        taken = torch.linalg.solve_triangular(triangle, part, upper=True).numpy()
        excess = product(self.null / length, taken)
        scale = self.scale[:, None]
        size, whole = (np.linalg.norm(scale * part, axis=0) for part in (excess, w))
        small = size <= far * whole
        return np.where(small, excess, 0.0)


@quietly
def cholesky_metric(hessian: Array, live: NDArray[np.bool_] | None = None) -> Metric | None:
    """Return the metric by a Cholesky factorization of the scaled Hessian, or None.

    None where a column is constant or the factorization breaks down.

    Parameters
    ----------
    hessian : array of shape (d, d)
    live : array of shape (d,), default=None
        Which columns are not constant; None for all.
    """
    d, diagonal = len(hessian), hessian.diagonal()
    if live is None or live.all():
        scale = np.sqrt(diagonal)
        inverse, condition = inverse_factor(hessian / (scale[:, None] * scale))
        if inverse is None:
            return None
        return Metric(divided(inverse.T, scale[:, None]), scale, condition, np.ones(d, bool))
    part = cholesky_metric(hessian[live][:, live])
    if part is None:
        return None
    scale = np.sqrt(np.where(live, diagonal, 1.0))
    # In memory of torch, see ``divided``.
    factor = torch.zeros(part.rank, d, dtype=torch.float64, device="cpu").numpy().T
    factor[live] = part.factor
    return Metric(factor, scale, part.condition, live, np.eye(d)[:, ~live])


def inverse_factor(matrix: Array) -> tuple[Array | None, float]:
    """Return the inverse of the Cholesky factor of a matrix, and its condition, estimated upwards.

    None and infinity where the factorization breaks down.
    """
    lower, info = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    if info:
        return None, inf
    # In memory of torch: MKL rounds by how numbers lie, and those of NumPy lie anywhere.
    place = torch.eye(len(matrix), dtype=lower.dtype, device="cpu")
    torch.linalg.solve_triangular(lower, place, upper=False, out=place)
    inverse = place.numpy()
    # The largest eigenvalue is at most the trace; the inverse of the smallest is the square of the
    # 2-norm of this inverse, at most that of its Frobenius norm.
    entries = inverse.reshape(-1)
    condition = float(matrix.trace()) * dot(entries, entries)
    if condition > _PLAIN:  # a closer estimate, which costs more
        largest = float(abs(matrix).sum(0).max())  # at most the 1-norm
        condition = min(condition, largest * _squared_norm(inverse))
    return inverse, condition


def _squared_norm(matrix: Array) -> float:
    """Return the square of the 2-norm of a matrix, by the power method.

    It starts from the longest column, here the one that depends most on the others.
    """
    v = matrix[:, (matrix * matrix).sum(0).argmax()]
    for _ in range(_POWER_STEPS):
        v = product(matrix.T, v / norm(v))
        length = norm(v)
        v = product(matrix, v / length)
    return length**2

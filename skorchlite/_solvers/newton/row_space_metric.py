"""The preconditioner of more columns than rows, by products of the rows with each other.

Where the rows are far from depending on each other, their products hold all that the rows do, and
an orthogonal basis of the rows, which costs several times as much, has nothing to add.
"""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._linalg.gram import square_of
from .preconditioner import Metric, inverse_factor

Array = NDArray[np.float64]

_ENOUGH = 1e-4  # condition number times rounding, up to which products of rows hold what rows do


class RowSpaceMetric(Metric):
    """The inverse of ``Z^T Z + penalty`` on the span of the rows, applied but not formed.

    It is ``Z^T K^-1 (K + penalty)^-1 Z`` with ``K = Z Z^T``.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
        Rows in the caller's units, times the root of their share of the weight.
    inverse : Tensor of shape (n, n)
        Of the Cholesky factor of K.
    penalised : Tensor of shape (n, n) or None
        The Cholesky factor of K with the penalty; None where there is none.
    n_free : int
        How many of the rows depend on the others since all are measured from their mean.
    penalty : float
    unit : Tensor of shape (d,)
        A coefficient of 1 in units in which the penalty is the same along all, the caller's but
        for the factors of the penalty.
    scale, live : array of shape (d,)
    condition, noise : float
        See ``Metric``.
    """

    def __init__(
        self,
        Z: Tensor,
        inverse: Tensor,
        penalised: Tensor | None,
        n_free: int,
        penalty: float,
        unit: Tensor,
        scale: Array,
        live: NDArray[np.bool_],
        condition: float,
        noise: float,
    ):
        self.Z, self.inverse, self.penalised = Z, inverse, penalised
        self.n_free, self.penalty = n_free, penalty
        self.unit = unit[:, None]
        self.scale, self.live, self.condition, self.noise = scale, live, condition, noise
        self.null = self.blur = None

    @property
    def rank(self) -> int:
        """The number of directions along which the objective changes."""
        return len(self.Z) - self.n_free

    @cached_property
    def factor(self) -> Array:  # type: ignore[override]
        """A root of the inverse, of shape (d, rank)."""
        values, turn = torch.linalg.eigh(square_of(self.Z.T))
        values, turn = values[self.n_free :], turn[:, self.n_free :]
        root = turn / (values * (values + self.penalty)).sqrt()
        return (self.Z.T @ root / self.unit).numpy()

    def apply(self, gradient: Array) -> Array:
        """Return the Newton step against the gradient."""
        along = self.Z @ (torch.from_numpy(gradient) / self.unit)
        along = self.inverse.T @ (self.inverse @ along)
        if self.penalised is None:
            along = self.inverse.T @ (self.inverse @ along)
        else:
            along = torch.cholesky_solve(along, self.penalised)
        return (self.Z.T @ along / self.unit).numpy()


def row_space_factors(
    Z: Tensor, mean_free: Tensor | None, penalty: float
) -> tuple[tuple[Tensor, Tensor | None] | None, float]:
    """Return what ``RowSpaceMetric`` multiplies by, and the condition number of ``Z Z^T``.

    None in place of the factors where the condition number is too large.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
    mean_free : Tensor of shape (n,) or None
        A unit vector whose product with Z is zero, since columns are measured from their mean.
    penalty : float
    """
    K = square_of(Z.T)
    if mean_free is not None:  # curvature along this direction changes no product with Z
        K.addr_(mean_free, mean_free, alpha=float(K.trace()) / len(K))
    found, condition = inverse_factor(K.numpy())
    if found is None or condition * torch.finfo(K.dtype).eps * len(K) > _ENOUGH:
        return None, condition
    inverse = torch.from_numpy(found)
    if not penalty:
        return (inverse, None), condition
    K.diagonal().add_(penalty)
    # The factor itself serves few right sides as well, and its inverse would be as large again.
    penalised, info = torch.linalg.cholesky_ex(K)
    return None if info else (inverse, penalised), condition

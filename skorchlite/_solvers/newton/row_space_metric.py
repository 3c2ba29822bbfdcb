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
    inverses : pair of Tensor of shape (n, n)
        The inverses of the Cholesky factors of K, with and without the penalty.
    n_free : int
        How many of the rows depend on the others since all are measured from their mean.
    penalty : float
    unit : Tensor of shape (d,)
        A coefficient of 1 in the caller's units.
    scale, live : array of shape (d,)
    condition, noise : float
        See ``Metric``.
    """

    def __init__(
        self,
        Z: Tensor,
        inverses: tuple[Tensor, Tensor],
        n_free: int,
        penalty: float,
        unit: Tensor,
        scale: Array,
        live: NDArray[np.bool_],
        condition: float,
        noise: float,
    ):
        self.Z, self.inverses, self.n_free, self.penalty = Z, inverses, n_free, penalty
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
        for inverse in self.inverses:
            along = inverse.T @ (inverse @ along)
        return (self.Z.T @ along / self.unit).numpy()


def row_space_inverses(
    Z: Tensor, mean_free: Tensor | None, penalty: float
) -> tuple[tuple[Tensor, Tensor] | None, float]:
    """Return the inverses of the Cholesky factors of ``Z Z^T``, without and with the penalty.

    And the condition number of the first; None where it is too large.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
    mean_free : Tensor of shape (n,) or None
        A unit vector whose product with Z is zero, since columns are measured from their mean.
    penalty : float
    """
    K = square_of(Z.T)
    if mean_free is not None:  # curvature along this direction changes no product with Z
        K += float(K.trace()) / len(K) * torch.outer(mean_free, mean_free)
    found, condition = inverse_factor(K.numpy())
    if found is None or condition * torch.finfo(K.dtype).eps * len(K) > _ENOUGH:
        return None, condition
    inverse = torch.from_numpy(found)
    if not penalty:
        return (inverse, inverse), condition
    K.diagonal().add_(penalty)
    with_penalty, _ = inverse_factor(K.numpy())
    if with_penalty is None:
        return None, condition
    return (inverse, torch.from_numpy(with_penalty)), condition

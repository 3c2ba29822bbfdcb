"""The quadratic objective of more columns than rows, in coordinates of the rows.

Steps along gradients stay in the span of the rows, ``u = A.T a`` with the rows A in coordinates of
like curvature. So a number a row says where a descent is, and the products of the rows with each
other, ``K = A A.T``, say where steps lead. They are multiplied by, and not formed. In coordinates
of the columns each step would work on as many numbers as there are columns.
"""

from functools import partial, reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._linalg.centred_columns import CentredColumns
from ..._linalg.operators import DesignOperator
from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._sources.design import multiplied
from ..._sources.device_sums import weight_of
from ..newton.scaled import Scaled


class _Block(NamedTuple):
    """Some rows.

    Parameters
    ----------
    y : Tensor of shape (n_rows, n_targets)
    Z : CentredColumns
    root : Tensor of shape (n_rows, 1)
        The roots of their shares of the weight.
    unit : Tensor of shape (n_rows, 1)
        The same times the unit of the columns: what makes Z their part of A.
    along : Tensor of shape (n_rows, 1)
        Their products with what is taken off the columns.
    """

    y: Tensor
    Z: CentredColumns
    root: Tensor
    unit: Tensor
    along: Tensor


def suits_row_space(objective: Objective) -> bool:
    """Return whether sparse rows of this process are fewer than their columns."""
    rows = objective.rows
    here = rows.sparse and not rows.partitioned and objective.origin.scale is None
    alike = objective.penalty.factors is None  # else products of the rows are in no one's units
    return here and alike and objective.basis.diagonal and rows.fewer_than(objective.n_features)


class RowSpace(Scaled):
    """The objective in coordinates of the rows.

    A point, or a gradient, is ``[a, K a]``, so that the product of two takes one of ``a`` with
    ``K a``, and the Hessian one with K.

    Parameters
    ----------
    objective : Objective
        Of squared error with a smooth penalty, such that ``suits_row_space``.
    data_eps : float
        Relative rounding of the data itself.
    """

    def __init__(self, objective: Objective, data_eps: float):
        super().__init__(objective, data_eps)
        objective, device = self.objective, objective.rows.device
        # All units but those of zero are the same, so that all curvatures of the penalty are.
        unit, self._curvature = self.unit[:-1].max().to(device), self.least_penalised
        constant = (self.unit[:-1, 0] == 0) & objective.rows.filled  # those of zeros need no care
        self._constant = constant.nonzero()[:, 0].to(device)
        parts = list(multiplied(objective.rows, objective.origin, objective.double))
        total = float(sum(weight_of(y, weight) for y, _, weight in parts))
        self._blocks = [_block(y, Z, weight, total, unit) for y, Z, weight in parts]
        self._sizes = [len(block.y) for block in self._blocks]
        self._n_rows = sum(self._sizes)
        self._offset_square = self._blocks[0].Z.offset.square().sum()

    def start(self, w: Tensor | None) -> Tensor:
        """Return where to start: without coefficients."""
        return torch.zeros(2 * self._n_rows, len(self.target_mean), dtype=torch.float64)

    def relative_size(self, step: Tensor, u: Tensor) -> float:
        """Return about how large a step is beside u, the largest over the targets."""
        return float((self.norm(step) / self.norm(u)).nan_to_num(0.0).max())

    def dots(self, x: Tensor, y: Tensor) -> np.ndarray:
        """Return the products of the columns of x with those of y."""
        n = self._n_rows
        return np.einsum("ij,ij->j", x.numpy()[:n], y.numpy()[n:])

    def norm(self, x: Tensor) -> Tensor:
        """Return the norm of each column."""
        return torch.from_numpy(self.dots(x, x)).clamp_(min=0).sqrt_()

    def gaps(self, gradient: Tensor, least: Tensor) -> Tensor:
        """Return how far each target may be above its least objective.

        With a penalty it is the duality gap: the dual variables, a number a row as well, are ``a``
        times the curvature of the penalty.
        """
        if not self._curvature:
            return super().gaps(gradient, least)
        return 0.5 * gradient[: self._n_rows].square().sum(0)

    def norm_of_coef(self, u: Tensor) -> Tensor:
        """Return the norm of the coefficients."""
        return self.norm(u)

    def point(self, u: Tensor) -> Tensor:
        """Return u in the coordinates of the objective."""
        parts = zip(self._blocks, self._split(u[: self._n_rows]), strict=True)
        v = self.unit**2 * _sum(block.Z.T @ (a * block.root) for block, a in parts).cpu()
        v[-1] = 0  # columns and targets are measured from their means
        return v

    def evaluate(self, u: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the value for each target and the gradient, from the data."""
        v = self.point(u)
        at = v.to(self._constant.device)
        missed = torch.cat([(b.Z @ at - b.y) * b.root for b in self._blocks]).cpu()
        value = 0.5 * missed.square().sum(0) + self.objective.column_penalty.value(v[:-1])
        gradient = self._paired(missed + self._curvature * u[: self._n_rows])
        if not torch.isfinite(gradient).all():
            raise OutOfRangeError
        return value, gradient

    def without_coefficients(self) -> tuple[Tensor, Tensor]:
        """Return the same at zero."""
        missed = torch.cat([block.y * -block.root for block in self._blocks]).cpu()
        return 0.5 * self.target_deviation**2, self._paired(missed)

    def hessian_product(self, u: Tensor) -> Tensor:
        """Return the Hessian times u."""
        return self._paired(torch.add(u[self._n_rows :], u[: self._n_rows], alpha=self._curvature))

    def _paired(self, a: Tensor) -> Tensor:
        """Return ``[a, K a]``.

        What is taken off the columns is so from products of the rows, which are fewer numbers.
        """
        parts = zip(self._blocks, self._split(a), strict=True)
        scaled = [(block, part * block.unit) for block, part in parts]
        w = _sum(block.Z.uncentred_transposed_times(s) for block, s in scaled)
        if len(self._constant):
            w[self._constant] = 0.0
        total = _sum(s.sum(0) for _, s in scaled)
        away = self._offset_square * total - _sum((block.along * s).sum(0) for block, s in scaled)
        along = (
            (block.Z.uncentred_times(w).addcmul_(block.along, total, value=-1) + away) * block.unit
            for block in self._blocks
        )
        return torch.cat((a, *(part.cpu() for part in along)))

    def _split(self, a: Tensor) -> tuple[Tensor, ...]:
        """Return the part of each block."""
        return a.to(self._constant.device).split(self._sizes)


_sum = partial(reduce, torch.add)  # which adds no zero to the first


def _block(
    y: Tensor, Z: DesignOperator, weight: Tensor | None, total: float, unit: Tensor
) -> _Block:
    assert isinstance(Z, CentredColumns), "sparse rows have no others"
    share = y.new_full((len(y), 1), 1 / total) if weight is None else weight[:, None] / total
    root = share.sqrt()
    return _Block(y, Z, root, root * unit, Z.uncentred_times(Z.offset))

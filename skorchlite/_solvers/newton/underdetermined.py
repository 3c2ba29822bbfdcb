"""The quadratic model and the preconditioner of more columns than rows, in the span of the rows.

An orthogonal basis of the rows takes the place of the Gram matrix of the columns, so that no matrix
is larger than the data. The solution lies in the span of the rows, and so has minimum norm.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._linalg.gram import cached_rows
from ..._objective.moments import Moments
from ..._objective.objective import Objective, Quadratic
from .preconditioner import Metric
from .row_space_metric import RowSpaceMetric, row_space_factors
from .small_problems import gather
from .spectral_metric import resolved

Array = NDArray[np.float64]

_CLEAR = 1e-8  # of a curvature: what rounding of the data may have made of it without an effect
_ROUNDING = 4.0  # of a product with a unit vector, in units of eps * dimension


class RowGram:
    """The Hessian ``Z^T Z + penalty``, applied but never formed.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
        Centred rows times the root of their share of the weight.
    penalty : Tensor of shape (d, 1)
        The diagonal that the penalty adds.
    root_share : Tensor of shape (n,)
        The root of the share that each row has of the weight.
    squares : Tensor of shape (d,)
        The sums of the squares of the columns of Z.
    """

    def __init__(self, Z: Tensor, penalty: Tensor, root_share: Tensor, squares: Tensor):
        self.Z, self.penalty, self.root_share = Z, penalty, root_share
        self.squares = squares

    def __matmul__(self, w: Array) -> Array:
        point = torch.from_numpy(w)
        return (self.Z.T @ (self.Z @ point) + self.penalty * point).numpy()

    def diagonal(self) -> Array:
        """Return the diagonal."""
        return (self.squares + self.penalty[:, 0]).numpy()


def wide_quadratic(objective: Objective) -> tuple[Objective, Quadratic]:
    """Return the objective about the mean of the columns, and as a quadratic, in one pass."""
    t = objective.rows.n_targets
    columns, share = gather(objective)
    if not share.all():  # rows of weight zero are no part of the problem
        columns, share = columns[share > 0], share[share > 0]
    mean, root_share = share @ columns, share.sqrt()
    squares = torch.zeros_like(mean)
    size = cached_rows(len(mean))
    for part, root in zip(columns.split(size), root_share.split(size), strict=True):
        if objective.fit_intercept:
            part -= mean
        part *= root[:, None]
        squares += (part * part).sum(0)
    if objective.fit_intercept:
        objective = objective.centred(mean)
    nothing = columns[:, squares == 0]
    if not torch.isfinite(squares).all() or (nothing != 0).any():
        raise OutOfRangeError
    y, Z = columns[:, :t], columns[:, t:]
    unit = objective.column_penalty.round_unit[:, None]
    hessian = RowGram(Z, objective.penalty.curvature * unit**2, root_share, squares[t:])
    moments = Moments(1.0, mean.numpy(), squares.numpy())
    gradient, value = -(Z.T @ y).numpy(), 0.5 * moments.cross[:t]
    return objective, Quadratic(hessian, gradient, value, moments)


def wide_metric(objective: Objective, quadratic: Quadratic, rounding: Array) -> Metric:
    """Return the metric in the span of the rows, in units in which the penalty is round.

    Parameters
    ----------
    objective : Objective
    quadratic : Quadratic
        As made by ``wide_quadratic``.
    rounding : array of shape (d,)
        The part of the deviation of each column that the rounding of its entries may have made.
    """
    Z = quadratic.hessian.Z
    unit = objective.column_penalty.round_unit
    deviation = np.sqrt(quadratic.moments.cross[-len(unit) :])
    varies = (deviation > 0) & (rounding < 1)
    scale, live = np.where(varies, deviation, 1.0), torch.from_numpy(varies)
    if not varies.any():
        return Metric(Z[:0].T.numpy(), scale, 1.0, varies)
    plain = varies.all() and (unit == 1).all()  # most often, and then there is no need of a copy
    rows = Z if plain else Z * torch.where(live, 1 / unit, torch.zeros_like(unit))
    largest = float(np.where(varies, rounding, 0.0).max())
    penalty = objective.penalty.curvature
    mean_free = quadratic.hessian.root_share if objective.fit_intercept else None
    factors, condition = row_space_factors(rows, mean_free, penalty)
    if factors is not None and condition * largest**2 < _CLEAR:
        n_free = int(objective.fit_intercept)
        return RowSpaceMetric(
            rows, *factors, n_free, penalty, unit, scale, varies, condition, largest
        )
    # By an orthogonal basis: the Gram matrix of the rows would lose small singular values, and hide
    # which directions depend on others.
    basis, triangle = torch.linalg.qr(rows.T)
    turn, length, _ = torch.linalg.svd(triangle)
    keep = length > _ROUNDING * len(rows) * torch.finfo(length.dtype).eps * length[0]
    span, length = basis @ turn[:, keep], length[keep]
    noise = torch.from_numpy(np.where(varies, rounding, 0.0) * deviation) / unit
    found = resolved(objective, length**2 + penalty, span, unit, noise)
    return Metric(found.factor.numpy(), scale, found.condition, varies, noise=largest)

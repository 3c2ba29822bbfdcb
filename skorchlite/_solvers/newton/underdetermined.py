"""More columns than rows: the same descent in the space that the rows span.

An orthogonal basis of the rows takes the place of the Gram matrix of the columns, so that no matrix
is larger than the data. The solution lies in the span of the rows, and so has minimum norm.
"""

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.moments import Moments
from ..._objective.objective import Objective, Quadratic
from .preconditioner import Metric
from .small_problems import gather
from .spectral_metric import resolved

_ROUNDING = 4.0  # of a product with a unit vector, in units of eps * dimension


class RowGram:
    """The Hessian ``Z^T Z + penalty``, applied but never formed.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
        Centred rows times the root of their share of the weight.
    penalty : Tensor of shape (d, 1)
        The diagonal that the penalty adds.
    """

    def __init__(self, Z: Tensor, penalty: Tensor):
        self.Z, self.penalty = Z, penalty

    def __matmul__(self, w: Tensor) -> Tensor:
        return self.Z.T @ (self.Z @ w) + self.penalty * w

    def diagonal(self) -> Tensor:
        """Return the diagonal."""
        return (self.Z * self.Z).sum(0) + self.penalty[:, 0]


def wide_quadratic(objective: Objective) -> tuple[Objective, Quadratic]:
    """Return the objective about the mean of the columns, and as a quadratic, in one pass."""
    t = objective.rows.n_targets
    columns, weight = gather(objective)
    mean = weight @ columns
    if objective.fit_intercept:
        columns -= mean
        objective = objective.centred(mean)
    columns *= weight.sqrt()[:, None]
    squares = (columns * columns).sum(0)
    underflow = (squares == 0) & (columns != 0).any(0)
    if not torch.isfinite(squares).all() or underflow.any():
        raise OutOfRangeError
    y, Z = columns[:, :t], columns[:, t:]
    unit = objective.units.to_caller(Z.new_ones(Z.shape[1], 1))
    hessian = RowGram(Z, objective.penalty.curvature * unit**2)
    moments = Moments(1.0, mean, squares)
    return objective, Quadratic(hessian, -Z.T @ y, 0.5 * squares[:t], moments)


def wide_metric(objective: Objective, quadratic: Quadratic, rounding: Tensor) -> Metric:
    """Return the metric in the span of the rows, in the caller's units.

    Parameters
    ----------
    objective : Objective
    quadratic : Quadratic
        As made by ``wide_quadratic``.
    rounding : Tensor of shape (d,)
        The part of the deviation of each column that the rounding of its entries may have made.
    """
    Z = quadratic.hessian.Z
    unit = objective.units.to_caller(Z.new_ones(Z.shape[1], 1))[:, 0]
    deviation = quadratic.moments.cross[-len(unit) :].sqrt()
    live = (deviation > 0) & (rounding < 1)
    scale = torch.where(live, deviation, torch.ones_like(deviation))
    rows = Z * torch.where(live, 1 / unit, torch.zeros_like(unit))
    if not live.any():
        return Metric(rows[:0].T, scale, 1.0, live)
    # By way of an orthogonal basis: the Gram matrix of the rows would lose the small singular
    # values, and directions that are dependent on the others would not show.
    basis, triangle = torch.linalg.qr(rows.T)
    turn, length, _ = torch.linalg.svd(triangle)
    keep = length > _ROUNDING * len(rows) * torch.finfo(length.dtype).eps * length[0]
    span, length = basis @ turn[:, keep], length[keep]
    noise = torch.where(live, rounding, torch.zeros_like(rounding)) * deviation / unit
    values = length**2 + objective.penalty.curvature
    found = resolved(objective, values, span, unit, noise)
    largest = float(torch.where(live, rounding, 0.0).max())
    return Metric(found.factor, scale, found.condition, live, noise=largest)

"""A sample of the rows, on which the curvature of an objective is measured."""

from functools import cached_property, partial

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._sources.design import staged
from ..._sources.origin import Origin
from ..._sources.row_source import Rows
from ..newton.reparametrization import Coordinates
from .curvature import row_curvature
from .minibatches import split_columns

_ROWS, _LEAST_ROWS, _ENTRIES = 4_096, 32, 1 << 21
_FEW_COORDINATES = 256  # whose eigenvalues take no longer than a pass
_POWER_STEPS = 20
_BLUR = 1e-12  # of the trace: what rounding may have made of a least eigenvalue


class Pilot:
    """A sample of evenly spaced rows, on which the curvature of the objective is measured.

    Parameters
    ----------
    objective : Objective
    coordinates : Coordinates

    Attributes
    ----------
    y : Tensor of shape (n, n_targets)
    Z : Tensor of shape (n, d)
        The features and, if there is an intercept, ones.
    share : Tensor of shape (n, 1)
        The share that each row has in the weight of the sample.
    part : float
        The share that the sample has in the weight of all rows.
    penalty : Tensor of shape (d, 1)
        The curvature of the penalty in v.
    """

    def __init__(self, objective: Objective, coordinates: Coordinates):
        few = max(_ENTRIES // (objective.n_features + 1), _LEAST_ROWS)
        sample = objective.sampled(min(_ROWS, few))
        (blocks,) = sample.rows.total(
            partial(_staged_rows, origin=objective.origin, dtype=objective.double)
        )
        A, weight = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        self.share = (weight / weight.sum().clamp(min=torch.finfo(A.dtype).tiny))[:, None]
        all_rows = objective.rows.n_rows * objective.rows.mean_weight()
        self.part = min(float(weight.sum()) / all_rows, 1.0)
        self.y, self.Z = split_columns(A, objective.rows, objective.fit_intercept)
        self.coordinates = coordinates.to(self.Z)
        curvature = objective.column_penalty.curvature[:, None].to(self.Z)
        self.penalty = torch.cat((curvature, curvature.new_zeros(int(objective.fit_intercept), 1)))

    @cached_property
    def deviation(self) -> float:
        """The largest deviation of a target."""
        return float(self.y.std(0, correction=0).max())

    def largest(self, rows: float, penalty: float) -> float:
        """Return the largest curvature of the mean over rows and of the penalty, in u.

        Parameters
        ----------
        rows, penalty : float
            What to multiply both by. The loss is one of unit curvature.
        """
        if not (self.coordinates.size and (rows or self.penalty.any())):
            return 0.0
        product = partial(self._product, weight=rows * self.share, penalty=penalty * self.penalty)
        k = self.coordinates.size
        if k <= _FEW_COORDINATES:
            matrix = product(torch.eye(k).to(self.Z))
            if not torch.isfinite(matrix).all():
                raise OutOfRangeError
            return float(torch.linalg.eigvalsh(matrix)[-1].clamp(min=0))
        u = self.Z.new_ones(k, 1)
        length = torch.linalg.vector_norm(u)
        for _ in range(_POWER_STEPS):
            u = product(u / length)
            length = torch.linalg.vector_norm(u)
            if not length > 0:
                return 0.0
        return float(length)

    def _product(self, u: Tensor, weight: Tensor, penalty: Tensor) -> Tensor:
        """Return the Hessian of rows with these weights and of the penalty, times u."""
        v = self.coordinates.to_v(u)
        return self.coordinates.pull(self.Z.T @ (weight * (self.Z @ v)) + penalty * v)

    def residual(self, v: Tensor) -> Tensor:
        """Return the residuals at a point."""
        return self.y - self.Z @ v.to(self.Z)

    def least_near(self, loss: Loss, r: Tensor, reach: float, coordinates: Coordinates) -> float:
        """Return what the curvature of the objective in u is not below, within reach of a point.

        Convex losses of rows that are not sampled only add to it.

        Parameters
        ----------
        loss : Loss
            Convex, with a curvature that rises or falls with the size of the residual.
        r : Tensor of shape (n, 1)
            The residuals of the rows at the point.
        reach : float
            In the coordinates.
        coordinates : Coordinates
        """
        k = coordinates.size
        if not k:  # there is no direction to be flat in
            return torch.inf
        if k > min(_FEW_COORDINATES, len(self.Z)):
            return 0.0
        directions = coordinates.to(self.Z).to_v(torch.eye(k).to(self.Z))
        Z = self.Z @ directions
        away = reach * torch.linalg.vector_norm(Z, dim=1, keepdim=True)
        nothing, ends = torch.zeros_like(r), (r - away, r + away)
        nearest = torch.minimum(torch.maximum(nothing, ends[0]), ends[1])
        points = *ends, nearest
        curvature = torch.stack([loss.curvature(point, nothing) for point in points]).amin(0)
        hessian = self.part * (Z.T @ (self.share * curvature * Z))
        hessian += directions.T @ (self.penalty * directions)
        least = float(torch.linalg.eigvalsh(hessian)[0])
        return max(least - _BLUR * float(hessian.diagonal().sum()), 0.0)

    def of_loss(self, loss: Loss, v: Tensor) -> tuple[float, float]:
        """Return the mean curvature of the loss at a point, and the mean weighted by itself."""
        curvature = row_curvature(loss, self.y, self.Z @ v.to(self.Z))
        mean = float(curvature.mean())
        return (mean, float((curvature**2).mean()) / mean) if mean > 0 else (1.0, 1.0)


def _staged_rows(
    rows: Rows, origin: Origin, dtype: torch.dtype
) -> tuple[list[tuple[Tensor, Tensor]]]:
    blocks = staged(rows, origin, dtype)
    ones = torch.ones(1, dtype=dtype, device=rows.device)
    return ([(A.clone(), ones.expand(len(A)) if w is None else w.to(A)) for A, w in blocks],)

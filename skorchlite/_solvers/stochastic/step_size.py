"""How curved the objective is in given coordinates: what bounds the step of a descent.

References
----------
Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik (2019), "SGD: general analysis and improved
rates".
"""

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._linalg.gram import sum_products
from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._sources.design import paired, staged
from ..._sources.origin import Origin
from ..._sources.row_source import Rows
from ..newton.preconditioner import cholesky_metric
from ..newton.reparametrization import Coordinates

_PILOT_ROWS, _PILOT_ENTRIES = 4_096, 1 << 21
_FEW_COORDINATES, _POWER_STEPS = 256, 20
_WORST = 1e12  # condition of a Hessian in scaled columns, above which it is flat in a direction
_BLUR = 1e-12  # of the trace: what rounding may have made of a least eigenvalue
_DIFFERENCE = 1e-4  # of a residual, over which the slope of a callable is differenced


def squared_norms(
    objective: Objective,
    coordinates: Coordinates,
    dtype: torch.dtype,
    loss: Any = None,
    v: Tensor | None = None,
) -> Tensor:
    """Return the squared norm of each row in the coordinates, times its share of the weight.

    With a loss and a point, times the curvature that the row has there too.
    """
    add_up = partial(
        _squared_norms,
        origin=objective.origin,
        dtype=dtype,
        intercept=objective.fit_intercept,
        factor=coordinates.factor,
        unit=coordinates.unit,
        loss=loss,
        v=v,
    )
    (parts,) = objective.rows.total(add_up)
    squares = parts[0] if len(parts) == 1 else torch.cat(parts)
    return squares.div_(objective.rows.mean_weight())


def _squared_norms(
    rows: Rows,
    origin: Origin,
    dtype: torch.dtype,
    intercept: bool,
    factor: Tensor | None,
    unit: Tensor | None,
    loss: Loss,
    v: Tensor | None,
) -> tuple[list[Tensor]]:
    if rows.sparse and factor is None and v is None:
        parts = []
        for _, columns, weight in paired(rows, origin, dtype):
            squares = columns.row_squares(unit).cpu() + intercept
            parts.append(squares if weight is None else squares * weight.cpu())
        return ([torch.cat(parts)],)
    # Written in place: small results between large temporaries would scatter these over memory.
    result, done = torch.empty(rows.n_rows, dtype=torch.float64), 0
    for A, weight in staged(rows, origin, dtype):
        y, Z = _split(rows, A, intercept)
        bent = None if v is None else row_curvature(loss, y, Z @ v.to(Z))
        if factor is not None:
            Z = Z @ factor.to(Z)
        elif unit is not None:
            Z = Z * unit.to(Z).T
        squares = torch.linalg.vector_norm(Z, dim=1).cpu().double() ** 2
        squares = squares if bent is None else squares * bent.mean(1).cpu()
        squares = squares if weight is None else squares * weight.cpu()
        result[done : done + len(A)] = squares
        done += len(A)
    return ([result],)


def row_curvature(loss: Loss, y: Tensor, raw: Tensor) -> Tensor:
    """Return how curved the loss of each entry is.

    That is what it is there or, where that is more, what a parabola is that touches it there and is
    least where the residual is zero.
    """
    if loss.quadratic:
        return torch.ones_like(raw)
    r, slope = (y - raw).abs(), loss.gradient(y, raw).abs()
    if loss.convex:
        local = loss.curvature(y, raw)
    else:
        step = _DIFFERENCE * r.mean().clamp(min=torch.finfo(r.dtype).tiny)
        ahead, behind = (loss.gradient(y, raw + s) for s in (step, -step))
        local = ((ahead - behind) / (2 * step)).abs()
    curvature = torch.maximum(local, torch.where(r > 0, slope / r, 0.0))
    return curvature.nan_to_num(0.0, 0.0, 0.0)


def curved_coordinates(objective: Objective, loss: Loss, v: Tensor) -> Coordinates | None:
    """Return coordinates in which the objective is as curved in all directions, at a point.

    None where it is flat in some. The curvature of several targets is that of their mean.
    """
    d, n_rows = objective.n_features, objective.n_features + objective.fit_intercept
    add_up = partial(
        _bent_products,
        origin=objective.origin,
        dtype=objective.double,
        intercept=objective.fit_intercept,
        loss=loss,
        v=v,
    )
    (hessian,) = objective.rows.total(add_up)
    hessian /= objective.rows.n_rows * objective.rows.mean_weight()
    hessian[:d, :d] += objective.column_penalty.curvature.diag()
    metric = cholesky_metric(hessian)
    if metric is None or metric.condition > _WORST:
        return None
    return Coordinates(n_rows, factor=metric.factor)


def _bent_products(
    rows: Rows, origin: Origin, dtype: torch.dtype, intercept: bool, loss: Loss, v: Tensor
) -> tuple[Tensor]:
    def weighted() -> Iterator[tuple[Tensor, Tensor | None]]:
        for A, weight in staged(rows, origin, dtype):
            y, Z = _split(rows, A, intercept)
            bent = row_curvature(loss, y, Z @ v.to(Z)).mean(1)
            yield Z.contiguous(), bent if weight is None else bent * weight.to(bent)

    return (sum_products(weighted(), rows.n_features + intercept).cpu(),)


class Pilot:
    """Some evenly spaced rows, which tell how curved the loss is.

    Parameters
    ----------
    objective : Objective
    coordinates : Coordinates
    """

    def __init__(self, objective: Objective, coordinates: Coordinates):
        rows = min(_PILOT_ROWS, max(_PILOT_ENTRIES // (objective.n_features + 1), 32))
        sample = objective.sampled(rows)
        (blocks,) = sample.rows.total(
            partial(_staged_rows, origin=objective.origin, dtype=objective.double)
        )
        A, weight = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        self.share = (weight / weight.sum().clamp(min=torch.finfo(A.dtype).tiny))[:, None]
        all_rows = objective.rows.n_rows * objective.rows.mean_weight()
        self.part = min(float(weight.sum()) / all_rows, 1.0)  # of all weight
        self.y, self.Z = _split(objective.rows, A, objective.fit_intercept)
        self.coordinates = coordinates.to(self.Z)
        curvature = objective.column_penalty.curvature[:, None].to(self.Z)
        self.penalty = torch.cat((curvature, curvature.new_zeros(int(objective.fit_intercept), 1)))

    @cached_property
    def deviation(self) -> float:
        """The largest deviation of a target."""
        return float(self.y.std(0, correction=0).max())

    def largest(self, rows: float, penalty: float) -> float:
        """Return the largest curvature of so much of rows of unit curvature and of the penalty."""
        if not (self.coordinates.size and (rows or self.penalty.any())):
            return 0.0
        weight, penal = rows * self.share, penalty * self.penalty

        def product(u: Tensor) -> Tensor:
            v = self.coordinates.model(u)
            return self.coordinates.pull(self.Z.T @ (weight * (self.Z @ v)) + penal * v)

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

    def residual(self, v: Tensor) -> Tensor:
        """Return the residuals at a point."""
        return self.y - self.Z @ v.to(self.Z)

    def least_near(self, loss: Loss, r: Tensor, reach: float, coordinates: Coordinates) -> float:
        """Return what the curvature of the objective is not below, within reach of a point.

        These rows are a part of all, the others of which have no curvature below zero.

        Parameters
        ----------
        loss : object
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
        directions = coordinates.to(self.Z).model(torch.eye(k).to(self.Z))
        Z = self.Z @ directions
        away = reach * torch.linalg.vector_norm(Z, dim=1, keepdim=True)
        nothing, ends = torch.zeros_like(r), (r - away, r + away)
        nearest = torch.minimum(torch.maximum(nothing, ends[0]), ends[1])
        bent = torch.stack([loss.curvature(end, nothing) for end in (*ends, nearest)]).amin(0)
        hessian = self.part * (Z.T @ (self.share * bent * Z))
        hessian += directions.T @ (self.penalty * directions)
        least = float(torch.linalg.eigvalsh(hessian)[0])
        return max(least - _BLUR * float(hessian.diagonal().sum()), 0.0)

    def of_loss(self, loss: Loss, v: Tensor) -> tuple[float, float]:
        """Return the mean curvature of the loss at a point, and the mean weighted by itself."""
        curvature = row_curvature(loss, self.y, self.Z @ v.to(self.Z))
        mean = float(curvature.mean())
        return (mean, float((curvature**2).mean()) / mean) if mean > 0 else (1.0, 1.0)


def stable_step(objective: Objective, coordinates: Coordinates, n_batch: int, v: Tensor) -> float:
    """Return the step above which descent by batches is unstable.

    It is ``2 / (curvature of the objective + that of the most curved row / batch size)``.
    """
    pilot = Pilot(objective, coordinates)
    mean, weighted = pilot.of_loss(objective.loss, v)
    squares = squared_norms(objective, coordinates, objective.double)
    noise = float(squares.max()) * weighted * batch_noise(len(squares), n_batch)
    return 2 / (pilot.largest(max(mean, weighted), 1.0) + noise)


def batch_noise(n_rows: int, n_batch: int) -> float:
    """Return the part of a row's curvature that is left in the noise of a batch."""
    return (n_rows - n_batch) / (n_batch * max(n_rows - 1, 1))


def _staged_rows(
    rows: Rows, origin: Origin, dtype: torch.dtype
) -> tuple[list[tuple[Tensor, Tensor]]]:
    blocks = staged(rows, origin, dtype)
    ones = torch.ones(1, dtype=dtype, device=rows.device)
    return ([(A.clone(), ones.expand(len(A)) if w is None else w.to(A)) for A, w in blocks],)


def _split(rows: Rows, A: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
    """Return the targets, and the columns that have a coefficient."""
    t = rows.n_targets
    return A[:, :t], A[:, t : t + rows.n_features + intercept]

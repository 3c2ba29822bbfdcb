"""The curvature of the loss at a point, and what it makes of rows and of coordinates."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from ..._linalg.gram import sum_products
from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._sources.design import paired, staged
from ..._sources.origin import Origin
from ..._sources.row_source import Rows
from ..newton.preconditioner import cholesky_metric
from ..newton.reparametrization import Coordinates
from .minibatches import split_columns

_WORST = 1e12  # condition of a Hessian in scaled columns, above which it is flat in a direction
_DIFFERENCE = 1e-4  # of a residual, over which the slope of a callable is differenced


def squared_norms(
    objective: Objective,
    coordinates: Coordinates,
    dtype: torch.dtype,
    loss: Loss | None = None,
    v: Tensor | None = None,
) -> Tensor:
    """Return the squared norm of each row in u, times its weight relative to the mean.

    With a loss and a point v, times the curvature that the loss of the row has there too.
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
    loss: Loss | None,
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
        y, Z = split_columns(A, rows, intercept)
        curvature = None
        if loss is not None and v is not None:
            curvature = row_curvature(loss, y, Z @ v.to(Z)).mean(1).cpu()
        if factor is not None:
            Z = Z @ factor.to(Z)
        elif unit is not None:
            Z = Z * unit.to(Z).T
        squares = torch.linalg.vector_norm(Z, dim=1).cpu().double() ** 2
        squares = squares if curvature is None else squares * curvature
        squares = squares if weight is None else squares * weight.cpu()
        result[done : done + len(A)] = squares
        done += len(A)
    return ([result],)


def row_curvature(loss: Loss, y: Tensor, raw: Tensor) -> Tensor:
    """Return how curved the loss of each entry is.

    That is its second derivative there or, where that is more, the one of the parabola that touches
    it there and is least where the loss is.
    """
    if loss.quadratic:
        return torch.ones_like(raw)
    r, slope = loss.distance(y, raw), loss.gradient(y, raw).abs()
    if loss.convex:
        local = loss.curvature(y, raw)
    else:
        step = _DIFFERENCE * r.mean().clamp(min=torch.finfo(r.dtype).tiny)
        ahead, behind = (loss.gradient(y, raw + s) for s in (step, -step))
        local = ((ahead - behind) / (2 * step)).abs()
    curvature = torch.maximum(local, torch.where(r > 0, slope / r, 0.0))
    return curvature.nan_to_num(0.0, 0.0, 0.0)


def curved_coordinates(objective: Objective, loss: Loss, v: Tensor) -> Coordinates | None:
    """Return coordinates in which the objective is equally curved in all directions at v.

    None where it is flat in some. The curvature of several targets is that of their mean.
    """
    d, n_rows = objective.n_features, objective.n_features + objective.fit_intercept
    add_up = partial(
        _curved_products,
        origin=objective.origin,
        dtype=objective.double,
        intercept=objective.fit_intercept,
        loss=loss,
        v=v,
    )
    (hessian,) = objective.rows.total(add_up)
    hessian /= objective.rows.n_rows * objective.rows.mean_weight()
    hessian[:d, :d] += objective.column_penalty.curvature.diag()
    metric = cholesky_metric(hessian.numpy())
    if metric is None or metric.condition > _WORST:
        return None
    return Coordinates(n_rows, factor=torch.from_numpy(metric.factor))


def _curved_products(
    rows: Rows, origin: Origin, dtype: torch.dtype, intercept: bool, loss: Loss, v: Tensor
) -> tuple[Tensor]:
    def weighted() -> Iterator[tuple[Tensor, Tensor | None]]:
        for A, weight in staged(rows, origin, dtype):
            y, Z = split_columns(A, rows, intercept)
            curvature = row_curvature(loss, y, Z @ v.to(Z)).mean(1)
            yield Z.contiguous(), curvature if weight is None else curvature * weight.to(curvature)

    return (sum_products(weighted(), rows.n_features + intercept).cpu(),)

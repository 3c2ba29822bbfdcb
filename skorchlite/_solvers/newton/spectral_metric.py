"""The preconditioner by eigenvectors, with the rank decided at the rounding of the data."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.moments import rounding_of_sums
from ..._objective.objective import Objective
from .preconditioner import Metric
from .small_problems import cheap, gather

Array = NDArray[np.float64]

ROUNDING = 4.0  # of a symmetric eigenvalue or a Gram matrix, in units of eps * dimension
DEPENDENT = 0.01  # a direction with more than this part of the mean curvature is no dependence


@dataclass(frozen=True)
class Directions:
    """The directions in which rows differ by more than rounding, and the others.

    Parameters
    ----------
    factor : Tensor of shape (d, rank)
        ``factor @ factor.T`` is the pseudo-inverse of the Hessian.
    null : Tensor of shape (d, d - rank)
        Directions along which the objective does not change.
    condition : float
        An upper estimate of the condition number, columns scaled.
    blur : Tensor of shape (d,) or None
        See ``Metric``.
    """

    factor: Tensor
    null: Tensor
    condition: float
    blur: Tensor | None = None


def spectral_metric(objective: Objective, hessian: Array, rounding: Array) -> Metric:
    """Return the metric by eigenvectors.

    Parameters
    ----------
    objective : Objective
    hessian : array of shape (d, d)
    rounding : array of shape (d,)
        The part of the deviation of each column that the rounding of its entries may have made.

    Raises
    ------
    OutOfRangeError
        If a curvature is not finite, such as that of a penalty on a column of tiny numbers.
    """
    if not np.isfinite(hessian).all():
        raise OutOfRangeError
    # A column that rounding may have made is constant: its coefficient stays zero.
    varies = (hessian.diagonal() > 0) & (rounding < 1)
    scale = np.sqrt(np.where(varies, hessian.diagonal(), 1.0))
    constant = np.eye(len(scale))[:, ~varies]
    if not varies.any():
        return Metric(constant[:, :0], scale, 1.0, varies, constant)
    scaled = (hessian / (scale[:, None] * scale))[varies][:, varies]
    values, vectors = torch.linalg.eigh(torch.from_numpy(scaled))
    live, unit = torch.from_numpy(varies), torch.from_numpy(scale)
    made = torch.from_numpy(np.where(varies, rounding, 0.0))
    whole = torch.zeros(len(scale), len(values), dtype=values.dtype)
    whole[live] = vectors
    found = resolved(objective, values, whole, unit, made)
    blur = None if found.blur is None else found.blur.numpy()
    if found.null.shape[1] and cheap(objective):
        found = _of_rows(objective, unit, live, made)
    null = np.concatenate((found.null.numpy(), constant), 1)
    noise = float(made.max())
    return Metric(found.factor.numpy(), scale, found.condition, varies, null, blur, noise)


def resolved(
    objective: Objective,
    values: Tensor,
    vectors: Tensor,
    scale: Tensor,
    rounding: Tensor,
) -> Directions:
    """Return the directions from eigenvalues and eigenvectors of the Hessian.

    A Gram matrix holds singular values down to ``sqrt(eps)`` of the largest only. Where smaller
    ones matter, the columns are multiplied by the inverse root of that matrix and a second pass
    makes the Gram matrix of the product, which holds them down to ``1000 eps``.

    Parameters
    ----------
    objective : Objective
    values : Tensor of shape (k,)
        Curvatures.
    vectors : Tensor of shape (d, k)
        Unit directions that have them, in coordinates ``scale * w``.
    scale : Tensor of shape (d,)
    rounding : Tensor of shape (d,)
        The part of the deviation of each coordinate that the rounding of the data may have made.
    """
    eps = ROUNDING * len(values) * torch.finfo(values.dtype).eps
    top, mean = float(values.max()), float(values.mean())
    left = len(values) * rounding_of_sums(objective.rows.n_rows, values.dtype)
    clipped = values.clamp(min=left * top)
    directions, curvature, least = vectors / clipped.sqrt(), values / clipped, 1.0
    unresolved = (curvature < 1) & (_made_by_rounding(directions, rounding, mean) < 1)
    if unresolved.any():
        whitened = objective.quadratic(objective.double, directions / scale[:, None])
        curvature, turn = torch.linalg.eigh(torch.from_numpy(whitened.hessian))
        directions, least = directions @ turn, eps * float(curvature[-1])
    made, blur = _made_by_rounding(directions, rounding, mean), None
    if objective.rounded is not None:
        summed = _rounding_of_sums(objective.rounded, directions / scale[:, None])
        # What the rounding of the data may have made is not known from the rows either.
        blur = (summed / torch.maximum(curvature, made)).nan_to_num(0.0).clamp(max=1)
        made = torch.maximum(made, summed)
    keep = curvature >= made.clamp(min=least)
    keep &= _rows_have(objective, curvature / (directions * directions).sum(0))
    factor = directions[:, keep] / curvature[keep].sqrt()
    condition = top * float((factor * factor).sum(0).max()) if keep.any() else 1.0
    null = directions[:, ~keep] / scale[:, None]
    return Directions(factor / scale[:, None], null, condition, blur)


def _of_rows(objective: Objective, scale: Tensor, live: Tensor, rounding: Tensor) -> Directions:
    """Return the directions from the rows themselves, of a small problem.

    They are those in which predictions change by most relative to what the rounding of the data may
    change: columns are taken in units of that. Directions in which predictions change by most in
    absolute terms would mix columns of much and of little rounding, and digits of the latter would
    be lost.
    """
    columns, share = gather(objective)
    Z = columns[:, -objective.n_features :] * share.sqrt()[:, None]
    if objective.penalty.curvature:  # a quadratic penalty acts like further rows
        Z = torch.cat((Z, objective.column_penalty.rooted(torch.ones_like(scale).diag())))
    Z = (Z / scale)[:, live]
    eps = ROUNDING * max(Z.shape) ** 0.5 * torch.finfo(Z.dtype).eps
    noise = rounding[live].clamp(min=eps * float(torch.linalg.vector_norm(Z)))
    # The whole of the right vectors, but never of the left ones, which are as many as rows.
    _, times, turn = torch.linalg.svd(Z / noise, full_matrices=len(Z) < Z.shape[1])
    times = torch.nn.functional.pad(times, (0, len(turn) - len(times)))
    directions = turn.T / noise[:, None]
    directions /= torch.linalg.vector_norm(directions, dim=0)
    curvature = (Z @ directions).square().sum(0)
    mean = float(Z.square().sum()) / len(turn)
    keep = (times >= 1) | (curvature >= DEPENDENT * mean)
    keep &= _rows_have(objective, times)
    unit = torch.ones_like(scale).diag()[:, live] / scale[:, None]
    null = directions[:, ~keep]
    if not keep.any():
        return Directions(unit[:, :0], unit @ null, 1.0)
    # Rounding has left parts of the directions that are kept in the others.
    _, length, turn = torch.linalg.svd(Z @ directions[:, keep], full_matrices=False)
    factor = directions[:, keep] @ turn.T / length
    null = null - factor @ ((Z @ factor).T @ (Z @ null))
    condition = float(curvature.max()) * float(factor.square().sum(0).max())
    return Directions(unit @ factor, unit @ null, condition)


def _rows_have(objective: Objective, curvature: Tensor) -> Tensor:
    """Return which directions there are rows for, the most curved first."""
    most = len(curvature)
    if not objective.penalty.curves_all:
        free = int(objective.penalty.free(objective.n_features).sum())
        n_curved = objective.n_features - free  # which have a direction each by the penalty
        most = min(most, objective.rows.n_rows - objective.fit_intercept + n_curved)
    has = torch.zeros_like(curvature, dtype=torch.bool)
    has[curvature.argsort(descending=True)[:most]] = True
    return has


def _made_by_rounding(directions: Tensor, rounding: Tensor, mean: float) -> Tensor:
    """Return the curvature that the rounding of the data may have made along directions."""
    made = ((directions * rounding[:, None]) ** 2).sum(0)
    return torch.minimum(made, DEPENDENT * mean * (directions * directions).sum(0))


def _rounding_of_sums(form: Tensor, directions: Tensor) -> Tensor:
    """Return the curvature along directions that the rounding of sums over rows may have made.

    Parameters
    ----------
    form : Tensor of shape (d,) or (d, d)
        See ``Objective.rounded``.
    directions : Tensor of shape (d, k)
    """
    across = form[:, None] * directions if form.ndim == 1 else form @ directions
    return (directions * across).sum(0)

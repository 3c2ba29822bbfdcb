"""The metric of the descent: an inverse of the Hessian, and what it says of the rank."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..._sources.design import staged
from ..._sources.origin import Origin
from ..._sources.row_source import Rows

_ROUNDING = 4.0  # of a symmetric eigenvalue or a Gram matrix, in units of eps * dimension
_SUMMED = 100.0  # times that may be left of the sums of a Gram matrix, measured off their mean
_PLAIN = 1e4  # a condition number up to which nothing depends on its value
_POWER_STEPS = 12
FAR_UNITS = 1e5
_FEW_ENTRIES = 20_000  # rows times columns: below, a pass takes a fraction of a millisecond
_DEPENDENT = 0.01  # a direction with more than this part of the mean curvature is no dependence


@dataclass
class Metric:
    """``factor @ factor.T`` is the (pseudo-)inverse of the Hessian.

    Parameters
    ----------
    factor : Tensor of shape (d, rank)
    scale : Tensor of shape (d,)
        The deviation of each column, 1 for a constant one.
    condition : float
        An upper estimate of the condition number of the Hessian with its columns scaled.
    live : Tensor of shape (d,)
        Which columns are not constant.
    null : Tensor of shape (d, d - rank) or None
        Directions along which the objective does not change; None where there are none, or where
        the factor has no part in them in the caller's units.
    blur : Tensor of shape (n_directions,) or None
        The part of the curvature along each that rounding may have made where only sums are left,
        from 0 to 1; None where nothing is lost.
    noise : float, default=0.0
        The largest part of the deviation of a column that the rounding of its entries may have
        made, such as directions that are left out may have.
    """

    factor: Tensor
    scale: Tensor
    condition: float
    live: Tensor
    null: Tensor | None = None
    blur: Tensor | None = None
    noise: float = 0.0

    @property
    def rank(self) -> int:
        """The number of directions along which the objective changes."""
        return self.factor.shape[1]

    def blurred(self, n_null: int = 0) -> float:
        """Return the largest part of a curvature that the rounding of sums may have made.

        It may have made all of it along so many directions that are known to have none.
        """
        if self.blur is None or not len(self.blur):
            return 0.0
        parts = self.blur.sort(descending=True)[0]
        n_known = min(n_null - int((~self.live).sum()), int((parts >= 1).sum()))
        parts = parts[max(n_known, 0) :]
        return float(parts[0]) if len(parts) else 0.0

    def apply(self, gradient: Tensor) -> Tensor:
        """Return the Newton step against the gradient."""
        return self.factor @ (self.factor.T @ gradient)

    @cached_property
    def _gradient_unit(self) -> Tensor:
        return (self.live / self.scale)[:, None]

    def norm(self, gradient: Tensor) -> Tensor:
        """Return the norm of a gradient for each target, columns scaled."""
        return torch.linalg.vector_norm(gradient * self._gradient_unit, dim=0)

    def excess(
        self, w: Tensor, to_caller: Callable[[Tensor], Tensor], far: float = FAR_UNITS
    ) -> Tensor:
        """Return what to take off w so that it has minimum norm in the caller's units.

        Nothing where these are so far from ours that rounding would be multiplied into the
        predictions: where it is that many times as large as w.
        """
        if self.null is None or not self.null.shape[1]:
            return torch.zeros_like(w)
        null = self.null / torch.linalg.vector_norm(to_caller(self.null), dim=0)
        span, triangle = torch.linalg.qr(to_caller(null))
        part = span.T @ to_caller(w)
        excess = null @ torch.linalg.solve_triangular(triangle, part, upper=True)
        size, scale = torch.linalg.vector_norm, self.scale[:, None]
        small = size(scale * excess, dim=0) <= far * size(scale * w, dim=0)
        return torch.where(small, excess, torch.zeros_like(w))


def cholesky_metric(hessian: Tensor) -> Metric | None:
    """Return the metric by a Cholesky factorization of the scaled Hessian, or None.

    None where a column is constant or the factorization breaks down.
    """
    scale = hessian.diagonal().sqrt()
    scaled = hessian / torch.outer(scale, scale)
    lower, info = torch.linalg.cholesky_ex(scaled)
    if info:
        return None
    inverse = torch.linalg.solve_triangular(lower, scale.new_ones(len(scale)).diag(), upper=False)
    # With a unit diagonal the largest eigenvalue is at most d; the inverse of the smallest is the
    # square of the 2-norm of this inverse, at most that of its Frobenius norm.
    condition = len(scale) * float((inverse * inverse).sum())
    if condition > _PLAIN:  # closer, and dearer
        largest = float(scaled.abs().sum(0).max())  # at most the 1-norm
        condition = min(condition, largest * _squared_norm(inverse))
    return Metric(inverse.T / scale[:, None], scale, condition, torch.ones_like(scale))


def _squared_norm(matrix: Tensor) -> float:
    """Return the square of the 2-norm of a matrix, by the power method.

    It starts from the longest column, here the one that depends most on the others.
    """
    v = matrix[:, (matrix * matrix).sum(0).argmax()]
    for _ in range(_POWER_STEPS):
        v = matrix.T @ (v / torch.linalg.vector_norm(v))
        length = torch.linalg.vector_norm(v)
        v = matrix @ (v / length)
    return float(length) ** 2


def spectral_metric(objective: Objective, hessian: Tensor, rounding: Tensor) -> Metric:
    """Return the metric by eigenvectors, with the rank decided at the rounding of the data.

    Parameters
    ----------
    objective : Objective
    hessian : Tensor of shape (d, d)
    rounding : Tensor of shape (d,)
        The part of the deviation of each column that the rounding of its entries may have made.
    """
    # A column that rounding may have made is constant: its coefficient stays zero.
    live = (hessian.diagonal() > 0) & (rounding < 1)
    scale = torch.where(live, hessian.diagonal(), torch.ones_like(rounding)).sqrt()
    eye = torch.ones_like(scale).diag()
    constant = eye[:, ~live]
    if not live.any():
        return Metric(eye[:, live], scale, 1.0, live, constant)
    rounding = torch.where(live, rounding, torch.zeros_like(rounding))
    scaled = (hessian / torch.outer(scale, scale))[live][:, live]
    values, vectors = torch.linalg.eigh(scaled)
    factor, null, condition, blur = resolved(
        objective, values, eye[:, live] @ vectors, scale, rounding
    )
    if null.shape[1] and cheap(objective):
        factor, null, condition = _of_rows(objective, scale, live, rounding)
    null, noise = torch.cat((null, constant), 1), float(rounding.max())
    return Metric(factor, scale, condition, live, null, blur, noise)


def _of_rows(
    objective: Objective, scale: Tensor, live: Tensor, rounding: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Return (factor, null directions, condition) from the rows themselves, of a small problem.

    Directions are those in which predictions change by most beside what the rounding of the data
    may make of them: columns in units of that. Along those in which they change by most, columns of
    much and of little rounding are mixed, and what the first hide of the second is lost.
    """
    columns, weight = gather(objective)
    Z = columns[:, -objective.n_features :] * weight.sqrt()[:, None]
    if objective.penalty.curvature:  # which is as good as rows
        Z = torch.cat((Z, objective.column_penalty.rooted(torch.ones_like(scale).diag())))
    Z = (Z / scale)[:, live]
    eps = _ROUNDING * max(Z.shape) ** 0.5 * torch.finfo(Z.dtype).eps
    noise = rounding[live].clamp(min=eps * float(torch.linalg.vector_norm(Z)))
    _, times, turn = torch.linalg.svd(Z / noise, full_matrices=True)
    times = torch.nn.functional.pad(times, (0, len(turn) - len(times)))
    directions = turn.T / noise[:, None]
    directions /= torch.linalg.vector_norm(directions, dim=0)
    curvature = (Z @ directions).square().sum(0)
    mean = float(Z.square().sum()) / len(turn)
    keep = (times >= 1) | (curvature >= _DEPENDENT * mean)
    keep &= _rows_have(objective, times)
    unit = torch.ones_like(scale).diag()[:, live] / scale[:, None]
    null = directions[:, ~keep]
    if not keep.any():
        return unit[:, :0], unit @ null, 1.0
    # Rounding has left of those in which they change by most something in the others.
    _, length, turn = torch.linalg.svd(Z @ directions[:, keep], full_matrices=False)
    factor = directions[:, keep] @ turn.T / length
    null = null - factor @ ((Z @ factor).T @ (Z @ null))
    condition = float(curvature.max()) * float(factor.square().sum(0).max())
    return unit @ factor, unit @ null, condition


def resolved(
    objective: Objective,
    values: Tensor,
    vectors: Tensor,
    scale: Tensor,
    rounding: Tensor,
) -> tuple[Tensor, Tensor, float, Tensor | None]:
    """Return (factor, null directions, condition, blur) from eigenvalues and eigenvectors.

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
        What the rounding of the data may have made of the deviation of each coordinate.
    """
    eps = _ROUNDING * len(values) * torch.finfo(values.dtype).eps
    top, mean = float(values.max()), float(values.mean())
    clipped = values.clamp(min=_SUMMED * eps * top)
    directions, curvature, least = vectors / clipped.sqrt(), values / clipped, 1.0
    unresolved = (curvature < 1) & (_made_by_rounding(directions, rounding, mean) < 1)
    if unresolved.any():
        whitened = objective.quadratic(objective.double, directions / scale[:, None])
        curvature, turn = torch.linalg.eigh(whitened.hessian)
        directions, least = directions @ turn, eps * float(curvature[-1])
    made, blur = _made_by_rounding(directions, rounding, mean), None
    if objective.rounded is not None:
        form, unscaled = objective.rounded, directions / scale[:, None]
        across = form[:, None] * unscaled if form.ndim == 1 else form @ unscaled
        summed = (unscaled * across).sum(0)
        # What the rounding of the data may have made is not known from the rows either.
        blur = (summed / torch.maximum(curvature, made)).nan_to_num(0.0).clamp(max=1)
        made = torch.maximum(made, summed)
    keep = curvature >= made.clamp(min=least)
    keep &= _rows_have(objective, curvature / (directions * directions).sum(0))
    factor = directions[:, keep] / curvature[keep].sqrt()
    condition = top * float((factor * factor).sum(0).max()) if keep.any() else 1.0
    return factor / scale[:, None], directions[:, ~keep] / scale[:, None], condition, blur


def cheap(objective: Objective) -> bool:
    """Return whether another pass over the rows takes next to no time."""
    rows = objective.rows
    if objective.rounded is not None or rows.spread or not rows.rereadable:
        return False
    return rows.n_rows * objective.n_features * rows.n_targets <= _FEW_ENTRIES


def gather(objective: Objective) -> tuple[Tensor, Tensor]:
    """Return targets and features of all rows, and each row's share of the weight."""
    columns, weights = objective.rows.total(
        partial(_gather_rows, origin=objective.origin, dtype=objective.double)
    )
    weight = torch.cat(weights).double()
    return torch.cat(columns), weight / weight.sum()


def _gather_rows(
    rows: Rows, origin: Origin, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    k = rows.n_targets + rows.n_features
    columns, weights = [], []
    for A, weight in staged(rows, origin, dtype):
        columns.append(A[:, :k].to("cpu", torch.float64, copy=True))
        weights.append(torch.ones(len(A)) if weight is None else weight.cpu())
    return columns, weights


def _rows_have(objective: Objective, curvature: Tensor) -> Tensor:
    """Return which directions there are rows for, the most curved first."""
    most = len(curvature)
    if not objective.penalty.curvature:
        most = min(most, objective.rows.n_rows - objective.fit_intercept)
    has = torch.zeros_like(curvature, dtype=torch.bool)
    has[curvature.argsort(descending=True)[:most]] = True
    return has


def made_by_rounding(objective: Objective, data_eps: float) -> Tensor:
    """Return the deviation that the rounding of its entries may have made of each column.

    With a penalty on its coefficient, a column of single precision may be anything but constant.
    """
    if objective.penalty.corner or objective.penalty.curvature:
        data_eps = torch.finfo(torch.float64).eps
    return _ROUNDING * rounded_by(objective, data_eps)


def rounded_by(objective: Objective, data_eps: float, size: Tensor | float = 0.0) -> Tensor:
    """Return how far the rounding of the data may have moved the entries of each column.

    They are relative to a size and to how far from zero they are measured; of made columns, times
    what the rounding is amplified by. Where that is far from alike in all rows it is followed, if
    that is cheap.

    Parameters
    ----------
    objective : Objective
    data_eps : float
    size : Tensor of shape (d,), default=0.0
    """
    basis, eps = objective.basis, torch.finfo(torch.float64).eps
    made = data_eps * basis.rounding * (size + objective.units.distance())
    found = None if basis.alike else objective.units.followed()
    if found is None:
        return made
    moved, distance = found
    return torch.minimum(made, data_eps * moved + eps * basis.evaluated * (size + distance))


def _made_by_rounding(directions: Tensor, rounding: Tensor, mean: float) -> Tensor:
    """Return the curvature that the rounding of the data may have made along directions."""
    made = ((directions * rounding[:, None]) ** 2).sum(0)
    return torch.minimum(made, _DEPENDENT * mean * (directions * directions).sum(0))

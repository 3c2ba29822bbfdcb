"""The metric of the descent: an inverse of the Hessian, and what it says of the rank."""

from dataclasses import dataclass

import torch

_ROUNDING = 4.0  # of a symmetric eigenvalue or a Gram matrix, in units of eps * dimension


@dataclass
class Metric:
    """``factor @ factor.T`` is the (pseudo-)inverse of the Hessian.

    Parameters
    ----------
    factor : Tensor of shape (d, rank)
    scale : Tensor of shape (d,)
        Root of the diagonal of the Hessian: the deviation of each column, 1 where that is 0.
    condition : float
        An upper estimate of the condition number of the Hessian with its columns scaled.
    null : Tensor of shape (d, d - rank) or None
        Directions along which the objective does not change.
    """

    factor: torch.Tensor
    scale: torch.Tensor
    condition: float
    null: torch.Tensor | None = None

    @property
    def rank(self):
        """The number of directions along which the objective changes."""
        return self.factor.shape[1]

    def apply(self, gradient):
        """Return the Newton step against the gradient."""
        return self.factor @ (self.factor.T @ gradient)

    def excess(self, w, to_caller):
        """Return what to take off w so that it has minimum norm in the caller's units."""
        if self.null is None or not self.null.shape[1]:
            return torch.zeros_like(w)
        null = self.null / torch.linalg.vector_norm(to_caller(self.null), dim=0)
        span, triangle = torch.linalg.qr(to_caller(null))
        part = span.T @ to_caller(w)
        return null @ torch.linalg.solve_triangular(triangle, part, upper=True)


def column_scale(hessian):
    """Return the root of the diagonal, 1 where it is zero, and which columns are not constant."""
    diagonal = hessian.diagonal()
    live = diagonal > 0
    return torch.where(live, diagonal, torch.ones_like(diagonal)).sqrt(), live


def cholesky_metric(hessian):
    """Return the metric by a Cholesky factorization of the scaled Hessian, or None.

    None where a column is constant or the factorization breaks down.
    """
    scale, live = column_scale(hessian)
    if not live.all():
        return None
    scaled = hessian / torch.outer(scale, scale)
    lower, info = torch.linalg.cholesky_ex(scaled)
    if info:
        return None
    inverse = torch.linalg.solve_triangular(lower, torch.eye(len(scale)).to(lower), upper=False)
    # Largest eigenvalue <= the 1-norm; the smallest's inverse <= the trace of the inverse.
    condition = float(scaled.abs().sum(0).max() * (inverse * inverse).sum())
    return Metric(inverse.T / scale[:, None], scale, condition)


def spectral_metric(objective, hessian, rounding):
    """Return the metric by eigenvectors, with the rank decided at the rounding of the data.

    A Gram matrix holds singular values down to ``sqrt(eps)`` of the largest only. Where smaller
    ones matter, the columns are multiplied by the inverse root of that matrix and a second pass
    makes the Gram matrix of the product, which holds them down to ``eps``.

    Parameters
    ----------
    objective : Objective
    hessian : Tensor of shape (d, d)
    rounding : Tensor of shape (d,)
        The part of the deviation of each column that the rounding of its entries may have made.
    """
    scale, live = column_scale(hessian)
    live &= rounding < 1  # the others are constant: their coefficients stay zero
    rounding = torch.where(live, rounding, torch.zeros_like(rounding))
    place = torch.eye(len(scale), dtype=hessian.dtype)[:, live]
    if not live.any():
        return Metric(place, scale, 1.0)
    scaled = (hessian / torch.outer(scale, scale))[live][:, live]
    values, vectors = torch.linalg.eigh(scaled)
    eps = _ROUNDING * len(values) * torch.finfo(scaled.dtype).eps
    top = float(values[-1])
    clipped = values.clamp(min=eps * top)
    directions, curvature, least = place @ (vectors / clipped.sqrt()), values / clipped, 0.0
    unresolved = _noise(directions, rounding) < 1
    if ((curvature < 1) & unresolved).any():
        whitened = objective.quadratic(objective.double, directions / scale[:, None]).hessian
        curvature, turn = torch.linalg.eigh(whitened)
        directions, least = directions @ turn, eps
    keep = curvature > _noise(directions, rounding).clamp(min=least)
    keep &= (curvature >= 1) | (least > 0)
    factor = directions[:, keep] / curvature[keep].sqrt()
    # The longest column, one of unit length being the shortest that there can be.
    condition = top * float((factor * factor).sum(0).max()) if keep.any() else 1.0
    scale_down = scale[:, None]
    return Metric(factor / scale_down, scale, condition, null=directions[:, ~keep] / scale_down)


def _noise(directions, rounding):
    """Return the curvature that the rounding of the data may have made along directions.

    No dependence shows in a direction whose curvature is more than a hundredth of the mean.
    """
    noise = ((directions * rounding[:, None]) ** 2).sum(0)
    return torch.minimum(noise, 0.01 * (directions * directions).sum(0))

"""What stands for the curvature of a loss with kinks: the density of the residuals there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._objective.piecewise_linear import PiecewiseLinear
from .._objective.residual_density import (
    Below,
    KernelSums,
    Residuals,
    normal_width,
    residual_scale,
)
from .._sources.row_source import Rows

_AT_KINK = 1e-9  # of the distance of the quartiles: residuals so far from a kink are there


@dataclass(frozen=True)
class Density:
    """What stands for the curvature of a loss with kinks.

    Parameters
    ----------
    curvature : Tensor of shape (n_targets,)
        The sum over the kinks of their jumps, times the density of the residuals there.
    margin : tuple of float
        See ``Scores``.
    """

    curvature: Tensor
    margin: tuple[float, ...]


def density_at_kinks(rows: Rows, residuals: Residuals, loss: PiecewiseLinear) -> Density:
    """Return the density of the residuals at the kinks, by Epanechnikov's kernel."""
    found = residual_scale(rows, residuals)
    if not bool((found.scale > 0).all()):
        raise ValueError(
            "At least half of the residuals are the same, so that they have no density at the "
            "quantile. Resample rows for standard errors."
        )
    at = torch.tensor(loss.breaks, dtype=torch.float64)[:, None]
    at = at.expand(-1, len(found.scale)).contiguous()
    width = found.scale * _widths(rows, residuals, loss, at, found.n_rows)
    sums, weight = rows.total(KernelSums(residuals, at, width))
    curvature = torch.tensor(loss.slopes, dtype=torch.float64).diff() @ (sums / (weight * width))
    if not bool((curvature > 0).all()):
        raise ValueError(
            "There are no residuals near the kinks of the loss, so that its curvature cannot be "
            "estimated. Resample rows for standard errors."
        )
    return Density(curvature, tuple((_AT_KINK * found.quartiles).tolist()))


def _widths(
    rows: Rows, residuals: Residuals, loss: PiecewiseLinear, at: Tensor, n_rows: float
) -> Tensor:
    """Return the widths of the kernel in units of the scale, of shape (n_kinks, n_targets)."""
    if len(loss.breaks) == 1:
        low, high = loss.slopes
        return torch.full_like(at, normal_width(n_rows, high / (high - low)))
    (counts,) = rows.total(Below(residuals, at))
    shares = (counts / n_rows).clamp(1 / n_rows, 1 - 1 / n_rows)
    return shares.apply_(lambda share: normal_width(n_rows, share))

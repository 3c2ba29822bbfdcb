"""The slopes and curvatures of the best constant, which say how large penalties may be."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._objective.penalties import make_penalty
from ..._solvers.base import SolverControl
from ..._solvers.selection import FULL_BATCH, choose_full_batch
from ..._sources.origin_choice import pilot_origin
from ..._sources.row_source import Rows

Array = NDArray[np.float64]

_ROWS = 10_000  # of which the best constant is found
_HALVINGS = 60
_TOL, _STEPS = 1e-10, 1000  # of a fit of some columns


def constant_slopes(
    rows: Rows,
    loss: Loss,
    fit_intercept: bool,
    factors: Array | None = None,
    positive: bool = False,
) -> tuple[Array, Array]:
    """Return the size of the slope along each of the caller's coefficients, and the curvature.

    Both are over the factor of the penalty. Slopes are those beside the columns that no penalty is
    on, once these are fitted; of such columns both are NaN.

    Both are of shape (n_columns,), at the best constant for about as many rows as are read in a
    moment; of several targets, the largest slope and the mean curvature. The curvature of a loss is
    that of the parabola with the same slopes, on average.

    Parameters
    ----------
    rows : Rows
        With columns that differ from the caller's in scale only.
    loss : Loss
    fit_intercept : bool
    factors : array of shape (n_columns,), default=None
        Of the penalty on each coefficient; None for ones.
    positive : bool, default=False
        Whether coefficients are kept from below zero.
    """
    penalty = make_penalty(None, 0.0, 0.0, positive)
    origin = pilot_origin(rows, fit_intercept)
    objective = Objective(
        rows, loss, penalty, origin.for_plain_targets(rows.n_targets, loss.residual), fit_intercept
    )
    mean, deviation, _ = objective.spread()
    objective = objective.centred(mean)
    y, weight = _targets(rows)
    constant = _best_constant(loss, y, weight) if fit_intercept else y.new_zeros(y.shape[1])
    point = torch.zeros(rows.n_features + 1, rows.n_targets, dtype=torch.float64)
    point[-1] = constant - objective.origin.shift[: rows.n_targets]
    if factors is not None and (factors == 0).any():
        sizes = slopes_beside(objective, factors == 0)
    else:
        sizes = objective.evaluate(point)[1][:-1].abs().numpy()
    residual = y - constant
    slopes = -loss.gradient(y, constant.expand_as(y).contiguous())
    squares = weight @ residual.square()
    curvature = torch.where(squares > 0, weight @ (slopes * residual) / squares, 1.0)
    variances = deviation[rows.n_targets :].square() * curvature.mean()
    with np.errstate(all="ignore"):  # of powers that are out of range, which the caller leaves out
        unit = rows.basis.conversion.to_caller(np.ones((rows.n_features, 1)))[:, 0]
        found = sizes.max(1) / unit, variances.numpy() / unit**2
    if factors is None or not factors.any():
        return found
    each = np.where(factors > 0, factors, np.nan)
    return found[0] / each, found[1] / each


def per_factor(sizes: Array, factors: Array) -> Array:
    """Return sizes over factors, of the columns that have some; as they are where none has."""
    used = factors > 0
    return sizes[used] / factors[used] if used.any() else sizes


def slopes_beside(objective: Objective, unpenalised: NDArray[np.bool_]) -> Array:
    """Return the sizes of the slopes along all coefficients once some are fitted, others zero.

    Parameters
    ----------
    objective : Objective
        With no penalty but bounds.
    unpenalised : array of shape (n_columns,)
        The columns that are fitted.
    """
    index = torch.from_numpy(np.flatnonzero(unpenalised))
    part = objective.over(index)
    solve = FULL_BATCH[choose_full_batch("auto", part)]
    eps = float(np.finfo(np.float64).eps)
    solution = solve(part, None, SolverControl(_TOL, _STEPS, torch.float64, eps))
    v = part.units.carried(solution.v, solution.objective.origin)
    point = torch.zeros(objective.n_features + 1, v.shape[1], dtype=torch.float64)
    point[index], point[-1] = v[:-1], v[-1]
    sizes: Array = objective.evaluate(point)[1][:-1].abs().numpy()
    return sizes


def _targets(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the targets of some rows that have weight, evenly spaced, and the weights."""
    some = rows.every(max(rows.n_rows // _ROWS, 1))
    targets, weights = [], []
    for _, y, weight in some.blocks(some.bound(some.n_features, 8)):
        targets.append(y.double().cpu())
        weights.append(y.new_ones(len(y)).cpu() if weight is None else weight.cpu())
    y, weight = torch.cat(targets), torch.cat(weights).double()
    there = weight > 0
    if not there.any():  # which rows in step with the spacing may be
        return y, torch.ones_like(weight)
    return y[there], weight[there]


def _best_constant(loss: Loss, y: Tensor, weight: Tensor) -> Tensor:
    """Return the constant of each target with the least mean loss, by bisection of the slope."""
    low, high = y.amin(0), y.amax(0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        rising = weight @ loss.gradient(y, middle.expand_as(y).contiguous()) > 0
        low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    return 0.5 * (low + high)

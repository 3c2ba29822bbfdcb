"""The slopes and curvatures of the best constant, which say how large penalties may be."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._objective.penalties import make_penalty
from ..._sources.origin_choice import pilot_origin
from ..._sources.row_source import Rows

Array = NDArray[np.float64]

_ROWS = 10_000  # of which the best constant is found
_HALVINGS = 60


def constant_slopes(rows: Rows, loss: Loss, fit_intercept: bool) -> tuple[Array, Array]:
    """Return the size of the slope along each of the caller's coefficients, and the curvature.

    Both are of shape (n_columns,), at the best constant for about as many rows as are read in a
    moment; of several targets, the largest slope and the mean curvature. The curvature of a loss is
    that of the parabola with the same slopes, on average.

    Parameters
    ----------
    rows : Rows
        With columns that differ from the caller's in scale only.
    loss : Loss
    fit_intercept : bool
    """
    penalty = make_penalty(None, 0.0, 0.0, False)
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
    _, gradient = objective.evaluate(point)
    residual = y - constant
    slopes = -loss.gradient(y, constant.expand_as(y).contiguous())
    squares = weight @ residual.square()
    curvature = torch.where(squares > 0, weight @ (slopes * residual) / squares, 1.0)
    variances = deviation[rows.n_targets :].square() * curvature.mean()
    with np.errstate(all="ignore"):  # of powers that are out of range, which the caller leaves out
        unit = rows.basis.conversion.to_caller(np.ones((rows.n_features, 1)))[:, 0]
        return gradient[:-1].abs().amax(1).numpy() / unit, variances.numpy() / unit**2


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

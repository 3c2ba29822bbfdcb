"""The coefficient of determination, of squares or of deviances, computed in torch."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._objective.log_link import LogLink


def r2(y: Tensor, y_pred: Tensor, weight: Tensor | None) -> float:
    """Return the coefficient of determination, averaged over the targets.

    As in ``r2_score``, a target without variance scores 1 if it is predicted exactly, else 0.

    Parameters
    ----------
    y, y_pred : Tensor of shape (n_rows, n_targets)
    weight : Tensor of shape (n_rows,) or None
    """
    if y.device.type != "mps":
        y, y_pred = y.double(), y_pred.double()
    weights = torch.ones_like(y[:, :1]) if weight is None else weight[:, None]
    missed = (weights * (y - y_pred) ** 2).sum(0)
    y = y - y[0]  # so that a constant target has no variance, rounding included
    spread = (weights * (y - (weights * y).sum(0) / weights.sum()) ** 2).sum(0)
    return _explained(missed, spread)


def r2_of_blocks(blocks: Iterable[Any], coef: np.ndarray, intercept: np.ndarray) -> float:
    """Return the same for the predictions on blocks of rows, in one pass.

    Parameters
    ----------
    blocks : iterable of (X, y, sample_weight)
        X is of double precision, and on the processor.
    coef : ndarray of shape (n_targets, n_features)
    intercept : ndarray of shape (n_targets,)
    """
    W, b = torch.from_numpy(coef.T.copy()), torch.from_numpy(intercept.copy())
    missed, spread, mean, total = 0 * b, 0 * b, 0 * b, 0.0
    for X, y, weight in blocks:
        y = y.cpu().double()
        weights = torch.ones_like(y[:, :1]) if weight is None else weight[:, None].cpu().double()
        count = float(weights.sum())
        if not count:
            continue
        missed += (weights * (y - (X @ W + b)) ** 2).sum(0)
        if not total:
            origin = y[weights.argmax()]  # so that a constant target has no variance
        y = y - origin
        centre = (weights * y).sum(0) / count
        away, before, total = centre - mean, total, total + count
        mean += away * (count / total)
        spread += (weights * (y - centre) ** 2).sum(0) + away**2 * (before * count / total)
    if not total:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return _explained(missed, spread)


def d2(loss: LogLink, y: Tensor, y_pred: Tensor, weight: Tensor | None) -> float:
    """Return the part of the deviance that is explained, averaged over the targets.

    Parameters
    ----------
    loss : LogLink
    y, y_pred : Tensor of shape (n_rows, n_targets)
    weight : Tensor of shape (n_rows,) or None
    """
    if y.device.type != "mps":
        y, y_pred = y.double(), y_pred.double()
    weights = torch.ones_like(y[:, :1]) if weight is None else weight[:, None]
    loss.check(y, weight)
    mean = (weights * y).sum(0) / weights.sum()
    finite = torch.finfo(y_pred.dtype)
    raw_prediction = y_pred.clamp(finite.tiny, finite.max).log()
    missed = (weights * loss.value(y, raw_prediction)).sum(0)
    spread = (weights * loss.value(y, mean.log().expand_as(y))).sum(0)
    return _explained(missed, spread.where((y != y[0]).any(0), 0.0))


def d2_of_blocks(
    loss: LogLink, blocks: Iterable[Any], coef: np.ndarray, intercept: np.ndarray
) -> float:
    """Return the same for the predictions on blocks of rows, in one pass.

    The deviance from the mean is that from another constant, less that of the mean from it.

    Parameters
    ----------
    loss : LogLink
    blocks, coef, intercept
        As for ``r2_of_blocks``.
    """
    W, b = torch.from_numpy(coef.T.copy()), torch.from_numpy(intercept.copy())
    missed, spread, summed, total = 0 * b, 0 * b, 0 * b, 0.0
    for X, y, weight in blocks:
        y = y.cpu().double()
        weights = torch.ones_like(y[:, :1]) if weight is None else weight[:, None].cpu().double()
        if not float(weights.sum()):
            continue
        loss.check(y, weight)
        if not total:
            mean = (weights * y).sum(0) / weights.sum()
            origin = mean.where(mean > 0, 1.0).log()
        missed += (weights * loss.value(y, X @ W + b)).sum(0)
        spread += (weights * loss.value(y, origin.expand_as(y))).sum(0)
        summed += (weights * y).sum(0)
        total += float(weights.sum())
    if not total:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return _explained(missed, spread - total * loss.value(summed / total, origin))


def _explained(missed: Tensor, spread: Tensor) -> float:
    """Return the mean part that is explained; 1 where nothing is missed, else 0 of no spread."""
    scores = torch.where(spread <= 0, 0.0, 1 - missed / spread)
    return float(torch.where(missed == 0, 1.0, scores).mean())

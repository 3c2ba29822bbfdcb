"""The coefficient of determination, computed in torch."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


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
    scores = torch.where(spread == 0, 0.0, 1 - missed / spread)
    return float(torch.where(missed == 0, 1.0, scores).mean())


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
    scores = torch.where(spread == 0, 0.0, 1 - missed / spread)
    return float(torch.where(missed == 0, 1.0, scores).mean())

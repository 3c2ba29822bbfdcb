"""How good predictions are, measured where the tensors lie."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def r2(y: Tensor, y_pred: Tensor, weight: Tensor | None) -> float:
    """Return the coefficient of determination, averaged over the targets.

    A target whose rows are all predicted exactly has 1, another without variance 0.

    Parameters
    ----------
    y, y_pred : Tensor of shape (n_rows, n_targets)
    weight : Tensor of shape (n_rows,) or None
    """
    if y.device.type != "mps":
        y, y_pred = y.double(), y_pred.double()
    share = torch.ones_like(y[:, :1]) if weight is None else weight[:, None]
    missed = (share * (y - y_pred) ** 2).sum(0)
    y = y - y[0]  # so that a constant target has no variance, rounding included
    spread = (share * (y - (share * y).sum(0) / share.sum()) ** 2).sum(0)
    scores = torch.where(spread == 0, 0.0, 1 - missed / spread)
    return float(torch.where(missed == 0, 1.0, scores).mean())


def r2_of_blocks(blocks: Iterable[Any], coef: np.ndarray, intercept: np.ndarray) -> float:
    """Return the same for the predictions on blocks of rows, each taken once.

    Their features are of double precision, and on the processor.
    """
    W, b = torch.from_numpy(coef.T.copy()), torch.from_numpy(intercept.copy())
    missed, spread, mean, total = 0 * b, 0 * b, 0 * b, 0.0
    for X, y, weight in blocks:
        y = y.cpu().double()
        share = torch.ones_like(y[:, :1]) if weight is None else weight[:, None].cpu().double()
        count = float(share.sum())
        if not count:
            continue
        missed += (share * (y - (X @ W + b)) ** 2).sum(0)
        if not total:
            origin = y[share.argmax()]  # so that a constant target has no variance
        y = y - origin
        centre = (share * y).sum(0) / count
        away, before, total = centre - mean, total, total + count
        mean += away * (count / total)
        spread += (share * (y - centre) ** 2).sum(0) + away**2 * (before * count / total)
    if not total:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    scores = torch.where(spread == 0, 0.0, 1 - missed / spread)
    return float(torch.where(missed == 0, 1.0, scores).mean())

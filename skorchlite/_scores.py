"""How good predictions are, measured where the tensors lie."""

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

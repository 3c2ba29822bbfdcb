"""Predictions with the standard deviation of a new observation, in one pass over its columns."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._linalg.views import viewed
from .._objective.leverages import squared_norms
from .._objective.whitening import Whitening
from .._sources.design import dense
from .._sources.row_source import Rows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WithDeviation:
    """Predicts, with the deviation of a new observation; a pass sends it to where the rows are.

    Parameters
    ----------
    coef : array of shape (n_targets, n_columns)
    intercept : array of shape (n_targets,)
    whitening : Whitening
    residual_std : array of shape (n_targets,)
    dtype : torch.dtype or None
        Of the result; None for that of the computation.
    """

    coef: Array
    intercept: Array
    whitening: Whitening
    residual_std: Array
    dtype: torch.dtype | None

    def __call__(self, rows: Rows) -> tuple[list[Tensor]]:
        """Return blocks of pairs, of shape (n_rows, n_targets, 2)."""
        double = torch.float32 if rows.device.type == "mps" else torch.float64

        def there(array: Array) -> Tensor:
            return viewed(np.ascontiguousarray(array)).to(rows.device, double)

        W, b, std = there(self.coef.T), there(self.intercept), there(self.residual_std)
        shift = there(self.whitening.shift[len(b) :])
        turn = self.whitening.turn.to(rows.device, double)
        parts = []
        if rows.sparse:
            point = torch.cat((W, (b + shift @ W)[None]))
            for _, Z, _ in rows.centred(shift, None):
                parts.append(self._pairs(Z @ point, squared_norms(Z, turn), std))
            return (parts,)
        constant = turn[-1] @ turn[-1]  # of the intercept, which is the same for all rows
        width = max(len(turn), turn.shape[1])
        for X, _, _ in dense(rows.blocks(rows.bound(width, double.itemsize)), double):
            leverage = squared_norms(X - shift, turn[:-1, : len(turn) - 1]) + constant
            parts.append(self._pairs(torch.add(X @ W, b), leverage, std))
        return (parts,)

    def _pairs(self, raw_prediction: Tensor, leverage: Tensor, std: Tensor) -> Tensor:
        deviation = (1 + leverage).sqrt()[:, None] * std
        return torch.stack((raw_prediction, deviation), -1).to(self.dtype or deviation.dtype)

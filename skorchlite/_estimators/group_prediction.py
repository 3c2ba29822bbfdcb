"""Predictions of each row by the model of its group."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._inputs.fit_data import check_rows_finite
from .._sources.design import dense
from .._sources.row_source import Rows

Array = NDArray[np.float64]


def predicted_by_group(
    rows: Rows,
    single: bool,
    models: NDArray[np.int64] | None,
    coef: Array,
    intercept: Array,
    name: str,
) -> Tensor:
    """Return the predictions on checked rows.

    Parameters
    ----------
    rows : Rows
    single : bool
        Whether X carries single precision, which predictions then do too.
    models : array of shape (n_rows,) or None
        The number of the model of each row; None for the first one.
    coef : array of shape (n_models, n_features) or (n_models, n_targets, n_features)
    intercept : array of shape (n_models,) or (n_models, n_targets)
    name : str
        Of the estimator, for errors.
    """
    double = torch.float32 if rows.device.type == "mps" else torch.float64
    b = torch.from_numpy(intercept).to(rows.device, double)
    b = b if b.ndim == 2 else b[:, None]
    W = torch.from_numpy(coef).to(rows.device, double).view(*b.shape, rows.n_features)
    parts, start = [], 0
    for X, _, _ in dense(rows.blocks(rows.bound(W[0].numel() + rows.n_features, 8)), double):
        stop = start + len(X)
        if models is None:
            predicted = X @ W[0].T + b[0]
        else:
            own = torch.from_numpy(models[start:stop]).to(X.device)
            predicted = (W[own] @ X[..., None])[..., 0] + b[own]
        parts.append(predicted.to(torch.float32 if single else double))
        start = stop
    y_pred = torch.cat(parts)
    if not torch.isfinite(y_pred).all():
        check_rows_finite(rows, name)
    return y_pred if intercept.ndim == 2 else y_pred[:, 0]

"""Predictions of each row by the model of its group."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._inputs.fit_data import check_rows_finite
from .._polynomials.local_powers import LocalPowers
from .._sources.design import dense
from .._sources.row_source import Rows
from .group_fits import Coefficients


def predicted_by_group(
    rows: Rows,
    single: bool,
    numbers: NDArray[np.int64] | None,
    models: Coefficients,
    terms: LocalPowers | None,
    name: str,
) -> Tensor:
    """Return the predictions on checked rows, of shape (n_rows, n_targets).

    Parameters
    ----------
    rows : Rows
    single : bool
        Whether X carries single precision, which predictions then do too.
    numbers : array of shape (n_rows,) or None
        The number of the model of each row; None for the first one.
    models : Coefficients
    terms : LocalPowers or None
        What the models are of; None for the columns as they are.
    name : str
        Of the estimator, for errors.
    """
    double = torch.float32 if rows.device.type == "mps" else torch.float64
    W, b, centre, half = (
        torch.from_numpy(part).to(rows.device, double)
        for part in (models.coef, models.intercept, models.centre, models.half)
    )
    parts, start = [], 0
    for X, _, _ in dense(rows.blocks(rows.bound(W[0].numel() + W.shape[2], 8)), double):
        stop = start + len(X)
        own = torch.zeros(1, dtype=torch.int64, device=X.device)
        if numbers is not None:
            own = torch.from_numpy(numbers[start:stop]).to(X.device)
        if terms is not None:
            X = terms.expand((X - centre[own]) / half[own]).T
        predicted = X @ W[0].T + b[0] if numbers is None else _multiplied(W[own], X) + b[own]
        parts.append(predicted.to(torch.float32 if single else double))
        start = stop
    y_pred = torch.cat(parts)
    if not torch.isfinite(y_pred).all():
        check_rows_finite(rows, name)
    return y_pred


def _multiplied(W: Tensor, X: Tensor) -> Tensor:
    """Return the product of the coefficients that each row has with the row."""
    return (W @ X[..., None])[..., 0]

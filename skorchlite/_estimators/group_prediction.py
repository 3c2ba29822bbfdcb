"""Predicting and scoring each row by the model of its group."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._inputs.conversion import to_numpy
from .._inputs.fit_data import check_rows_finite
from .._inputs.input_kinds import input_of
from .._inputs.streams import blocks_of, is_stream
from .._polynomials.local_powers import LocalPowers
from .._sources.design import dense
from .._sources.row_source import Rows
from .group_data import labels_of, like, split
from .group_models import Coefficients
from .metrics import d2
from .prediction import Predictor


class GroupPredictor(Predictor):
    """Predict and score with the coefficients that each group has."""

    def predict(self, X) -> Any:
        """Predict each row by the model of its group.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Samples with the columns of keys, or what yields blocks of them.

        Returns
        -------
        y_pred : {ndarray, tensor} of shape (n_samples,) or (n_samples, n_targets)
            Predicted values; a tensor, on the device of X, where X is one.

        Raises
        ------
        ValueError
            If a group was not there in ``fit``, and ``fallback="raise"``.
        """
        check_is_fitted(self)
        if is_stream(X):
            return np.concatenate([to_numpy(self.predict(block[1])) for block in blocks_of(X)])
        features, columns, positions = split(self, X, reset=False)
        reader = like(self)
        reader.n_features_in_, reader.coef_ = self.n_features_in_ - len(positions), self.coef_
        if hasattr(self, "feature_names_in_"):
            reader.feature_names_in_ = np.delete(self.feature_names_in_, positions)
        reader._predict = partial(self._predict_rows, numbers=self._models_of(columns, positions))
        return input_of(features).predicted(reader)

    def _score(self, X, y, sample_weight):
        if y is not None or not is_stream(X):
            return super()._score(X, y, sample_weight)
        parts = [
            (to_numpy(self.predict(block)), to_numpy(y), to_numpy(weight))
            for _, block, y, weight in blocks_of(X)
        ]
        y_pred, y, weight = whole = [
            None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True)
        ]
        if self._mean_power is None:
            return r2_score(y, y_pred, sample_weight=weight)
        tensors: list[Any] = [None if part is None else torch.from_numpy(part) for part in whole]
        y_pred, y = (part.reshape(len(part), -1) for part in tensors[:2])
        return d2(self._deviance(), y, y_pred, tensors[2])

    def _models_of(self, columns, positions):
        """Return the number of the model of each row, the last one for groups not seen in fit.

        None is for the first model for all rows.
        """
        if not positions:
            return None
        found = self._keys.find(columns, labels_of(self, positions), type(self).__name__)
        new = found < 0
        if self.fallback == "raise" and new.any():
            row = int(new.argmax())
            key = [np.asarray(column[row : row + 1]).tolist()[0] for column in columns]
            raise ValueError(
                f"Found unknown groups during predict: {key[0] if len(key) == 1 else key!r} in row "
                f"{row}, counted from 0. Give rows of groups that were there in fit, or "
                "fallback='global' or 'nan'."
            )
        if self.fallback == "global" and self.global_coef_ is None and new.any():
            raise ValueError(
                "fallback='global' predicts by the model of all rows, which fit has not made with "
                "another fallback. Call fit again."
            )
        return np.where(new, self.n_groups_, found)

    def _predict_rows(self, rows, single, numbers):
        """Return the predictions on checked rows."""
        models, other = self._local
        n_columns = 0 if self._terms is None else self._terms.n_features
        if models is None:
            models = Coefficients.of(self.coef_, self.intercept_, n_columns)
        if self.fallback == "global" and self.global_coef_ is not None:
            if other is None:
                other = self.global_coef_[None], np.asarray(self.global_intercept_)[None]
                other = Coefficients.of(*other, n_columns)
        else:
            other = models.like(np.nan)
        models, name = models.with_one(other), type(self).__name__
        is_log = self._mean_power is not None
        y_pred = predicted_by_group(rows, single and not is_log, numbers, models, self._terms, name)
        if is_log:
            y_pred = y_pred.exp_().to(torch.float32 if single else y_pred.dtype)
        return y_pred if self.intercept_.ndim == 2 else y_pred[:, 0]


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

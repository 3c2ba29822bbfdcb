"""Predicting and scoring, which all estimators share."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._inputs.conversion import native, to_dense, to_numpy
from .._inputs.fit_data import check_rows_finite
from .._inputs.input_kinds import input_of
from .._inputs.validation import check_score
from .._linalg.views import viewed
from .._objective.log_link import LogLink
from .._runtime import torch_settings
from .._sources.arrays import as_tensor
from .._sources.design import dense
from .._sources.prefetch import computing
from .._sources.row_source import Rows
from .metrics import d2, d2_of_blocks, r2, r2_of_blocks
from .quantile_levels import pinball_d2, pinball_d2_of_blocks


class Predictor(RegressorMixin):
    """Predict and score with ``coef_`` and ``intercept_``."""

    # The power of the loss, where the raw prediction is the logarithm of the prediction. The loss
    # that a parameter names now may not be that of the fit.
    _mean_power: float | None = None
    _levels: tuple[float, ...] | None = None  # of a fit to a list of quantiles
    _margins: np.ndarray | None = None  # how far rounding may make these cross

    def predict(self, X) -> Any:
        """Predict using the fitted model.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Samples, or what yields blocks of them, with targets or without.

        Returns
        -------
        y_pred : {ndarray, tensor} of shape (n_samples,) or (n_samples, n_targets)
            Predicted values, of a list of quantiles a column for each level; a tensor, on the
            device of X, where X is one. With scikit-learn's ``array_api_dispatch``, an array in the
            namespace and on the device of X. Of a dask array or data frame a dask array with the
            chunks of X, computed when it is.
        """
        check_is_fitted(self)
        return input_of(X).predicted(self)

    def score(self, X, y=None, sample_weight=None) -> float:
        """Return the coefficient of determination of the predictions, R2.

        Of a list of quantiles it is the mean over the levels of scikit-learn's
        ``d2_pinball_score``: 1 less the pinball loss relative to the least that a constant has.

        Where X, y or sample_weight is a tensor it is computed in torch, on the device of X; else
        it is scikit-learn's ``r2_score``. Of losses with a log link it is D2, the part of the
        deviance that is explained, as ``d2_tweedie_score`` has it. Several targets count alike.
        Of dask collections the sums are made where their chunks are.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Samples, or what yields blocks of them with their targets.
        y : {array-like, tensor} of shape (n_samples,) or (n_samples, n_targets), default=None
            True values; None where X yields them.
        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample.

        Returns
        -------
        score : float
            1 for perfect predictions, 0 for those no better than the mean of y, or its quantiles.
        """
        with torch_settings():
            return self._score(X, y, sample_weight)

    def _score(self, X, y, sample_weight):
        given = input_of(X, y, sample_weight)
        if given.scored_by_rows:
            check_is_fitted(self)
            return self._score_rows(given.read(self, reset=False))
        if self._levels is not None:
            return self._score_levels(X, y, sample_weight, self._levels)
        tensors = any(isinstance(native(a), torch.Tensor) for a in (X, y, sample_weight))
        if not tensors and self._mean_power is None:
            return super().score(X, y, sample_weight)
        y_pred = torch.as_tensor(native(self.predict(X)))
        y, weight = check_score(self, y, sample_weight, y_pred)
        if len(y_pred) < 2:
            return self._undefined_score(stacklevel=4)
        with computing(y_pred.numel()):
            y = as_tensor(y, y_pred.device).reshape(len(y_pred), -1)
            weight = None if weight is None else as_tensor(weight, y_pred.device)
            y_pred = y_pred.reshape(y.shape)
            if self._mean_power is None:
                return r2(y, y_pred, weight)
            return d2(self._deviance(), y, y_pred, weight)

    def _predict(self, rows, single):
        """Return the predictions on checked rows."""
        coef, intercept, terms = self._linear_model(self._in_domain(rows))
        dtype = torch.float32 if single else None
        if self._mean_power is None:
            y_pred = predicted(terms, coef, intercept, dtype, self._margins)
        else:
            y_pred = predicted(terms, coef, intercept).exp_()
            y_pred = y_pred if dtype is None else y_pred.to(dtype)
        if not torch.isfinite(y_pred).all():
            check_rows_finite(rows, type(self).__name__)
        return y_pred if np.ndim(self.intercept_) else y_pred[:, 0]

    def _score_rows(self, data):
        """Return the score on checked data that is not read at once, in one pass."""
        n_targets, levels = data.rows.n_targets, self._levels
        n_predicted = np.size(self.intercept_) if levels is None else 1
        if n_targets != n_predicted:
            raise ValueError(f"y has {n_targets} targets, and the model predicts {n_predicted}.")
        with computing(data.n_entries):
            coef, intercept, terms = self._linear_model(self._in_domain(data.rows))
            blocks = terms.blocks(terms.bound(terms.n_features, 8))
            blocks = dense(((X.cpu(), *others) for X, *others in blocks), torch.float64)
            if levels is not None:
                score = pinball_d2_of_blocks(blocks, coef, intercept, levels)
            elif self._mean_power is None:
                score = r2_of_blocks(blocks, coef, intercept)
            else:
                score = d2_of_blocks(self._deviance(), blocks, coef, intercept)
            if not np.isfinite(score) and data.rows.indexed:
                data.check_finite(self)
            if data.rows.n_rows < 2:
                return self._undefined_score(stacklevel=5)
        return score

    def _score_levels(self, X, y, sample_weight, levels):
        """Return the mean D2 pinball score of the levels."""
        y_pred = to_numpy(self.predict(X))
        y, weight = check_score(self, y, sample_weight, y_pred[:, :1])
        if len(y_pred) < 2:
            return self._undefined_score(stacklevel=5)
        y = np.asarray(to_numpy(y), dtype=np.float64).reshape(len(y_pred))
        weight = None if weight is None else np.asarray(to_numpy(weight), dtype=np.float64)
        return pinball_d2(y, y_pred, weight, levels)

    def _undefined_score(self, stacklevel):
        name = "R^2" if self._mean_power is None else "D^2"
        message = f"{name} score is not well-defined with less than two samples."
        warnings.warn(message, UndefinedMetricWarning, stacklevel=stacklevel)
        return float("nan")

    def _has_scale_of(self, loss):
        """Return whether there are coefficients, on the scale that raw predictions of a loss have.

        That is another one with a log link, and ``loss`` may have been set since they were found.
        """
        return hasattr(self, "coef_") and loss.log_link == (self._mean_power is not None)

    def _deviance(self):
        """Return the loss that a log link goes with."""
        assert self._mean_power is not None
        return LogLink(self._mean_power, self.loss)

    def _linear_model(self, rows):
        """Return (coef, intercept, rows) whose product and sum predict."""
        return np.atleast_2d(to_dense(self.coef_)), np.atleast_1d(to_numpy(self.intercept_)), rows

    def _in_domain(self, rows):
        """Return rows of which those outside of the domain of the fit are dealt with."""
        return rows


def predicted(
    rows: Rows,
    coef: np.ndarray,
    intercept: np.ndarray,
    dtype: torch.dtype | None = None,
    margins: np.ndarray | None = None,
) -> Tensor:
    """Return the raw predictions of all rows, computed in double precision block by block.

    Parameters
    ----------
    rows : row source
    coef : ndarray of shape (n_targets, n_features)
    intercept : ndarray of shape (n_targets,)
    dtype : torch.dtype, default=None
        Of the result; None for that of the computation.
    margins : ndarray of shape (n_targets - 1,), default=None
        How much rounding may make a target's prediction exceed that of the next, where they are
        known to be in their order.
    """
    make = partial(_predicted, coef=coef, intercept=intercept, dtype=dtype, margins=margins)
    (predictions,) = rows.total(make)
    return predictions


def _predicted(
    rows: Rows,
    coef: np.ndarray,
    intercept: np.ndarray,
    dtype: torch.dtype | None,
    margins: np.ndarray | None,
) -> tuple[Tensor]:
    double = torch.float32 if rows.device.type == "mps" else torch.float64
    W = torch.from_numpy(coef.T.copy()).to(rows.device, double)
    b = viewed(intercept).to(rows.device, double)
    if rows.sparse:
        columns = (Z for _, Z, _ in rows.centred(W.new_zeros(rows.n_features), None))
        v = torch.cat((W, b[None]))
        return (torch.cat([_in_order(Z @ v, margins).to(dtype or double) for Z in columns]),)
    blocks = dense(rows.blocks(rows.bound(rows.n_features, double.itemsize)), double)
    if rows.counted is None:  # how many there are is known at the end
        parts = [_in_order(torch.add(X @ W, b), margins) for X, _, _ in blocks]
        return (torch.cat(parts).to(dtype or double),)
    out = torch.empty(rows.n_rows, len(b), dtype=dtype or double, device=rows.device)
    start = 0
    for X, _, _ in blocks:
        stop = start + len(X)
        if margins is None:
            torch.add(X @ W, b, out=out[start:stop])
        else:  # before they are rounded to single precision, which keeps their order
            out[start:stop] = _in_order(torch.add(X @ W, b), margins)
        start = stop
    return (out,)


def _in_order(predictions: Tensor, margins: np.ndarray | None) -> Tensor:
    """Return predictions of which those that rounding alone has made cross are the same."""
    if margins is not None and len(predictions):
        for j, margin in enumerate(margins.tolist()):
            before, after = predictions[:, j], predictions[:, j + 1]
            crossed = (before > after) & (before - after <= margin)
            torch.where(crossed, before, after, out=after)
    return predictions

"""A list of quantiles: its checks, and the score of a model that predicts them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array

from .._inputs.conversion import to_numpy


def check_levels(quantile: Any) -> tuple[float, ...]:
    """Return the levels that a list of quantiles has; raise if it is none.

    Parameters
    ----------
    quantile : array-like
        The parameter of an estimator.
    """
    name = "quantile"
    levels = check_array(to_numpy(quantile), ensure_2d=False, dtype=np.float64, input_name=name)
    if levels.ndim != 1:
        raise ValueError(
            f"{name} must be a float or a 1D array, got an array of shape {levels.shape}."
        )
    found = tuple(map(float, levels))
    if not (levels > 0).all() or not (levels < 1).all():
        raise ValueError(
            f"{name} must have levels in the range (0.0, 1.0). Got {list(found)} instead."
        )
    if not (np.diff(levels) > 0).all():
        raise ValueError(
            f"{name} must have increasing levels. Got {list(found)} instead. Sort them, and leave "
            "out those that come twice."
        )
    return found


def pinball_d2_of_blocks(
    blocks: Iterable[Any], coef: np.ndarray, intercept: np.ndarray, levels: tuple[float, ...]
) -> float:
    """Return the mean over the levels of the D2 pinball score, in one pass over the rows.

    Of a pass over the rows the targets are kept, and sums of what their predictions lose.

    Parameters
    ----------
    blocks : iterable of (X, y, sample_weight)
        X is of double precision, and on the processor.
    coef : ndarray of shape (n_levels, n_features)
    intercept : ndarray of shape (n_levels,)
    levels : tuple of float
    """
    W, b = torch.from_numpy(coef.T.copy()), torch.from_numpy(intercept.copy())
    lost, targets, weights = np.zeros(len(levels)), list[np.ndarray](), list[np.ndarray]()
    for X, y, weight in blocks:
        target = y.cpu().double().numpy()[:, 0]
        share = np.ones_like(target) if weight is None else weight.cpu().double().numpy()
        lost += share @ pinball(target[:, None] - (X @ W + b).numpy(), np.array(levels))
        targets.append(target)
        weights.append(share)
    return _d2(lost, np.concatenate(targets), np.concatenate(weights), levels)


def pinball_d2(y: np.ndarray, y_pred: np.ndarray, weight: Any, levels: tuple[float, ...]) -> float:
    """Return the same for predictions, of shape (n_rows, n_levels)."""
    weight = np.ones(len(y)) if weight is None else weight
    lost = weight @ pinball(y[:, None] - y_pred, np.array(levels))
    return _d2(lost, y, weight, levels)


def pinball(residual: np.ndarray, level: Any) -> np.ndarray:
    """Return the pinball losses of residuals."""
    return np.maximum(level * residual, (level - 1) * residual)


def _d2(lost: np.ndarray, y: np.ndarray, weight: np.ndarray, levels: tuple[float, ...]) -> float:
    """Return the mean of ``1 - lost / least``, the least being that of constant predictions.

    As in scikit-learn, a target that a constant predicts scores 1 if that is met, else 0.
    """
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    order = y.argsort(kind="stable")
    y, weight = y[order], weight[order]
    reached = weight.cumsum()
    places = reached.searchsorted(np.array(levels) * reached[-1])
    at = y[places.clip(max=len(y) - 1)]
    least = np.array([weight @ pinball(y - one, q) for one, q in zip(at, levels, strict=True)])
    flat = least == 0
    scores = np.where(flat, 0.0, 1 - lost / np.where(flat, 1.0, least))
    return float(np.where(lost == 0, 1.0, scores).mean())

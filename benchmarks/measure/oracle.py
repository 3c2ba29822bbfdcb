"""The exact answer, and how far a model is from it."""

import math

import numpy as np
from scipy.linalg import lstsq

from benchmarks.suites.cases import row_blocks


def least_squares(X, y):
    """Solve least squares on standardised float64 columns.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)

    Returns
    -------
    coef : ndarray of shape (n_columns,)
        In the units of `X`.
    intercept : float
    sd : ndarray of shape (n_columns,)
        Standard deviation of each column.
    """
    Z = np.array(X, dtype=np.float64)
    target = np.array(y, dtype=np.float64)
    mean, target_mean = _centre(Z), _centre(target)
    sd = np.sqrt(np.einsum("ij,ij->j", Z, Z) / len(Z))
    Z /= sd
    coef = lstsq(Z, target, overwrite_a=True, check_finite=False)[0] / sd
    return coef, math.fsum([target_mean, *(-coef * mean)]), sd


def half_square(y, raw):
    """Compute the loss of least squares."""
    return (y - raw) ** 2 / 2


def huber(y, raw, of):
    """Compute Huber's loss."""
    size = abs(y - raw)
    return np.where(size <= of.epsilon, size**2 / 2, of.epsilon * (size - of.epsilon / 2))


def pinball(y, raw, of):
    """Compute the loss of a quantile."""
    return np.where(y > raw, of.quantile * (y - raw), (of.quantile - 1) * (y - raw))


def half_poisson_deviance(y, raw, of):
    """Compute half the deviance of counts from the exponential of what is predicted."""
    away = raw - np.log(np.where(y > 0, y, 1))
    return np.where(y > 0, y * (np.expm1(away) - away), np.exp(raw))


# The losses of targets and raw predictions under the parameters of an estimator.
LOSSES = {
    "squared_error": lambda y, raw, of: half_square(y, raw),
    "huber": huber,
    "quantile": pinball,
    "epsilon_insensitive": lambda y, raw, of: np.maximum(abs(y - raw) - of.epsilon, 0),
    "poisson": half_poisson_deviance,
}
# The shares of ||w||_1 and 1/2 ||w||^2.
PENALTIES = {
    None: lambda of: (0, 0),
    "l1": lambda of: (1, 0),
    "l2": lambda of: (0, 1),
    "elasticnet": lambda of: (of.l1_ratio, 1 - of.l1_ratio),
}


def penalised_loss(estimator, X, y, coef, intercept, expand=None):
    """Compute the objective that an estimator of ours has, at any coefficients."""
    loss = LOSSES[estimator.loss]
    l1, l2 = PENALTIES[estimator.penalty](estimator)
    penalty = l1 * np.abs(coef).sum() + l2 / 2 * (coef @ coef)
    value = mean_loss(X, y, coef, intercept, lambda y, raw: loss(y, raw, estimator), expand)
    return float(value + estimator.alpha * penalty)


def mean_loss(X, y, coef, intercept, loss, expand=None):
    """Compute the mean loss of a linear model in float64, block by block.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    coef : ndarray
    intercept : float
    loss : callable
        Makes of targets and raw predictions their losses.
    expand : callable, default=None
        Makes of a block of rows the columns that `coef` belongs to.

    Returns
    -------
    value : float
    """
    sums = []
    for rows in row_blocks(X.shape[0]):
        columns = X[rows].astype(np.float64)
        if expand is not None:
            columns = expand(columns)
        sums.append(loss(y[rows], columns @ coef + intercept).sum())
    return math.fsum(sums) / X.shape[0]


def scaled_error(coef, exact, sd):
    """Return the largest coefficient error, each in the unit of its column's sd, relative."""
    return float(np.max(np.abs(coef - exact) * sd) / np.max(np.abs(exact) * sd))


def relative_errors(coef, exact):
    """Return the relative error of each coefficient."""
    return np.abs(coef - exact) / np.abs(exact)


def _centre(values):
    # Twice: the first mean is rounded, and with large offsets that rounding is seen in the result.
    first = values.mean(axis=0)
    values -= first
    second = values.mean(axis=0)
    values -= second
    return first + second

"""The exact answer, and how far a model is from it."""

import math

import numpy as np
from scipy.linalg import lstsq

from benchmarks.cases import row_blocks


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


def half_mean_squared_error(X, y, coef, intercept, expand=None):
    """Compute the objective of a linear model in float64, block by block.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    coef : ndarray
    intercept : float
    expand : callable, default=None
        Makes of a block of rows the columns that `coef` belongs to.

    Returns
    -------
    objective : float
    """
    sums = []
    for rows in row_blocks(len(X)):
        columns = X[rows].astype(np.float64)
        if expand is not None:
            columns = expand(columns)
        residual = y[rows] - columns @ coef - intercept
        sums.append(residual @ residual)
    return math.fsum(sums) / (2 * len(X))


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

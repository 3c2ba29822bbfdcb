"""Answers to compare with, each computed in another way than the package computes it."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import scipy.linalg

DATA = Path(__file__).parents[1] / "data"
EPS = float(np.finfo(np.float64).eps)


def nist_sets():
    return [
        problem
        for name in ("nist_strd.json", "nist_strd_more.json")
        for problem in json.loads((DATA / name).read_text())
    ]


def log_relative_error(estimate, certified):
    """Return how many decimal digits of the worst value are correct, certified zeros left out."""
    estimate, certified = np.ravel(estimate), np.ravel(certified)
    error = np.abs(estimate - certified)[certified != 0] / np.abs(certified[certified != 0])
    return -math.log10(max(float(error.max()), 1e-15))


def centred(X, y, sample_weight=None, fit_intercept=True):
    """Return X and y less their weighted means, and the means.

    They are in extended precision, so that no digit is lost to a large offset.
    """
    X, y = np.asarray(X, np.longdouble), np.asarray(y, np.longdouble)
    if not fit_intercept:
        return X, y, np.zeros(X.shape[1], np.longdouble), np.zeros(y.shape[1:], np.longdouble)
    weights = None if sample_weight is None else np.asarray(sample_weight, np.longdouble)
    X_mean, y_mean = np.average(X, axis=0, weights=weights), np.average(y, axis=0, weights=weights)
    return X - X_mean, y - y_mean, X_mean, y_mean


def weighted_rows(A, sample_weight):
    if sample_weight is None:
        return A
    root = np.sqrt(np.asarray(sample_weight, np.longdouble))
    return A * root.reshape(-1, *[1] * (A.ndim - 1))


def least_squares(X, y, *, sample_weight=None, alpha=0.0, fit_intercept=True):
    """Return the coefficients and the intercept for a design of full rank, by QR.

    The columns are scaled to unit length before. The penalty enters as d further rows, so that no
    products of columns are formed.
    """
    Xc, yc, X_mean, y_mean = centred(X, y, sample_weight, fit_intercept)
    A, b = weighted_rows(Xc, sample_weight), weighted_rows(yc, sample_weight)
    total = len(A) if sample_weight is None else np.sum(sample_weight)
    if alpha:
        n_features = A.shape[1]
        A = np.vstack([A, np.sqrt(np.longdouble(alpha * total)) * np.eye(n_features)])
        b = np.concatenate([b, np.zeros((n_features, *b.shape[1:]))])
    scale = np.sqrt((A**2).sum(axis=0))
    Q, R = scipy.linalg.qr((A / scale).astype(np.float64), mode="economic")
    solution = scipy.linalg.solve_triangular(R, Q.T @ b.astype(np.float64))
    coef = (solution.T / scale).astype(np.float64)
    return coef, np.asarray(y_mean - coef @ X_mean, np.float64)


def minimum_norm(X, y, *, sample_weight=None, fit_intercept=True, cutoff=1e-10):
    """Return the least-squares solution of least norm on the centred rows, and the rank."""
    Xc, yc, X_mean, y_mean = centred(X, y, sample_weight, fit_intercept)
    A, b = weighted_rows(Xc, sample_weight), weighted_rows(yc, sample_weight)
    solution, _, rank, _ = scipy.linalg.lstsq(
        A.astype(np.float64), b.astype(np.float64), cond=cutoff, lapack_driver="gelsd"
    )
    coef = solution.T
    return coef, np.asarray(y_mean - coef @ X_mean, np.float64), rank


def rational_least_squares(rows, y, *, sample_weight=None):
    """Solve the normal equations in rational arithmetic, in which every float is exact."""
    rows = [[Fraction(value) for value in row] for row in rows]
    y = [Fraction(value) for value in y]
    weights = [
        Fraction(value) for value in ([1] * len(y) if sample_weight is None else sample_weight)
    ]
    n_terms = len(rows[0])
    gram = [
        [
            sum(s * row[i] * row[j] for s, row in zip(weights, rows, strict=True))
            for j in range(n_terms)
        ]
        for i in range(n_terms)
    ]
    moments = [
        sum(s * row[i] * t for s, row, t in zip(weights, rows, y, strict=True))
        for i in range(n_terms)
    ]
    return gauss_jordan(gram, moments)


def gauss_jordan(matrix, right_side):
    n = len(right_side)
    rows = [[*row, value] for row, value in zip(matrix, right_side, strict=True)]
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(n):
            if k != i and rows[k][i] != 0:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def monomials(row, powers, *, bias=True):
    """Return the exact terms of one row; ``powers`` has one row of exponents for each term."""
    row = [Fraction(value) for value in row]
    terms = [
        math.prod(value ** int(p) for value, p in zip(row, exponents, strict=True))
        for exponents in powers
    ]
    return [Fraction(1), *terms] if bias else terms


def rational_polynomial(X, y, powers, *, sample_weight=None, fit_intercept=True):
    """Return ``(coef, intercept)`` of a polynomial fit, computed exactly and rounded once."""
    rows = [monomials(row, powers, bias=fit_intercept) for row in np.asarray(X, float).tolist()]
    solution = rational_least_squares(
        rows, np.asarray(y, float).tolist(), sample_weight=sample_weight
    )
    values = np.array([float(value) for value in solution])
    return (values[1:], values[0]) if fit_intercept else (values, 0.0)


def standardised_singular_values(X, *, sample_weight=None, fit_intercept=True):
    Xc, _, _, _ = centred(X, np.zeros(len(X)), sample_weight, fit_intercept)
    A = weighted_rows(Xc, sample_weight)
    scale = np.sqrt((A**2).sum(axis=0))
    A = A / np.where(scale > 0, scale, 1)
    return np.linalg.svd(A.astype(np.float64), compute_uv=False)


def standardised_condition(X, *, sample_weight=None, fit_intercept=True):
    """Return the condition number of the centred design with columns of unit length."""
    singular = standardised_singular_values(
        X, sample_weight=sample_weight, fit_intercept=fit_intercept
    )
    smallest = singular[-1] if len(X) >= np.shape(X)[1] else 0.0
    return float(singular[0] / smallest) if smallest > 0 else math.inf


def coefficient_tolerance(X, y, *, sample_weight=None, rounding=EPS, factor=64):
    """Bound the error that a relative error ``rounding`` of the data leaves in each coefficient.

    This is the classical bound, for columns of unit length: the condition number times the size of
    y, and its square times the size of the residual.
    """
    Xc, yc, _, _ = centred(X, y, sample_weight)
    A, b = weighted_rows(Xc, sample_weight), weighted_rows(yc, sample_weight)
    coef, _ = least_squares(X, y, sample_weight=sample_weight)
    condition = standardised_condition(X, sample_weight=sample_weight)
    residual = np.linalg.norm((b - A @ coef.T).astype(np.float64), axis=0)
    size = np.linalg.norm(b.astype(np.float64), axis=0)
    scale = np.sqrt((A**2).sum(axis=0)).astype(np.float64)
    bound = factor * rounding * condition * (size + condition * residual)
    return np.multiply.outer(bound, 1 / scale)


def badly_scaled_problem(
    seed,
    n_samples,
    n_features,
    *,
    n_targets=None,
    offset=1e4,
    noise=0.1,
    decades=6,
    dtype=np.float64,
):
    """Return X and y, with columns of scale 10**-decades to 10**decades.

    The mean of each column is up to ``offset`` times its scale.
    """
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n_samples, n_features))
    scale = 10.0 ** np.linspace(-decades, decades, n_features)
    X = (scale * (z + offset * rng.uniform(0.5, 1.0, n_features))).astype(dtype)
    shape = (n_features,) if n_targets is None else (n_features, n_targets)
    signal = z @ (rng.uniform(1, 3, shape) * rng.choice([-1, 1], shape))
    y = 3 + signal + noise * rng.standard_normal(signal.shape)
    return X, y.astype(dtype)


def assert_solution(estimator, X, y, expected, *, rtol):
    """Assert that coefficients and intercept are as expected, but for a relative error.

    The error of the intercept is relative to the sizes of the terms whose sum it is.
    """
    coef, intercept = expected
    assert np.shape(estimator.coef_) == np.shape(coef)
    assert np.shape(estimator.intercept_) == np.shape(intercept)
    np.testing.assert_allclose(estimator.coef_, coef, rtol=rtol, atol=0)
    X_mean = np.abs(np.mean(X, axis=0, dtype=float))
    terms = np.abs(np.mean(y, axis=0, dtype=float)) + np.abs(np.asarray(coef)) @ X_mean
    assert np.all(np.abs(estimator.intercept_ - intercept) <= rtol * terms)

"""The terms of a polynomial from their definition, in extended precision."""

from itertools import combinations, combinations_with_replacement

import numpy as np

from .orthonormal import WIDE


def powers_of(degree, n_features, interaction_only=False):
    """Return the degree of each column in each term, in PolynomialFeatures' order."""
    if isinstance(degree, tuple):
        least, most, each = max(degree[0], 1), degree[1], [degree[1]] * n_features
    elif isinstance(degree, list):
        least, most, each = 1, max(degree), degree
    else:
        least, most, each = 1, degree, [degree] * n_features
    each = [min(limit, 1) for limit in each] if interaction_only else each
    chosen = combinations if interaction_only else combinations_with_replacement
    powers = [
        [columns.count(j) for j in range(n_features)]
        for total in range(least, most + 1)
        for columns in chosen(range(n_features), total)
    ]
    return np.array([p for p in powers if all(np.less_equal(p, each))]).reshape(-1, n_features)


def domain_of(X):
    """Return the least and the largest of each column, one less and one more of a constant."""
    low, high = X.min(0), X.max(0)
    same = low == high
    return np.where(same, low - 1, low), np.where(same, high + 1, high)


def terms(X, powers, basis):
    """Return the terms as columns."""
    X = X if X.dtype == object else np.asarray(X, WIDE)
    if basis == "power":
        t = X
    else:
        low, high = domain_of(X)
        t = (2 * X - (low + high)) / (high - low)
        t[:, X.min(0) == X.max(0)] *= 0  # a constant is in the middle, rounding aside
    highest = int(powers.max(initial=0))
    values = family(basis, t, highest)
    columns = [np.prod([values[k][:, j] for j, k in enumerate(p) if k], axis=0) for p in powers]
    return np.column_stack(columns)


def family(basis, t, highest):
    """Return the polynomials of a family up to a degree, at each number."""
    values = [np.ones_like(t), 2 * t if basis == "hermite" else t]
    for k in range(1, highest):
        last, before = values[-1], values[-2]
        if basis == "power":
            following = t * last
        elif basis == "chebyshev":
            following = 2 * t * last - before
        elif basis == "legendre":
            following = ((2 * k + 1) * t * last - k * before) / (k + 1)
        else:
            following = 2 * t * last - 2 * k * before
        values.append(following)
    return values


def complete(degree, fit_intercept):
    """Return whether every basis spans the same polynomials, the constant with them."""
    return fit_intercept and not (isinstance(degree, tuple) and degree[0] > 1)

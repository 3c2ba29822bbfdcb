"""More columns than rows: the solution of minimum norm, with a penalty and without."""

import warnings

import numpy as np
import pytest

from skorchlite import TorchSGDRegressor
from skorchlite._solvers.newton import underdetermined

EPS = np.finfo(float).eps
KINDS = "plain", "scaled", "offset", "constant", "weighted", "weightless", "repeated", "close"


def data(n_rows, n_columns, kind, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns))
    weight = None
    if kind == "scaled":
        X *= np.logspace(-3, 3, n_columns)
    elif kind == "offset":
        X += 1e4
    elif kind == "constant":
        X[:, ::5] = 7.0
    elif kind == "weighted":
        weight = rng.uniform(0.1, 10, n_rows)
    elif kind == "weightless":
        weight = np.where(np.arange(n_rows) % 3 == 0, 0.0, 1.0)
    elif kind == "repeated":
        X[n_rows // 2 :] = X[: n_rows - n_rows // 2]
    elif kind == "close":
        X[1] = X[0] + 1e-9 * X[2]
    return X, X[:, :3].sum(1) + rng.standard_normal(n_rows), weight


def ridge(alpha):
    return TorchSGDRegressor(**({"penalty": "l2", "alpha": alpha} if alpha else {}))


def reference(X, y, weight, alpha):
    """Return the coefficients, refined in long doubles, and the singular values of the rows."""
    weight = np.ones(len(y)) if weight is None else weight
    share = (weight / weight.sum()).astype(np.longdouble)
    Z = X.astype(np.longdouble) - share @ X.astype(np.longdouble)
    r = y.astype(np.longdouble) - share @ y.astype(np.longdouble)
    Z, r = Z * np.sqrt(share)[:, None], r * np.sqrt(share)
    _, lengths, right = np.linalg.svd(Z.astype(float), full_matrices=False)
    keep = lengths > 4 * X.shape[1] ** 0.5 * EPS * np.abs(X).max()  # what rounding may have made
    lengths, right = lengths[keep], right[keep]
    coef = np.zeros(X.shape[1], np.longdouble)
    for _ in range(5):
        gradient = Z.T @ (Z @ coef - r) + alpha * coef
        coef = coef - right.T @ ((right @ gradient.astype(float)) / (lengths**2 + alpha))
    return coef.astype(float), lengths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0, 1e-6, 0.1, 100.0])
def test_solution_has_minimum_norm(kind, alpha):
    X, y, weight = data(30, 90, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = ridge(alpha).fit(X, y, sample_weight=weight)
    coef, lengths = reference(X, y, weight, alpha)
    assert estimator.converged_
    # What the rounding of the data moves the coefficients by, relative to their size. Where rows
    # depend on each other, the penalty alone determines the other directions.
    moved = max(1.0, np.abs(X).max() / (lengths[-1] ** 2 + alpha) ** 0.5)
    if alpha and kind == "repeated":
        moved = max(moved, lengths[0] ** 2 / alpha)
    error = np.linalg.norm(estimator.coef_ - coef) / np.linalg.norm(coef)
    assert error <= 1e2 * EPS * moved
    if not alpha:
        assert estimator.rank_ == len(lengths)


@pytest.mark.parametrize("kind", ["plain", "weighted", "weightless", "scaled", "offset"])
@pytest.mark.parametrize("alpha", [0, 0.1])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_products_of_rows_give_what_a_basis_of_them_does(kind, alpha, fit_intercept, monkeypatch):
    X, y, weight = data(20, 50, kind)
    Y = np.stack((y, y**2), 1)

    def fitted():
        estimator = ridge(alpha).set_params(fit_intercept=fit_intercept)
        return estimator.fit(X, Y, sample_weight=weight)

    fast = fitted()
    monkeypatch.setattr(underdetermined, "row_space_factors", lambda *given: (None, np.inf))
    exact = fitted()
    assert fast.rank_ == exact.rank_
    size = np.linalg.norm(exact.coef_)
    assert np.linalg.norm(fast.coef_ - exact.coef_) <= 1e3 * EPS * np.linalg.cond(X) * size
    assert abs(fast.optimality_ - exact.optimality_) <= 1e-12


@pytest.mark.parametrize("loss", ["huber", "quantile", "log_cosh"])
def test_other_losses_take_the_same_directions(loss):
    X, y, _ = data(20, 60, "plain")
    estimator = TorchSGDRegressor(loss, penalty="l2", alpha=1e-3).fit(X, y)
    assert estimator.converged_ and estimator.rank_ == 19

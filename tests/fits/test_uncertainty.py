"""Covariances, standard errors and deviations of predictions, beside statsmodels and NumPy."""

import pickle
import sys
import warnings

import numpy as np
import numpy.polynomial as polynomials
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from scipy.stats import norm
from sklearn.base import clone
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import (
    TorchPolyRegressor,
    TorchPolyRegressorCV,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)

sm = pytest.importorskip("statsmodels.api")

KINDS = ("nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster")
every_kind = pytest.mark.parametrize("kind", KINDS)
EXACT = 1e-9


def difference(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def problem(seed):
    """Return X, y, sample_weight (or None), clusters and fit_intercept; errors differ in size."""
    rng = np.random.default_rng(seed)
    n, d = rng.integers(30, 300), rng.integers(1, 8)
    X = rng.standard_normal((n, d)) * rng.uniform(0.2, 5, d) + rng.uniform(-3, 3, d)
    y = X @ rng.standard_normal(d) + rng.standard_normal(n) * (0.1 + np.abs(X[:, 0]))
    weight = rng.uniform(0.1, 3, n) if seed % 2 else None
    return X, y, weight, rng.integers(0, 12, n), bool(seed % 3)


def of_statsmodels(X, y, weight, clusters, fit_intercept, kind):
    """Return the results of statsmodels; a column of ones comes last."""
    Z = np.column_stack((X, np.ones(len(X)))) if fit_intercept else X
    result = sm.WLS(y, Z, weights=1.0 if weight is None else weight).fit()
    if kind == "nonrobust":
        return result
    given = {"groups": clusters} if kind == "cluster" else {}
    return result.get_robustcov_results(kind, use_t=True, **given)


def asked(kind, clusters):
    return {"cov_type": kind, "clusters": clusters if kind == "cluster" else None}


@every_kind
def test_covariances_are_those_of_statsmodels(kind):
    for seed in range(20):
        X, y, weight, clusters, fit_intercept = data = problem(seed)
        model = TorchSGDRegressor(fit_intercept=fit_intercept).fit(X, y, weight)
        expected = of_statsmodels(*data, kind)
        ask = asked(kind, clusters)
        covariance = model.covariance_matrix(X, y, weight, **ask)
        assert difference(covariance, expected.cov_params()) < EXACT
        table = model.coef_table(X, y, weight, **ask)
        assert difference(table["estimate"], expected.params) < EXACT
        assert difference(table["std_error"], expected.bse) < EXACT
        assert np.abs(table["p"] - expected.pvalues).max() < EXACT
        interval = np.stack((table["lower"], table["upper"]), 1)
        assert difference(interval, expected.conf_int()) < EXACT
        narrow = model.coef_table(X, y, weight, **ask, confidence_level=0.5)["upper"]
        assert difference(narrow, expected.conf_int(0.5)[:, 1]) < EXACT


def test_what_a_fit_keeps_is_what_statsmodels_makes_of_the_rows():
    for seed in range(20):
        X, y, weight, _, fit_intercept = data = problem(seed)
        model = TorchSGDRegressor(fit_intercept=fit_intercept).fit(X, y, weight)
        expected = of_statsmodels(*data, "nonrobust")
        assert difference(model.covariance_matrix(), expected.cov_params()) < EXACT
        assert difference(model.std_errors(), expected.bse) < EXACT
        assert abs(model.residual_std() / expected.scale**0.5 - 1) < EXACT
        assert abs(model.residual_std(X, y, weight) / expected.scale**0.5 - 1) < EXACT
        y_pred, y_std = model.predict(X, return_std=True)
        assert np.array_equal(y_pred, model.predict(X))
        mean = expected.get_prediction(expected.model.exog).var_pred_mean
        assert difference(y_std, np.sqrt(mean + expected.scale)) < EXACT


def test_leverages_of_many_rows_lose_nothing_in_single_precision():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60_000, 4)) + 1
    X[50_000] *= 300  # a large leverage, in a later block
    y = X @ [1.0, 2, -1, 0] + rng.standard_normal(60_000) * np.abs(X[:, 0])
    y[50_000] += 3000
    weight = np.ones(60_000)
    weight[59_000] = 5000
    for given in (None, weight):
        model = TorchSGDRegressor().fit(X, y, given)
        expected = of_statsmodels(X, y, given, None, True, "HC3").cov_params()
        assert difference(model.covariance_matrix(X, y, given, cov_type="HC3"), expected) < EXACT


# --- other losses ------------------------------------------------------------------------


def of_quantile(X, y, coef, quantile):
    """Return the robust and the i.i.d. covariance of statsmodels' QuantReg, at given coefficients.

    Residuals that are zero but for rounding, where its signs are those of rounding errors, are not
    above zero.
    """
    Z = np.column_stack((X, np.ones(len(X))))
    e = y - Z @ coef
    e[np.abs(e) < 1e-10] = 0
    n, z = len(y), norm.ppf(quantile)
    width = n ** (-1 / 3) * norm.ppf(0.975) ** (2 / 3)
    width *= (1.5 * norm.pdf(z) ** 2 / (2 * z**2 + 1)) ** (1 / 3)
    apart = norm.ppf(quantile + width) - norm.ppf(quantile - width)
    quartiles = np.percentile(e, 75) - np.percentile(e, 25)
    h = min(np.std(y), quartiles / 1.34) * apart
    density = np.maximum(0.75 * (1 - (e / h) ** 2), 0).sum() / (n * h)
    inverse = np.linalg.inv(Z.T @ Z)
    squares = np.where(e > 0, quantile**2, (1 - quantile) ** 2) / density**2
    robust = inverse @ (Z.T @ (Z * squares[:, None])) @ inverse
    return robust, quantile * (1 - quantile) / density**2 * inverse


def test_covariances_of_quantiles_are_those_of_the_kernel_sandwich():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((rng.integers(100, 300), rng.integers(1, 5)))
        y = X.sum(1) + rng.standard_t(3, len(X)) * (1 + np.abs(X[:, 0]))
        quantile = (0.5, 0.3, 0.8)[seed % 3]
        model = TorchSGDRegressor("quantile", quantile=quantile).fit(X, y)
        coef = [*model.coef_, model.intercept_]
        robust, alike = of_quantile(X, y, coef, quantile)
        assert difference(model.covariance_matrix(X, y, cov_type="HC0"), robust) < EXACT
        assert difference(model.covariance_matrix(X, y), alike) < EXACT
        if quantile == 0.5:  # at which the signs of residuals that are zero do not matter
            median = TorchSGDRegressor("absolute_error").fit(X, y)
            assert difference(median.covariance_matrix(X, y), alike) < EXACT
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its iteration ends where it goes in a circle
                theirs = sm.QuantReg(y, np.column_stack((X, np.ones(len(X)))))
                theirs = theirs.fit(p_tol=1e-12, max_iter=5000)
            # Its coefficients are those of least loss to about 1e-6.
            found = model.covariance_matrix(X, y, cov_type="HC0")
            assert difference(found, theirs.cov_params()) < 1e-4


def psi(loss, r):
    return {
        "huber": (np.clip(r, -1, 1), np.abs(r) <= 1),
        "log_cosh": (np.tanh(r), 1 / np.cosh(r) ** 2),
        "squared_epsilon_insensitive": (
            2 * np.sign(r) * np.maximum(np.abs(r) - 1, 0),
            2.0 * (np.abs(r) > 1),
        ),
    }[loss]


@pytest.mark.parametrize("loss", ["huber", "log_cosh", "squared_epsilon_insensitive"])
@pytest.mark.parametrize("weighted", [False, True])
def test_covariances_of_smooth_losses_are_the_sandwich_of_an_m_estimator(loss, weighted):
    X, y, weight, clusters, _ = problem(7)
    s = weight if weighted else np.ones(len(y))
    given = {} if loss == "log_cosh" else {"epsilon": 1.0}
    model = TorchSGDRegressor(loss, **given).fit(X, y, weight if weighted else None)
    Z, n = np.column_stack((X, np.ones(len(X)))), len(y)
    k = Z.shape[1]
    slope, curvature = psi(loss, y - model.predict(X))
    bread = np.linalg.inv(Z.T @ (Z * (s * curvature)[:, None]))
    scores = Z * (s * slope)[:, None]
    groups = np.stack([scores[clusters == g].sum(0) for g in np.unique(clusters)])
    G = len(groups)
    variance = (s * slope**2).sum() / (n - k) / ((s * curvature).sum() / s.sum()) ** 2
    expected = {
        "HC0": bread @ scores.T @ scores @ bread,
        "HC1": bread @ scores.T @ scores @ bread * n / (n - k),
        "cluster": bread @ groups.T @ groups @ bread * G / (G - 1) * (n - 1) / (n - k),
        "nonrobust": variance * np.linalg.inv(Z.T @ (Z * s[:, None])),
    }
    for kind, covariance in expected.items():
        ask = asked(kind, clusters)
        found = model.covariance_matrix(X, y, weight if weighted else None, **ask)
        assert difference(found, covariance) < 1e-8, kind


def log_cosh(y_pred, y_true):
    return torch.log(torch.cosh(y_pred - y_true))


def mean_log_cosh(y_pred, y_true):
    return log_cosh(y_pred, y_true).mean()


@pytest.mark.parametrize("loss", [log_cosh, mean_log_cosh])
def test_covariances_of_a_callable_are_those_of_the_same_loss_by_its_name(loss):
    X, y, *_ = problem(8)
    named, given = (TorchSGDRegressor(kind).fit(X, y) for kind in ("log_cosh", loss))
    for kind in ("nonrobust", "HC1"):
        found, expected = (m.covariance_matrix(X, y, cov_type=kind) for m in (given, named))
        assert difference(found, expected) < 1e-6


def test_epsilon_insensitive_has_the_density_at_both_kinks():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 2))
    y = X.sum(1) + rng.standard_normal(20_000)
    model = TorchSGDRegressor("epsilon_insensitive", epsilon=0.5).fit(X, y)
    tail, density = 2 * norm.cdf(-0.5), 2 * norm.pdf(0.5)
    expected = np.sqrt(tail) / density / np.sqrt(20_000)
    for kind in ("nonrobust", "HC0"):
        errors = model.std_errors(X, y, cov_type=kind)
        assert np.abs(errors / expected - 1).max() < 0.05


# --- sources -----------------------------------------------------------------------------


def table(weighted=True):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((400, 3)) * (rng.random((400, 3)) < 0.4)
    y = X @ [1.0, -2, 3] + rng.standard_normal(400) * (1 + np.abs(X[:, 0]))
    weight = rng.uniform(0.2, 2, 400) if weighted else None
    return X, y, weight, rng.integers(0, 9, 400)


def cut(*columns, size=37):
    return [tuple(c[i : i + size] for c in columns) for i in range(0, len(columns[0]), size)]


class Frames:
    """Blocks of Arrow that begin anew at each pass, and how many passes there were."""

    def __init__(self, *columns):
        self.columns, self.passes = columns, 0

    def __iter__(self):
        self.passes += 1
        for X, *rest in cut(*self.columns):
            yield pa.table({f"c{j}": X[:, j] for j in range(X.shape[1])}), *rest


def source(name):
    """Return what is passed as X, y and sample_weight."""
    X, y, weight, _ = table()
    return {
        "sparse": (scipy.sparse.csr_matrix(X), y, weight),
        "frame": (pd.DataFrame(X, columns=list("abc")), pd.Series(y), weight),
        "tensor": (torch.from_numpy(X), torch.from_numpy(y), weight),
        "columns": (np.asfortranarray(X), y, weight),
        "blocks": (cut(X, y, weight), None, None),
        "sparse blocks": (
            [(scipy.sparse.csr_matrix(a), *rest) for a, *rest in cut(X, y, weight)],
            None,
            None,
        ),
        "arrow": (Frames(X, y, weight), None, None),
    }[name]


@every_kind
@pytest.mark.parametrize(
    "name", ["sparse", "frame", "tensor", "columns", "blocks", "sparse blocks", "arrow"]
)
def test_every_source_has_the_covariances_of_an_array(name, kind):
    X, y, weight, clusters = table()
    ask = asked(kind, clusters)
    expected = TorchSGDRegressor().fit(X, y, weight).covariance_matrix(X, y, weight, **ask)
    model = TorchSGDRegressor().fit(*source(name))
    found = model.covariance_matrix(*source(name), **ask)
    assert isinstance(found, np.ndarray)
    assert difference(found, expected) < 1e-12
    assert difference(model.covariance_matrix(), model.covariance_matrix(*source(name))) < 1e-12


def test_a_robust_covariance_takes_one_pass_and_a_classical_one_none():
    X, y, weight, clusters = table()
    frames = Frames(X, y, weight)
    model = TorchSGDRegressor().fit(frames)
    for kind in KINDS:
        for call in (model.covariance_matrix, model.std_errors, model.coef_table):
            frames.passes = 0
            call(frames, **asked(kind, clusters))
            assert frames.passes == 1, kind
    frames.passes = 0
    model.covariance_matrix()
    model.coef_table()
    assert frames.passes == 0


def test_blocks_that_can_be_read_once_have_robust_covariances():
    X, y, weight, clusters = table()
    model = TorchSGDRegressor().fit(iter(cut(X, y, weight)))
    expected = TorchSGDRegressor().fit(X, y, weight)
    assert difference(model.covariance_matrix(), expected.covariance_matrix()) < 1e-12
    for kind in KINDS:
        ask = asked(kind, clusters)
        found = model.covariance_matrix(iter(cut(X, y, weight)), **ask)
        assert difference(found, expected.covariance_matrix(X, y, weight, **ask)) < 1e-12


def test_chunks_of_partial_fit_add_up_to_the_covariance_of_all():
    X, y, weight, _ = table()
    model = TorchSGDRegressor()
    for chunk in cut(X, y, weight):
        model.partial_fit(*chunk)
    expected = TorchSGDRegressor().fit(X, y, weight)
    assert difference(model.covariance_matrix(), expected.covariance_matrix()) < 1e-11
    found = TorchSGDRegressor().fit(X[:200], y[:200], weight[:200])
    found.partial_fit(X[200:], y[200:], weight[200:])
    assert difference(found.covariance_matrix(), expected.covariance_matrix()) < 1e-11
    stochastic = found.set_params(solver="sgd").partial_fit(X, y)
    with pytest.raises(ValueError, match="Give X, y and sample_weight"):
        stochastic.covariance_matrix()


@every_kind
def test_rows_without_weight_are_no_part_of_a_covariance(kind):
    X, y, weight, clusters = table()
    weight[::3], clusters[::3] = 0, 99
    X[::3] = 1e6
    there = weight > 0
    few = TorchSGDRegressor().fit(X[there], y[there], weight[there])
    expected = few.covariance_matrix(
        X[there], y[there], weight[there], **asked(kind, clusters[there])
    )
    ask = asked(kind, clusters)
    for model, data in (
        (TorchSGDRegressor(), (X, y, weight)),
        (TorchSGDRegressor(), (scipy.sparse.csr_matrix(X), y, weight)),
        (TorchSGDRegressor(), (cut(X, y, weight), None, None)),
    ):
        model.fit(*data)
        assert difference(model.covariance_matrix(*data, **ask), expected) < 1e-10
    if kind == "nonrobust":
        assert difference(model.covariance_matrix(), expected) < 1e-10


@every_kind
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_it_does_not_matter_what_weights_are_relative_to(loss, kind):
    if loss != "squared_error" and kind in ("HC2", "HC3"):
        pytest.skip("these are for squared error")
    X, y, weight, clusters = table()
    ask = asked(kind, clusters)
    small, large = (
        TorchSGDRegressor(loss).fit(X, y, w).covariance_matrix(X, y, w, **ask)
        for w in (weight, 1000 * weight)
    )
    assert difference(small, large) < 1e-7


def test_targets_have_covariances_of_their_own():
    X, y, weight, clusters = table()
    Y = np.stack((y, y**2, -y), 1)
    model = TorchSGDRegressor().fit(X, Y, weight)
    alone = [TorchSGDRegressor().fit(X, column, weight) for column in Y.T]
    for kind in KINDS:
        ask = asked(kind, clusters)
        found = model.covariance_matrix(X, Y, weight, **ask)
        expected = [
            m.covariance_matrix(X, column, weight, **ask)
            for m, column in zip(alone, Y.T, strict=True)
        ]
        assert found.shape == (3, 4, 4)
        assert all(difference(a, b) < 1e-11 for a, b in zip(found, expected, strict=True))
    assert model.std_errors().shape == (3, 4)
    assert difference(model.residual_std(), [m.residual_std() for m in alone]) < 1e-11
    _, y_std = model.predict(X[:5], return_std=True)
    assert difference(y_std[:, 1], alone[1].predict(X[:5], return_std=True)[1]) < 1e-11
    coef = model.coef_table()
    assert coef.loc[(1, "intercept"), "estimate"] == model.intercept_[1]
    assert coef.loc[(2, "x1"), "std_error"] == model.std_errors()[2, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_deviations_are_of_the_kind_of_the_samples(dtype):
    X, y, _, _ = table()
    model = TorchSGDRegressor().fit(X, y)
    expected = model.predict(X, return_std=True)[1]
    X = X.astype(dtype)
    y_pred, y_std = model.predict(X, return_std=True)
    assert y_pred.dtype == y_std.dtype == dtype
    assert difference(y_std, expected) < 10 * np.finfo(dtype).eps
    tensor = model.predict(torch.from_numpy(X), return_std=True)[1]
    assert torch.is_tensor(tensor)
    sparse = model.predict(scipy.sparse.csr_matrix(X), return_std=True)[1]
    blocks = model.predict(iter(np.array_split(X, 7)), return_std=True)[1]
    for found in (tensor.numpy(), sparse, blocks):
        assert np.abs(found - expected).max() < 100 * np.finfo(dtype).eps * expected.max()


# --- polynomials -------------------------------------------------------------------------

VANDERMONDE = {
    "chebyshev": polynomials.chebyshev.chebvander,
    "legendre": polynomials.legendre.legvander,
    "hermite": polynomials.hermite.hermvander,
}


@pytest.mark.parametrize("basis", ["power", *VANDERMONDE])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_covariances_of_polynomials_are_in_their_basis(basis, fit_intercept):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 2))
    X[0], X[1] = -1, 1
    y = 1 + X[:, 0] ** 3 - X[:, 0] * X[:, 1] + rng.standard_normal(300) * (1.5 + X[:, 0])
    model = TorchPolyRegressor(3, basis=basis, fit_intercept=fit_intercept).fit(X, y)
    if basis == "power":
        Z = PolynomialFeatures(3, include_bias=False).fit_transform(X)
    else:
        first, second = (VANDERMONDE[basis](column, 3) for column in X.T)
        Z = np.stack([first[:, p] * second[:, q] for p, q in model.powers_], 1)
    clusters = rng.integers(0, 20, 300)
    for kind in KINDS:
        expected = of_statsmodels(Z, y, None, clusters, fit_intercept, kind)
        found = model.covariance_matrix(X, y, **asked(kind, clusters))
        assert difference(found, expected.cov_params()) < 1e-11
        if kind == "nonrobust":
            assert difference(model.covariance_matrix(), expected.cov_params()) < 1e-11
            mean = expected.get_prediction(expected.model.exog).var_pred_mean
            y_std = model.predict(X, return_std=True)[1]
            assert difference(y_std, np.sqrt(mean + expected.scale)) < 1e-11
    names = [*model.get_feature_names_out(), *["intercept"] * fit_intercept]
    assert list(model.coef_table().index) == names


def test_deviations_outside_of_the_domain_are_what_extrapolation_asks_for():
    x = np.linspace(0, 1, 30)[:, None]
    y = np.sin(3 * x[:, 0]) + 0.1 * np.cos(40 * x[:, 0])
    model = TorchPolyRegressor(2, extrapolation="nan").fit(x, y)
    y_pred, y_std = model.predict([[0.5], [2.0]], return_std=True)
    assert np.array_equal(np.isnan(y_pred), [False, True])
    assert np.array_equal(np.isnan(y_std), [False, True])
    ends = model.set_params(extrapolation="clip").predict([[1.0], [2.0]], return_std=True)[1]
    assert ends[0] == ends[1]


# --- nearly dependent columns -----------------------------------------------------------


def in_extended_precision(X, y, kind):
    """Return the covariance by Gram and Schmidt's orthogonalization, twice, in long doubles."""
    Z = np.column_stack((X, np.ones(len(X)))).astype(np.longdouble)
    Q, R = Z.copy(), np.eye(Z.shape[1], dtype=np.longdouble)
    for _ in range(2):
        turn = np.eye(Z.shape[1], dtype=np.longdouble)
        for j in range(Z.shape[1]):
            for i in range(j):
                part = Q[:, i] @ Q[:, j]
                Q[:, j] -= part * Q[:, i]
                turn[i, j] = part
            turn[j, j] = np.sqrt(Q[:, j] @ Q[:, j])
            Q[:, j] /= turn[j, j]
        R = turn @ R
    inverse = np.zeros_like(R)
    for j in range(len(R)):
        inverse[j, j] = 1 / R[j, j]
        for i in reversed(range(j)):
            inverse[i, j] = -(R[i, i + 1 : j + 1] @ inverse[i + 1 : j + 1, j]) / R[i, i]
    residual = y - Q @ (Q.T @ y.astype(np.longdouble))
    h = (Q * Q).sum(1)
    n, k = Z.shape
    squares = {"HC0": residual**2, "HC3": (residual / (1 - h)) ** 2}
    if kind == "nonrobust":
        return residual @ residual / (n - k) * inverse @ inverse.T
    return inverse @ (Q.T @ (Q * squares[kind][:, None])) @ inverse.T


@pytest.mark.parametrize("kind", ["nonrobust", "HC0", "HC3"])
@pytest.mark.parametrize("apart", [1e-2, 1e-4, 1e-6])
def test_nearly_dependent_columns_keep_their_digits(kind, apart):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 4)) + 5
    X[:, 3] = X[:, 0] + apart * rng.standard_normal(200)
    y = X.sum(1) + rng.standard_normal(200)
    model = TorchSGDRegressor().fit(X, y)
    expected = in_extended_precision(X, y, kind).astype(float)
    # The data is rounded, and the columns are apart by so many of its last bits.
    rounding = 1e-13 / apart
    found = np.array(model.covariance_matrix(X, y, cov_type=kind))
    assert difference(found, expected) < max(rounding, 1e-12)


def test_residuals_far_below_the_target_keep_their_digits():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((100, 2))
    error = rng.standard_normal(100)
    y = 1e6 * X.sum(1) + error
    model = TorchSGDRegressor().fit(X, y)
    Z = np.column_stack((X, np.ones(100)))
    error -= Z @ np.linalg.lstsq(Z, error, rcond=None)[0]
    # Each target is rounded to some 1e-10.
    assert abs(model.residual_std() / (error @ error / 97) ** 0.5 - 1) < 1e-9
    assert abs(model.residual_std(X, y) / (error @ error / 97) ** 0.5 - 1) < 1e-9


def test_sums_of_many_rows_that_hold_no_residuals_are_not_used():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((50_000, 2))
    y = X.sum(1) + 1e-9 * rng.standard_normal(50_000)
    model = TorchSGDRegressor().fit(X, y)
    with pytest.raises(ValueError, match="as small as rounding errors"):
        model.std_errors()
    with pytest.raises(ValueError, match="as small as rounding errors"):
        model.predict(X, return_std=True)
    assert np.abs(model.std_errors(X, y) * 50_000**0.5 / 1e-9 - 1).max() < 0.02


# --- errors ------------------------------------------------------------------------------

X, Y, WEIGHT, CLUSTERS = table()


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (TorchSGDRegressor(penalty="l2"), "penalty='l2' moves"),
        (TorchSGDRegressor(penalty="l1"), "penalty='l1' moves"),
        (TorchSGDRegressor(positive=True), "positive=True moves"),
        (TorchSGDRegressorCV(), "penalty='l2' moves"),
        (TorchSGDRegressor("huber"), "loss='huber' needs the residuals"),
        (TorchSGDRegressor(solver="sgd", random_state=0), "Give X, y and sample_weight"),
    ],
)
def test_models_without_a_covariance_say_why(model, match):
    model.fit(X, Y)
    for call in (model.covariance_matrix, model.std_errors, model.coef_table):
        with pytest.raises(ValueError, match=match):
            call()


@pytest.mark.parametrize(
    ("asked_for", "match"),
    [
        ({"X": X[:50], "y": Y[:50], "cov_type": "HC1"}, "fitted to 400 samples"),
        ({"X": X, "y": Y, "sample_weight": WEIGHT}, "fitted to 400 samples"),
        ({"X": X, "y": Y[::-1].copy(), "cov_type": "HC0"}, "not those of least loss"),
        ({"X": X, "y": Y, "cov_type": "HC4"}, "is none of"),
        ({"cov_type": "HC3"}, "needs the residuals"),
        ({"y": Y}, "go with X"),
        ({"X": X, "y": Y, "cov_type": "cluster"}, "no clusters"),
        ({"X": X, "y": Y, "clusters": CLUSTERS}, "only with it"),
        ({"X": X, "y": Y, "cov_type": "cluster", "clusters": [1] * 400}, "two clusters"),
        ({"X": X, "y": Y, "cov_type": "cluster", "clusters": CLUSTERS[:-1]}, "399 entries"),
        ({"X": X, "y": Y, "cov_type": "cluster", "clusters": [*CLUSTERS, 1]}, "401 entries"),
        ({"X": X, "y": Y, "cov_type": "cluster", "clusters": CLUSTERS[:, None]}, "shape"),
        ({"X": np.where(X > 2, np.nan, X), "y": Y, "cov_type": "HC0"}, "contains NaN"),
        ({"X": X, "y": np.stack((Y, Y), 1)}, "2 targets"),
        ({"X": X}, "requires y"),
    ],
)
def test_data_that_is_not_that_of_the_fit_is_refused(asked_for, match):
    model = TorchSGDRegressor().fit(X, Y)
    before = vars(model).copy()
    with pytest.raises(ValueError, match=match):
        model.covariance_matrix(**asked_for)
    assert vars(model) == before


def test_columns_that_leave_coefficients_undetermined_are_refused():
    twice = np.column_stack((X, X[:, 0]))
    for model in (TorchSGDRegressor(), TorchSGDRegressor("huber")):
        model.fit(twice, Y)
        with pytest.raises(ValueError, match="determines 3"):
            model.covariance_matrix(twice, Y)
    unknown = TorchSGDRegressor(solver="sgd", random_state=0).fit(twice, Y)
    unknown.rank_ = None
    with pytest.raises(ValueError, match="determines fewer"):
        unknown.covariance_matrix(twice, Y)
    with pytest.warns(np.exceptions.RankWarning):
        polynomial = TorchPolyRegressor(5).fit(np.arange(4.0)[:, None], [1.0, 2, 4, 3])
    with pytest.raises(ValueError, match="independent columns"):
        polynomial.std_errors()
    with pytest.raises(ValueError, match="no residual"):
        TorchSGDRegressor().fit(X[:4] + np.eye(4, 3), Y[:4]).std_errors()


def test_a_leverage_of_one_is_refused_where_it_would_divide_by_zero():
    alone = np.column_stack((X, np.arange(400) == 7))
    model = TorchSGDRegressor().fit(alone, Y)
    for kind in ("HC2", "HC3"):
        with pytest.raises(ValueError, match="leverage of 1"):
            model.std_errors(alone, Y, cov_type=kind)
    assert np.isfinite(model.std_errors(alone, Y, cov_type="HC1")).all()


def test_losses_without_a_visible_curvature_are_refused():
    linear = TorchSGDRegressor(loss=torch.nn.L1Loss(), tol=None).fit(X, Y)
    with pytest.raises(ValueError, match="no curvature"):
        linear.std_errors(X, Y)
    with pytest.raises(ValueError, match="by their leverages"):
        TorchSGDRegressor("huber").fit(X, Y).std_errors(X, Y, cov_type="HC3")
    same = TorchSGDRegressor("absolute_error").fit(X, np.where(np.arange(400) % 3, 1.0, Y))
    with pytest.raises(ValueError, match="half of the residuals are the same"):
        same.std_errors(X, np.where(np.arange(400) % 3, 1.0, Y))


def cauchy(y_pred, y_true):
    return torch.log1p((y_pred - y_true) ** 2)


def test_losses_that_are_not_convex_have_no_sandwich():
    model = TorchSGDRegressor(loss=cauchy).fit(X, Y)
    assert np.isfinite(model.std_errors(X, Y)).all()
    with pytest.raises(ValueError, match="curves downwards"):
        model.std_errors(X, Y, cov_type="HC0")


def test_coefficients_that_have_not_converged_are_refused():
    settings = {"learning_rate": "constant", "eta0": 1e-4, "max_iter": 1, "tol": None}
    model = TorchSGDRegressor(solver="sgd", random_state=0, **settings).fit(X, Y)
    with pytest.raises(ValueError, match="has not converged"):
        model.std_errors(X, Y)


def test_variances_beyond_the_range_of_doubles_are_refused():
    model = TorchSGDRegressor().fit(1e200 * X, Y)
    with pytest.raises(ValueError, match="beyond the range"):
        model.std_errors()


def test_exact_targets_have_no_errors():
    model = TorchSGDRegressor().fit(X, X @ [1.0, 2, 3] + 4)
    assert model.std_errors().max() < 1e-14
    assert model.std_errors(X, X @ [1.0, 2, 3] + 4, cov_type="HC3").max() < 1e-14
    constant = TorchSGDRegressor().fit(X, np.full(400, 3.0)).coef_table()
    assert constant["std_error"].max() == 0


# --- the estimator -----------------------------------------------------------------------


def test_what_a_fit_keeps_survives_pickles_and_not_clones():
    for model in (TorchSGDRegressor(), TorchPolyRegressor(2)):
        model.fit(X, Y)
        again = pickle.loads(pickle.dumps(model))
        assert np.array_equal(again.covariance_matrix(), model.covariance_matrix())
        assert np.array_equal(
            again.covariance_matrix(X, Y, cov_type="HC3"),
            model.covariance_matrix(X, Y, cov_type="HC3"),
        )
        fresh = clone(model).set_params(solver="sgd", random_state=0).fit(X, Y)
        with pytest.raises(ValueError, match="Give X, y"):
            fresh.covariance_matrix()


def test_a_chosen_polynomial_without_a_penalty_has_standard_errors():
    x = np.linspace(-1, 1, 60)[:, None]
    y = x[:, 0] ** 2 + 0.1 * np.sin(50 * x[:, 0])
    search = TorchPolyRegressorCV([1, 2, 3, 4], penalty=None).fit(x, y)
    model = TorchPolyRegressor(search.degree_).fit(x, y)
    assert difference(search.std_errors(), model.std_errors()) < 1e-9
    found = search.covariance_matrix(x, y, cov_type="HC3")
    assert difference(found, model.covariance_matrix(x, y, cov_type="HC3")) < 1e-9
    y_std = search.predict(x, return_std=True)[1]
    assert difference(y_std, model.predict(x, return_std=True)[1]) < 1e-9


def test_single_precision_says_no_more_than_it_knows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 60)).astype(np.float32)
    y = (X.sum(1) + rng.standard_normal(5000)).astype(np.float32)
    model = TorchSGDRegressor(dtype="float32").fit(X, y)
    expected = TorchSGDRegressor().fit(X.astype(float), y.astype(float))
    exact = expected.covariance_matrix()
    assert difference(model.covariance_matrix(X, y), exact) < 1e-9
    try:
        assert difference(model.covariance_matrix(), exact) < 1e-3
    except ValueError as error:
        assert "Give X, y" in str(error)


def test_tables_without_pandas_print_themselves(monkeypatch):
    model = TorchSGDRegressor().fit(pd.DataFrame(X, columns=["age", "height", "c"]), Y)
    expected = model.coef_table()
    monkeypatch.setitem(sys.modules, "pandas", None)
    found = model.coef_table()
    assert list(found) == list(expected.columns) and len(found) == 6
    assert found.index == ["age", "height", "c", "intercept"]
    assert all(np.array_equal(found[name], expected[name]) for name in found)
    lines = repr(found).splitlines()
    assert lines[0].split() == list(found) and lines[2].split()[0] == "height"
    assert len({len(line) for line in lines}) == 1
    with pytest.raises(ValueError, match="confidence_level"):
        model.coef_table(confidence_level=95)

"""One regression a group against fits of the rows of each group alone."""

import datetime
import pickle
import warnings
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from skorchlite import TorchGroupedRegressor, TorchPolyRegressor, TorchSGDRegressor
from skorchlite._estimators import group_data, group_fits, group_stream
from tests.support.all_pairs import all_pairs

EPS = np.finfo(float).eps


def problem(rng, counts, d=3, t=None):
    """Rows of groups of different sizes, in a random order; keys are not the numbers of groups."""
    codes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    X = rng.normal(3, 1, (len(codes), d)) * np.logspace(-1, 1, d)
    coef = rng.standard_normal((len(counts), d, t or 1))
    y = (X[:, None] @ coef[codes])[:, 0] + rng.standard_normal((len(codes), t or 1))
    return codes, X, y if t else y[:, 0]


def counts_of(rng, n_groups=40):
    return rng.integers(8, 60, n_groups)


def with_keys(codes, X):
    return np.column_stack((codes, X))


def lstsq(X, y, weight=None, intercept=True):
    """Coefficients and intercept of least norm, by NumPy."""
    weight = np.ones(len(X)) if weight is None else weight
    mean = weight @ X / weight.sum() if intercept else np.zeros(X.shape[1])
    level = weight @ y / weight.sum() if intercept else 0.0
    root = np.sqrt(weight)
    centred = root[:, None] * (X - mean)
    coef, *_ = np.linalg.lstsq(centred, root * (y - level), rcond=1e-12)
    return coef, level - mean @ coef


# --- squared error ------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_each_group_has_the_least_squares_solution_of_its_rows(intercept, weighted):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, counts_of(rng))
    weight = rng.random(len(X)) * (rng.random(len(X)) < 0.9) if weighted else None
    model = TorchGroupedRegressor(0, fit_intercept=intercept)
    model.fit(with_keys(codes, X), y, sample_weight=weight)
    assert model.converged_.all() and (model.rank_ == 3).all()
    for group in range(40):
        own = codes == group
        s = None if weight is None else weight[own]
        coef, level = lstsq(X[own], y[own], s, intercept)
        np.testing.assert_allclose(model.coef_[group], coef, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(model.intercept_[group], level, rtol=1e-11, atol=1e-12)
        assert model.n_samples_[group] == (own.sum() if s is None else (s > 0).sum())
    np.testing.assert_allclose(
        model.predict(with_keys(codes, X)),
        (X * model.coef_[codes]).sum(1) + model.intercept_[codes],
        rtol=1e-12,
        atol=1e-12,
    )


@all_pairs(
    loss=["squared_error", "huber", "expectile", "squared_epsilon_insensitive", "log_cosh"],
    penalty=[None, "l2"],
    intercept=[False, True],
    weighted=[False, True],
    n_targets=[None, 2],
)
def test_groups_are_fitted_as_they_are_alone(loss, penalty, intercept, weighted, n_targets):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, counts_of(rng, 12), t=n_targets)
    weight = rng.random(len(X)) if weighted else None
    params = {"penalty": penalty, "fit_intercept": intercept}
    params |= {"alpha": 0.1} if penalty else {}
    params |= {"quantile": 0.8} if loss == "expectile" else {}
    params |= {"epsilon": 0.7} if loss in ("huber", "squared_epsilon_insensitive") else {}
    model = TorchGroupedRegressor(0, loss=loss, **params)
    model.fit(with_keys(codes, X), y, sample_weight=weight)
    assert model.converged_.all() and (model.optimality_ <= 1e-10).all()
    for group in range(12):
        own = codes == group
        alone = TorchSGDRegressor(loss, **params, tol=1e-13)
        alone.fit(X[own], y[own], sample_weight=None if weight is None else weight[own])
        np.testing.assert_allclose(model.coef_[group], alone.coef_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model.intercept_[group], alone.intercept_, rtol=1e-4, atol=1e-4)
        assert model.rank_[group] == 3


@pytest.mark.parametrize(
    "params",
    [
        {"loss": "absolute_error"},
        {"loss": "quantile", "quantile": 0.8},
        {"loss": "epsilon_insensitive", "epsilon": 0.3},
        {"penalty": "l1", "alpha": 0.2},
        {"penalty": "elasticnet", "alpha": 0.2, "loss": "huber", "epsilon": 0.5},
        {"positive": True},
        {"loss": lambda y_pred, y_true: (y_pred - y_true) ** 4},
    ],
    ids=lambda params: "-".join(map(str, params)),
)
def test_losses_and_penalties_with_kinks_are_fitted_group_by_group(params):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, counts_of(rng, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = TorchGroupedRegressor(0, **params).fit(with_keys(codes, X), y)
        for group in range(4):
            own = codes == group
            alone = TorchSGDRegressor(**params).fit(X[own], y[own])
            np.testing.assert_allclose(model.coef_[group], alone.coef_, rtol=1e-8)
            assert model.converged_[group] == alone.converged_
            assert model.rank_[group] == (-1 if alone.rank_ is None else alone.rank_)


@pytest.mark.parametrize(
    "params",
    [
        {"penalty": "l1", "alpha": 0.2},
        {"penalty": "l1", "alpha": 1e-6},
        {"penalty": "elasticnet", "alpha": 0.3, "l1_ratio": 0.5},
        {"positive": True},
        {"positive": True, "penalty": "l1", "alpha": 0.1, "fit_intercept": False},
    ],
    ids=str,
)
def test_kinks_of_the_penalty_of_many_groups_are_met_exactly(params):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, np.append(rng.integers(5, 30, 20), [1, 2]), d=4)
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    X[codes == 4, 2] = X[codes == 4, 3]
    X[codes == 5, 1] = 1 / 3
    y = np.column_stack((y, -y[::-1]))
    model = TorchGroupedRegressor(0, **params).fit(with_keys(codes, X), y)
    assert model.converged_.all()
    for group in range(22):
        own = codes == group
        alone = TorchSGDRegressor(**params, tol=1e-13).fit(X[own], y[own])
        np.testing.assert_array_equal(model.coef_[group] == 0, alone.coef_ == 0)
        np.testing.assert_allclose(model.coef_[group], alone.coef_, rtol=1e-6, atol=1e-9)
        assert not params.get("positive") or (model.coef_[group] >= 0).all()


# --- ugly groups --------------------------------------------------------------------------


def ugly(rng):
    """Groups by their trouble, each ``(X, y)``."""
    x = rng.standard_normal((30, 3))
    y = x @ [1.0, 2.0, 3.0] + rng.standard_normal(30)
    doubled, constant, far = x.copy(), x.copy(), x + 1e7
    doubled[:, 2] = 2 * doubled[:, 0] - doubled[:, 1]
    constant[:, 1] = 1 / 3
    scaled, near = x * [1e-8, 1.0, 1e8], x.copy()
    near[:, 2] = near[:, 0] + 1e-6 * near[:, 2]
    return {
        "one row": (x[:1], y[:1]),
        "two rows": (x[:2], y[:2]),
        "as many rows as coefficients": (x[:4], y[:4]),
        "one row many times": (x[[0] * 9], y[:9]),
        "dependent": (doubled, y),
        "constant": (constant, y),
        "all constant": (np.full((7, 3), 0.1), y[:7]),
        "far": (far, y),
        "scaled": (scaled, y),
        "nearly dependent": (near, y),
        "exact": (x, x @ [1.0, 2.0, 3.0]),
        "constant target": (x, np.full(30, 0.1)),
        "plain": (x, y),
        "huge": (rng.standard_normal((20_000, 3)), rng.standard_normal(20_000)),
    }


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_groups_that_are_degenerate_are_solved_beside_others(penalty, loss):
    groups = ugly(np.random.default_rng(0))
    codes = np.repeat(np.arange(len(groups)), [len(y) for _, y in groups.values()])
    order = np.random.default_rng(1).permutation(len(codes))
    X, y = (np.concatenate(parts) for parts in zip(*groups.values(), strict=True))
    params = {"loss": loss, "penalty": penalty} | ({"alpha": 1e-3} if penalty else {})
    params |= {"epsilon": 1.0} if loss == "huber" else {}
    model = TorchGroupedRegressor(0, fallback="nan", **params)
    model.fit(with_keys(codes, X)[order], y[order])
    assert model.converged_.all()
    for group, (name, (own, target)) in enumerate(groups.items()):
        alone = TorchSGDRegressor(**params).fit(own, target)
        assert model.rank_[group] == (3 if penalty else alone.rank_), name
        moved, of_alone = (
            (c * own.std(0)) for c in (model.coef_[group] - alone.coef_, alone.coef_)
        )
        # Of nearly dependent columns the rounding of the data leaves some ten digits.
        allowed = 1e-7 * target.std() + 1e-8 * abs(of_alone).max() + 1e-15
        assert abs(moved).max() <= allowed, name
        size = np.linalg.norm(alone.coef_)
        assert np.linalg.norm(model.coef_[group]) <= size * (1 + 1e-6) + 1e-15, name


def test_a_group_with_one_row_predicts_its_target():
    X = np.array([[1, 5.0, 2.0], [2, 1.0, 1.0], [3, 0.0, 7.0]])
    model = TorchGroupedRegressor(0).fit(X, [1.5, 2.5, -3.0])
    np.testing.assert_array_equal(model.coef_, np.zeros((3, 2)))
    np.testing.assert_array_equal(model.predict(X), [1.5, 2.5, -3.0])
    np.testing.assert_array_equal(model.rank_, [0, 0, 0])


@pytest.mark.parametrize("size", [1e-160, 1e160])
def test_numbers_near_the_ends_of_the_range_are_fitted(size):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 20, 20])
    scaled = X * np.where(codes == 1, size, 1.0)[:, None]
    plain = TorchGroupedRegressor(0).fit(with_keys(codes, X), y)
    model = TorchGroupedRegressor(0, fallback="nan").fit(with_keys(codes, scaled), y)
    assert model.converged_.all()
    np.testing.assert_allclose(model.coef_[1] * size, plain.coef_[1], rtol=1e-10)
    np.testing.assert_allclose(model.coef_[0], plain.coef_[0], rtol=1e-12)


def test_fewer_rows_than_columns_have_least_norm():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [5, 7, 9], d=12)
    model = TorchGroupedRegressor(0).fit(with_keys(codes, X), y)
    for group in range(3):
        coef, _ = lstsq(X[codes == group], y[codes == group])
        np.testing.assert_allclose(model.coef_[group], coef, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(model.rank_, [4, 6, 8])


@pytest.mark.parametrize(
    ("d", "params"),
    [(70, {}), (70, {"loss": "huber"}), (210, {"penalty": "l2"}), (210, {"shrinkage": 1.0})],
)
def test_groups_with_many_columns_are_fitted_as_they_are_alone(d, params, monkeypatch):
    def unexpected(*args):
        raise AssertionError("matrices of columns by columns are made for many groups")

    monkeypatch.setattr(group_fits, "solve_batch", unexpected)
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [1, 5, 20], d)
    model = TorchGroupedRegressor(0, **params).fit(with_keys(codes, X), y)
    assert model.rank_.tolist() == ([0, 4, 19] if d == 70 else [d] * 3)
    if "shrinkage" not in params:
        alone = [TorchSGDRegressor(**params).fit(X[codes == g], y[codes == g]) for g in range(3)]
        np.testing.assert_allclose(model.coef_, [one.coef_ for one in alone], rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "log_cosh"])
def test_columns_that_depend_beside_constant_ones_have_least_norm(loss):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [3, 4, 30, 2], d=6)
    X[codes == 3] = [[1, -0.0, -1, 0, 0, 0], [1, -2, 0, 0, 0, 0]]
    X[codes == 0, 2], X[codes == 1, 0], X[codes == 2, 5] = -1.3, 1 / 3, 7.0
    X[codes == 2, 1] = X[codes == 2, 3] - 2 * X[codes == 2, 4]
    model = TorchGroupedRegressor(0, loss=loss).fit(with_keys(codes, X), y)
    np.testing.assert_array_equal(model.rank_, [2, 3, 4, 1])
    for group in range(4):
        own = codes == group
        if loss == "squared_error":
            coef, _ = lstsq(X[own], y[own])
            np.testing.assert_allclose(model.coef_[group], coef, rtol=1e-9, atol=1e-12)
        alone = TorchSGDRegressor(loss).fit(X[own], y[own])
        norms = np.linalg.norm(model.coef_[group]), np.linalg.norm(alone.coef_)
        np.testing.assert_allclose(*norms, rtol=1e-4)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("seed", range(3))
def test_dummies_of_all_levels_of_many_rows_have_one_rank_less(loss, seed):
    """Sums of so many equal numbers have rounding errors that look like a direction."""
    rng = np.random.default_rng(seed)
    n_rows = int(rng.integers(50_000, 100_000))
    level = rng.integers(3, size=2 * n_rows)
    group, y = np.repeat([0, 1], n_rows), level + rng.normal(size=2 * n_rows)
    model = TorchGroupedRegressor(groups=0, loss=loss).fit(np.c_[group, 3.7 * np.eye(3)[level]], y)
    np.testing.assert_array_equal(model.rank_, 2)
    assert model.converged_.all()
    np.testing.assert_allclose(model.coef_.sum(1), 0, atol=1e-8)
    np.testing.assert_allclose(model.coef_[:, 2] - model.coef_[:, 0], 2 / 3.7, rtol=0.02)


def test_single_precision_decides_the_rank_at_its_rounding():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)).astype(np.float32)
    X[:, 2] = X[:, 0] / np.float32(3) + X[:, 1] / np.float32(7)
    frame = pd.DataFrame(X).assign(key=np.arange(40) % 2).rename(columns=str)
    model = TorchGroupedRegressor("key").fit(frame, X[:, 0])
    np.testing.assert_array_equal(model.rank_, [2, 2])


def test_rows_and_groups_without_weight_are_no_part_of_the_problem():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 20, 20])
    weight = np.where(codes == 1, 0.0, 1.0)
    weight[np.flatnonzero(codes == 0)[:5]] = 0.0
    model = TorchGroupedRegressor(0).fit(with_keys(codes, X), y, sample_weight=weight)
    kept = weight > 0
    wanted = TorchGroupedRegressor(0).fit(with_keys(codes, X)[kept], y[kept])
    np.testing.assert_array_equal(model.groups_, [0, 2])
    np.testing.assert_array_equal(model.n_samples_, [15, 20])
    np.testing.assert_allclose(model.coef_, wanted.coef_, rtol=1e-12)
    np.testing.assert_allclose(model.global_coef_, wanted.global_coef_, rtol=1e-12)


# --- shrinkage and fallback -----------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_shrinkage_is_a_ridge_on_the_difference_from_the_model_of_all_rows(alpha, loss):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [30, 5])
    shrinkage = 0.7
    params = {"penalty": "l2", "alpha": alpha} if alpha else {}
    params |= {"epsilon": 0.8} if loss == "huber" else {}
    model = TorchGroupedRegressor(0, shrinkage=shrinkage, loss=loss, **params)
    model.fit(with_keys(codes, X), y)
    everything = TorchSGDRegressor(loss, **params).fit(X, y)
    np.testing.assert_allclose(model.global_coef_, everything.coef_, rtol=1e-9)

    def value(coef, level, own):
        r = y[own] - X[own] @ coef - level
        if loss == "quantile":
            mean = np.mean(0.5 * abs(r))
        else:
            near = np.clip(r, -0.8, 0.8) if loss == "huber" else r
            mean = np.mean(near * (r - 0.5 * near))
        away = coef - everything.coef_
        return mean + 0.5 * alpha * coef @ coef + 0.5 * shrinkage * away @ away

    for group in range(2):
        own, coef, level = codes == group, model.coef_[group], model.intercept_[group]
        least = value(coef, level, own)
        for _ in range(200):
            step = rng.standard_normal(4) * 10 ** rng.uniform(-5, 0)
            assert value(coef + step[:3], level + step[3], own) >= least * (1 - 1e-9)


def test_much_shrinkage_gives_the_coefficients_of_all_rows():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [30, 5, 1])
    model = TorchGroupedRegressor(0, shrinkage=1e12).fit(with_keys(codes, X), y)
    np.testing.assert_allclose(model.coef_, np.tile(model.global_coef_, (3, 1)), rtol=1e-9)


def exact_excess(coef, X, y, shrinkage, common):
    """How far the objective of a group is above its least, relatively, in rational arithmetic."""
    rational = np.vectorize(Fraction, otypes=[object])
    X, y, coef, common = map(rational, (X, y, coef, common))
    n, pull = len(X), Fraction(shrinkage)
    X, y = X - X.sum(0) / n, y - y.sum() / n
    hessian = X.T.dot(X) / n + pull * np.diag([Fraction(1)] * X.shape[1])
    best = X.T.dot(y) / n + pull * common
    for i in range(len(best)):  # elimination; the matrix is positive definite
        for j in range(len(best)):
            part = hessian[j, i] / hessian[i, i] if j != i else 0
            hessian[j], best[j] = hessian[j] - part * hessian[i], best[j] - part * best[i]
    best = best / hessian.diagonal()

    def value(w):
        return sum((y - X.dot(w)) ** 2) / n + pull * sum((w - common) ** 2)

    return float(value(coef) / value(best) - 1)


@pytest.mark.parametrize("apart", [1e-6, 1e-9, 1e-13])
def test_shrinkage_towards_coefficients_that_cancel_counts_what_rounding_adds(apart):
    rng = np.random.default_rng(0)
    codes, X = np.repeat([0, 1], 20), rng.standard_normal((40, 3))
    X[:, 1] = X[:, 0] + apart * X[:, 1]
    y = X.sum(1) + codes + 0.1 * rng.standard_normal(40)
    model = TorchGroupedRegressor(0, penalty=None, shrinkage=0.1)
    lost = apart < 1e-12  # the coefficients of all rows are 1e12, and cancel to ones
    with pytest.warns(ConvergenceWarning, match="2 of 2 groups") if lost else nullcontext():
        model.fit(with_keys(codes, X), y)
    assert (model.converged_ != lost).all()
    for group in range(2):
        given = X[codes == group], y[codes == group], 0.1, model.global_coef_
        excess = exact_excess(model.coef_[group], *given)
        assert excess <= max(model.optimality_[group], model.tol)


def test_unseen_groups_fall_back_as_they_are_asked_to():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 20])
    A = with_keys(codes, X)
    new = np.array([[0.0, 1.0, 2.0, 3.0], [7.0, 1.0, 2.0, 3.0]])
    everything = TorchSGDRegressor().fit(X, y)
    model = TorchGroupedRegressor(0).fit(A, y)
    np.testing.assert_allclose(model.predict(new)[1], everything.predict(new[1:, 1:])[0])
    model = TorchGroupedRegressor(0, fallback="nan").fit(A, y)
    assert np.isnan(model.predict(new)).tolist() == [False, True]
    assert model.global_coef_ is None
    model = TorchGroupedRegressor(0, fallback="raise").fit(A, y)
    with pytest.raises(ValueError, match=r"Found unknown groups during predict: 7.0 in row 1"):
        model.predict(new)
    np.testing.assert_array_equal(model.predict(new[:1]), model.predict(new[[0, 0]])[:1])


# --- polynomials --------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_terms_of_each_group_are_those_of_a_polynomial(loss, intercept):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [40, 30, 50], d=2)
    y = y + X[:, 0] * X[:, 1]
    params = {"loss": loss, "fit_intercept": intercept}
    model = TorchGroupedRegressor(0, degree=2, **params).fit(with_keys(codes, X), y)
    assert model.get_feature_names_out().tolist() == ["x1", "x2", "x1^2", "x1 x2", "x2^2"]
    for group in range(3):
        own = codes == group
        alone = TorchPolyRegressor(2, **params).fit(X[own], y[own])
        np.testing.assert_allclose(model.coef_[group], alone.coef_, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(model.intercept_[group], alone.intercept_, atol=1e-5)
        assert model.rank_[group] == alone.rank_
    everything = TorchPolyRegressor(2, **params).fit(X, y)
    np.testing.assert_allclose(model.global_coef_, everything.coef_, rtol=1e-5, atol=1e-5)
    A = with_keys(np.full(len(X), 9.0), X)
    np.testing.assert_allclose(model.predict(A), everything.predict(X), rtol=1e-5, atol=1e-5)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.predict(with_keys(codes, X)), model.predict(with_keys(codes, X))
    )


@pytest.mark.parametrize("fallback", ["global", "nan"])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
@pytest.mark.parametrize("number, name", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_polynomial_tells_of_a_number_that_is_not_finite(number, name, loss, fallback):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [40, 30], d=2)
    X[5, 1] = number
    model = TorchGroupedRegressor(0, degree=2, loss=loss, fallback=fallback)
    with pytest.raises(ValueError, match=f"Input X contains {name}"):
        model.fit(with_keys(codes, X), y)


def test_polynomials_far_from_zero_keep_their_digits():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(3), 50)
    year = 1950 + 10 * codes + rng.integers(0, 40, 150) / 4
    t = (year - 1950 - 10 * codes) / 10
    y = 3 * t**4 - t**2 + t - 2
    A = np.column_stack((codes, year))
    model = TorchGroupedRegressor(0, degree=4).fit(A, y)
    np.testing.assert_allclose(model.predict(A), y, atol=1e-13)
    assert (model.rank_ == 4).all() and model.converged_.all()


def test_a_penalty_is_on_the_coefficients_of_powers_as_they_are():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [40, 30], d=2)
    params = {"penalty": "l2", "alpha": 0.3}
    model = TorchGroupedRegressor(0, degree=2, **params).fit(with_keys(codes, X), y)
    for group in range(2):
        own = codes == group
        alone = TorchPolyRegressor(2, **params).fit(X[own], y[own])
        np.testing.assert_allclose(model.coef_[group], alone.coef_, rtol=1e-8)
        np.testing.assert_allclose(model.predict(with_keys(codes, X)[own]), alone.predict(X[own]))
    shrunk = TorchGroupedRegressor(0, degree=2, shrinkage=1e14).fit(with_keys(codes, X), y)
    np.testing.assert_allclose(shrunk.coef_, np.tile(shrunk.global_coef_, (2, 1)), rtol=1e-6)


def test_a_degree_that_is_too_high_has_least_norm_in_the_coefficients_of_the_caller():
    rng = np.random.default_rng(0)
    X = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])[:, None]
    y = rng.standard_normal(6)
    model = TorchGroupedRegressor(0, degree=4).fit(np.insert(X, 0, 0, 1), y)
    coef, _ = lstsq(X ** np.arange(1, 5), y)
    assert model.rank_[0] == 2
    np.testing.assert_allclose(model.coef_[0], coef, rtol=1e-9)


# --- keys ---------------------------------------------------------------------------------

KEYS = {
    "strings": ["b", "a", "c"],
    "integers": [7, -3, 1_000_000_000_000],
    "floats": [0.5, -1.5, 2.0],
    "booleans": [True, False, True],
    "dates": [datetime.date(2020, 1, 2), datetime.date(2019, 5, 1), datetime.date(2021, 1, 1)],
    "times": [
        datetime.datetime(2020, 1, 2, 3),
        datetime.datetime(2019, 5, 1),
        datetime.datetime(2021, 1, 1),
    ],
}


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow", "objects"])
@pytest.mark.parametrize("kind", [*KEYS, "categories"])
def test_keys_of_any_kind_make_groups(kind, library):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 30, 25])
    values = KEYS.get(kind, KEYS["strings"])
    key = [values[code] for code in codes]
    codes = codes % 2 if kind == "booleans" else codes
    columns = {"x": X[:, 0], "key": key, "z": X[:, 1]}
    if library == "pandas":
        A = pd.DataFrame(columns)
        A["key"] = A["key"].astype("category") if kind == "categories" else A["key"]
    elif library == "objects":
        A = np.array(list(zip(*columns.values(), strict=True)), dtype=object)
    else:
        A = pl.DataFrame(columns)
        A = A.with_columns(pl.col("key").cast(pl.Categorical)) if kind == "categories" else A
        A = A if library == "polars" else pa.table(columns)
    model = TorchGroupedRegressor(1 if library == "objects" else "key").fit(A, y)
    assert model.n_groups_ == len(set(values))
    assert list(model.groups_) == sorted(model.groups_)
    wanted = TorchGroupedRegressor(0).fit(with_keys(codes, X[:, :2]), y)
    np.testing.assert_allclose(model.predict(A), wanted.predict(with_keys(codes, X[:, :2])))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(A), model.predict(A))


def test_several_columns_of_keys_make_a_group_of_each_combination():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 30, 25])
    A = pd.DataFrame({"x": X[:, 0], "shop": np.array(["b", "b", "a"])[codes]})
    A["day"] = np.array([2, 1, 1])[codes]
    model = TorchGroupedRegressor(["shop", "day"]).fit(A, y)
    assert model.groups_.tolist() == [["a", 1], ["b", 1], ["b", 2]]
    wanted = TorchGroupedRegressor(0).fit(with_keys(codes, X[:, :1]), y)
    np.testing.assert_allclose(model.coef_, wanted.coef_[[2, 1, 0]], rtol=1e-12)
    new = pd.DataFrame({"x": [1.0, 1.0], "shop": ["a", "a"], "day": [1, 2]})
    found = model.predict(new)
    np.testing.assert_allclose(found[1], model.global_coef_ + model.global_intercept_)
    assert model.get_feature_names_out().tolist() == ["x"]
    frame = model.coef_frame()
    assert list(frame.columns) == ["shop", "day", "n_samples", "intercept", "x"]
    assert frame["shop"].tolist() == ["a", "b", "b"]


@pytest.mark.parametrize("groups", [0, 1, -1, [1, 3]])
@pytest.mark.parametrize("kind", ["array", "by column", "tensor", "sparse", "list", "float32"])
def test_the_column_of_keys_may_be_anywhere(kind, groups):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    at = np.atleast_1d(groups)
    X[:, at] = rng.integers(3, size=(200, len(at)))
    y = rng.standard_normal(200)
    rest = np.delete(X, at, 1)
    made = {
        "by column": np.asfortranarray,
        "tensor": torch.from_numpy,
        "sparse": sparse.csr_array,
        "list": np.ndarray.tolist,
        "float32": np.float32,
    }
    A = made.get(kind, np.array)(X)
    model = TorchGroupedRegressor(groups).fit(A, y)
    codes = X[:, at] @ 3 ** np.arange(len(at))[::-1]
    wanted = TorchGroupedRegressor(0).fit(with_keys(codes, rest), y)
    rtol = 1e-4 if kind == "float32" else 1e-11
    np.testing.assert_allclose(model.coef_, wanted.coef_, rtol=rtol)
    found = np.asarray(model.predict(A))
    np.testing.assert_allclose(found, wanted.predict(with_keys(codes, rest)), rtol=rtol, atol=1e-6)
    assert model.n_features_in_ == 4
    np.testing.assert_allclose(model.score(A, y), r2_score(y, found))


@pytest.mark.parametrize("once", [False, True])
def test_rows_of_a_group_may_come_in_any_block_of_a_stream(once):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, counts_of(rng))
    A, weight = with_keys(codes, X), rng.random(len(y))
    blocks = [(A[i : i + 100], y[i : i + 100], weight[i : i + 100]) for i in range(0, len(A), 100)]
    model = TorchGroupedRegressor(0).fit(iter(blocks) if once else blocks)
    wanted = TorchGroupedRegressor(0).fit(A, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, wanted.coef_, rtol=1e-12)
    np.testing.assert_allclose(model.predict([block[0] for block in blocks]), wanted.predict(A))
    np.testing.assert_allclose(model.score(blocks), wanted.score(A, y, weight))
    assert model.n_features_in_ == 4


def test_without_keys_all_rows_are_one_group():
    rng = np.random.default_rng(0)
    _, X, y = problem(rng, [50])
    model, alone = TorchGroupedRegressor().fit(X, y), TorchSGDRegressor().fit(X, y)
    np.testing.assert_allclose(model.coef_[0], alone.coef_, rtol=1e-12)
    np.testing.assert_allclose(model.predict(X), alone.predict(X), rtol=1e-12)
    blocks = [(X[:20], y[:20]), (X[20:], y[20:])]
    streamed = TorchGroupedRegressor().fit(blocks)
    np.testing.assert_allclose(streamed.coef_, model.coef_, rtol=1e-12)
    np.testing.assert_allclose(streamed.predict([X[:20], X[20:]]), model.predict(X))


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["array", "objects", "pandas", "strings", "polars"])
def test_a_missing_key_is_refused_and_nothing_half_fitted(library):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 20])
    model = TorchGroupedRegressor(0).fit(with_keys(codes, X), y)
    before = vars(model).copy()
    key = np.array(codes, float)
    key[5] = np.nan
    strings = np.array([str(code) for code in codes], object)
    strings[5] = None
    made = {
        "array": lambda: with_keys(key, X),
        "objects": lambda: np.column_stack((strings, X.astype(object))),
        "pandas": lambda: pd.DataFrame(with_keys(key, X)),
        "strings": lambda: pd.DataFrame(X, columns=list("abc")).assign(k=strings)[["k", *"abc"]],
        "polars": lambda: pl.DataFrame({"k": strings.tolist(), "a": X[:, 0]}),
    }
    with pytest.raises(ValueError, match=r"Input X contains NaN.*\n.*row 5"):
        model.fit(made[library](), y)
    assert vars(model) == before


def test_errors_name_what_is_wrong():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 20])
    A = with_keys(codes, X)
    frame = pd.DataFrame(A, columns=["key", "a", "b", "c"])
    with pytest.raises(ValueError, match="only supported for dataframes"):
        TorchGroupedRegressor("key").fit(A, y)
    with pytest.raises(ValueError, match="not a column of the dataframe: groups='shop'"):
        TorchGroupedRegressor("shop").fit(frame, y)
    with pytest.raises(ValueError, match="is no column of X, which has 4"):
        TorchGroupedRegressor(4).fit(A, y)
    with pytest.raises(ValueError, match="none of them twice"):
        TorchGroupedRegressor([0, -4]).fit(A, y)
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        TorchGroupedRegressor([0, 1, 2, 3]).fit(A, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TorchGroupedRegressor(0).fit(A, y[:-1])
    with pytest.raises(ValueError, match="requires y to be passed"):
        TorchGroupedRegressor(0).fit(A)
    with pytest.raises(ValueError, match=r"shrinkage=1\.0 goes with"):
        TorchGroupedRegressor(0, shrinkage=1.0, penalty="l1").fit(A, y)
    with pytest.raises(ValueError, match="'fallback' parameter"):
        TorchGroupedRegressor(0, fallback="none").fit(A, y)
    model = TorchGroupedRegressor("key").fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["a", "key", "b", "c"]])
    with pytest.raises(
        ValueError, match="X has 3 features, but TorchGroupedRegressor is expecting"
    ):
        TorchGroupedRegressor(0).fit(A, y).predict(A[:, :3])


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
@pytest.mark.parametrize("fallback", ["global", "nan"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_found_in_the_columns_of_the_caller(wrong, fallback, loss):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 20])
    A = with_keys(codes, X)
    A[3, 2] = wrong
    with pytest.raises(ValueError, match=r"Input X contains (.|\n)*row 3, column 2"):
        TorchGroupedRegressor(0, fallback=fallback, loss=loss).fit(A, y)
    frame = pd.DataFrame(A, columns=["key", "a", "b", "c"])
    with pytest.raises(ValueError, match=r"Input X contains (.|\n)*row 3, column 'b'"):
        TorchGroupedRegressor("key", fallback=fallback, loss=loss).fit(frame, y)
    model = TorchGroupedRegressor(0, fallback=fallback, loss=loss).fit(A[5:], y[5:])
    with pytest.raises(ValueError, match="Input X contains"):
        model.predict(A)


def test_groups_that_do_not_converge_are_told():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [30, 30])
    with pytest.warns(ConvergenceWarning, match=r"of 2 groups did not converge") as caught:
        model = TorchGroupedRegressor(0, loss="quantile", max_iter=1, fallback="nan")
        model.fit(with_keys(codes, X), y)
    assert not model.converged_.all()
    assert caught[0].filename == __file__


# --- as an estimator ----------------------------------------------------------------------


def test_frames_of_pandas_and_several_targets():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [20, 20], t=2)
    model = TorchGroupedRegressor(0).fit(with_keys(codes, X), y)
    assert model.coef_.shape == (2, 2, 3) and model.intercept_.shape == (2, 2)
    frame = model.coef_frame()
    assert frame["x0"].tolist() == [0, 0, 1, 1] and frame["target"].tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(frame[["x1", "x2", "x3"]].to_numpy(), model.coef_.reshape(4, 3))
    assert model.predict(with_keys(codes, X)).shape == y.shape


@pytest.mark.parametrize("names", [["key", "a", "intercept"], ["a", "target", "n_samples"]])
def test_a_frame_of_coefficients_has_no_column_twice(names):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [9, 9], d=2, t=2)
    frame = pd.DataFrame(with_keys(codes, X), columns=names)
    model = TorchGroupedRegressor(names[0]).fit(frame, y)
    with pytest.raises(ValueError, match="unique column names"):
        model.coef_frame()


def test_predictions_are_those_of_what_was_fitted():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [9, 9])
    A = with_keys(codes, X)
    model = TorchGroupedRegressor(0, fallback="nan").fit(A, y)
    expected = model.predict(A)
    model.set_params(groups=1, degree=2, fallback="global")
    np.testing.assert_array_equal(model.predict(A), expected)
    with pytest.raises(ValueError, match="model of all rows, which fit has not made"):
        model.predict([[7, 1, 1, 1]])
    alone = TorchGroupedRegressor().fit(X, y)
    expected = alone.predict(X)
    np.testing.assert_array_equal(alone.set_params(groups=0).predict(X), expected)
    by_name = TorchGroupedRegressor(2).fit(pd.DataFrame(A, columns=[2, 1, 0, 3]), y)
    expected = by_name.predict(pd.DataFrame(A, columns=[2, 1, 0, 3]))
    np.testing.assert_array_equal(by_name.predict(A), expected)


def test_parameters_are_searched_and_kept():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [40, 40])
    A = with_keys(codes, X)
    search = GridSearchCV(TorchGroupedRegressor(0), {"shrinkage": [0.0, 0.1, 1e6]}, cv=3).fit(A, y)
    assert search.best_params_["shrinkage"] < 1e6
    assert cross_val_score(TorchGroupedRegressor(0), A, y).mean() > 0
    copy = clone(TorchGroupedRegressor(0, shrinkage=np.float32(0.5), loss="huber"))
    assert copy.get_params()["loss"] == "huber" and type(copy.shrinkage) is np.float32
    assert type(copy.fit(A, y).shrinkage) is np.float32


def test_the_order_of_the_rows_changes_nothing_but_rounding():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, counts_of(rng))
    A, order = with_keys(codes, X), rng.permutation(len(codes))
    first = TorchGroupedRegressor(0).fit(A, y)
    second = TorchGroupedRegressor(0).fit(A[order], y[order])
    np.testing.assert_allclose(first.coef_, second.coef_, rtol=1e-12)


def test_a_fit_is_repeated_to_the_last_bit_and_leaves_the_data_alone():
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, counts_of(rng))
    A = with_keys(codes, X)
    kept = A.copy(), y.copy()
    first, second = (TorchGroupedRegressor(0).fit(A, y) for _ in range(2))
    np.testing.assert_array_equal(first.coef_, second.coef_)
    np.testing.assert_array_equal(A, kept[0])
    np.testing.assert_array_equal(y, kept[1])


# --- streams that are not kept --------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"penalty": "l2", "alpha": 0.1, "shrinkage": 0.2},
        {"fit_intercept": False},
        {"loss": "huber", "epsilon": 0.5},
        {"degree": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_stream_is_fitted_from_sums_and_ranges_of_groups(params, weighted, monkeypatch):
    rng = np.random.default_rng(0)
    counts = counts_of(rng)
    counts[3], counts[5], counts[7] = 1, 2, 900
    codes, X, y = problem(rng, counts)
    X[codes == 9, 1] = 1 / 3
    X[codes == 11] += 1e6
    y[codes == 13] = X[codes == 13] @ [1.0, 2.0, 3.0]
    A = pd.DataFrame(X, columns=["a", "b", "c"]).assign(
        shop=np.array([f"s{c}" for c in range(40)])[codes]
    )
    weight = np.where(codes == 4, 0.0, rng.random(len(y)))
    blocks = [
        (A[i : i + 300], y[i : i + 300], *([weight[i : i + 300]] if weighted else []))
        for i in range(0, len(A), 300)
    ]
    wanted = TorchGroupedRegressor("shop", **params)
    wanted.fit(A, y, sample_weight=weight if weighted else None)
    for module in (group_stream, group_data):
        monkeypatch.setattr(module, "HELD_ENTRIES", 2000)
    model = TorchGroupedRegressor("shop", **params).fit(blocks)
    assert model.groups_.tolist() == wanted.groups_.tolist()
    np.testing.assert_array_equal(model.n_samples_, wanted.n_samples_)
    np.testing.assert_array_equal(model.rank_, wanted.rank_)
    assert model.converged_.all()
    scale = np.abs(wanted.coef_).max(1, keepdims=True) + 1e-300
    rtol = 1e-5 if "loss" in params else 1e-9
    np.testing.assert_allclose(model.coef_ / scale, wanted.coef_ / scale, rtol=rtol, atol=rtol)
    found = model.predict(A)
    np.testing.assert_allclose(found, wanted.predict(A), rtol=1e-5, atol=1e-4)


def test_sums_of_a_large_stream_leave_few_rows_to_hold(monkeypatch):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, counts_of(rng))
    A = with_keys(codes, X)
    passes = []

    class Source:
        def __iter__(self):
            passes.append(1)
            return iter([(A[i : i + 300], y[i : i + 300]) for i in range(0, len(A), 300)])

    for module in (group_stream, group_data):
        monkeypatch.setattr(module, "HELD_ENTRIES", 2000)
    TorchGroupedRegressor(0, fallback="nan").fit(Source())
    assert len(passes) <= 3  # to see that it is large, the sums, and to open the rows of all


@pytest.mark.parametrize(
    "params",
    [{}, {"shrinkage": 0.3}, {"degree": 2}, {"degree": 2, "shrinkage": 0.3}, {"loss": "log_cosh"}],
    ids=str,
)
def test_large_groups_that_are_read_block_by_block_have_the_same_models(params, monkeypatch):
    rng = np.random.default_rng(0)
    codes, X, y = problem(rng, [30, 400, 50])
    X, A = X / X.std(0), with_keys(codes, X / X.std(0))
    together = TorchGroupedRegressor(0, **params).fit(A, y)
    monkeypatch.setattr(group_fits, "_LARGE", 1000)
    model = TorchGroupedRegressor(0, **params).fit(A, y)
    assert model.converged_.all()
    np.testing.assert_allclose(model.coef_, together.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(A), together.predict(A), rtol=1e-5, atol=1e-5)

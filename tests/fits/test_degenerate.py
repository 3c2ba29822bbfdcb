"""Robust, sparse and constrained fits of degenerate data: right, certified, exact and in time."""

import warnings
from functools import partial

import numpy as np
import pytest
import scipy.optimize
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._solvers.newton import general_loss
from tests.support.clock import seconds_of

PIECEWISE_LINEAR = ["absolute_error", "quantile", "epsilon_insensitive"]
WITH_EPSILON = ["huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
SMOOTH = ["huber", "expectile", "log_cosh", "squared_epsilon_insensitive"]


def least_absolute_error(columns, y):
    """Least mean absolute error over coefficients and intercept, by HiGHS."""
    A = np.c_[columns, np.ones(len(y))]
    eye, (n, k) = np.eye(len(y)), A.shape
    cost = np.r_[np.zeros(k), np.full(2 * n, 1 / n)]
    bounds = [(None, None)] * k + [(0, None)] * (2 * n)
    return scipy.optimize.linprog(cost, A_eq=np.c_[A, eye, -eye], b_eq=y, bounds=bounds).fun


# --- columns that nearly depend on each other --------------------------------------------


@pytest.mark.parametrize("gap", [1e-10, 1e-9, 1e-8, 1e-7, 1e-6])
def test_absolute_error_on_nearly_dependent_columns(gap):
    rng = np.random.default_rng(1)
    a, b, e = rng.normal(size=(3, 40))
    X = np.c_[a, a + gap * e, b]
    y = a + b + e + rng.standard_t(2, size=40)
    model = TorchSGDRegressor("absolute_error").fit(X, y)
    least = least_absolute_error(np.c_[a, (X[:, 1] - X[:, 0]) / gap, b], y)
    # Coefficients of 1 / gap leave that many roundings in each prediction.
    rounding = 4 * np.finfo(float).eps * np.abs(X @ np.diag(model.coef_)).sum(1).mean()
    assert np.mean(np.abs(y - model.predict(X))) <= least * (1 + 1e-9) + rounding
    assert model.converged_


def test_log_cosh_beside_a_far_number():
    rng = np.random.default_rng(3)
    x = rng.normal(size=50)
    x[3] = 1e8
    y = np.sin(x) + 0.1 * rng.normal(size=50)
    model = TorchSGDRegressor("log_cosh").fit(np.c_[x, x**2], y)
    # The far row is met; the others have what one column and the intercept explain, for beside
    # it the square is a multiple of it.
    others = TorchSGDRegressor("log_cosh").fit(np.delete(x, 3)[:, None], np.delete(y, 3))
    assert model.loss_curve_[-1] <= others.loss_curve_[-1] * 49 / 50 * (1 + 1e-6)


def test_huber_polynomial_beside_a_far_number():
    rng = np.random.default_rng(5)
    x = rng.normal(size=68)
    x[5] = 1e6
    y = 0.1 * rng.normal(size=68)
    model = TorchPolyRegressor(2, loss="huber", epsilon=0.05).fit(x[:, None], y)
    assert model.converged_
    assert 0 <= model.optimality_ <= 1e-10
    assert model.coef_[0] != 0


# --- directions that the data leaves undetermined ----------------------------------------


@pytest.mark.parametrize("loss", [*PIECEWISE_LINEAR, *SMOOTH])
def test_square_of_a_binary_column_shares_its_coefficient(loss):
    rng = np.random.default_rng(0)
    b = (rng.uniform(size=50) < 0.5) * 1.0
    y = 2 * b - 1 + 0.1 * rng.normal(size=50)
    model = TorchPolyRegressor(2, loss=loss)
    if loss in WITH_EPSILON:
        model.set_params(epsilon=0.05)
    model.fit(b[:, None], y)
    assert model.rank_ == 1
    np.testing.assert_allclose(model.coef_[0], model.coef_[1], rtol=1e-8)
    assert 0.8 < model.coef_[0] < 1.2


@pytest.mark.parametrize("loss", [*PIECEWISE_LINEAR, *SMOOTH])
def test_dummies_beside_an_intercept_sum_to_zero(loss):
    rng = np.random.default_rng(0)
    D = np.eye(3)[rng.integers(0, 3, 50)]
    y = D @ [1.0, 2.0, 3.0] + rng.normal(size=50)
    model = TorchSGDRegressor(loss).fit(D, y)
    assert model.rank_ == 2
    assert abs(model.coef_.sum()) <= 1e-8 * np.abs(model.coef_).max()


@pytest.mark.parametrize("solver", ["newton", "gradient"])
@pytest.mark.parametrize("loss", [*PIECEWISE_LINEAR, *SMOOTH])
def test_degree_beyond_the_distinct_values_stays_small(loss, solver):
    x = np.linspace(0, 1, 7)
    model = TorchPolyRegressor(19, loss=loss, solver=solver)
    if loss in WITH_EPSILON:
        model.set_params(epsilon=0.01)
    with pytest.warns(np.exceptions.RankWarning):
        model.fit(x[:, None], np.sin(6 * x))
    assert np.abs(model.predict(np.linspace(0, 1, 101)[:, None])).max() < 10


# --- time and errors ----------------------------------------------------------------------


def slow_problems():
    """Problems that took seconds: the estimator, X and y of each."""
    rng = np.random.default_rng(1)
    A = rng.normal(size=(442, 50))
    y = A[:, :5] @ [1.0, 2, 3, 4, 5] + rng.normal(size=442)
    x, e = rng.normal(size=(2, 50))
    positive = np.random.default_rng(5)
    X, t = load_diabetes(return_X_y=True, scaled=False)
    square = PolynomialFeatures(2, include_bias=False)
    squares = square.fit_transform(StandardScaler().fit_transform(X))
    return {
        "four rows of multiples": (
            TorchSGDRegressor(positive=True, fit_intercept=False),
            np.tile([1.0, 2, 3], (4, 1)),
            np.array([1.0, 2, 3, 5]),
        ),
        "multiples": (
            TorchSGDRegressor(positive=True),
            np.outer(x, [0.3, 0.7, 1.1, -0.2]),
            3 * x + e,
        ),
        "wide and positive": (
            TorchSGDRegressor("epsilon_insensitive", epsilon=0.01, positive=True),
            np.abs(positive.normal(size=(14, 37))) + 3,
            positive.normal(size=14),
        ),
        "duplicate": (TorchSGDRegressor(penalty="l1", alpha=1.0), np.c_[A, A[:, 0]], y),
        "duplicates": (TorchSGDRegressor(penalty="l1", alpha=0.01), np.c_[A, A], y),
        "squares": (TorchSGDRegressor(penalty="l1", alpha=0.1), squares, t),
        "raw squares": (TorchPolyRegressor(2, penalty="l1", alpha=0.1), X[89:], t[89:]),
        "raw cubes": (TorchPolyRegressor(3, penalty="l1", alpha=1.0), X, t),
        "raw cubes but one": (
            TorchPolyRegressor([3, 1] + [3] * 8, penalty="l1", alpha=1.0),
            X,
            t,
        ),
    }


@pytest.mark.parametrize("name", slow_problems())
def test_small_problems_take_no_second(name):
    model, X, y = slow_problems()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of powers that cancel
        # The largest have 285 terms.
        assert seconds_of(partial(model.fit, X, y)) < 2.0
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("penalty", [{"positive": True}, {"penalty": "l1", "alpha": 2e-5}])
@pytest.mark.parametrize("far", [1e4, 1e8, 1e16])
def test_log_cosh_with_kinks_far_outside_its_curved_part(far, penalty):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(22, 33)) + 100, rng.normal(size=22)
    y[:2] = far
    model = TorchSGDRegressor("log_cosh", **penalty)
    assert seconds_of(partial(model.fit, X, y)) < 1.0
    assert model.converged_
    assert 0 <= model.optimality_ <= 1e-9


@pytest.mark.parametrize("loss", SMOOTH)
@pytest.mark.parametrize("seed", range(3))
def test_light_rows_do_not_hold_up_an_exact_fit(loss, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(29, 47)), rng.normal(size=29)
    weights = 10.0 ** rng.uniform(-10, 2, size=29)
    epsilon = {"epsilon": 0.01} if loss in WITH_EPSILON else {}
    model = TorchSGDRegressor(loss, positive=True, **epsilon)
    assert seconds_of(partial(model.fit, X, y, weights)) < 1.0
    assert model.converged_
    assert model.loss_curve_[-1] <= 1e-6  # of 1/2, where the heavy rows are met


@pytest.mark.parametrize("seed", [2, 9])
@pytest.mark.parametrize("order", range(4))
def test_light_rows_do_not_hold_up_a_fit_in_whichever_order_they_come(seed, order):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(29, 47)), rng.normal(size=29)
    weights = 10.0 ** rng.uniform(-10, 2, size=29)
    rows = np.random.default_rng(order).permutation(29)
    model = TorchSGDRegressor("huber", positive=True, epsilon=0.01)
    assert model.fit(X[rows], y[rows], weights[rows]).converged_
    assert 0 <= model.optimality_ <= 1e-6  # of 1e-13: what rounding of the sums may make


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n_rows", "n_levels"), [(5_000, 3), (60_000, 5), (1_000_000, 3)])
def test_dummies_of_all_levels_of_many_rows_have_one_rank_less(n_rows, n_levels, dtype):
    """Sums of so many equal numbers have rounding errors that look like a curvature."""
    for seed in range(max(40_000 // n_rows, 2)):
        rng = np.random.default_rng(seed)
        level = rng.choice(n_levels, n_rows, p=rng.dirichlet(np.full(n_levels, 3.0)))
        X = (3.7 * np.eye(n_levels)[level]).astype(dtype)
        y = (level + rng.normal(size=n_rows)).astype(dtype)
        model = TorchSGDRegressor(dtype=dtype).fit(X, y)
        assert model.rank_ == n_levels - 1
        assert model.converged_
        means = np.bincount(level, y) / np.bincount(level)
        coef = (means - means.mean()) / 3.7  # of least norm: they sum to zero
        np.testing.assert_allclose(model.coef_, coef, atol=1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_dummies_of_all_levels_leave_coefficients_that_are_not_negative_small(seed):
    """A number added to all and taken off the intercept changes nothing but rounding errors."""
    rng = np.random.default_rng(seed)
    n_rows, n_levels = int(10 ** rng.uniform(2.5, 4.5)), int(rng.integers(3, 8))
    level = rng.choice(n_levels, n_rows, p=rng.dirichlet(np.full(n_levels, 3.0)))
    level[:n_levels] = range(n_levels)
    X = rng.choice([0.1, 1.0, 3.7]) * np.eye(n_levels)[level]
    y = level + rng.normal(size=n_rows)
    model = TorchSGDRegressor(positive=True).fit(X, y)
    assert model.converged_
    means = np.bincount(level, y) / np.bincount(level)
    np.testing.assert_allclose(model.predict(X), means[level], rtol=0, atol=1e-8)
    assert model.coef_.min() >= 0
    assert model.coef_.max() <= 2 * np.ptp(means) / X.max()


class Counted:
    """Blocks of rows that count how often they are read."""

    def __init__(self, *blocks):
        self.blocks, self.passes = blocks, 0

    def __iter__(self):
        self.passes += 1
        return iter(self.blocks)


def test_line_searches_of_gradient_descent_have_an_end():
    rng = np.random.default_rng(5)
    years = np.sort(rng.integers(1950, 2021, size=52)).astype(float)
    rows = Counted((np.c_[years, rng.uniform(size=52) < 0.5], np.sin(years / 5)))
    model = TorchPolyRegressor(3, loss="absolute_error", penalty="l2", alpha=0.8)
    model.set_params(fit_intercept=False, solver="gradient").fit(rows)
    assert model.converged_
    assert rows.passes < 400


def test_duplicated_columns_reach_the_objective_of_lasso():
    model, X, y = slow_problems()["duplicate"]
    model.fit(X, y)
    peer = Lasso(1.0, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(model.predict(X), peer.predict(X), atol=1e-6)
    assert 0 <= model.optimality_ <= 1e-10


@pytest.mark.parametrize("shape", [(100, 300), (10, 700), (50, 20)])
def test_alpha_at_which_all_coefficients_are_zero(shape):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=shape), rng.normal(size=shape[0])
    alpha_max = np.abs((X - X.mean(0)).T @ (y - y.mean())).max() / len(y)
    for alpha in (alpha_max * (1 + 1e-9), 10 * alpha_max):
        model = TorchSGDRegressor(penalty="l1", alpha=alpha).fit(X, y)
        assert not model.coef_.any()
        assert model.intercept_ == pytest.approx(y.mean())
        assert model.converged_


# --- constraints and weights ---------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", *PIECEWISE_LINEAR, *SMOOTH])
@pytest.mark.parametrize("seed", range(5))
def test_positive_holds_to_the_bit(loss, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 6))
    y = np.maximum(0, X @ rng.normal(size=6) + rng.normal(size=40))
    model = TorchSGDRegressor(loss, positive=True)
    if loss == "quantile":
        model.set_params(quantile=0.1)
    assert (model.fit(X, y).coef_ >= 0).all()


@pytest.mark.parametrize("loss", ["squared_error", *PIECEWISE_LINEAR, *SMOOTH])
@pytest.mark.parametrize("penalty", [None, "l1"])
def test_far_rows_of_weight_zero_change_nothing(loss, penalty):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    y = X @ [1.0, 2.0] + rng.normal(size=30)
    alpha = 1e-4 if penalty is None else 0.01
    model = TorchSGDRegressor(loss, penalty=penalty, alpha=alpha)
    without = model.fit(X, y).coef_
    weights = np.r_[np.ones(30), 0]
    model.fit(np.r_[X, [[0.0, 0.0]]], np.r_[y, 1e16], weights)
    np.testing.assert_allclose(model.coef_, without, rtol=1e-7)
    assert 0 <= model.optimality_ <= 1e-10


# --- what is said ---------------------------------------------------------------------------


def test_rounding_makes_no_objective_negative():
    rng = np.random.default_rng(0)
    for _ in range(100):  # measured from single precision, the target of a row is not zero
        x = rng.standard_normal((1, 1)).astype(np.float32)
        y, weight = rng.standard_normal(1), rng.random(1)
        model = TorchSGDRegressor().fit(x, y, weight)
        assert model.converged_
        assert min(model.loss_curve_) >= 0


def test_optimality_is_nan_where_no_bound_is_known():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = X @ [1.0, 2, 3] + rng.normal(size=40)
    model = TorchSGDRegressor(lambda p, t: (p - t) ** 4).fit(X, y)
    assert np.isnan(model.optimality_)


def test_directions_that_are_not_resolved_are_said():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 700)) * np.repeat([1e9, 1e-9], [5, 695])
    y = rng.normal(size=20)
    for loss in ("squared_error", "absolute_error"):
        model = TorchSGDRegressor(loss)
        with pytest.warns(ConvergenceWarning, match=r"directions among the small ones.*Scale"):
            model.fit(X, y)
        assert not model.converged_
        assert np.isnan(model.optimality_)


@pytest.mark.parametrize("loss", ["huber", "quantile", "log_cosh"])
@pytest.mark.parametrize("period", [2, 3, 4, 6])
def test_sample_of_the_rows_has_rows_of_weight(loss, period, monkeypatch):
    """A descent begins on a sample of rows that are many; weights may repeat every few rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9600, 2))
    y = X @ [1.0, 2.0] + rng.standard_t(2, 9600)
    weight = np.where(np.arange(9600) % period, 1.0, 0.0)
    monkeypatch.setattr(general_loss, "_ROOM_ENTRIES", 4_800)
    fitted = TorchSGDRegressor(loss).fit(X, y, sample_weight=weight)
    without = TorchSGDRegressor(loss).fit(X[weight > 0], y[weight > 0])
    assert fitted.converged_
    np.testing.assert_allclose(fitted.coef_, without.coef_, rtol=1e-6)

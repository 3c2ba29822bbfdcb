"""Coefficients of TorchSGDRegressor against exact answers."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from tests.support.oracles import (
    EPS,
    assert_solution,
    badly_scaled_problem,
    least_squares,
    minimum_norm,
    rational_polynomial,
    standardised_condition,
    standardised_singular_values,
)

FLOAT64 = 1e-9
FLOAT32 = 1e-5


def well_scaled_problem(seed=0, n_samples=200, n_features=6, n_targets=None):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    shape = (n_features,) if n_targets is None else (n_features, n_targets)
    y = 2 + X @ rng.uniform(1, 3, shape)
    return X, y + rng.standard_normal(y.shape)


def random_weights(n_samples, seed=7):
    return 10.0 ** np.random.default_rng(seed).uniform(-3, 3, n_samples)


# --- raw columns -------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(40, 3), (500, 13), (20_000, 30), (300, 200)], ids=str)
def test_badly_scaled_columns_with_offsets_give_the_exact_coefficients(shape, order):
    X, y = badly_scaled_problem(1, *shape)
    X = np.asarray(X, order=order)
    estimator = TorchSGDRegressor().fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)
    assert estimator.converged_
    assert estimator.rank_ == shape[1]


def test_badly_scaled_columns_agree_with_rational_arithmetic():
    X, y = badly_scaled_problem(2, 14, 3)
    expected = rational_polynomial(X, y, np.eye(3, dtype=int))
    assert_solution(TorchSGDRegressor().fit(X, y), X, y, expected, rtol=FLOAT64)


def test_badly_scaled_columns_with_weights_agree_with_rational_arithmetic():
    X, y = badly_scaled_problem(3, 14, 3)
    sample_weight = np.arange(1.0, 15.0)
    expected = rational_polynomial(X, y, np.eye(3, dtype=int), sample_weight=sample_weight)
    estimator = TorchSGDRegressor().fit(X, y, sample_weight)
    assert_solution(estimator, X, y, expected, rtol=FLOAT64)


def nearly_dependent_problem(seed):
    """Few rows, of which a Gram matrix keeps a digit less than the best that there is."""
    rng = np.random.default_rng(seed)
    a, e, noise = rng.normal(size=(3, 30))
    return np.c_[a, a + 0.01 * e] + 100, a + e + noise


@pytest.mark.parametrize("seed", range(8))
def test_few_rows_keep_the_digits_that_a_gram_matrix_loses(seed):
    X, y = nearly_dependent_problem(seed)
    expected, _ = rational_polynomial(X, y, np.eye(2, dtype=int))
    estimator = TorchSGDRegressor().fit(X, y)
    size = np.abs(expected).max()
    np.testing.assert_allclose(estimator.coef_, expected, rtol=0, atol=1e-12 * size)
    assert estimator.converged_


@pytest.mark.parametrize("parameters", [{"max_iter": 1}, {"tol": 1e-6}], ids=str)
def test_few_rows_are_passed_once_where_more_is_not_asked_for(parameters):
    X, y = nearly_dependent_problem(0)
    estimator = TorchSGDRegressor(**parameters).fit(X, y)
    assert estimator.n_iter_ == 1 and estimator.converged_


def test_badly_scaled_columns_without_intercept_give_the_exact_coefficients():
    X, y = badly_scaled_problem(4, 500, 13)
    estimator = TorchSGDRegressor(fit_intercept=False).fit(X, y)
    expected = least_squares(X, y, fit_intercept=False)
    assert_solution(estimator, X, y, expected, rtol=FLOAT64)
    assert estimator.intercept_ == 0.0


def test_badly_scaled_columns_with_wide_weights_give_the_exact_coefficients():
    X, y = badly_scaled_problem(5, 500, 13)
    sample_weight = random_weights(500)
    estimator = TorchSGDRegressor().fit(X, y, sample_weight)
    expected = least_squares(X, y, sample_weight=sample_weight)
    assert_solution(estimator, X, y, expected, rtol=FLOAT64)


def test_badly_scaled_columns_predict_what_the_exact_coefficients_predict():
    X, y = badly_scaled_problem(6, 500, 13)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = LinearRegression().fit(z, y).predict(z)
    prediction = TorchSGDRegressor().fit(X, y).predict(X)
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=FLOAT64 * y.std())


def test_first_row_far_from_the_others_costs_no_digits():
    X, y = badly_scaled_problem(7, 500, 6)
    X[0], y[0] = 0.0, y[0] + 1e4
    assert_solution(TorchSGDRegressor().fit(X, y), X, y, least_squares(X, y), rtol=FLOAT64)


def test_sorted_rows_cost_no_digits():
    X, y = badly_scaled_problem(8, 20_000, 4)
    rows = np.argsort(X[:, 2])
    X, y = X[rows], y[rows]
    assert_solution(TorchSGDRegressor().fit(X, y), X, y, least_squares(X, y), rtol=FLOAT64)


@pytest.mark.parametrize("log_condition", [1, 2, 4, 6])
def test_correlated_columns_lose_no_more_than_their_condition(log_condition):
    rng = np.random.default_rng(9)
    z = rng.standard_normal((400, 5))
    z[:, 1] = z[:, 0] + 10.0**-log_condition * z[:, 1]
    X = z * [1e-3, 1e3, 1, 1e5, 1e-5] + [1, 1e4, 0, -1e5, 1e-4]
    y = z @ np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    expected = least_squares(X, y)
    rtol = max(FLOAT64, 64 * EPS * standardised_condition(X))
    assert_solution(TorchSGDRegressor().fit(X, y), X, y, expected, rtol=rtol)


def test_column_of_timestamps_in_nanoseconds_keeps_its_slope():
    rng = np.random.default_rng(22)
    nanoseconds = 1_700_000_000_000_000_000 + rng.integers(0, 10**13, 300)
    X = np.column_stack([nanoseconds, rng.integers(0, 5, 300)])
    y = (nanoseconds - nanoseconds[0]) / 1e13 + X[:, 1] + 0.1 * rng.standard_normal(300)
    expected = least_squares(X.astype(float), y)
    assert_solution(TorchSGDRegressor().fit(X, y), X, y, expected, rtol=FLOAT64)


def test_target_with_a_huge_offset_keeps_its_slopes():
    X, y = well_scaled_problem()
    y = y + 2.0**40
    assert_solution(TorchSGDRegressor().fit(X, y), X, y, least_squares(X, y), rtol=FLOAT64)


@pytest.mark.parametrize("scale", [1e150, 1e-150])
def test_extreme_column_scale_gives_finite_exact_coefficients(scale):
    X, y = well_scaled_problem()
    coef, intercept = least_squares(X, y)
    estimator = TorchSGDRegressor().fit(X * scale, y)
    np.testing.assert_allclose(estimator.coef_, coef / scale, rtol=FLOAT64)
    np.testing.assert_allclose(estimator.intercept_, intercept, rtol=FLOAT64)


def test_extreme_column_scales_side_by_side_give_exact_coefficients():
    X, y = well_scaled_problem()
    scale = np.array([1e150, 1e-150, 1.0, 1e100, 1e-100, 1.0])
    coef, _ = least_squares(X, y)
    estimator = TorchSGDRegressor().fit(X * scale, y)
    np.testing.assert_allclose(estimator.coef_, coef / scale, rtol=FLOAT64)
    assert estimator.rank_ == 6


@pytest.mark.parametrize("scale", [1e150, 1e-150])
def test_extreme_target_scale_scales_the_coefficients(scale):
    X, y = well_scaled_problem()
    coef, intercept = least_squares(X, y)
    estimator = TorchSGDRegressor().fit(X, y * scale)
    np.testing.assert_allclose(estimator.coef_, coef * scale, rtol=FLOAT64)
    np.testing.assert_allclose(estimator.intercept_, intercept * scale, rtol=FLOAT64)


# --- float32 -----------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"dtype": "float32"}], ids=str)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_many_float32_rows_agree_with_the_float64_answer(offset, parameters):
    X, y = badly_scaled_problem(10, 200_000, 13, offset=offset, dtype=np.float32)
    expected = least_squares(X, y)
    assert_solution(TorchSGDRegressor(**parameters).fit(X, y), X, y, expected, rtol=FLOAT32)


def test_float32_rows_with_dtype_float64_are_solved_in_float64():
    X, y = badly_scaled_problem(11, 2_000, 13, dtype=np.float32)
    estimator = TorchSGDRegressor(dtype="float64").fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)


def test_float64_rows_with_dtype_float32_agree_to_float32_precision():
    X, y = well_scaled_problem(n_samples=5_000)
    estimator = TorchSGDRegressor(dtype="float32").fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT32)


def test_coefficients_are_float64_for_float32_rows():
    X, y = well_scaled_problem()
    estimator = TorchSGDRegressor().fit(X.astype(np.float32), y.astype(np.float32))
    assert estimator.coef_.dtype == np.float64
    assert np.asarray(estimator.intercept_).dtype == np.float64


# --- targets and weights -----------------------------------------------------------------


@pytest.mark.parametrize("n_targets", [1, 3, 40])
def test_several_targets_have_one_row_of_exact_coefficients_each(n_targets):
    X, y = badly_scaled_problem(12, 500, 13, n_targets=n_targets)
    estimator = TorchSGDRegressor().fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)
    assert estimator.coef_.shape == (n_targets, 13)
    assert estimator.intercept_.shape == (n_targets,)
    assert estimator.predict(X).shape == y.shape


def test_targets_of_different_size_each_keep_their_digits():
    X, y = well_scaled_problem(n_targets=3)
    y = y * [1e-8, 1.0, 1e8]
    assert_solution(TorchSGDRegressor().fit(X, y), X, y, least_squares(X, y), rtol=FLOAT64)


def test_one_dimensional_target_has_a_vector_of_coefficients_and_a_scalar_intercept():
    X, y = well_scaled_problem()
    estimator = TorchSGDRegressor().fit(X, y)
    assert estimator.coef_.shape == (6,)
    assert np.ndim(estimator.intercept_) == 0
    assert estimator.predict(X).shape == (200,)


def test_one_dimensional_target_without_intercept_has_intercept_zero():
    X, y = well_scaled_problem(n_targets=2)
    assert TorchSGDRegressor(fit_intercept=False).fit(X, y[:, 0]).intercept_ == 0.0
    intercept = TorchSGDRegressor(fit_intercept=False).fit(X, y).intercept_
    assert np.all(np.asarray(intercept) == 0.0)


@pytest.mark.parametrize("total", [1e-200, 1e-12, 1.0, 1e12, 1e200])
def test_coefficients_do_not_depend_on_the_sum_of_the_weights(total):
    X, y = well_scaled_problem()
    sample_weight = random_weights(200)
    expected = least_squares(X, y, sample_weight=sample_weight)
    estimator = TorchSGDRegressor().fit(X, y, sample_weight * (total / sample_weight.sum()))
    assert_solution(estimator, X, y, expected, rtol=FLOAT64)


def test_scalar_weight_is_no_weight():
    X, y = well_scaled_problem()
    expected = TorchSGDRegressor(penalty="l2", alpha=0.1).fit(X, y)
    estimator = TorchSGDRegressor(penalty="l2", alpha=0.1).fit(X, y, 3.0)
    np.testing.assert_allclose(estimator.coef_, expected.coef_, rtol=FLOAT64)


def test_weighted_score_is_the_weighted_r2():
    X, y = well_scaled_problem()
    sample_weight = random_weights(200)
    estimator = TorchSGDRegressor().fit(X, y, sample_weight)
    expected = r2_score(y, estimator.predict(X), sample_weight=sample_weight)
    assert estimator.score(X, y, sample_weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("y", [np.full(30, 7.0), np.zeros(30), np.full((30, 2), -1e9)], ids=str)
def test_constant_target_is_its_own_intercept(y):
    X = well_scaled_problem(n_samples=30)[0]
    estimator = TorchSGDRegressor().fit(X, y)
    np.testing.assert_allclose(estimator.coef_, 0.0, atol=8 * EPS * np.abs(y).max())
    np.testing.assert_allclose(estimator.intercept_, y[0], rtol=8 * EPS)
    assert estimator.converged_


@pytest.mark.parametrize("sentinel", [-999.0, 1e20])
def test_row_of_weight_zero_may_hold_a_sentinel(sentinel):
    X, y = well_scaled_problem()
    marked, targets = np.vstack([X, np.full(6, sentinel)]), np.append(y, sentinel)
    estimator = TorchSGDRegressor().fit(marked, targets, np.append(np.ones(200), 0.0))
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)


def test_column_that_does_not_matter_has_coefficient_zero_without_a_warning():
    X, _ = well_scaled_problem()
    estimator = TorchSGDRegressor().fit(X, 1 + X[:, 0])
    np.testing.assert_allclose(estimator.coef_, [1, 0, 0, 0, 0, 0], rtol=0, atol=FLOAT64)
    assert estimator.converged_


# --- penalty -----------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("a", [1e-6, 1.0, 1e4])
def test_l2_penalty_of_a_over_n_is_ridge_of_a(a, fit_intercept):
    X, y = well_scaled_problem(n_targets=2)
    ridge = Ridge(alpha=a, fit_intercept=fit_intercept, solver="svd").fit(X, y)
    estimator = TorchSGDRegressor(penalty="l2", alpha=a / 200, fit_intercept=fit_intercept)
    estimator.fit(X, y)
    np.testing.assert_allclose(estimator.coef_, ridge.coef_, rtol=FLOAT64)
    np.testing.assert_allclose(estimator.intercept_, ridge.intercept_, rtol=FLOAT64)


def test_weighted_l2_penalty_of_a_over_the_sum_of_weights_is_weighted_ridge_of_a():
    X, y = well_scaled_problem()
    sample_weight = np.random.default_rng(0).uniform(0.5, 5.0, 200)
    ridge = Ridge(alpha=3.0, solver="svd").fit(X, y, sample_weight)
    estimator = TorchSGDRegressor(penalty="l2", alpha=3.0 / sample_weight.sum())
    estimator.fit(X, y, sample_weight)
    np.testing.assert_allclose(estimator.coef_, ridge.coef_, rtol=FLOAT64)
    np.testing.assert_allclose(estimator.intercept_, ridge.intercept_, rtol=FLOAT64)


@pytest.mark.parametrize("alpha", [1e-10, 1e-4, 1.0, 1e6])
def test_l2_penalty_is_on_the_coefficients_of_the_raw_columns(alpha):
    X, y = badly_scaled_problem(13, 500, 9, decades=3)
    estimator = TorchSGDRegressor(penalty="l2", alpha=alpha).fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y, alpha=alpha), rtol=FLOAT64)


def test_l2_penalty_with_weights_on_raw_columns_is_exact():
    X, y = badly_scaled_problem(14, 500, 9, decades=3)
    sample_weight = random_weights(500)
    estimator = TorchSGDRegressor(penalty="l2", alpha=0.01).fit(X, y, sample_weight)
    expected = least_squares(X, y, alpha=0.01, sample_weight=sample_weight)
    assert_solution(estimator, X, y, expected, rtol=FLOAT64)


def test_l2_penalty_of_zero_is_no_penalty():
    X, y = well_scaled_problem()
    estimator = TorchSGDRegressor(penalty="l2", alpha=0.0).fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)


def test_alpha_without_penalty_changes_nothing():
    X, y = well_scaled_problem()
    expected = TorchSGDRegressor().fit(X, y)
    with pytest.warns(UserWarning, match="alpha has no effect with penalty=None"):
        estimator = TorchSGDRegressor(alpha=1e6).fit(X, y)
    np.testing.assert_array_equal(estimator.coef_, expected.coef_)


def test_large_l2_penalty_leaves_the_weighted_mean_as_intercept():
    X, y = well_scaled_problem()
    sample_weight = random_weights(200)
    estimator = TorchSGDRegressor(penalty="l2", alpha=1e12).fit(X, y, sample_weight)
    mean = np.average(y, weights=sample_weight)
    assert estimator.intercept_ == pytest.approx(mean, rel=FLOAT64)


@pytest.mark.parametrize("alpha", [1e-6, 0.1])
def test_l2_penalty_on_a_wide_table_is_ridge(alpha):
    X, y = well_scaled_problem(n_samples=30, n_features=400)
    estimator = TorchSGDRegressor(penalty="l2", alpha=alpha).fit(X, y)
    expected = least_squares(X, y, alpha=alpha)
    np.testing.assert_allclose(
        estimator.coef_, expected[0], rtol=0, atol=1e-8 * np.abs(expected[0]).max()
    )


def test_l2_penalty_shares_the_weight_of_a_duplicated_column_equally():
    X, y = well_scaled_problem()
    X, alpha = np.column_stack([X, X[:, 0]]), 1e-6
    estimator = TorchSGDRegressor(penalty="l2", alpha=alpha).fit(X, y)
    # Nothing but the penalty tells the two apart: the condition is 2 / alpha.
    rtol = 64 * EPS * 2 / alpha
    assert_solution(estimator, X, y, least_squares(X, y, alpha=alpha), rtol=rtol)
    assert estimator.coef_[0] == pytest.approx(estimator.coef_[6], rel=rtol)


# --- rank --------------------------------------------------------------------------------


def one_hot(codes):
    return np.eye(codes.max() + 1)[codes]


def rank_deficient_designs():
    rng = np.random.default_rng(15)
    z = rng.standard_normal((60, 4))
    codes = rng.integers(0, 4, 60)
    single = z[:1]
    return {
        "duplicated column": np.column_stack([z, z[:, 1]]),
        "sum of columns": np.column_stack([z, z.sum(axis=1)]),
        "difference and sum": np.column_stack([z, z[:, 0] - z[:, 1], z[:, 0] + z[:, 1]]),
        "column in another unit": np.column_stack([z, 1024 * z[:, 2]]),
        "dummy trap": one_hot(codes),
        "dummy trap beside numbers": np.column_stack([z, one_hot(codes)]),
        "two dummy traps": np.column_stack([one_hot(codes), one_hot(codes[::-1])]),
        "constant column": np.column_stack([z, np.full(60, 3.0)]),
        "inexact constant column": np.column_stack([z, np.full(60, 0.1)]),
        "two constant columns": np.column_stack([np.full(60, -2.0), z, np.full(60, 5.0)]),
        "column of zeros": np.column_stack([z, np.zeros(60)]),
        "nothing but constants": np.full((60, 3), [1.0, 2.0, 0.0]),
        "every column the same": np.repeat(z[:, :1], 5, axis=1),
        "one row": single,
        "two rows": z[:2],
        "two equal rows": np.repeat(single, 2, axis=0),
        "one row of one column": single[:, :1],
        "as many rows as columns": z[:4],
        "one row more than columns": z[:5],
        "fewer rows than columns": z[:3],
        "wide": rng.standard_normal((50, 2000)),
    }


every_deficient_design = pytest.mark.parametrize(
    "X", [pytest.param(X, id=name) for name, X in rank_deficient_designs().items()]
)


def deficient_target(X, n_targets=None):
    rng = np.random.default_rng(16)
    shape = (len(X),) if n_targets is None else (len(X), n_targets)
    return 5 + rng.standard_normal(shape)


def assert_minimum_norm(estimator, X, expected):
    coef, intercept, rank = expected
    size = np.abs(coef).max() + 1
    np.testing.assert_allclose(estimator.coef_, coef, rtol=0, atol=FLOAT64 * size)
    np.testing.assert_allclose(estimator.intercept_, intercept, rtol=0, atol=1e-8 * size)
    assert estimator.rank_ == rank
    assert estimator.converged_


@every_deficient_design
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_rank_of_the_deficient_designs_is_beyond_argument(X, fit_intercept):
    singular = standardised_singular_values(X, fit_intercept=fit_intercept)
    ratio = singular / max(singular.max(), 1e-300)
    assert not np.any((ratio > 1e-13) & (ratio < 1e-3))


@every_deficient_design
def test_rank_deficient_rows_give_the_minimum_norm_solution(X):
    y = deficient_target(X)
    assert_minimum_norm(TorchSGDRegressor().fit(X, y), X, minimum_norm(X, y))


@every_deficient_design
def test_rank_deficient_rows_with_several_targets_give_the_minimum_norm_solution(X):
    y = deficient_target(X, n_targets=2)
    assert_minimum_norm(TorchSGDRegressor().fit(X, y), X, minimum_norm(X, y))


@every_deficient_design
def test_rank_deficient_weighted_rows_give_the_minimum_norm_solution(X):
    y = deficient_target(X)
    sample_weight = np.linspace(0.5, 2.0, len(X))
    expected = minimum_norm(X, y, sample_weight=sample_weight)
    assert_minimum_norm(TorchSGDRegressor().fit(X, y, sample_weight), X, expected)


@every_deficient_design
def test_rank_deficient_rows_without_intercept_give_the_minimum_norm_solution(X):
    y = deficient_target(X)
    estimator = TorchSGDRegressor(fit_intercept=False).fit(X, y)
    coef, _, _ = minimum_norm(X, y, fit_intercept=False)
    size = np.abs(coef).max() + 1
    np.testing.assert_allclose(estimator.coef_, coef, rtol=0, atol=FLOAT64 * size)
    assert estimator.intercept_ == 0.0


@every_deficient_design
def test_rank_deficient_rows_give_the_solution_of_linear_regression(X):
    y = deficient_target(X)
    peer = LinearRegression(tol=1e-12).fit(X, y)
    estimator = TorchSGDRegressor().fit(X, y)
    size = np.abs(peer.coef_).max() + 1
    np.testing.assert_allclose(estimator.coef_, peer.coef_, rtol=0, atol=FLOAT64 * size)
    np.testing.assert_allclose(estimator.predict(X), peer.predict(X), rtol=0, atol=1e-8)


def test_minimum_norm_is_taken_in_the_units_of_the_columns():
    z, y = well_scaled_problem(n_features=1)
    slope = least_squares(z, y)[0][0]
    metres_and_millimetres = np.column_stack([z, 1024 * z])
    estimator = TorchSGDRegressor().fit(metres_and_millimetres, y)
    expected = slope * np.array([1.0, 1024.0]) / (1 + 1024.0**2)
    np.testing.assert_allclose(estimator.coef_, expected, rtol=FLOAT64)
    assert estimator.rank_ == 1


def test_celsius_beside_fahrenheit_is_one_direction():
    rng = np.random.default_rng(17)
    celsius = 5.0 * rng.integers(-4, 9, 80)
    fahrenheit = 9 * celsius / 5 + 32
    y = 0.3 * celsius + rng.standard_normal(80)
    slope = least_squares(celsius[:, None], y)[0][0]
    estimator = TorchSGDRegressor().fit(np.column_stack([celsius, fahrenheit]), y)
    expected = slope * np.array([1.0, 1.8]) / (1 + 1.8**2)
    np.testing.assert_allclose(estimator.coef_, expected, rtol=FLOAT64)
    assert estimator.rank_ == 1


def test_tiny_independent_column_is_not_dropped():
    X, y = well_scaled_problem()
    X = X * [1, 1, 1, 1, 1, 1e-12]
    estimator = TorchSGDRegressor().fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)
    assert estimator.rank_ == 6


def test_constant_column_has_coefficient_zero():
    X, y = well_scaled_problem()
    estimator = TorchSGDRegressor().fit(np.column_stack([X, np.full(200, 1e6 / 3)]), y)
    np.testing.assert_allclose(estimator.coef_[:-1], least_squares(X, y)[0], rtol=FLOAT64)
    assert estimator.coef_[-1] == 0.0


def test_constant_column_without_intercept_takes_its_place():
    X, y = well_scaled_problem()
    coef, intercept = least_squares(X, y)
    estimator = TorchSGDRegressor(fit_intercept=False).fit(np.column_stack([X, np.ones(200)]), y)
    np.testing.assert_allclose(estimator.coef_, [*coef, intercept], rtol=FLOAT64)


def test_float32_duplicated_column_shares_its_weight():
    X, y = well_scaled_problem(n_samples=2_000)
    X = np.column_stack([X, X[:, 0]]).astype(np.float32)
    expected, _, rank = minimum_norm(X, y)
    estimator = TorchSGDRegressor().fit(X, y.astype(np.float32))
    np.testing.assert_allclose(estimator.coef_, expected, rtol=FLOAT32)
    assert estimator.rank_ == rank


def test_rows_that_all_weigh_nothing_but_one_predict_that_row():
    X, y = well_scaled_problem(n_samples=20)
    sample_weight = np.zeros(20)
    sample_weight[3] = 2.0
    estimator = TorchSGDRegressor().fit(X, y, sample_weight)
    np.testing.assert_allclose(estimator.coef_, 0.0, atol=1e-12)
    assert estimator.intercept_ == pytest.approx(y[3], rel=1e-12)


# --- in place of scikit-learn ------------------------------------------------------------


def test_diabetes_agrees_with_linear_regression():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    peer = LinearRegression(tol=0).fit(X, y)
    estimator = TorchSGDRegressor().fit(X, y)
    # LAPACK's divide and conquer SVD works on unscaled columns and bounds the agreement.
    np.testing.assert_allclose(estimator.coef_, peer.coef_, rtol=1e-6)
    np.testing.assert_allclose(estimator.predict(X), peer.predict(X), rtol=FLOAT64)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_targets", [None, 3])
def test_well_scaled_table_agrees_with_linear_regression(n_targets, fit_intercept):
    X, y = well_scaled_problem(n_targets=n_targets)
    peer = LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    estimator = TorchSGDRegressor(fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_allclose(estimator.coef_, peer.coef_, rtol=FLOAT64)
    np.testing.assert_allclose(estimator.intercept_, peer.intercept_, rtol=FLOAT64, atol=0)
    np.testing.assert_allclose(estimator.predict(X), peer.predict(X), rtol=FLOAT64, atol=1e-9)


def test_raw_polynomial_terms_keep_the_directions_that_linear_regression_drops():
    rng = np.random.default_rng(18)
    x = rng.uniform(0, 100, (500, 1))
    y = np.sin(x[:, 0] / 12) + 0.1 * rng.standard_normal(500)
    terms = PolynomialFeatures(6, include_bias=False).fit_transform(x)
    best = r2_score(y, TorchPolyRegressor(6).fit(x, y).predict(x))
    dropped = LinearRegression().fit(terms, y).score(terms, y)
    assert dropped < best - 0.01
    assert TorchSGDRegressor().fit(terms, y).score(terms, y) == pytest.approx(best, rel=FLOAT64)


# --- what a fit reports ------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [{}, {"penalty": "l2", "alpha": 0.5}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_curve_falls_from_the_constant_model_to_the_objective(weighted, penalty):
    X, y = well_scaled_problem(n_targets=2)
    sample_weight = random_weights(200) if weighted else None
    estimator = TorchSGDRegressor(**penalty).fit(X, y, sample_weight)

    def objective(prediction, coef):
        squares = np.average((y - prediction) ** 2, axis=0, weights=sample_weight).sum() / 2
        return squares + (0.25 * (coef**2).sum() if penalty else 0.0)

    curve = estimator.loss_curve_
    mean = np.average(y, axis=0, weights=sample_weight)
    assert all(type(value) is float for value in curve)
    assert curve[0] == pytest.approx(objective(mean, np.zeros((2, 6))), rel=1e-10)
    assert curve[-1] == pytest.approx(objective(estimator.predict(X), estimator.coef_), rel=1e-10)
    assert all(later <= earlier * (1 + 8 * EPS) for earlier, later in pairwise(curve))


def test_fit_reports_in_plain_numbers():
    X, y = badly_scaled_problem(19, 300, 5)
    estimator = TorchSGDRegressor().fit(X, y)
    assert type(estimator.n_iter_) is int
    assert type(estimator.rank_) is int
    assert type(estimator.converged_) is bool
    assert type(estimator.optimality_) is float
    assert type(estimator.loss_curve_) is list
    assert (estimator.solver_, estimator.device_) == ("newton", "cpu")
    assert estimator.n_features_in_ == 5
    assert 0 <= estimator.n_iter_ <= estimator.max_iter
    assert 0 <= estimator.optimality_ <= 1e-6


def test_warm_start_ends_where_a_cold_start_ends():
    X, y = badly_scaled_problem(20, 300, 5)
    estimator = TorchSGDRegressor(warm_start=True).fit(X[:150], y[:150])
    estimator.fit(X, y)
    assert_solution(estimator, X, y, least_squares(X, y), rtol=FLOAT64)


def test_warm_start_from_another_number_of_columns_is_refused():
    X, y = well_scaled_problem()
    estimator = TorchSGDRegressor(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="warm_start"):
        estimator.fit(X[:, :4], y)
    assert estimator.predict(X).shape == (200,)


def test_refit_forgets_the_first_fit():
    X, y = well_scaled_problem()
    once = TorchSGDRegressor().fit(X, y)
    twice = TorchSGDRegressor().fit(1e3 * X[:50] + 1e5, y[:50]).fit(X, y)
    np.testing.assert_array_equal(twice.coef_, once.coef_)
    assert twice.intercept_ == once.intercept_


def test_same_data_twice_gives_the_same_bits():
    X, y = badly_scaled_problem(21, 20_000, 20)
    first, second = TorchSGDRegressor().fit(X, y), TorchSGDRegressor().fit(X, y)
    np.testing.assert_array_equal(first.coef_, second.coef_)


@pytest.mark.parametrize("n_rows", [20_000, 20_011])
def test_number_of_threads_changes_no_bits(n_rows):
    X, y = badly_scaled_problem(21, n_rows, 20)
    before, coefs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            coefs.append(TorchSGDRegressor().fit(X, y).coef_)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(coefs[1], coefs[0])
    np.testing.assert_array_equal(coefs[2], coefs[0])


@pytest.mark.parametrize("max_iter", [1, 1000])
def test_hilbert_matrix_gives_finite_coefficients_and_a_warning_only_if_not_converged(max_iter):
    n = 12
    X = 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)
    y = X.sum(axis=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = TorchSGDRegressor(max_iter=max_iter, tol=0.0).fit(X, y)
    assert np.isfinite(estimator.coef_).all()
    assert estimator.converged_ is not any(w.category is ConvergenceWarning for w in caught)
    if max_iter > 1:
        # The fit is good even where the coefficients are not determined.
        np.testing.assert_allclose(estimator.predict(X), y, rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_hilbert_matrix_is_predicted_in_whichever_order_its_rows_come(seed):
    n = 12
    X = 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)
    X = X[np.random.default_rng(seed).permutation(n)]
    y = X.sum(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = TorchSGDRegressor().fit(X, y)
    assert model.rank_ == n - 1
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-6)


def test_verbose_prints_and_silence_is_the_default(capsys):
    X, y = well_scaled_problem()
    TorchSGDRegressor().fit(X, y)
    assert capsys.readouterr().out == ""
    TorchSGDRegressor(verbose=1).fit(X, y)
    assert "iteration    1  objective" in capsys.readouterr().out


def test_every_tenth_epoch_is_printed_in_columns(capsys):
    X, y = well_scaled_problem()
    given = {"learning_rate": 0.1, "max_iter": 30, "tol": None, "random_state": 0}
    TorchSGDRegressor(verbose=10, **given).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["10", "20", "30"]
    assert len({len(line) for line in lines}) == 1
    assert all(" epoch " in line and line.endswith(" s") for line in lines)

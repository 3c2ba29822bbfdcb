"""TorchPolyRegressor: terms, exact coefficients, and the pipeline that it stands for."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from tests.support.oracles import (
    EPS,
    assert_solution,
    coefficient_tolerance,
    least_squares,
    minimum_norm,
    rational_polynomial,
)

FLOAT64 = 1e-9

TERMS = [
    (n_features, degree, interaction_only)
    for n_features in (1, 2, 3, 5)
    for degree in (1, 2, 3, 4)
    for interaction_only in (False, True)
]


def terms_of(X, degree, interaction_only=False):
    features = PolynomialFeatures(degree, interaction_only=interaction_only, include_bias=False)
    return features.fit_transform(X)


def powers_of(n_features, degree, interaction_only=False):
    features = PolynomialFeatures(degree, interaction_only=interaction_only, include_bias=False)
    return features.fit(np.zeros((1, n_features))).powers_


def cube_problem(seed=0, n_samples=300, n_features=3, n_targets=None):
    """Columns uniform in [-1, 1], where powers are well conditioned."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n_samples, n_features))
    shape = (n_samples,) if n_targets is None else (n_samples, n_targets)
    wave = np.sin(3 * X.sum(axis=1)) + X[:, 0] * X[:, -1] ** 2
    return X, (1 + wave.reshape(-1, *[1] * (len(shape) - 1))) + 0.1 * rng.standard_normal(shape)


# --- terms -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features, degree, interaction_only", TERMS)
def test_terms_are_those_of_polynomial_features(n_features, degree, interaction_only):
    X = np.random.default_rng(0).uniform(-1, 1, (200, n_features))
    features = PolynomialFeatures(degree, interaction_only=interaction_only, include_bias=False)
    features.fit(X)
    estimator = TorchPolyRegressor(degree, interaction_only=interaction_only).fit(X, X[:, 0])
    np.testing.assert_array_equal(estimator.powers_, features.powers_)
    assert estimator.n_output_features_ == features.n_output_features_
    assert estimator.coef_.shape == (features.n_output_features_,)
    assert estimator.n_features_in_ == n_features
    names = estimator.get_feature_names_out()
    assert names.dtype == object
    assert list(names) == list(features.get_feature_names_out())


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("interaction_only", [False, True])
def test_names_of_named_columns_are_those_of_polynomial_features(degree, interaction_only):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.uniform(-1, 1, (50, 3)), columns=["age", "body mass", "x 3"])
    features = PolynomialFeatures(degree, interaction_only=interaction_only, include_bias=False)
    features.fit(X)
    estimator = TorchPolyRegressor(degree, interaction_only=interaction_only).fit(X, X["age"])
    assert list(estimator.feature_names_in_) == ["age", "body mass", "x 3"]
    assert list(estimator.get_feature_names_out()) == list(features.get_feature_names_out())


def test_names_given_by_the_caller_are_used():
    X, y = cube_problem()
    features = PolynomialFeatures(2, include_bias=False).fit(X)
    estimator = TorchPolyRegressor(2).fit(X, y)
    names = estimator.get_feature_names_out(["a", "b", "c"])
    assert list(names) == list(features.get_feature_names_out(["a", "b", "c"]))


def test_wrong_number_of_names_is_refused():
    X, y = cube_problem()
    estimator = TorchPolyRegressor(2).fit(X, y)
    with pytest.raises(ValueError, match="input_features should have length equal to number of"):
        estimator.get_feature_names_out(["a", "b"])


def test_names_that_contradict_the_fitted_ones_are_refused():
    X, y = cube_problem()
    estimator = TorchPolyRegressor(2).fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        estimator.get_feature_names_out(["a", "b", "d"])


# --- exact coefficients ------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    "n_features, degree, interaction_only",
    [(1, 2, False), (1, 5, False), (2, 2, False), (2, 3, False), (3, 2, True), (3, 3, True)],
)
def test_dyadic_data_agree_with_rational_arithmetic(
    n_features, degree, interaction_only, fit_intercept
):
    rng = np.random.default_rng(2)
    X = rng.integers(-32, 33, (30, n_features)) / 8
    y = rng.integers(-64, 65, 30) / 4
    powers = powers_of(n_features, degree, interaction_only)
    estimator = TorchPolyRegressor(
        degree, interaction_only=interaction_only, fit_intercept=fit_intercept
    ).fit(X, y)
    coef, intercept = rational_polynomial(X, y, powers, fit_intercept=fit_intercept)
    np.testing.assert_allclose(estimator.coef_, coef, rtol=FLOAT64)
    np.testing.assert_allclose(estimator.intercept_, intercept, rtol=FLOAT64)


@pytest.mark.parametrize("n_features, degree", [(1, 4), (2, 3)])
def test_weighted_dyadic_data_agree_with_rational_arithmetic(n_features, degree):
    rng = np.random.default_rng(3)
    X = rng.integers(-32, 33, (30, n_features)) / 8
    y = rng.integers(-64, 65, 30) / 4
    sample_weight = rng.integers(1, 9, 30) / 2
    expected = rational_polynomial(X, y, powers_of(n_features, degree), sample_weight=sample_weight)
    estimator = TorchPolyRegressor(degree).fit(X, y, sample_weight)
    np.testing.assert_allclose(estimator.coef_, expected[0], rtol=FLOAT64)
    np.testing.assert_allclose(estimator.intercept_, expected[1], rtol=FLOAT64)


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_years_agree_with_rational_arithmetic(degree):
    years = np.arange(1950.0, 2021.0)[:, None]
    t = (years[:, 0] - 1985) / 35
    y = 10 + 3 * t - 2 * t**2 + t**degree + 0.1 * np.random.default_rng(4).standard_normal(71)
    expected = rational_polynomial(years, y, powers_of(1, degree))
    assert_solution(
        TorchPolyRegressor(degree).fit(years, y),
        terms_of(years, degree),
        y,
        expected,
        rtol=FLOAT64,
    )


@pytest.mark.parametrize("degree", [2, 3])
def test_years_predict_what_centred_years_predict(degree):
    years = np.arange(1950.0, 2021.0)[:, None]
    t = (years - 1985) / 35
    y = np.exp(t[:, 0]) + 0.1 * np.random.default_rng(5).standard_normal(71)
    centred = LinearRegression().fit(terms_of(t, degree), y).predict(terms_of(t, degree))
    prediction = TorchPolyRegressor(degree).fit(years, y).predict(years)
    # Powers of 2000 cancel down to y: their rounding is what remains.
    terms = (2020 / 35) ** degree
    np.testing.assert_allclose(prediction, centred, rtol=0, atol=max(1e-10, 64 * EPS * terms))


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("n_features", [1, 2])
def test_unix_seconds_predict_what_scaled_seconds_predict(n_features, degree):
    rng = np.random.default_rng(13)
    seconds = 1_700_000_000 + rng.integers(0, 10**7, 300)
    X = np.column_stack([seconds, rng.integers(0, 100, 300)])[:, :n_features]
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    y = np.sin(2 * scaled).sum(axis=1) + 0.1 * rng.standard_normal(300)
    terms = terms_of(scaled, degree)
    expected = LinearRegression().fit(terms, y).predict(terms)
    prediction = TorchPolyRegressor(degree).fit(X, y).predict(X)
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=FLOAT64)


@pytest.mark.parametrize("degree", [10, 20])
def test_high_degree_predicts_what_a_chebyshev_fit_predicts(degree):
    rng = np.random.default_rng(14)
    x = rng.uniform(0, 1, 400)
    y = np.sin(6 * x) + 0.1 * rng.standard_normal(400)
    expected = np.polynomial.Chebyshev.fit(x, y, degree)(x)
    estimator = TorchPolyRegressor(degree).fit(x[:, None], y)
    np.testing.assert_allclose(estimator.predict(x[:, None]), expected, rtol=0, atol=FLOAT64)
    assert estimator.rank_ == degree


def test_years_beside_a_small_column_agree_with_rational_arithmetic():
    rng = np.random.default_rng(6)
    X = np.column_stack([rng.integers(1950, 2021, 40), rng.integers(-32, 33, 40) / 2**16])
    t, s = (X[:, 0] - 1985) / 35, X[:, 1] * 2**11
    y = 1 + t + s + t * s - t**2 + 2 * s**2 + rng.integers(-8, 9, 40) / 64
    expected = rational_polynomial(X, y, powers_of(2, 2))
    estimator = TorchPolyRegressor(2).fit(X, y)
    # A power is relative to (offset / half range) ** degree cancelled terms.
    assert_solution(estimator, terms_of(X, 2), y, expected, rtol=FLOAT64)


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20, 1e-6, 1e6])
def test_unit_of_a_column_scales_the_coefficients_by_its_powers(unit):
    X, y = cube_problem()
    plain = TorchPolyRegressor(3).fit(X, y)
    X_unit = X * [1.0, unit, 1.0]
    estimator = TorchPolyRegressor(3).fit(X_unit, y)
    expected = plain.coef_ / unit ** plain.powers_[:, 1].astype(float)
    terms = terms_of(X_unit, 3)
    tolerance = coefficient_tolerance(terms, y)
    assert np.all(np.abs(estimator.coef_ - expected) <= 2 * tolerance)
    assert estimator.intercept_ == pytest.approx(plain.intercept_, rel=FLOAT64)


@pytest.mark.parametrize("interaction_only", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_badly_scaled_columns_give_the_exact_coefficients(fit_intercept, interaction_only):
    X, y = cube_problem(n_samples=400)
    X = X * [1e-6, 1.0, 1e6]
    terms = terms_of(X, 3, interaction_only)
    expected = least_squares(terms, y, fit_intercept=fit_intercept)
    estimator = TorchPolyRegressor(
        3, interaction_only=interaction_only, fit_intercept=fit_intercept
    ).fit(X, y)
    tolerance = coefficient_tolerance(terms, y)
    assert np.all(np.abs(estimator.coef_ - expected[0]) <= tolerance)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_samples", [3, 4, 50])
def test_power_that_does_not_matter_has_coefficient_zero_without_a_warning(
    n_samples, fit_intercept
):
    x = np.random.default_rng(12).uniform(-1, 1, (n_samples, 1))
    estimator = TorchPolyRegressor(2, fit_intercept=fit_intercept).fit(x, 3 * x[:, 0] ** 2)
    np.testing.assert_allclose(estimator.coef_, [0.0, 3.0], rtol=0, atol=FLOAT64)
    assert estimator.intercept_ == pytest.approx(0.0, abs=FLOAT64)
    assert estimator.converged_


# --- in place of the pipeline ------------------------------------------------------------


@pytest.mark.parametrize("n_targets", [None, 1, 3])
@pytest.mark.parametrize(
    "n_features, degree, interaction_only", [(1, 6, False), (3, 3, False), (4, 2, True)]
)
def test_well_scaled_table_agrees_with_the_pipeline(
    n_features, degree, interaction_only, n_targets
):
    X, y = cube_problem(n_features=n_features, n_targets=n_targets)
    pipeline = make_pipeline(
        PolynomialFeatures(degree, interaction_only=interaction_only, include_bias=False),
        LinearRegression(),
    ).fit(X, y)
    estimator = TorchPolyRegressor(degree, interaction_only=interaction_only).fit(X, y)
    peer = pipeline[-1]
    assert estimator.coef_.shape == peer.coef_.shape
    np.testing.assert_allclose(
        estimator.coef_, peer.coef_, rtol=FLOAT64, atol=FLOAT64 * np.abs(peer.coef_).max()
    )
    np.testing.assert_allclose(estimator.intercept_, peer.intercept_, rtol=FLOAT64)
    new = np.random.default_rng(7).uniform(-1.2, 1.2, (50, n_features))
    prediction = estimator.predict(new)
    assert prediction.shape == pipeline.predict(new).shape
    np.testing.assert_allclose(prediction, pipeline.predict(new), rtol=0, atol=1e-8)


def test_prediction_is_the_dot_product_of_terms_and_coefficients():
    X, y = cube_problem(n_targets=2)
    estimator = TorchPolyRegressor(3).fit(X, y)
    expected = terms_of(X, 3) @ estimator.coef_.T + estimator.intercept_
    np.testing.assert_allclose(estimator.predict(X), expected, rtol=0, atol=1e-11)


def test_degree_one_is_the_linear_estimator():
    X, y = cube_problem()
    linear, polynomial = TorchSGDRegressor().fit(X, y), TorchPolyRegressor(1).fit(X, y)
    np.testing.assert_allclose(polynomial.coef_, linear.coef_, rtol=FLOAT64)
    np.testing.assert_allclose(polynomial.intercept_, linear.intercept_, rtol=FLOAT64)


@pytest.mark.parametrize("degree", [2, 3])
def test_diabetes_gives_the_exact_fit_on_its_raw_columns(degree):
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X = X[:, [2, 3, 8]]
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = LinearRegression().fit(terms_of(scaled, degree), y).predict(terms_of(scaled, degree))
    prediction = TorchPolyRegressor(degree).fit(X, y).predict(X)
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=FLOAT64 * y.std())


def test_float32_rows_agree_with_the_float64_answer():
    X, y = cube_problem(n_samples=20_000)
    X, y = X.astype(np.float32), y.astype(np.float32)
    expected = TorchPolyRegressor(3).fit(X.astype(np.float64), y.astype(np.float64))
    estimator = TorchPolyRegressor(3).fit(X, y)
    size = np.abs(expected.coef_).max()
    np.testing.assert_allclose(estimator.coef_, expected.coef_, rtol=0, atol=1e-5 * size)
    assert estimator.predict(X).dtype == np.float32


@pytest.mark.parametrize("half", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("n_columns", [10, 40])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_fewer_rows_than_terms_give_ridge_whatever_the_unit(half, n_columns, fit_intercept):
    rng = np.random.default_rng(0)
    X, y = rng.uniform(-half, half, (20, n_columns)), rng.standard_normal(20)
    terms = terms_of(X, 2)
    ridge = Ridge(2.0, fit_intercept=fit_intercept, solver="svd").fit(terms, y)
    estimator = TorchPolyRegressor(2, penalty="l2", alpha=0.1, fit_intercept=fit_intercept)
    estimator.fit(X, y)
    size = np.abs(ridge.coef_).max()
    np.testing.assert_allclose(estimator.coef_, ridge.coef_, rtol=0, atol=FLOAT64 * size)
    plain = TorchPolyRegressor(2, fit_intercept=fit_intercept)
    with pytest.warns(np.exceptions.RankWarning):
        plain.fit(X, y)
    coef, _, _ = minimum_norm(terms, y, fit_intercept=fit_intercept)
    size = np.abs(coef).max()
    np.testing.assert_allclose(plain.coef_, coef, rtol=0, atol=1e-7 * size)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_targets", [None, 2])
@pytest.mark.parametrize("a", [1e-3, 1.0, 100.0])
def test_l2_penalty_of_a_over_n_is_ridge_of_a_on_the_raw_powers(a, n_targets, fit_intercept):
    X, y = cube_problem(n_targets=n_targets)
    terms = terms_of(X, 3)
    ridge = Ridge(alpha=a, fit_intercept=fit_intercept, solver="svd").fit(terms, y)
    estimator = TorchPolyRegressor(
        3, penalty="l2", alpha=a / len(X), fit_intercept=fit_intercept
    ).fit(X, y)
    size = np.abs(ridge.coef_).max()
    np.testing.assert_allclose(estimator.coef_, ridge.coef_, rtol=0, atol=FLOAT64 * size)
    np.testing.assert_allclose(estimator.intercept_, ridge.intercept_, rtol=FLOAT64)


@pytest.mark.parametrize("degree", [2, 4])
def test_l2_penalty_on_one_raw_column_is_on_the_raw_powers(degree):
    # One column is fitted in another basis; the penalty must not notice.
    x = np.random.default_rng(8).uniform(1.0, 5.0, (200, 1))
    y = np.log(x[:, 0])
    estimator = TorchPolyRegressor(degree, penalty="l2", alpha=1e-3).fit(x, y)
    expected, intercept = least_squares(terms_of(x, degree), y, alpha=1e-3)
    size = np.abs(expected).max()
    np.testing.assert_allclose(estimator.coef_, expected, rtol=0, atol=1e-8 * size)
    assert estimator.intercept_ == pytest.approx(intercept, rel=1e-8)


def test_weighted_l2_penalty_is_weighted_ridge_on_the_raw_powers():
    X, y = cube_problem()
    sample_weight = np.random.default_rng(9).uniform(0.5, 3.0, len(X))
    ridge = Ridge(alpha=2.0, solver="svd").fit(terms_of(X, 2), y, sample_weight)
    estimator = TorchPolyRegressor(2, penalty="l2", alpha=2.0 / sample_weight.sum())
    estimator.fit(X, y, sample_weight)
    np.testing.assert_allclose(estimator.coef_, ridge.coef_, rtol=FLOAT64)


# --- rank --------------------------------------------------------------------------------


def deficient_columns():
    rng = np.random.default_rng(10)
    z = rng.uniform(-1, 1, (80, 2))
    bits = rng.integers(0, 2, (80, 2)).astype(float)
    return {
        "binary column": (bits[:, :1], 3),
        "binary columns": (bits, 2),
        "binary beside numbers": (np.column_stack([z, bits[:, 0]]), 2),
        "signs": (2 * bits[:, :1] - 1, 4),
        "one hot": (np.eye(3)[rng.integers(0, 3, 80)], 2),
        "three values": (rng.integers(0, 3, (80, 1)).astype(float), 4),
        "constant column": (np.column_stack([z, np.full(80, 2.0)]), 2),
        "column of zeros": (np.column_stack([z, np.zeros(80)]), 2),
        "duplicated column": (z[:, [0, 1, 0]], 2),
        "one constant column": (np.full((80, 1), 2.0), 3),
        "one row": (z[:1], 2),
        "one row of one column": (z[:1, :1], 3),
        "fewer rows than terms": (z[:6], 3),
        "fewer rows of one column than terms": (np.array([[-1.0], [0.0], [0.5]]), 4),
    }


TOO_HIGH = {
    "three values",
    "one row",
    "one row of one column",
    "fewer rows than terms",
    "fewer rows of one column than terms",
}


@pytest.mark.parametrize(
    "X, degree, too_high",
    [pytest.param(*case, k in TOO_HIGH, id=k) for k, case in deficient_columns().items()],
)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_rank_deficient_powers_give_the_minimum_norm_solution(X, degree, too_high, fit_intercept):
    """A warning is of degrees that are too high, and not of the nature of the columns."""
    y = 1 + np.random.default_rng(11).standard_normal(len(X))
    estimator = TorchPolyRegressor(degree, fit_intercept=fit_intercept)
    with pytest.warns(np.exceptions.RankWarning) if too_high else nullcontext():
        estimator.fit(X, y)
    coef, intercept, rank = minimum_norm(terms_of(X, degree), y, fit_intercept=fit_intercept)
    size = 1 + np.abs(coef).max()
    np.testing.assert_allclose(estimator.coef_, coef, rtol=0, atol=FLOAT64 * size)
    np.testing.assert_allclose(estimator.intercept_, intercept, rtol=0, atol=FLOAT64 * size)
    if fit_intercept:
        assert estimator.rank_ == rank


def test_powers_of_a_binary_column_share_its_step_equally():
    x = np.array([0.0, 1.0] * 10)[:, None]
    y = np.where(x[:, 0] > 0, 7.0, 1.0)
    estimator = TorchPolyRegressor(3).fit(x, y)
    np.testing.assert_allclose(estimator.coef_, 2.0, rtol=FLOAT64)
    assert estimator.intercept_ == pytest.approx(1.0, rel=FLOAT64)
    assert estimator.rank_ == 1

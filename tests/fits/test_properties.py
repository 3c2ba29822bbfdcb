"""Identities that hold for any data; tolerances come from the condition of the design.

All entries are dyadic with few bits, so that scaling, shifting and adding change no bit of the
problem: the two fits of a property differ in rounding alone.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from tests.support.oracles import EPS, centred, coefficient_tolerance

seeds = st.integers(0, 2**32 - 1)
linear_estimators = st.one_of(
    st.builds(TorchSGDRegressor),
    st.builds(TorchSGDRegressor, penalty=st.just("l2"), alpha=st.sampled_from([1e-4, 1.0])),
)
any_estimators = st.one_of(
    linear_estimators,
    st.builds(TorchSGDRegressor, fit_intercept=st.just(False)),
    st.builds(
        TorchPolyRegressor,
        degree=st.integers(1, 3),
        interaction_only=st.booleans(),
        fit_intercept=st.booleans(),
    ),
)

# Tables as small as some of these do not determine all terms of a polynomial.
pytestmark = pytest.mark.filterwarnings("ignore:The data determines:numpy.exceptions.RankWarning")


@st.composite
def full_rank_problems(draw):
    """Tall tables of full rank: units from 2**-20 to 2**20, offsets of up to 2**6 units."""
    rng = np.random.default_rng(draw(seeds))
    n_features = draw(st.integers(1, 5))
    n_samples = draw(st.integers(4 * n_features + 4, 60))
    X = rng.integers(-512, 513, (n_samples, n_features)) / 256
    X = X + draw(arrays(float, n_features, elements=st.integers(-64, 64).map(float)))
    X = X * 2.0 ** draw(arrays(int, n_features, elements=st.integers(-20, 20)))
    y = rng.integers(-512, 513, n_samples) / 256
    return X, y


@st.composite
def tables(draw, max_features=3):
    """Any small table of quarters: repeated, constant and zero columns included."""
    n_samples, n_features = draw(st.integers(1, 12)), draw(st.integers(1, max_features))
    quarters = st.integers(-12, 12).map(lambda k: k / 4)
    X = draw(arrays(float, (n_samples, n_features), elements=quarters))
    return X, draw(arrays(float, n_samples, elements=quarters))


def permutations(n):
    return st.permutations(range(n)).map(list)


def tolerance_of(X, y, sample_weight=None):
    """Bound for the difference of two fits, each with its own rounding."""
    return 2 * coefficient_tolerance(X, y, sample_weight=sample_weight)


def fit_copy(estimator, X, y, sample_weight=None):
    return clone(estimator).fit(X, y, sample_weight)


def assert_coefficients_within(first, second, tolerance):
    assert np.all(np.abs(first - second) <= tolerance)


def assert_same_fit(first, second, X, tolerance, *, shift=0.0):
    """Coefficients within their tolerance, intercepts within what that moves at the mean of X."""
    assert_coefficients_within(first.coef_, second.coef_, tolerance)
    reach = tolerance @ np.abs(X).max(axis=0) + 64 * EPS * (np.abs(first.intercept_) + abs(shift))
    assert np.all(np.abs(first.intercept_ + shift - second.intercept_) <= reach)


def terms_of(estimator, X):
    powers = getattr(estimator, "powers_", np.eye(X.shape[1], dtype=int))
    return np.stack([np.prod(X**exponents, axis=1) for exponents in powers], axis=1)


def assert_same_fit_at_any_rank(first, second, X, y):
    """Bound of the minimum-norm solution: condition over the singular values that are not zero."""
    terms, target, _, _ = centred(terms_of(first, X), y, fit_intercept=first.fit_intercept)
    singular = np.linalg.svd(terms.astype(float), compute_uv=False)
    singular = singular[singular > 1e-10 * singular[0]]
    tolerance = 0.0
    if singular.any():
        condition = singular[0] / singular[-1]
        size = np.linalg.norm(target.astype(float)) / singular[0]
        solution = np.linalg.norm(first.coef_)
        tolerance = 256 * EPS * condition * (solution + condition * size)
    np.testing.assert_allclose(first.coef_, second.coef_, rtol=0, atol=tolerance)
    largest = np.abs(terms_of(first, X)).sum(axis=1).max()
    reach = 256 * EPS * np.abs(y).max() + tolerance * 2 * largest
    np.testing.assert_allclose(first.predict(X), second.predict(X), rtol=0, atol=reach)


@given(tables(max_features=2), any_estimators)
def test_doubled_rows_are_weight_two(table, estimator):
    X, y = table
    doubled = fit_copy(estimator, np.repeat(X, 2, axis=0), np.repeat(y, 2))
    weighted = fit_copy(estimator, X, y, np.full(len(y), 2.0))
    assert_same_fit_at_any_rank(doubled, weighted, X, y)


@given(full_rank_problems(), linear_estimators, st.data())
def test_repeated_rows_are_integer_weights(problem, estimator, data):
    X, y = problem
    counts = data.draw(arrays(int, len(y), elements=st.integers(1, 4)))
    repeated = fit_copy(estimator, np.repeat(X, counts, axis=0), np.repeat(y, counts))
    weighted = fit_copy(estimator, X, y, counts.astype(float))
    assert_same_fit(repeated, weighted, X, tolerance_of(X, y, counts))


@given(tables(max_features=2), any_estimators, st.data())
def test_rows_of_weight_zero_are_not_there(table, estimator, data):
    X, y = table
    keep = data.draw(arrays(bool, len(y), elements=st.booleans()))
    keep[data.draw(st.integers(0, len(y) - 1))] = True
    weighted = fit_copy(estimator, X, y, keep.astype(float))
    removed = fit_copy(estimator, X[keep], y[keep])
    assert_same_fit_at_any_rank(weighted, removed, X, y)


@given(full_rank_problems())
def test_rows_of_weight_zero_may_hold_anything_finite(problem):
    X, y = problem
    far = np.vstack([X, X[:1] + 1e6 * np.abs(X).max(axis=0)])
    sample_weight = np.append(np.ones(len(y)), 0.0)
    weighted = TorchSGDRegressor().fit(far, np.append(y, 1e6), sample_weight)
    assert_same_fit(weighted, TorchSGDRegressor().fit(X, y), X, tolerance_of(X, y))


@given(full_rank_problems(), st.data())
def test_scaling_a_column_scales_its_coefficient_inversely(problem, data):
    X, y = problem
    scales = st.sampled_from([-3.0, 0.5, 1.0, 1000.0, 2.0**30])
    scale = data.draw(arrays(float, X.shape[1], elements=scales))
    plain, scaled = TorchSGDRegressor().fit(X, y), TorchSGDRegressor().fit(X * scale, y)
    scaled.coef_ = scaled.coef_ * scale
    assert_same_fit(scaled, plain, X, tolerance_of(X, y))


@given(full_rank_problems(), st.sampled_from([-1.0, 2.0**-40, 3.0, 2.0**40]))
def test_scaling_the_target_scales_the_fit(problem, scale):
    X, y = problem
    plain, scaled = TorchSGDRegressor().fit(X, y), TorchSGDRegressor().fit(X, y * scale)
    scaled.coef_, scaled.intercept_ = scaled.coef_ / scale, scaled.intercept_ / scale
    assert_same_fit(scaled, plain, X, tolerance_of(X, y))


@given(full_rank_problems(), st.data())
def test_shifting_the_columns_moves_only_the_intercept(problem, data):
    X, y = problem
    # Powers of two above the columns: the sums have no rounding.
    unit = 2.0 ** np.ceil(np.log2(np.abs(X).max(axis=0)))
    shift = unit * data.draw(arrays(float, X.shape[1], elements=st.integers(-8, 8).map(float)))
    plain, shifted = TorchSGDRegressor().fit(X, y), TorchSGDRegressor().fit(X + shift, y)
    tolerance = tolerance_of(X, y)
    assert_coefficients_within(shifted.coef_, plain.coef_, tolerance)
    expected = plain.intercept_ - shift @ plain.coef_
    terms = np.abs(shift) @ np.abs(plain.coef_) + np.abs(plain.intercept_)
    reach = tolerance @ (np.abs(X).max(axis=0) + np.abs(shift)) + 64 * EPS * terms
    assert abs(shifted.intercept_ - expected) <= reach


@given(full_rank_problems(), linear_estimators, st.data())
def test_permuted_rows_give_the_same_fit(problem, estimator, data):
    X, y = problem
    rows = data.draw(permutations(len(y)))
    plain, permuted = fit_copy(estimator, X, y), fit_copy(estimator, X[rows], y[rows])
    assert_same_fit(permuted, plain, X, tolerance_of(X, y))


@given(full_rank_problems(), linear_estimators, st.data())
def test_permuted_columns_permute_the_coefficients(problem, estimator, data):
    X, y = problem
    columns = data.draw(permutations(X.shape[1]))
    plain, permuted = fit_copy(estimator, X, y), fit_copy(estimator, X[:, columns], y)
    tolerance = tolerance_of(X, y)[columns]
    assert_coefficients_within(permuted.coef_, plain.coef_[columns], tolerance)


@given(full_rank_problems(), linear_estimators, st.integers(-(2**20), 2**20))
def test_shifting_the_target_shifts_the_intercept(problem, estimator, shift):
    X, y = problem
    plain, shifted = fit_copy(estimator, X, y), fit_copy(estimator, X, y + shift)
    assert_same_fit(plain, shifted, X, tolerance_of(X, y), shift=shift)


@given(full_rank_problems(), st.data())
def test_adding_a_linear_function_to_the_target_adds_to_the_coefficients(problem, data):
    X, y = problem
    whole = st.integers(-8, 8).map(float)
    beta = data.draw(arrays(float, X.shape[1], elements=whole))
    # In units of a power of two of the column, so that X @ beta has no rounding.
    beta = beta / 2.0 ** np.ceil(np.log2(np.abs(X).max(axis=0)))
    tilted = y + X @ beta
    plain, added = TorchSGDRegressor().fit(X, y), TorchSGDRegressor().fit(X, tilted)
    added.coef_ = added.coef_ - beta
    assert_same_fit(added, plain, X, tolerance_of(X, y) + tolerance_of(X, tilted))


@given(full_rank_problems(), linear_estimators, st.integers(1, 4), seeds)
def test_targets_together_are_the_targets_apart(problem, estimator, n_targets, seed):
    X, _ = problem
    Y = np.random.default_rng(seed).integers(-512, 513, (len(X), n_targets)) / 256
    together = fit_copy(estimator, X, Y)
    for y, coef, intercept in zip(Y.T, together.coef_, together.intercept_, strict=True):
        apart = fit_copy(estimator, X, y)
        row = SimpleNamespace(coef_=coef, intercept_=intercept)
        assert_same_fit(row, apart, X, tolerance_of(X, y))


@given(full_rank_problems())
def test_residuals_are_orthogonal_to_the_columns_and_sum_to_zero(problem):
    X, y = problem
    residual = y - TorchSGDRegressor().fit(X, y).predict(X)
    Xc = X - X.mean(axis=0)
    reach = np.abs(X).max(axis=0) / np.abs(Xc).max(axis=0)
    size = len(y) * np.abs(y).max() * 256 * EPS
    assert abs(residual.sum()) <= size * (1 + reach.sum())
    scaled = Xc / np.abs(Xc).max(axis=0)
    assert np.all(np.abs(scaled.T @ residual) <= size * (1 + reach.sum()) * np.sqrt(len(y)))


@given(tables(), any_estimators)
def test_any_small_table_gives_a_finite_converged_fit(table, estimator):
    X, y = table
    estimator.fit(X, y)
    assert np.isfinite(estimator.coef_).all()
    assert np.isfinite(estimator.intercept_)
    assert estimator.converged_
    assert np.isfinite(estimator.predict(X)).all()


@pytest.mark.parametrize("degree", [1, 2, 3])
@given(table=tables(max_features=2))
def test_polynomial_data_are_reproduced(table, degree):
    X, _ = table
    y = 1 + X.sum(axis=1) ** degree
    prediction = TorchPolyRegressor(degree).fit(X, y).predict(X)
    np.testing.assert_allclose(prediction, y, rtol=0, atol=1e-9 * (1 + np.abs(y).max()))

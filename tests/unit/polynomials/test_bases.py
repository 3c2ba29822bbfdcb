"""Bases of TorchPolyRegressor: which terms there are, in which family, on which domain."""

import warnings
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Chebyshev
from numpy.polynomial.chebyshev import chebvander
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor
from skorchlite._inputs.block_reader import BlockReader
from skorchlite._polynomials.sampling import _extremes_and_sample
from skorchlite._sources.iterable import StreamRows
from tests.support.all_pairs import all_pairs
from tests.support.oracles import minimum_norm
from tests.support.oracles import rational_least_squares as exact_least_squares

FAMILIES = {
    "power": np.polynomial.Polynomial,
    "chebyshev": np.polynomial.Chebyshev,
    "legendre": np.polynomial.Legendre,
    "hermite": np.polynomial.Hermite,
}
every_basis = pytest.mark.parametrize("basis", FAMILIES)
mapped_basis = pytest.mark.parametrize("basis", [name for name in FAMILIES if name != "power"])


def curve(n_samples=300, seed=0, low=-1.0, high=3.0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, n_samples)
    t = (x - low) / (high - low)
    return x[:, None], np.sin(5 * t) + 0.1 * rng.standard_normal(n_samples)


def surface(n_samples=400, n_features=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 2, (n_samples, n_features)) * [1.0, 10.0, 0.1][:n_features] + 5
    return X, np.sin(X[:, 0]) + 0.1 * X[:, 1] + 0.1 * rng.standard_normal(n_samples)


def design(model, X):
    """Return the terms that the fitted attributes name, made by numpy.polynomial."""
    make, columns = FAMILIES[model.basis], []
    for powers in model.powers_:
        column = np.ones(len(X))
        for j, k in enumerate(powers):
            if model.basis == "power":
                column = column * X[:, j] ** k
            else:
                column = column * make.basis(k, domain=model.domain_[j], window=[-1, 1])(X[:, j])
        columns.append(column)
    return np.stack(columns, 1)


# --- which terms ---


@pytest.mark.parametrize("interaction_only", [False, True])
@pytest.mark.parametrize("degree", [(0, 2), (1, 3), (2, 2), (2, 3), (3, 3)])
def test_least_degree_is_that_of_polynomial_features(degree, interaction_only):
    X, y = surface()
    features = PolynomialFeatures(
        degree, interaction_only=interaction_only, include_bias=False
    ).fit(X)
    model = TorchPolyRegressor(degree, interaction_only=interaction_only).fit(X, y)
    np.testing.assert_array_equal(model.powers_, features.powers_)
    assert list(model.get_feature_names_out()) == list(features.get_feature_names_out())
    terms = features.transform(X)
    scale = terms.std(0)
    expected = LinearRegression(tol=0).fit((terms - terms.mean(0)) / scale, y)
    np.testing.assert_allclose(model.coef_ * scale, expected.coef_, rtol=0, atol=1e-7)
    prediction = expected.predict((terms - terms.mean(0)) / scale)
    np.testing.assert_allclose(model.predict(X), prediction, rtol=0, atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("degree", [(2, 5), (4, 9), (9, 9)])
def test_least_degree_of_one_column_keeps_its_digits(degree, fit_intercept):
    x = np.random.default_rng(0).integers(1, 64, 50) / 8
    y = np.round(64 * np.log(x)) / 64
    model = TorchPolyRegressor(degree, fit_intercept=fit_intercept).fit(x[:, None], y)
    exact = rational_least_squares(x, y, range(degree[0], degree[1] + 1), fit_intercept)
    np.testing.assert_allclose(model.coef_, exact[1:], rtol=1e-10)
    np.testing.assert_allclose(model.intercept_, exact[0], rtol=1e-10)


def rational_least_squares(x, y, powers, fit_intercept):
    x, y = ([Fraction(v) for v in values.tolist()] for values in (x, y))
    powers = [0, *powers] if fit_intercept else list(powers)
    rows = [[v**k for k in powers] for v in x]
    n = len(powers)
    A = [[sum(r[i] * r[j] for r in rows) for j in range(n)] for i in range(n)]
    b = [sum(r[i] * t for r, t in zip(rows, y, strict=True)) for i in range(n)]
    for i in range(n):
        for k in range(i + 1, n):
            factor = A[k][i] / A[i][i]
            A[k] = [u - factor * v for u, v in zip(A[k], A[i], strict=True)]
            b[k] -= factor * b[i]
    w = [Fraction()] * n
    for i in reversed(range(n)):
        w[i] = (b[i] - sum(A[i][j] * w[j] for j in range(i + 1, n))) / A[i][i]
    return [float(v) for v in (w if fit_intercept else [Fraction(), *w])]


@pytest.mark.parametrize("interaction_only", [False, True])
@pytest.mark.parametrize("degree", [[3, 1, 2], np.array([2, 0, 3]), [1, 1, 1], [0, 0, 4]])
def test_degree_of_each_column_bounds_its_powers(degree, interaction_only):
    X, y = surface()
    model = TorchPolyRegressor(degree, interaction_only=interaction_only).fit(X, y)
    whole = PolynomialFeatures(
        int(max(degree)), interaction_only=interaction_only, include_bias=False
    ).fit(X)
    kept = (whole.powers_ <= degree).all(1)
    np.testing.assert_array_equal(model.powers_, whole.powers_[kept])
    terms = whole.transform(X)[:, kept]
    scaled = (terms - terms.mean(0)) / terms.std(0)
    expected = LinearRegression(tol=0).fit(scaled, y).predict(scaled)
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-8)


def test_equal_degrees_of_the_columns_are_the_total_degree():
    X, y = surface()
    of_columns, total = (TorchPolyRegressor(degree).fit(X, y) for degree in ([3, 3, 3], 3))
    np.testing.assert_array_equal(of_columns.coef_, total.coef_)


@pytest.mark.parametrize(
    "degree, wording",
    [
        ((0, 0), "two non-negative integers"),
        ((3, 2), "two non-negative integers"),
        ((-1, 2), "two non-negative integers"),
        ((1, 2, 3), "two non-negative integers"),
        ((1.0, 2.0), "two non-negative integers"),
        ([1, 2], "for each of the 3 columns"),
        ([1, 2, -1], "for each of the 3 columns"),
        ([0, 0, 0], "one of them at least 1"),
        ([1.5, 1, 1], "for each of the 3 columns"),
        ([1, [2], 3], "for each of the 3 columns"),
    ],
)
def test_invalid_degrees_are_refused(degree, wording):
    X, y = surface()
    with pytest.raises(ValueError, match=wording):
        TorchPolyRegressor(degree).fit(X, y)


def test_interactions_of_more_columns_than_there_are_are_refused():
    X, y = surface()
    with pytest.raises(ValueError, match="interaction_only=True leaves no term"):
        TorchPolyRegressor((4, 5), interaction_only=True).fit(X, y)


# --- which family ---


@every_basis
@pytest.mark.parametrize("degree", [1, 3, 8])
def test_coefficients_are_those_of_numpy_polynomial(basis, degree):
    x, y = curve()
    model = TorchPolyRegressor(degree, basis=basis).fit(x, y)
    expected = FAMILIES[basis].fit(x[:, 0], y, degree)
    expected = expected.convert() if basis == "power" else expected
    coef = [model.intercept_, *model.coef_]
    size = np.abs(expected.coef).max()
    np.testing.assert_allclose(coef, expected.coef, rtol=0, atol=1e-8 * size)
    np.testing.assert_array_equal(model.domain_, [[x.min(), x.max()]])


@every_basis
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("degree", [2, 3, (2, 3), [1, 3, 2]])
def test_coefficients_are_those_of_the_terms_that_are_named(basis, degree, fit_intercept):
    X, y = surface()
    model = TorchPolyRegressor(degree, basis=basis, fit_intercept=fit_intercept).fit(X, y)
    terms = design(model, X)
    np.testing.assert_allclose(
        terms @ model.coef_ + model.intercept_, model.predict(X), rtol=0, atol=1e-8
    )
    if not fit_intercept:
        assert model.intercept_ == 0
    A = np.column_stack([np.ones(len(X)), terms]) if fit_intercept else terms
    scale = np.linalg.norm(A, axis=0)
    expected = A / scale @ np.linalg.lstsq(A / scale, y, rcond=1e-15)[0]
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-7)


@mapped_basis
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_penalty_is_on_the_coefficients_of_the_family(basis, fit_intercept):
    X, y = surface()
    model = TorchPolyRegressor(
        3, basis=basis, penalty="l2", alpha=1e-2, fit_intercept=fit_intercept
    ).fit(X, y)
    ridge = Ridge(alpha=1e-2 * len(X), fit_intercept=fit_intercept, solver="svd", tol=1e-12)
    ridge.fit(design(model, X), y)
    size = np.abs(ridge.coef_).max()
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=0, atol=1e-8 * size)
    np.testing.assert_allclose(model.intercept_, ridge.intercept_, rtol=1e-8, atol=1e-8)


@every_basis
def test_basis_does_not_change_a_model_without_penalty(basis):
    X, y = surface()
    model, powers = (TorchPolyRegressor(3, basis=b).fit(X, y) for b in (basis, "power"))
    np.testing.assert_allclose(model.predict(X), powers.predict(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "basis, name",
    [("power", "x0^2"), ("chebyshev", "T2(x0)"), ("legendre", "P2(x0)"), ("hermite", "H2(x0)")],
)
def test_names_of_terms_show_the_family(basis, name):
    X, y = surface(n_features=2)
    names = TorchPolyRegressor(2, basis=basis).fit(X, y).get_feature_names_out()
    assert name in names
    frame = pd.DataFrame(X, columns=["a", "b"])
    names = TorchPolyRegressor(2, basis=basis).fit(frame, y).get_feature_names_out()
    assert name.replace("x0", "a") in names


@every_basis
@pytest.mark.parametrize(
    "parameters",
    [{"loss": "quantile", "quantile": 0.9}, {"loss": "huber", "epsilon": 0.1}],
    ids=["quantile", "huber"],
)
def test_other_losses_have_the_same_curve_in_every_basis(basis, parameters):
    x, y = curve()
    model = TorchPolyRegressor(4, basis=basis, **parameters).fit(x, y)
    expected = TorchPolyRegressor(4, **parameters).fit(x, y)
    np.testing.assert_allclose(model.predict(x), expected.predict(x), rtol=0, atol=1e-6)
    terms = design(model, x)
    np.testing.assert_allclose(terms @ model.coef_ + model.intercept_, model.predict(x), atol=1e-9)


@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@mapped_basis
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_chunks_that_reach_further_are_the_fit_of_all_rows(basis, penalty):
    x, y = curve()
    order = np.argsort(x[:, 0])
    x, y = x[order], y[order]
    parameters = {"degree": 4, "basis": basis, "penalty": penalty, "alpha": 1e-3}
    model = TorchPolyRegressor(**parameters)
    for rows in np.array_split(np.arange(len(x)), 5):
        model.partial_fit(x[rows], y[rows])
    whole = TorchPolyRegressor(**parameters).fit(x, y)
    np.testing.assert_array_equal(model.domain_, whole.domain_)
    size = np.abs(whole.coef_).max()
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=0, atol=1e-6 * size)
    np.testing.assert_allclose(model.predict(x), whole.predict(x), rtol=0, atol=1e-7)


@every_basis
def test_warm_start_and_coef_init_are_in_the_family(basis):
    x, y = curve()
    model = TorchPolyRegressor(4, basis=basis, loss="huber", warm_start=True).fit(x, y)
    before = model.predict(x)
    epoch = model.set_params(solver="sgd", max_iter=1, tol=None, random_state=0).fit(x, y)
    np.testing.assert_allclose(epoch.predict(x), before, rtol=0, atol=1e-7)
    given = clone(model).set_params(warm_start=False)
    given.fit(x, y, coef_init=model.coef_, intercept_init=model.intercept_)
    np.testing.assert_allclose(given.predict(x), before, rtol=0, atol=1e-7)


# --- chunks, and parameters that change between them ---


@pytest.mark.parametrize("parameters", [{"degree": (2, 3)}, {"degree": 3, "fit_intercept": False}])
@pytest.mark.parametrize("basis", FAMILIES)
def test_what_is_read_once_gives_the_fit_of_all_rows_or_an_error(basis, parameters):
    x, y = curve()
    order = np.argsort(x[:, 0])
    blocks = [(x[rows], y[rows]) for rows in np.array_split(order, 4)]
    model = TorchPolyRegressor(basis=basis, **parameters)
    expected = model.fit(blocks).predict(x)
    if basis == "power":
        np.testing.assert_allclose(model.fit(iter(blocks)).predict(x), expected, atol=1e-8)
    else:
        with pytest.raises(ValueError, match="can be iterated once, and more passes"):
            model.fit(iter(blocks))


@pytest.mark.parametrize("changed", [{"degree": 3}, {"basis": "legendre"}, {"degree": [2, 1, 1]}])
def test_terms_that_change_between_chunks_are_refused(changed):
    X, y = surface()
    model = TorchPolyRegressor(2).partial_fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="goes on with the terms of the chunks before"):
        model.set_params(**changed).partial_fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
def test_penalty_that_is_set_between_chunks_is_on_the_coefficients(first):
    X, y = surface()
    model = TorchPolyRegressor(2)
    getattr(model, first)(X[:200], y[:200])
    model.set_params(penalty="l2", alpha=0.1).partial_fit(X[200:], y[200:])
    expected = TorchPolyRegressor(2, penalty="l2", alpha=0.1).fit(X, y)
    size = np.abs(expected.coef_ * expected.powers_.shape[1]).max()
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=0, atol=1e-6 * size)


def test_chunks_after_a_fit_on_uneven_data_are_the_fit_of_all_rows():
    rng = np.random.default_rng(1)
    x, more = np.append(rng.uniform(0, 2, 300), 100.0), rng.uniform(0, 100, 1000)
    y, theirs = np.sin(x), np.sin(more / 20)
    model = TorchPolyRegressor(12).fit(x[:, None], y).partial_fit(more[:, None], theirs)
    whole = TorchPolyRegressor(12).fit(np.append(x, more)[:, None], np.append(y, theirs))
    np.testing.assert_allclose(
        model.predict(more[:, None]), whole.predict(more[:, None]), rtol=0, atol=1e-6
    )


@every_basis
@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"penalty": "l2", "alpha": 0.1}])
def test_rows_without_weight_are_none_of_the_data(basis, parameters):
    x, y = curve(99)
    model = TorchPolyRegressor(5, basis=basis, **parameters)
    expected = model.fit(x, y).predict(x)
    domain = model.domain_
    weight = np.append(np.ones(99), 0.0)
    model.fit(np.append(x, [[1e4]], 0), np.append(y, -1e6), weight)
    np.testing.assert_array_equal(model.domain_, domain)
    np.testing.assert_allclose(model.predict(x), expected, rtol=0, atol=1e-8)


def test_rows_without_weight_may_be_anywhere():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 1_000)
    y, weight = np.sin(5 * x), np.ones(1_000)
    expected = TorchPolyRegressor(9).fit(x[300:, None], y[300:]).predict(x[300:, None])
    x[:300], y[:300], weight[:300] = 9.97e36, -9999.0, 0.0
    model = TorchPolyRegressor(9).fit(x[:, None], y, weight)
    assert model.rank_ == 9
    np.testing.assert_allclose(model.predict(x[300:, None]), expected, rtol=0, atol=1e-9)


@every_basis
@pytest.mark.parametrize("first", [{"loss": "huber"}, {"solver": "sgd", "random_state": 0}])
def test_chunks_after_another_kind_of_fit_go_on_from_it(basis, first):
    x = np.linspace(0, 10, 200)
    exact = np.polynomial.Polynomial([1, -2, 0.5, 0.1])
    model = TorchPolyRegressor(3, basis=basis, **first).fit(x[:, None], exact(x))
    before = model.predict(x[:, None])
    np.testing.assert_allclose(before, exact(x), rtol=0, atol=1e-5)
    inner = np.linspace(2, 3, 100)
    model.set_params(loss="huber", solver="auto").partial_fit(inner[:, None], exact(inner))
    np.testing.assert_array_equal(model.domain_, [[0, 10]])
    np.testing.assert_allclose(model.predict(x[:, None]), before, rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match="goes on with the terms of the chunks before"):
        model.set_params(degree=4).partial_fit(inner[:, None], exact(inner))


def test_sample_of_a_stream_does_not_grow_with_it():
    rng = np.random.default_rng(0)
    blocks = [(rng.standard_normal((20_000, 2)), rng.standard_normal(20_000)) for _ in range(9)]
    rows = StreamRows(
        BlockReader.opened(TorchPolyRegressor(), blocks, reset=True), torch.device("cpu")
    )
    _, samples = _extremes_and_sample(rows, sampled=True)
    assert 4_096 / 2 <= sum(map(len, samples)) <= 2 * 4_096


# --- data that does not cover its interval ---


def uneven(kind, n_samples=2_000):
    rng = np.random.default_rng(1)
    x = {
        "lognormal": lambda: rng.lognormal(0, 1, n_samples),
        "far point": lambda: np.append(rng.uniform(0, 1, n_samples - 1), 1e3),
        "clusters": lambda: np.append(
            rng.uniform(0, 1, n_samples // 2), rng.uniform(1e3, 1e3 + 1, n_samples // 2)
        ),
    }[kind]()
    return x, np.tanh(np.log(x + 1)) + 0.01 * rng.standard_normal(n_samples)


@pytest.mark.parametrize("degree", [5, 8])
@pytest.mark.parametrize("kind", ["lognormal", "far point", "clusters"])
def test_uneven_data_is_fitted_as_orthogonal_polynomials_fit_it(kind, degree):
    x, y = uneven(kind)
    model = TorchPolyRegressor(degree).fit(x[:, None], y)
    # QR of Arnoldi's vectors (Brubeck, Nakatsukasa, Trefethen 2021) loses no digits.
    Q = np.ones((len(x), 1)) / np.sqrt(len(x))
    for _ in range(degree):
        new = x / np.abs(x).max() * Q[:, -1]
        for _ in range(2):
            new = new - Q @ (Q.T @ new)
        Q = np.column_stack([Q, new / np.linalg.norm(new)])
    np.testing.assert_allclose(model.predict(x[:, None]), Q @ (Q.T @ y), rtol=0, atol=1e-9)
    assert model.rank_ == degree


@mapped_basis
@pytest.mark.parametrize("parameters", [{"degree": (2, 4)}, {"degree": 4, "fit_intercept": False}])
def test_families_that_are_not_closed_are_kept_on_uneven_data(basis, parameters):
    x = np.concatenate([np.linspace(0, 1, 200), [50.0, 100.0]])[:, None]
    y = np.sin(3 * x[:, 0]) + 2
    model = TorchPolyRegressor(basis=basis, **parameters).fit(x, y)
    terms = design(model, x)
    prediction = model.predict(x)
    np.testing.assert_allclose(terms @ model.coef_ + model.intercept_, prediction, atol=1e-6)
    A = np.column_stack([np.ones(len(x)), terms]) if model.fit_intercept else terms
    scale = np.linalg.norm(A, axis=0)
    expected = A / scale @ np.linalg.lstsq(A / scale, y, rcond=1e-15)[0]
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-6)


# --- units and offsets ---


@given(
    units=st.tuples(*[st.integers(-30, 30)] * 2),
    offsets=st.tuples(*[st.integers(-(2**20), 2**20)] * 2),
    degree=st.sampled_from([1, 2, 3, [4, 2], 5]),
    basis=st.sampled_from(list(FAMILIES)),
)
@settings(deadline=None, max_examples=40)
def test_units_and_offsets_do_not_change_the_model(units, offsets, degree, basis):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (200, 2)).astype(float)
    y = np.sin(X[:, 0] / 40) * X[:, 1] / 100 + 0.1 * rng.standard_normal(200)
    # Exact: of these numbers neither sums nor products are rounded.
    moved = (X + offsets) * 2.0 ** np.array(units)
    expected = TorchPolyRegressor(degree, basis=basis).fit(X, y).predict(X)
    prediction = TorchPolyRegressor(degree, basis=basis).fit(moved, y).predict(moved)
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "x, degree",
    [
        pytest.param(np.random.default_rng(0).uniform(-1, 1, 10_000), 50, id="50"),
        pytest.param(np.linspace(0, 10, 10_000), 50, id="evenly-50"),
        pytest.param(np.arange(1900.0, 2021.0), 15, id="years-15"),
        pytest.param(1.6e18 + np.linspace(0, 3e16, 10_000), 15, id="nanoseconds-15"),
    ],
)
def test_high_degree_is_as_near_to_the_truth_as_a_chebyshev_fit(x, degree):
    t = (x - x.min()) / np.ptp(x)
    truth = np.exp(np.sin(6 * t))
    y = truth + 0.1 * np.random.default_rng(1).standard_normal(len(x))
    expected = np.polynomial.Chebyshev.fit(x, y, degree)(x)
    prediction = TorchPolyRegressor(degree).fit(x[:, None], y).predict(x[:, None])
    assert np.abs(prediction - truth).max() <= 1.01 * np.abs(expected - truth).max()
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-10)


# --- objects of numpy.polynomial ---


@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@all_pairs(
    ids=str,
    basis=FAMILIES,
    fit_intercept=[True, False],
    penalty=[None, "l2"],
    degree=[1, 6, (2, 4)],
)
def test_polynomial_of_numpy_is_the_model(basis, fit_intercept, penalty, degree):
    x, y = curve()
    model = TorchPolyRegressor(
        degree, basis=basis, fit_intercept=fit_intercept, penalty=penalty, alpha=1e-6
    ).fit(x, y)
    polynomial = model.to_polynomial()
    assert type(polynomial) is FAMILIES[basis]
    np.testing.assert_array_equal(polynomial.domain, model.domain_[0])
    np.testing.assert_array_equal(polynomial.window, [-1, 1])
    new = np.linspace(-1, 3, 50)
    expected = model.predict(new[:, None])
    np.testing.assert_allclose(polynomial(new), expected, rtol=0, atol=1e-11)
    if basis == "power":
        raw = np.zeros(model.powers_.max() + 1)
        raw[0], raw[model.powers_[:, 0]] = model.intercept_, model.coef_
        converted = polynomial.convert().coef
        np.testing.assert_allclose(converted, raw, rtol=0, atol=1e-10 * np.abs(raw).max())


def test_polynomial_of_years_keeps_its_digits():
    years = np.arange(1900.0, 2021.0)
    y = np.cos((years - 1900) / 20)
    model = TorchPolyRegressor(15).fit(years[:, None], y)
    expected = np.polynomial.Chebyshev.fit(years, y, 15)
    np.testing.assert_allclose(model.to_polynomial()(years), expected(years), rtol=0, atol=1e-9)
    slope = model.to_polynomial().deriv()(years)
    np.testing.assert_allclose(slope, expected.deriv()(years), rtol=0, atol=1e-8)


def test_polynomial_takes_its_symbol_from_the_column():
    x, y = curve()
    model = TorchPolyRegressor(2).fit(pd.DataFrame(x, columns=["age"]), y)
    assert model.to_polynomial().symbol == "age"
    model = TorchPolyRegressor(2).fit(pd.DataFrame(x, columns=["body mass"]), y)
    assert model.to_polynomial().symbol == "x"


def test_polynomials_of_several_targets_are_a_list():
    x, y = curve()
    model = TorchPolyRegressor(3).fit(x, np.column_stack([y, -y]))
    first, second = model.to_polynomial()
    np.testing.assert_allclose(first.coef, -second.coef, rtol=1e-12)


def test_polynomial_of_several_columns_is_refused():
    X, y = surface()
    with pytest.raises(ValueError, match="polynomials of one column, and X had 3"):
        TorchPolyRegressor(2).fit(X, y).to_polynomial()


# --- beyond the domain ---


def fitted_on_a_square(**parameters):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (200, 2))
    return TorchPolyRegressor(3, **parameters).fit(X, X[:, 0] ** 3 + X[:, 1]), X


def beyond():
    return np.array([[0.5, 0.5], [2.0, 0.5], [0.5, -3.0], [5.0, 5.0]])


def test_extrapolation_is_allowed_without_a_warning():
    model, _ = fitted_on_a_square()
    np.testing.assert_allclose(model.predict(beyond())[1], 8.5, rtol=1e-9)


def test_extrapolation_is_warned_of_if_asked():
    model, X = fitted_on_a_square(extrapolation="warn")
    model.predict(X)
    with pytest.warns(UserWarning, match=r"3 of 4 samples are outside of domain_"):
        prediction = model.predict(beyond())
    np.testing.assert_allclose(prediction[1], 8.5, rtol=1e-9)


def test_extrapolation_is_nan_if_asked():
    model, X = fitted_on_a_square(extrapolation="nan")
    assert np.isfinite(model.predict(X)).all()
    np.testing.assert_array_equal(np.isnan(model.predict(beyond())), [False, True, True, True])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict([[np.nan, 0.5]])
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.set_params(extrapolation="clip").predict([[np.inf, 0.5]])


def test_columns_that_no_term_has_may_leave_the_domain():
    X, y = surface()
    model = TorchPolyRegressor([2, 0, 1], extrapolation="nan").fit(X, y)
    assert np.isfinite(model.predict(X + np.array([0, 1e6, 0]))).all()


def test_extrapolation_is_clipped_if_asked():
    model, X = fitted_on_a_square(extrapolation="clip")
    (low, high) = model.domain_.T
    np.testing.assert_array_equal(low, X.min(0))
    expected = model.predict(np.clip(beyond(), low, high))
    np.testing.assert_array_equal(model.predict(beyond()), expected)
    blocks = [(beyond()[:2],), (beyond()[2:],)]
    np.testing.assert_array_equal(model.predict(blocks), expected)


def test_single_precision_stays_in_its_own_domain():
    X = np.random.default_rng(0).uniform(0, 1, (300, 2)).astype(np.float32)
    model = TorchPolyRegressor(2, extrapolation="nan").fit(X, X[:, 0])
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.predict(X.astype(np.float64))).all()


def test_domain_grows_with_the_chunks():
    x, y = curve()
    for solver in ("auto", "sgd"):
        model = TorchPolyRegressor(2, solver=solver, extrapolation="nan", random_state=0)
        order = np.argsort(x[:, 0])
        for rows in np.array_split(order, 4):
            model.partial_fit(x[rows], y[rows])
        np.testing.assert_array_equal(model.domain_, [[x.min(), x.max()]])
        assert np.isfinite(model.predict(x)).all()


# --- more terms than the data determines ---


@every_basis
@pytest.mark.parametrize("n_distinct", [2, 3, 6])
def test_degree_too_high_gives_the_least_norm_and_a_warning(basis, n_distinct):
    x = np.repeat(np.linspace(-1, 2, n_distinct), 4)[:, None]
    y = np.sin(x[:, 0]) + 0.1 * np.random.default_rng(0).standard_normal(len(x))
    model = TorchPolyRegressor(7, basis=basis)
    warns = pytest.warns(np.exceptions.RankWarning, match=f"determines {n_distinct - 1} of the 7")
    with warns if n_distinct > 2 else nullcontext():  # having two values is the nature of a column
        model.fit(x, y)
    assert model.rank_ == n_distinct - 1
    coef, intercept, _ = minimum_norm(design(model, x), y, fit_intercept=True)
    size = np.abs(coef).max()
    np.testing.assert_allclose(model.coef_, coef, rtol=0, atol=1e-9 * size)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=0, atol=1e-9 * size)
    means = [y[x[:, 0] == value].mean() for value in x[:, 0]]
    np.testing.assert_allclose(model.predict(x), means, rtol=0, atol=1e-11)


@every_basis
def test_two_rows_are_fitted_exactly(basis):
    with pytest.warns(np.exceptions.RankWarning):
        model = TorchPolyRegressor(3, basis=basis).fit([[1.0], [2.0]], [5.0, 9.0])
    np.testing.assert_allclose(model.predict([[1.0], [2.0]]), [5.0, 9.0], rtol=1e-12)


@pytest.mark.parametrize(
    "degree, offset, unit",
    [(25, 1900, 1), (50, 1900, 1), (25, 1.6e18, 1e9)],
    ids=["years-25", "years-50", "nanoseconds-25"],
)
def test_points_in_far_units_are_fitted_exactly_if_the_degree_is_too_high(degree, offset, unit):
    x = offset + unit * np.arange(20.0)
    y = np.sin(np.arange(20.0) / 3)
    with pytest.warns(np.exceptions.RankWarning):
        model = TorchPolyRegressor(degree).fit(x[:, None], y)
    np.testing.assert_allclose(model.predict(x[:, None]), y, rtol=0, atol=1e-8)
    assert model.rank_ == 19


def test_powers_beyond_the_range_of_doubles_are_an_error_that_another_basis_cures():
    x = 1.6e18 + 1e9 * np.arange(100.0)
    y = np.sin(np.arange(100.0) / 3)
    with pytest.raises(ValueError, match="too large for a double"):
        TorchPolyRegressor(50).fit(x[:, None], y)
    model = TorchPolyRegressor(50, basis="chebyshev").fit(x[:, None], y)
    assert np.abs(model.predict(x[:, None]) - y).max() < 1e-6


def test_what_is_determined_is_not_warned_of():
    x, y = curve()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TorchPolyRegressor(20).fit(x, y)
        TorchPolyRegressor(20, penalty="l2").fit(x[:10], y[:10])


# --- data that covers its interval unevenly ----------------------------------------------


def far_stamp(rng):
    x = np.append(1.7e9 + rng.uniform(0, 3600, 100), 0.0)
    return x, np.sin((x - 1.7e9) / 900) + 0.1 * rng.normal(size=101), None


def outlier(rng):
    x = np.append(rng.normal(size=50), 1e6)
    return x, np.append(x[:50] ** 2 + rng.normal(size=50), 0.0), None


def one_heavy_row(rng):
    x, weight = np.linspace(3, 5, 501), np.ones(501)
    weight[250] = 1e12
    return x, np.sin(3 * x) + 0.1 * rng.normal(size=501), weight


def heavy_end(rng):
    x, weight = np.sort(rng.uniform(0, 1, 1000)), np.ones(1000)
    weight[:3] = 2.0**40
    return x, np.sin(3 * x) + 0.1 * rng.normal(size=1000), weight


@pytest.mark.parametrize("degree", [2, 3, 5])
@pytest.mark.parametrize("data", [far_stamp, outlier, one_heavy_row, heavy_end])
def test_uneven_rows_or_weights_agree_with_rational_arithmetic(data, degree):
    x, y, weight = data(np.random.default_rng(0))
    model = TorchPolyRegressor(degree).fit(x[:, None], y, weight)
    rows = [[Fraction(v) ** k for k in range(degree + 1)] for v in x.tolist()]
    coef = exact_least_squares(rows, y.tolist(), sample_weight=weight)
    expected = [float(sum(c * v for c, v in zip(coef, row, strict=True))) for row in rows]
    root = np.ones_like(y) if weight is None else np.sqrt(weight)
    error = np.abs(model.predict(x[:, None]) - expected) * root
    # x is rounded to 2e-16 of its range, of which the rows are all but one in 2e-6.
    assert error.max() <= 1e-8 * (root * np.abs(y)).max()


@all_pairs(
    ids=str,
    basis=FAMILIES,
    more=[-1, 1, 5, 40],
    numbers=[(15, 15), (30, 30), (30, 990), (50, 1000)],
)
def test_degrees_beyond_the_distinct_values_keep_the_fit(basis, more, numbers):
    n_distinct, n_rows = numbers
    x = np.repeat(np.linspace(0, 1, n_distinct), n_rows // n_distinct)[:, None]
    y = np.sin(5 * x[:, 0])
    model = TorchPolyRegressor(n_distinct - 1 + more, basis=basis)
    if more > 0:
        with pytest.warns(np.exceptions.RankWarning, match=f"determines {n_distinct - 1} of"):
            model.fit(x, y)
    else:
        model.fit(x, y)
    # Least norm is among coefficients that the Gram matrix, a sum of squares, does not distinguish.
    np.testing.assert_allclose(model.predict(x), y, rtol=0, atol=1e-6)


@pytest.mark.parametrize("degree", [20, 40])
def test_rows_without_weight_are_not_sampled(degree):
    rng = np.random.default_rng(0)
    x, weight = np.sort(rng.uniform(0, 100, 200_000)), np.zeros(200_000)
    window = slice(100_000, 101_000)
    weight[window] = 1
    y = np.sin(8 * (x - x[window][0]) / np.ptp(x[window])) + 0.1 * rng.normal(size=len(x))
    model = TorchPolyRegressor(degree).fit(x[:, None], y, weight)
    alone = TorchPolyRegressor(degree).fit(x[window, None], y[window])
    np.testing.assert_allclose(
        model.predict(x[window, None]), alone.predict(x[window, None]), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("degree", [8, 16])
def test_rare_numbers_are_fitted(degree):
    rng = np.random.default_rng(0)
    x = np.where(rng.random(100_000) < 1e-3, rng.uniform(0, 1, 100_000), 0.0)
    y = np.sin(6 * x) + 0.1 * rng.normal(size=len(x))
    model = TorchPolyRegressor(degree).fit(x[:, None], y)
    expected = Chebyshev.fit(x, y, degree)
    assert model.rank_ == degree
    np.testing.assert_allclose(model.predict(x[:, None]), expected(x), rtol=0, atol=1e-9)


def test_a_column_of_rare_numbers_leaves_the_others_alone():
    rng = np.random.default_rng(0)
    rare = np.where(rng.random(100_000) < 1e-3, rng.uniform(0, 1, 100_000), 0.0)
    X = np.stack((rare, rng.uniform(-1, 1, 100_000)), 1)
    y = X[:, 1] + 0.1 * rng.normal(size=len(X))
    model = TorchPolyRegressor([10, 1]).fit(X, y)
    t, powers = 2 * X - 1, model.powers_
    terms = [chebvander(t[:, 0], 10)[:, j] * chebvander(t[:, 1], 1)[:, k] for j, k in powers]
    A = np.stack((np.ones_like(y), *terms), 1)
    expected = A @ np.linalg.lstsq(A, y, rcond=None)[0]
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-9)


def test_coefficients_of_several_columns_beyond_a_double_are_refused():
    X = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match="too large for a double"):
        TorchPolyRegressor(2).fit(X * 1e-200, X[:, 0])


# --- starts that are far away ------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e3, 1e6])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"loss": "quantile"}, {"loss": "huber"}, {"solver": "gradient"}, {"penalty": "l1"}],
    ids=str,
)
def test_warm_start_from_other_units_is_no_worse_than_none(parameters, unit):
    x = np.random.default_rng(0).uniform(-3, 7, (2000, 1))
    y = np.sin(x[:, 0]) + 0.1 * np.random.default_rng(1).normal(size=2000)
    cold = TorchPolyRegressor(3, **parameters).fit(unit * x, y)
    warm = TorchPolyRegressor(3, warm_start=True, **parameters).fit(x, y).fit(unit * x, y)
    np.testing.assert_allclose(warm.predict(unit * x), cold.predict(unit * x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("n_samples", [4095, 5000])
def test_constant_columns_of_long_data(n_samples, loss):
    rng = np.random.default_rng(0)
    X = np.stack((rng.uniform(size=n_samples), np.full(n_samples, 3.0)), 1)
    y = np.sin(3 * X[:, 0])
    alone = TorchPolyRegressor(3, loss=loss).fit(X[:, :1], y)
    for degree in (3, [3, 0], [3, 1]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.RankWarning)
            model = TorchPolyRegressor(degree, loss=loss).fit(X, y)
        np.testing.assert_allclose(model.predict(X), alone.predict(X[:, :1]), rtol=0, atol=1e-8)
    weight = (np.arange(n_samples) < 10).astype(float)
    X[:10, 0] = 0.5  # constant among the rows with weight
    model = TorchPolyRegressor(2, loss=loss).fit(X[:, :1], y, weight)
    np.testing.assert_allclose(model.predict(X[:10, :1]), y[:10].mean(), rtol=0.2)


def test_loss_curve_after_a_start_far_away_is_finite():
    x = np.random.default_rng(0).uniform(-3, 7, (200, 1))
    model = TorchPolyRegressor(3, warm_start=True).fit(x, x[:, 0]).fit(1e100 * x, x[:, 0])
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", range(3))
def test_terms_of_rare_dummies_that_exclude_each_other_are_zero(degree, seed, order):
    rng = np.random.default_rng(seed)
    X = (rng.random((int(rng.integers(500, 3000)), 2)) < 0.02).astype(float)
    X[X.sum(1) == 2, 1] = 0
    y = X @ [1.0, 2.0] + rng.normal(size=len(X))
    coef, _, rank = minimum_norm(PolynomialFeatures(degree, include_bias=False).fit_transform(X), y)
    rows = np.random.default_rng(order).permutation(len(X))
    model = TorchPolyRegressor(degree).fit(X[rows], y[rows])
    assert rank == model.rank_ == 2
    np.testing.assert_allclose(model.coef_, coef[0] if coef.ndim == 2 else coef, atol=1e-8)

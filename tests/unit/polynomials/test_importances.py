"""How much the predictions of a polynomial vary with each column."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, RFECV, SelectFromModel

from skorchlite import TorchPolyRegressor

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (500, 4)) * [1.0, 10.0, 0.1, 5.0] + [0.0, 300.0, 0.0, -2.0]
LOW, HIGH = X.min(0), X.max(0)
T = (X - (LOW + HIGH) / 2) / ((HIGH - LOW) / 2)

MODELS = [
    {"degree": 3},
    {"degree": (2, 3)},
    {"degree": [3, 1, 2, 2]},
    {"degree": 2, "interaction_only": True},
    {"degree": 3, "penalty": "l2", "alpha": 1e-6},
    {"degree": 3, "basis": "chebyshev"},
    {"degree": 2, "basis": "hermite", "penalty": "l2"},
    {"degree": 2, "fit_intercept": False},
]


def by_sampling(model, n=50_000):
    """The total indices from their definition: the variance left where one column is not known."""
    draws = np.random.default_rng(1).uniform(LOW, HIGH, (2, n, 4))
    value = model.predict(draws[0])
    total = []
    for j in range(4):
        other = draws[0].copy()
        other[:, j] = draws[1][:, j]
        total.append(((value - model.predict(other)) ** 2).sum() / 2 / n)
    return np.array(total) / value.var(0).sum()


@pytest.mark.parametrize("parameters", MODELS, ids=str)
@pytest.mark.parametrize("n_targets", [None, 2])
def test_importances_are_those_of_their_definition(parameters, n_targets):
    y = T[:, 0] + T[:, 0] * T[:, 1] - 2 * T[:, 3] ** 2 + 0.1 * rng.standard_normal(500)
    y = y if n_targets is None else np.column_stack((y, 5 * T[:, 2] ** 2 + T[:, 0]))
    model = TorchPolyRegressor(**parameters).fit(X, y)
    assert model.feature_importances_.shape == (4,)
    np.testing.assert_allclose(model.feature_importances_, by_sampling(model), atol=0.02)


def test_importances_of_a_known_polynomial():
    # Over [-1, 1]: the variance of t is 1/3, of s t 1/9, and of t^2 4/45.
    y = 3 * T[:, 0] + 3 * T[:, 0] * T[:, 1] + np.sqrt(45 / 4) * T[:, 3] ** 2
    model = TorchPolyRegressor(degree=2).fit(X, y)
    expected = np.array([4.0, 1.0, 0.0, 1.0]) / 5
    np.testing.assert_allclose(model.feature_importances_, expected, atol=1e-9)


def test_unit_and_origin_of_the_columns_do_not_matter():
    y = T[:, 0] + T[:, 1] ** 3 - T[:, 3] * T[:, 0]
    expected = TorchPolyRegressor(3).fit(X, y).feature_importances_
    moved = TorchPolyRegressor(3).fit(1e3 * X - 7, y).feature_importances_
    np.testing.assert_allclose(moved, expected, rtol=1e-6, atol=1e-12)


def test_constant_has_no_importances():
    model = TorchPolyRegressor(2).fit(X, np.ones(500))
    np.testing.assert_array_equal(model.feature_importances_, np.zeros(4))


def test_importances_before_a_fit_are_not_there():
    assert not hasattr(TorchPolyRegressor(), "feature_importances_")
    with pytest.raises(NotFittedError):
        _ = TorchPolyRegressor().feature_importances_


@pytest.mark.parametrize("Selector", [RFE, RFECV, SelectFromModel])
def test_selection_of_columns(Selector):
    y = T[:, 0] - 2 * T[:, 3] ** 2 + T[:, 0] * T[:, 3] + 0.01 * rng.standard_normal(500)
    more = {"max_features": 2, "threshold": -np.inf} if Selector is SelectFromModel else {}
    more = {"n_features_to_select": 2} if Selector is RFE else more
    more = {"min_features_to_select": 2, "cv": 3} if Selector is RFECV else more
    model = TorchPolyRegressor(degree=3)
    selector = Selector(model, importance_getter="feature_importances_", **more).fit(X, y)
    assert selector.get_support()[[0, 3]].all()
    assert selector.transform(X).shape[1] == selector.get_support().sum()

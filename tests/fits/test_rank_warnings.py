"""When a degree is said to be too high, and when columns tell less by their nature."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skorchlite import TorchPolyRegressor
from tests.support.all_pairs import all_pairs
from tests.support.oracles import minimum_norm

RNG = np.random.default_rng(0)
N = 200
NUMBERS = RNG.normal(size=(N, 2))
FLAGS = RNG.integers(0, 2, (N, 2)).astype(float)
CLASSES = RNG.integers(0, 3, N).astype(float)[:, None]
DUMMIES = np.eye(4)[RNG.integers(0, 4, N)]
Y = RNG.normal(size=N)
NEVER_BOTH = np.c_[1 - (1 - FLAGS[:, 0]) * FLAGS[:, 1], FLAGS[:, 1]]

NATURAL = {
    "binary": (FLAGS[:, :1], 3),
    "binary, not 0 and 1": (3 + 4 * FLAGS, 3),
    "beside numbers": (np.c_[NUMBERS, 1 + FLAGS], 3),
    "dummies": (DUMMIES, 3),
    "dummies and numbers": (np.c_[DUMMIES, NUMBERS], 2),
    "dummies but one": (np.c_[DUMMIES[:, 1:], NUMBERS], 3),
    "combinations that never occur": (np.c_[NEVER_BOTH, NUMBERS], 2),
    "constant": (np.c_[np.full(N, 3.0), NUMBERS], 2),
    "twice the same": (np.c_[NUMBERS, NUMBERS[:, :1]], 2),
    "another unit": (np.c_[NUMBERS, 1.8 * NUMBERS[:, :1] + 32], 3),
    "a sum": (np.c_[NUMBERS, NUMBERS.sum(1)], 2),
    "three values, squared": (CLASSES, 2),
}
natural = pytest.mark.parametrize(
    "X, degree", [pytest.param(*case, id=name) for name, case in NATURAL.items()]
)


def told_by(model, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    return [str(warning.message) for warning in caught]


@all_pairs(name=NATURAL, basis=["power", "legendre"], fit_intercept=[True, False])
def test_nature_of_the_columns_is_no_degree_too_high(name, basis, fit_intercept):
    X, degree = NATURAL[name]
    model = TorchPolyRegressor(degree, basis=basis, fit_intercept=fit_intercept)
    assert told_by(model, X, Y) == []
    assert model.converged_


@natural
def test_the_least_norm_is_returned_and_rank_shows_it(X, degree):
    model = TorchPolyRegressor(degree).fit(X, Y)
    terms = PolynomialFeatures(degree, include_bias=False).fit_transform(X)
    coef, _, rank = minimum_norm(terms, Y)
    assert model.rank_ == rank
    np.testing.assert_allclose(model.coef_, coef, rtol=0, atol=1e-6 * np.abs(coef).max())


@natural
def test_streams_say_nothing_of_it_either(X, degree):
    assert (
        told_by(TorchPolyRegressor(degree), iter([(X[:120], Y[:120]), (X[120:], Y[120:])]), None)
        == []
    )


@pytest.mark.parametrize("search", [False, True])
def test_a_search_over_degrees_prints_nothing(search):
    """It printed 16 warnings."""
    X = pd.DataFrame(np.c_[NUMBERS, FLAGS], columns=["a", "b", "male", "smokes"])
    model, grid = TorchPolyRegressor(), {"degree": [1, 2, 3]}
    if search:
        model = make_pipeline(StandardScaler(), model)
        grid = {f"torchpolyregressor__{name}": values for name, values in grid.items()}
    assert told_by(GridSearchCV(model, grid, cv=5), X, Y) == []


@pytest.mark.parametrize(
    "X, degree, reason, cure",
    [
        (CLASSES, 3, r"x0 has 3 distinct values, .* only up to x0\^2", "Use degree=2,"),
        (
            np.c_[CLASSES, NUMBERS],
            3,
            r"determines 18 of the 19 .* x0 has 3 distinct values",
            r"Use degree=\[2, 3, 3\]",
        ),
        (np.c_[CLASSES, FLAGS], 4, "x0 has 3 distinct values", r"Use degree=\[2, 4, 4\]"),
        (NUMBERS[:8], 3, "determines 7 of the 9 .* there are only 8 samples", "Lower the degree"),
        (FLAGS[:2], 2, "there are only 2 samples", "Use degree="),
        (
            NUMBERS[:, [0, 0]] ** [1, 2],
            2,
            r"x0\^2 is, to 8 digits, a linear function of x1",
            "Lower the degree",
        ),
    ],
    ids=["values", "values-beside", "values-flags", "rows", "two-rows", "square"],
)
def test_degree_too_high_is_told_with_its_cause_and_cure(X, degree, reason, cure):
    (message,) = told_by(TorchPolyRegressor(degree), X, Y[: len(X)])
    assert re.search(reason, message) and re.search(cure, message)


def test_names_are_those_of_the_columns():
    X = pd.DataFrame(np.c_[CLASSES, NUMBERS], columns=["stars", "price", "size"])
    with pytest.warns(np.exceptions.RankWarning, match=r"stars has 3 .* only up to stars\^2"):
        TorchPolyRegressor(3).fit(X, Y)


def test_cure_is_one():
    X = np.c_[CLASSES, NUMBERS]
    assert told_by(TorchPolyRegressor([2, 3, 3]), X, Y) == []


def test_warnings_point_to_the_line_that_called_through_libraries():
    grid = {"degree": [3]}
    with pytest.warns(np.exceptions.RankWarning) as caught:
        GridSearchCV(TorchPolyRegressor(), grid, cv=2).fit(CLASSES, Y)
    with pytest.warns(np.exceptions.RankWarning) as caught_through_pipeline:
        make_pipeline(StandardScaler(), TorchPolyRegressor(3)).fit(CLASSES, Y)
    files = {warning.filename for warning in [*caught, *caught_through_pipeline]}
    assert files == {__file__}
    assert len(caught) == 3 and len(caught_through_pipeline) == 1  # once a fit


def test_rows_are_not_kept():
    X = NUMBERS.repeat(20, 0)
    model = TorchPolyRegressor(2).fit(X, Y.repeat(20))
    assert len(pickle.dumps(model)) < 20_000
    assert model._basis.sampled_rows is None

"""Searches for the degree of a polynomial, against a grid of fits and in fits of the largest."""

from functools import partial

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import PolynomialFeatures

from benchmarks.measure.choices import choice_worth, direct_worth
from benchmarks.measure.model import Model
from benchmarks.suites.cases import noisy_curve
from benchmarks.suites.least_squares import expanded_work
from benchmarks.suites.peers import pipeline_of, search_of
from benchmarks.suites.problem import Problem
from skorchlite import TorchPolyRegressor, TorchPolyRegressorCV

N_FOLDS, MANY_FOLDS = 5, 10
N_ALPHAS = 50
SOME_ALPHA = 1e-6
GRID = "GridSearchCV of PolynomialFeatures() + LinearRegression()"
ONE_FIT = "one TorchPolyRegressor(penalty='l2') of the largest degree"


def degree_problems(quick=False):
    """List the problems, on few rows where it is only tried."""
    n_rows, largest = (2_000, 12) if quick else (100_000, 20)
    degrees = list(range(1, largest + 1))
    return [
        _problem(
            f"{N_FOLDS} folds",
            n_rows,
            degrees,
            _without_penalty,
            worth=choice_worth,
            wanted={GRID: 60.0},
        ),
        _problem(
            f"{N_ALPHAS} alphas x {MANY_FOLDS} folds",
            n_rows,
            degrees,
            _with_penalty,
            others=(ONE_FIT,),
            worth=partial(direct_worth, split_of=_folds_in_order, direct=_direct_fit),
            wanted={ONE_FIT: 1 / 3},
        ),
    ]


def _problem(title, n_rows, degrees, models, **how):
    return Problem(
        f"search/degrees 1 to {degrees[-1]} x {title}/{n_rows}x1",
        partial(noisy_curve, n_rows, "float64"),
        partial(models, degrees),
        work=partial(expanded_work, degrees[-1]),
        **how,
    )


def _ours(degrees, **parameters):
    return Model("TorchPolyRegressorCV", partial(TorchPolyRegressorCV, degrees, **parameters))


def _without_penalty(degrees, X, y):
    expand = partial(PolynomialFeatures, include_bias=False)
    grid = partial(
        search_of,
        partial(pipeline_of, expand, LinearRegression),
        {"polynomialfeatures__degree": degrees},
        scoring="neg_mean_squared_error",
    )
    return [_ours(degrees, penalty=None, cv=N_FOLDS), Model(GRID, grid)]


def _with_penalty(degrees, X, y):
    one = partial(TorchPolyRegressor, degrees[-1], penalty="l2", alpha=SOME_ALPHA)
    return [_ours(degrees, alphas=N_ALPHAS, cv=MANY_FOLDS), Model(ONE_FIT, one)]


def _folds_in_order(n_rows):
    return np.arange(n_rows) // (n_rows // MANY_FOLDS)  # which divide the rows


def _direct_fit(found, n_train):
    expand = partial(PolynomialFeatures, found["degree"], include_bias=False)
    return pipeline_of(expand, partial(Ridge, found["alpha"] * n_train, solver="svd"))

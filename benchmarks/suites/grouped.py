"""One regression a group, against groupby with a model for each, and polars_ds."""

from functools import partial
from importlib.util import find_spec

import numpy as np
from sklearn.linear_model import LinearRegression

from benchmarks.measure import tasks
from benchmarks.measure.model import Model
from benchmarks.suites.models import POLARS
from benchmarks.suites.peers import GroupLoop, PolarsGroups
from benchmarks.suites.problem import Problem
from skorchlite import TorchGroupedRegressor, TorchSGDRegressor

PANDAS = "pandas groupby + LinearRegression()"
LOOP = "a loop over TorchSGDRegressor(loss='huber')"
EPSILON = 1.0


def group_problems(quick=False):
    """List the problems: many small groups, fewer large ones, and another loss."""
    small, large = (
        ((300, 30, 5), (100, 300, 10)) if quick else ((100_000, 30, 5), (10_000, 300, 10))
    )
    robust = (100, 300, 5) if quick else (10_000, 300, 5)
    return [
        _problem("least squares", small, _least_squares, {POLARS: 1.5, PANDAS: 60.0}),
        _problem("least squares", large, _least_squares, {POLARS: 1.0}),
        _problem("huber", robust, _huber, {LOOP: 50.0}),
    ]


def grouped_table(n_groups, n_rows, n_columns):
    """Make rows of groups, the key first, with heavy tails, and their targets."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(n_groups), n_rows)
    X = rng.standard_normal((len(codes), n_columns))
    coef = rng.standard_normal((n_groups, n_columns))
    y = np.einsum("ij,ij->i", X, coef[codes]) + rng.standard_t(3, len(codes))
    return np.column_stack((codes, X)), y


def _problem(name, shape, models, wanted):
    rows = "x".join(map(str, shape))
    data = partial(grouped_table, *shape)
    return Problem(f"search/by group, {name}/{rows}", data, models, wanted=wanted)


def _least_squares(X, y):
    return [
        _model("TorchGroupedRegressor()", partial(TorchGroupedRegressor, 0)),
        *([_model(POLARS, PolarsGroups)] if find_spec("polars_ds") else []),
        _model(PANDAS, partial(GroupLoop, LinearRegression), few_rounds=True),
    ]


def _huber(X, y):
    huber = {"loss": "huber", "epsilon": EPSILON}
    alone = partial(TorchSGDRegressor, **huber)
    return [
        # A loop makes no model of all rows either.
        _model(
            "TorchGroupedRegressor(loss='huber', fallback='nan')",
            partial(TorchGroupedRegressor, 0, fallback="nan", **huber),
        ),
        # Of arrays: with frames the loop takes half as long again.
        _model(LOOP, partial(GroupLoop, alone, frames=False), few_rounds=True),
    ]


def _model(name, build, few_rounds=False):
    return Model(name, build, few_rounds, tasks.coefficients)

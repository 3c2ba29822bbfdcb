"""Fits whose time a change must not lengthen: ``python -m benchmarks --against REVISION``."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.measure import tasks
from benchmarks.measure.model import Model
from benchmarks.suites.cases import diabetes
from skorchlite import TorchPolyRegressor, TorchSGDRegressor


def line_with_noise(n_samples, n_features, heavy=False):
    """Return rows and targets of a line with noise, normal or with long tails."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features))
    errors = rng.standard_t(2, n_samples) if heavy else rng.normal(size=n_samples)
    return X, X[:, :10].sum(1) + errors


def nothing():
    """Return no rows."""
    return np.empty((0, 0)), np.empty(0)


def _fit(name, build=TorchSGDRegressor, **parameters):
    return Model(name, partial(build, **parameters))


def _made(*size, heavy=False):
    return partial(line_with_noise, *size, heavy=heavy)


# The data of each model.
MODELS: list[tuple[Model, Callable]] = [
    (Model("import skorchlite", object, task=tasks.import_package), nothing),
    (_fit("squared error 442x10"), diabetes),
    (_fit("lasso 442x10", penalty="l1", alpha=0.1), diabetes),
    (_fit("quantile 442x10", loss="quantile", quantile=0.3), diabetes),
    (_fit("polynomial 442x10 degree 2", TorchPolyRegressor, degree=2), diabetes),
    (_fit("squared error 1,000,000x50"), _made(1_000_000, 50)),
    (
        _fit("quantile 10,000x20", loss="quantile", quantile=0.3),
        _made(10_000, 20, heavy=True),
    ),
    (_fit("huber 100,000x20", loss="huber", epsilon=1.0), _made(100_000, 20, heavy=True)),
    (_fit("lasso 500x5,000", penalty="l1", alpha=0.1), _made(500, 5_000)),
    (
        _fit("stochastic 100,000x20", solver="sgd", max_iter=5, tol=None, random_state=0),
        _made(100_000, 20),
    ),
]
CASES = {model.name: (model, data) for model, data in MODELS}

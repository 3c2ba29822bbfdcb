"""Fits whose time a change must not lengthen: ``python -m benchmarks --against REVISION``.

It runs as a script, so that it takes ``skorchlite`` from where ``PYTHONPATH`` says, and this file
from the checkout that compares. So it imports nothing else of the benchmark.
"""

import json
import sys
import time
import warnings

SECONDS = 1.5  # of fits after the first, of which the fastest counts


def problem(n_samples, n_features, noise="normal"):
    """Return rows and targets of a line with noise."""
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features))
    errors = rng.normal(size=n_samples) if noise == "normal" else rng.standard_t(2, n_samples)
    return X, X[:, :10].sum(1) + errors


def fit_on(X, y, kind="TorchSGDRegressor", **parameters):
    """Return the seconds of the fastest fit."""
    import skorchlite

    estimator, times = getattr(skorchlite, kind)(**parameters), []
    estimator.fit(X, y)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        estimator.fit(X, y)
        times.append(time.perf_counter() - start)
    return min(times)


def import_alone():
    """Return the seconds that importing the package takes."""
    start = time.perf_counter()
    import skorchlite  # noqa: F401

    return time.perf_counter() - start


def diabetes(**parameters):
    """Fit the diabetes data."""
    from sklearn.datasets import load_diabetes

    return fit_on(*load_diabetes(return_X_y=True), **parameters)


CASES = {
    "import skorchlite": import_alone,
    "squared error 442x10": diabetes,
    "lasso 442x10": lambda: diabetes(penalty="l1", alpha=0.1),
    "quantile 442x10": lambda: diabetes(loss="quantile", quantile=0.3),
    "polynomial 442x10 degree 2": lambda: diabetes(kind="TorchPolyRegressor", degree=2),
    "squared error 1,000,000x50": lambda: fit_on(*problem(1_000_000, 50)),
    "quantile 10,000x20": lambda: fit_on(
        *problem(10_000, 20, "heavy"), loss="quantile", quantile=0.3
    ),
    "huber 100,000x20": lambda: fit_on(*problem(100_000, 20, "heavy"), loss="huber", epsilon=1.0),
    "lasso 500x5,000": lambda: fit_on(*problem(500, 5_000), penalty="l1", alpha=0.1),
    "stochastic 100,000x20": lambda: fit_on(
        *problem(100_000, 20), solver="sgd", max_iter=5, tol=None, random_state=0
    ),
}


def main(name):
    """Print the seconds of a case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(json.dumps(CASES[name]()))


if __name__ == "__main__":
    main(sys.argv[1])

"""Pickles that earlier states of the package wrote, and that every later one has to load.

``python -m tests.support.pickles`` writes those that are missing. A pickle that the package no
longer loads must not be written again: the package is wrong then, or the changelog says why.
"""

import pickle
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import clone

from skorchlite import (
    TorchGroupedRegressor,
    TorchPolyRegressor,
    TorchPolyRegressorCV,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)

FOLDER = Path(__file__).parents[1] / "data" / "pickles"

LINEAR, POLYNOMIAL = TorchSGDRegressor, TorchPolyRegressor
FITTED = {
    "linear": LINEAR(),
    "quantile": LINEAR("quantile", penalty="l1", alpha=0.01),
    "stochastic": LINEAR(solver="sgd", warm_start=True, random_state=0),
    "polynomial": POLYNOMIAL(3),
    "polynomial_ridge": POLYNOMIAL(3, penalty="l2"),
    "polynomial_robust": POLYNOMIAL(3, loss="absolute_error"),
    "chebyshev": POLYNOMIAL((1, 3), basis="chebyshev"),
    "grouped": TorchGroupedRegressor(degree=2),
    "linear_search": TorchSGDRegressorCV(penalty="elasticnet", alphas=10, cv=3),
    "polynomial_search": TorchPolyRegressorCV([1, 2, 3], alphas=10, cv=3),
    "scale": LINEAR("huber", epsilon="auto"),
}
LEARNED = {
    "moments": LINEAR(),
    "averaged": LINEAR("huber", random_state=0),
    "loop": LINEAR(
        solver="adam", learning_rate="invscaling", eta0=0.01, average=True, random_state=0
    ),
    "proximal": LINEAR(solver="sgd", penalty="l1", learning_rate="constant", random_state=0),
    "polynomial_moments": POLYNOMIAL(2),
}


def rows():
    """Return rows and targets."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    return X, X @ [1.0, 2.0] + X[:, 0] ** 2 + 0.1 * rng.normal(size=40)


def made():
    """Yield the name of each pickle and the fitted estimator that it holds."""
    for name, estimator in FITTED.items():
        yield name, clone(estimator).fit(*rows())
    for name, estimator in LEARNED.items():
        yield name, clone(estimator).partial_fit(*rows())


def main():
    """Write the pickles that are missing."""
    FOLDER.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, estimator in made():
            path = FOLDER / f"{name}.pickle"
            if not path.exists():
                path.write_bytes(pickle.dumps((estimator, estimator.predict(rows()[0])), 4))


if __name__ == "__main__":
    main()

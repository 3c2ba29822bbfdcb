"""
Raw columns against a scaler
============================

Peers need a scaler, and some are wrong without a word where there is none. Here the columns are
scaled further and further apart, and the answer should not depend on it.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import HuberRegressor, LinearRegression, PoissonRegressor

from skorchlite import TorchSGDRegressor

rng = np.random.default_rng(0)
Z = rng.standard_normal((1_000, 6))
raw = Z @ (0.3 * rng.standard_normal(6))
targets = {
    "squared error": raw + rng.standard_normal(1_000),
    "huber": raw + rng.standard_t(2, 1_000),
    "counts": rng.poisson(np.exp(raw)).astype(float),
}
pairs = {
    "squared error": (TorchSGDRegressor(), LinearRegression()),
    "huber": (TorchSGDRegressor("huber", epsilon="auto"), HuberRegressor(alpha=0, max_iter=1000)),
    "counts": (TorchSGDRegressor("poisson"), PoissonRegressor(alpha=0, max_iter=1000)),
}

# %%
# How far predictions are from those on standardised columns.

decades = np.arange(0, 11, 2)
figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for ax, (name, (ours, peer)) in zip(axes, pairs.items(), strict=True):
    y = targets[name]
    exact = ours.fit(Z, y).predict(Z)
    for model in (ours, peer):
        apart = []
        for width in decades:
            X = Z * np.logspace(-width / 2, width / 2, 6)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                predicted = model.fit(X, y).predict(X)
            apart.append(np.abs(predicted - exact).max() / np.std(exact))
        ax.semilogy(decades, np.maximum(apart, 1e-16), marker="o", label=type(model).__name__)
    ax.set(title=name, xlabel="decades between columns")
    ax.legend()
axes[0].set_ylabel("predictions apart, relatively")
plt.show()

"""
Conformal intervals
===================

Intervals that hold a new target as often as they say, whatever the noise: by MAPIE, about a model
of ours that is fitted already.
"""

import matplotlib.pyplot as plt
import numpy as np
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor

from skorchlite import TorchPolyRegressor

rng = np.random.default_rng(0)


def wave(n_samples):
    """Return a wave with noise that grows along it."""
    x = rng.uniform(0, 6, n_samples)
    return x[:, None], np.sin(x) + (0.05 + 0.1 * x) * rng.standard_t(4, n_samples)


X, y = wave(1_500)
held, new = wave(750), wave(10_000)

# %%
# One width for all, and quantiles that are moved until they hold enough.

curve = TorchPolyRegressor(7, loss="huber", epsilon=0.5).fit(X, y)
ends = [TorchPolyRegressor(7, loss="quantile", quantile=q).fit(X, y) for q in (0.05, 0.95, 0.5)]
kinds = {
    "one width": SplitConformalRegressor(curve, confidence_level=0.9, prefit=True),
    "quantiles": ConformalizedQuantileRegressor(ends, confidence_level=0.9, prefit=True),
}
grid = np.linspace(0, 6, 300)[:, None]
figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, kinds.items(), strict=True):
    model.conformalize(*held)
    low, high = model.predict_interval(new[0])[1][:, :, 0].T
    inside = np.mean((low <= new[1]) & (new[1] <= high))
    low, high = model.predict_interval(grid)[1][:, :, 0].T
    ax.plot(X[:, 0], y, ".", color="0.75", markersize=3)
    ax.fill_between(grid[:, 0], low, high, alpha=0.3)
    ax.set(title=f"{name}: {inside:.1%} of new targets inside", xlabel="x")
axes[0].set(ylabel="y", ylim=(-4, 4))
plt.show()

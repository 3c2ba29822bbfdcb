"""
How far above the optimum, after how many seconds
=================================================

A fit that finds its own step ends at a bound on what is left to gain. A loop with a step that is
given goes on in a ball of noise about the optimum, or is slow, or both; and on raw columns it
cannot have a step that suits all of them. Here columns are scaled from a hundredth to a hundred.
"""

import os
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skorchlite import TorchSGDRegressor

N_ROWS = 2_000 if "SKORCHLITE_QUICK" in os.environ else 100_000

rng = np.random.default_rng(0)
scale = np.logspace(-2, 2, 10)
X = rng.standard_normal((N_ROWS, 10)) * scale
y = X @ (rng.standard_normal(10) / scale) + rng.standard_normal(N_ROWS)


def objective(model):
    """Return half the mean squared error."""
    return 0.5 * np.mean((y - model.predict(X)) ** 2)


def timed(model):
    """Return the least seconds of five fits, and the objective that they come to."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of epochs that are too few
            model.fit(X, y)
        seconds.append(time.perf_counter() - start)
    return min(seconds), objective(model)


# %%
# The same model by four ways. The first needs no scaler and no choice. Each point is a fit of so
# many epochs, from the start.

EPOCHS = (1, 2, 5, 10, 20)
ways = {
    "TorchSGDRegressor()": [TorchSGDRegressor()],
    "TorchSGDRegressor(batch_size=256)": [
        TorchSGDRegressor(batch_size=256, max_iter=n, random_state=0) for n in EPOCHS
    ],
    "scaled, SGDRegressor()": [
        make_pipeline(StandardScaler(), SGDRegressor(penalty=None, max_iter=n, tol=None))
        for n in EPOCHS
    ],
    "scaled, a constant step of 1e-4": [
        make_pipeline(
            StandardScaler(),
            SGDRegressor(penalty=None, max_iter=n, tol=None, learning_rate="constant", eta0=1e-4),
        )
        for n in EPOCHS
    ],
}
found = {name: np.array([timed(model) for model in models]) for name, models in ways.items()}
least = min(points[:, 1].min() for points in found.values())

# %%
# Below about 1e-15 all is rounding.

figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
for (name, points), marker in zip(found.items(), "osd^", strict=True):
    above = np.maximum(points[:, 1] / least - 1, 1e-16)
    ax.loglog(points[:, 0], above, marker=marker, label=name)
ax.set(xlabel="seconds", ylabel="objective above its least, relatively")
ax.axhline(1e-10, color="grey", linestyle=":", label="tol")
ax.legend()
plt.show()

"""
One regression a group, and shrinkage
=====================================

A model for each of many small groups has much noise. Shrinkage pulls each towards the model of all
rows, the more the fewer rows a group tells it by.
"""

import matplotlib.pyplot as plt
import numpy as np

from skorchlite import TorchGroupedRegressor

rng = np.random.default_rng(0)
N_GROUPS, N_ROWS = 400, 12
key = np.repeat(np.arange(N_GROUPS), N_ROWS)
slope = 1.0 + 0.3 * rng.standard_normal(N_GROUPS)
x = rng.standard_normal(len(key))
y = slope[key] * x + rng.standard_normal(len(key))
X = np.column_stack((key, x))

# %%
# How far the slopes are from the true ones, for more and more shrinkage.

strengths = np.geomspace(1e-3, 1e2, 16)
apart = [
    np.mean((TorchGroupedRegressor(0, shrinkage=s).fit(X, y).coef_[:, 0] - slope) ** 2)
    for s in strengths
]
alone = np.mean((TorchGroupedRegressor(0).fit(X, y).coef_[:, 0] - slope) ** 2)

figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.semilogx(strengths, apart, marker="o", label="shrunk towards the model of all rows")
ax.axhline(alone, color="C1", linestyle="--", label="each group for itself")
ax.axhline(slope.var(), color="C2", linestyle=":", label="the model of all rows for each")
ax.set(xlabel="shrinkage", ylabel="mean squared error of the slopes")
ax.legend()
plt.show()

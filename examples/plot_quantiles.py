"""
A fan of quantiles
==================

Where noise grows, a mean tells little. Quantiles tell where a share of the targets is below. Fitted
together, none crosses the next on the rows of the fit.
"""

import matplotlib.pyplot as plt
import numpy as np

from skorchlite import TorchPolyRegressor

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(0, 6, 1_500))[:, None]
y = np.sin(x[:, 0]) + (0.05 + 0.1 * x[:, 0]) * rng.standard_normal(1_500)

# %%
# Each level is a column of the predictions; ``optimality_`` is a computed bound on all together.

levels = [0.05, 0.25, 0.5, 0.75, 0.95]
model = TorchPolyRegressor(degree=7, loss="quantile", quantile=levels).fit(x, y)
curves = model.predict(x)
print(f"optimality {model.optimality_:.0e}, crossings {(np.diff(curves, axis=1) < 0).sum()}")

figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.plot(x[:, 0], y, ".", color="0.75", markersize=3)
for level, curve in zip(levels, curves.T, strict=True):
    ax.plot(x[:, 0], curve, label=f"{level:.0%}: {np.mean(y <= curve):.1%} of the data below")
ax.set(xlabel="x", ylabel="y")
ax.legend()
plt.show()

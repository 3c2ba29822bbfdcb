"""
A fan of quantiles
==================

Where noise grows, a mean tells little. Quantiles tell where a share of the targets is below.
"""

import matplotlib.pyplot as plt
import numpy as np

from skorchlite import TorchPolyRegressor

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(0, 6, 1_500))[:, None]
y = np.sin(x[:, 0]) + (0.05 + 0.1 * x[:, 0]) * rng.standard_normal(1_500)

# %%
# Each is exact: ``optimality_`` is a computed bound.

levels = (0.05, 0.25, 0.5, 0.75, 0.95)
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.plot(x[:, 0], y, ".", color="0.75", markersize=3)
for level in levels:
    model = TorchPolyRegressor(degree=7, loss="quantile", quantile=level).fit(x, y)
    below = np.mean(y <= model.predict(x))
    ax.plot(x[:, 0], model.predict(x), label=f"{level:.0%}: {below:.1%} of the data below")
ax.set(xlabel="x", ylabel="y")
ax.legend()
plt.show()

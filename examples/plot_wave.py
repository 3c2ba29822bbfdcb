"""
A line and a power series through a wave
========================================

Powers of a raw column are nearly dependent, and the higher they are the more so. A loop over raw
powers never gets there; a closed form drops directions. ``TorchPolyRegressor`` fits in polynomials
that are far from dependent, and converts the coefficients exactly.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(0, 3, 300))[:, None]
y = 3 * x[:, 0] + np.sin(6 * x[:, 0]) + 1 + 0.1 * rng.standard_normal(300)

# %%
# A line, and two power series of degree 11.

line = TorchPolyRegressor(degree=1).fit(x, y)
series = TorchPolyRegressor(degree=11).fit(x, y)
pipeline = make_pipeline(PolynomialFeatures(11, include_bias=False), LinearRegression()).fit(x, y)
print(f"R2: {line.score(x, y):.4f}, {series.score(x, y):.4f}, {pipeline.score(x, y):.4f}")

figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.plot(x[:, 0], y, ".", color="0.7", label="data")
ax.plot(x[:, 0], line.predict(x), label="a line")
ax.plot(x[:, 0], series.predict(x), label="TorchPolyRegressor(degree=11)")
ax.plot(x[:, 0], pipeline.predict(x), "--", label="PolynomialFeatures(11), LinearRegression()")
ax.set(xlabel="x", ylabel="y")
ax.legend()
plt.show()

"""
Robust against least squares
============================

A few wild targets pull least squares away from all others. Huber's loss counts what is far off only
as it is far off, not squared; with ``epsilon="auto"`` the scale of the noise is estimated as well.
"""

import matplotlib.pyplot as plt
import numpy as np

from skorchlite import TorchSGDRegressor

rng = np.random.default_rng(0)
x = rng.uniform(0, 10, (120, 1))
y = 2 + 0.8 * x[:, 0] + 0.5 * rng.standard_normal(120)
wild = rng.random(120) < 0.15
y[wild] += rng.uniform(10, 40, wild.sum()) * (x[wild, 0] < 4)

# %%
# The true line has a slope of 0.8.

models = {
    "least squares": TorchSGDRegressor(),
    "huber, scale estimated": TorchSGDRegressor("huber", epsilon="auto"),
    "least absolute errors": TorchSGDRegressor("absolute_error"),
}
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.plot(x[:, 0], y, ".", color="0.6")
ends = np.array([[0.0], [10.0]])
for name, model in models.items():
    model.fit(x, y)
    ax.plot(ends[:, 0], model.predict(ends), label=f"{name}: slope {model.coef_[0]:.2f}")
ax.set(xlabel="x", ylabel="y")
ax.legend()
plt.show()

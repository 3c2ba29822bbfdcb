"""
Optimizers compared
===================

Every optimizer of torch takes its steps in the same coordinates, with a step that it finds. How
fast it comes down is then its own.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from skorchlite import TorchSGDRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((5_000, 8)) * np.logspace(-2, 2, 8)
y = X @ (rng.standard_normal(8) / np.logspace(-2, 2, 8)) + rng.standard_t(3, 5_000)

# %%
# Huber's loss on raw columns; ``tol=1e-8`` asks for a bound.

least = TorchSGDRegressor("huber", epsilon=1.0).fit(X, y).loss_curve_[-1]
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
for solver in ("sgd", "adam", "rmsprop", torch.optim.Adamax):
    model = TorchSGDRegressor("huber", epsilon=1.0, solver=solver, tol=1e-8, random_state=0)
    curve = np.array(model.fit(X, y).loss_curve_)
    ax.semilogy(np.maximum(curve / least - 1, 1e-15), marker=".", label=model.solver_)
ax.set(xlabel="epoch", ylabel="objective above its least, relatively")
ax.legend()
plt.show()

"""
The textbook's loop in five rungs
=================================

From the loop that every course begins with to a fit that needs nothing chosen. Each rung is one
parameter less to choose, and one curve that comes down faster.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from skorchlite import TorchSGDRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((2_000, 3)) * [1.0, 3.0, 0.3] + [0.0, 2.0, 0.0]
y = X @ [1.0, -0.5, 4.0] + 2 + 0.5 * rng.standard_normal(2_000)
EPOCHS = 30

# %%
# 1. The loop itself, written out: all rows, a constant step, gradients by autograd.

A, b = torch.from_numpy(X).float(), torch.from_numpy(y).float()
w, c = torch.zeros(3, requires_grad=True), torch.zeros(1, requires_grad=True)
optimizer, by_hand = torch.optim.SGD([w, c], lr=0.05), []
for _ in range(EPOCHS):
    loss = 0.5 * ((A @ w + c - b) ** 2).mean()
    by_hand.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# 2. The same steps as an estimator. 3. Batches of 32 rows. 4. Coordinates in which all directions
# are curved alike. 5. Nothing given: the step is found, and the noise of the batches vanishes.

literal = {"learning_rate": 0.05, "max_iter": EPOCHS, "tol": None, "random_state": 0}
rungs = {
    "2. the same, batch_size=None": TorchSGDRegressor(
        batch_size=None, preconditioner=None, **literal
    ),
    "3. batch_size=32": TorchSGDRegressor(batch_size=32, preconditioner=None, **literal),
    "4. ... and a preconditioner": TorchSGDRegressor(batch_size=32, **literal),
    "5. ... and a step of its own": TorchSGDRegressor(batch_size=32, random_state=0),
}
least = TorchSGDRegressor().fit(X, y).loss_curve_[-1]
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.semilogy(np.array(by_hand) / least - 1, "k", linewidth=4, alpha=0.3, label="1. by hand")
for name, model in rungs.items():
    curve = np.array(model.fit(X, y).loss_curve_)
    ax.semilogy(np.maximum(curve / least - 1, 1e-16), label=name)
ax.set(xlabel="epoch", ylabel="loss above its least, relatively", ylim=(1e-16, None))
ax.legend()
plt.show()

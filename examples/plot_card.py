"""
On a card
=========

The same code on a GPU: a tensor is fitted where it is, and an array in memory is sent through
pinned memory while the card computes.
"""

import time

import matplotlib.pyplot as plt
import torch

from skorchlite import TorchSGDRegressor

devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
if len(devices) == 1:
    print("There is no card here, so that only the processor is shown.")

# %%
# Seconds of a fit of rows that are on the device already.

sizes = [10_000, 100_000, 400_000]
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for device in devices:
    seconds = []
    for n_rows in sizes:
        generator = torch.Generator().manual_seed(0)
        X = torch.randn(n_rows, 50, generator=generator).to(device)
        y = X @ torch.ones(50, device=device) + torch.randn(n_rows, generator=generator).to(device)
        TorchSGDRegressor().fit(X, y)
        start = time.perf_counter()
        TorchSGDRegressor().fit(X, y)
        seconds.append(time.perf_counter() - start)
    ax.loglog(sizes, seconds, marker="o", label=device)
ax.set(xlabel="rows of 50 columns", ylabel="seconds of a fit")
ax.legend()
plt.show()

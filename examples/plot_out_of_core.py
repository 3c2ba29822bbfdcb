"""
A file of 1 GB in 256 MB
========================

A memory-mapped table is read block by block, and sums are all that is kept.
"""

import os
import tempfile
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skorchlite import TorchSGDRegressor

N_COLUMNS = 50
N_ROWS = 20_000 if "SKORCHLITE_QUICK" in os.environ else 2_500_000

# %%
# Write the table a few rows at a time.

folder = tempfile.TemporaryDirectory()
path, rng = Path(folder.name) / "table.npy", np.random.default_rng(0)
table = np.lib.format.open_memmap(path, "w+", np.float64, (N_ROWS, N_COLUMNS))
coef = rng.standard_normal(N_COLUMNS)
y = np.empty(N_ROWS)
for start in range(0, N_ROWS, 100_000):
    block = rng.standard_normal((min(100_000, N_ROWS - start), N_COLUMNS))
    table[start : start + len(block)] = block
    y[start : start + len(block)] = block @ coef + rng.standard_normal(len(block))
table.flush()
del table, block

# %%
# Fit it. NumPy's and Python's own memory is what ``tracemalloc`` sees.

X = np.load(path, mmap_mode="r")
tracemalloc.start()
model = TorchSGDRegressor().fit(X, y)
peak = tracemalloc.get_traced_memory()[1] / 2**20
tracemalloc.stop()
size = X.nbytes / 2**20
print(f"{size:,.0f} MB on disk, {peak:,.1f} MB held by NumPy at most")

figure, ax = plt.subplots(figsize=(7, 2.5), layout="constrained")
ax.barh(["the table", "limit", "held"], [size, 256, peak], color=["0.7", "0.85", "C0"])
ax.set(xlabel="MB", xscale="log")
plt.show()
del X
folder.cleanup()

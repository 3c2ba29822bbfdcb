"""
A degree by cross-validation
============================

Terms of a lower degree are the first ones of a higher, so that one pass over the rows makes the
moments of all degrees on all folds.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from skorchlite import TorchPolyRegressorCV

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (2_000, 1))
y = np.exp(np.sin(4 * x[:, 0])) + 0.3 * rng.standard_normal(2_000)

# %%
# The least degree within one standard error of the best.

degrees = np.arange(1, 16)
start = time.perf_counter()
search = TorchPolyRegressorCV(degrees, penalty=None, cv=10, rule="one_standard_error").fit(x, y)
print(f"degree {search.degree_}, in {time.perf_counter() - start:.2f} seconds")

errors = search.mse_path_
mean, deviation = errors.mean(1), errors.std(1, ddof=1) / np.sqrt(errors.shape[1])
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.errorbar(degrees, mean, deviation, marker="o", capsize=3)
left.axvline(search.degree_, color="C1", linestyle="--", label="chosen")
left.set(xlabel="degree", ylabel="mean squared error of the folds", yscale="log")
left.legend()
order = np.argsort(x[:, 0])
right.plot(x[:, 0], y, ".", color="0.8", markersize=3)
right.plot(x[order, 0], search.predict(x)[order], "C1", label=f"degree {search.degree_}")
right.set(xlabel="x", ylabel="y")
right.legend()
plt.show()

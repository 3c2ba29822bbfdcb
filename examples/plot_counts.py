"""
Counts with different exposures
===============================

Claims of policies that ran for different times. Rates are fitted with the times as weights, which
is what an offset of their logarithm does elsewhere.
"""

import matplotlib.pyplot as plt
import numpy as np

from skorchlite import TorchPolyRegressor

rng = np.random.default_rng(0)
age, years = rng.uniform(18, 80, 5_000), rng.uniform(0.05, 2, 5_000)
rate = np.exp(-1.5 + 0.0012 * (age - 48) ** 2)
claims = rng.poisson(rate * years)

# %%
# A polynomial of the age, of which the logarithm is fitted.

model = TorchPolyRegressor(degree=2, loss="poisson")
model.fit(age[:, None], claims / years, sample_weight=years)
print(f"D2: {model.score(age[:, None], claims / years, years):.3f}")

edges = np.arange(18, 84, 4)
group = np.digitize(age, edges) - 1
observed = np.bincount(group, claims) / np.bincount(group, years)
ages = np.linspace(18, 80, 200)
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.bar(edges[: len(observed)], observed, width=4, align="edge", color="0.85", label="observed")
ax.plot(ages, model.predict(ages[:, None]), label="fitted")
ax.plot(ages, np.exp(-1.5 + 0.0012 * (ages - 48) ** 2), "k:", label="true")
ax.set(xlabel="age", ylabel="claims a year")
ax.legend()
plt.show()

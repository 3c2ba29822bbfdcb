"""A fit of dask collections on a cluster, which is that of the rows in memory.

Run it with ``python examples/dask_cluster.py``. It starts two workers on this machine; given its
address, ``Client`` reaches any other cluster, and the rest stays as it is.
"""

import time

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

from skorchlite import TorchSGDRegressor

N_ROWS, N_COLUMNS, CHUNK = 400_000, 20, 50_000
SCALE = np.logspace(-3, 3, N_COLUMNS)
LOSSES = {"squared_error": {}, "huber": {"epsilon": 1.35}}


def timed_fit(loss, parameters, X, y):
    start = time.perf_counter()
    model = TorchSGDRegressor(loss, **parameters).fit(X, y)
    return model, time.perf_counter() - start


def main():
    random = da.random.default_rng(0)
    X = random.standard_normal((N_ROWS, N_COLUMNS), chunks=(CHUNK, N_COLUMNS)) * SCALE + 5
    y = X @ (1 / SCALE) + random.standard_t(4, N_ROWS, chunks=CHUNK)
    X, y = X.persist(), y.persist()  # several passes are made: let the workers keep the rows
    wait([X, y])
    in_memory = X.compute(), y.compute()
    print(f"{N_ROWS:,} rows of {N_COLUMNS} columns in {X.numblocks[0]} chunks")
    for loss, parameters in LOSSES.items():
        model, seconds = timed_fit(loss, parameters, X, y)
        alone, alone_seconds = timed_fit(loss, parameters, *in_memory)
        apart = np.abs((model.coef_ - alone.coef_) * SCALE).max()
        assert apart < 1e-6, apart
        print(
            f"{loss:14} {seconds:5.2f} s, in memory {alone_seconds:5.2f} s; "
            f"coefficients differ by {apart:.0e} in columns of deviation 1"
        )
    error = abs(y - model.predict(X)).mean().compute()  # predictions are a dask array
    print(f"R2 {model.score(X, y):.6f}, mean absolute error {error:.4f}")


if __name__ == "__main__":
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**local) as cluster, Client(cluster):
        main()

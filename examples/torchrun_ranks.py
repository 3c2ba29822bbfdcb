"""A fit over the rows of several processes, which is that of all rows in one.

Run it with ``torchrun --nproc-per-node 2 examples/torchrun_ranks.py``. Each process makes rows of
its own, as it would read files of its own; on several machines torchrun is given ``--nnodes`` too.
"""

import os
import time

import numpy as np

from skorchlite import TorchSGDRegressor

N_ROWS, N_COLUMNS = 200_000, 20  # of each process
SCALE = np.logspace(-3, 3, N_COLUMNS)
LOSSES = {"squared_error": {}, "quantile": {"quantile": 0.9}}


def rows_of(rank):
    rng = np.random.default_rng(rank)
    X = rng.standard_normal((N_ROWS, N_COLUMNS)) * SCALE + 5
    return X, X @ (1 / SCALE) + rng.standard_t(4, N_ROWS)


def main():
    rank, n_ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    own, models, seconds = rows_of(rank), {}, {}
    for loss, parameters in LOSSES.items():
        start = time.perf_counter()
        models[loss] = TorchSGDRegressor(loss, **parameters, distributed=True).fit(*own)
        seconds[loss] = time.perf_counter() - start
    if rank:
        return
    X, y = map(np.concatenate, zip(*map(rows_of, range(n_ranks)), strict=True))
    print(f"{len(y):,} rows of {N_COLUMNS} columns, {n_ranks} processes")
    for loss, parameters in LOSSES.items():
        start = time.perf_counter()
        alone = TorchSGDRegressor(loss, **parameters).fit(X, y)
        alone_seconds = time.perf_counter() - start
        apart = np.abs((models[loss].coef_ - alone.coef_) * SCALE).max()
        assert apart < 1e-6, apart
        print(
            f"{loss:14} {seconds[loss]:5.2f} s, one process {alone_seconds:5.2f} s; "
            f"coefficients differ by {apart:.0e} in columns of deviation 1"
        )


if __name__ == "__main__":
    main()

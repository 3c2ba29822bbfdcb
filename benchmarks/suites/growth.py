"""Time and memory of a fit against the number of rows, which are made as they are read."""

import json
import sys
import time
from functools import partial
from statistics import median

import numpy as np

from benchmarks.measure.children import ask
from benchmarks.measure.oracle import scaled_error
from benchmarks.measure.peak import STATUS, UNKNOWN, forget_peak, status_bytes

COUNTS, QUICK_COUNTS = tuple(10**k for k in range(4, 9)), (10_000, 100_000, 1_000_000)
N_COLUMNS = 20
BLOCK_ROWS = 1 << 14
ROUNDS = 3
# A single call that is shorter is mostly noise of the clock: it is repeated.
SHORTEST_TIMING = 0.1


class ShiftedBlocks:
    """Blocks of one table of random numbers, which every block has elsewhere.

    To make a block takes one addition to each number, so that the time is that of the fit.

    Parameters
    ----------
    n_rows : int
    """

    def __init__(self, n_rows):
        rng = np.random.default_rng(0)
        self.n_rows = n_rows
        self.scale = np.logspace(-2, 2, N_COLUMNS)
        self.coef = rng.standard_normal(N_COLUMNS) / self.scale
        self.X = rng.standard_normal((BLOCK_ROWS, N_COLUMNS)) * self.scale
        self.y = self.X @ self.coef + rng.standard_normal(BLOCK_ROWS)

    def __iter__(self):
        for number, start in enumerate(range(0, self.n_rows, BLOCK_ROWS)):
            size = min(BLOCK_ROWS, self.n_rows - start)
            shift = self.scale * np.cos(number + np.arange(N_COLUMNS))
            yield self.X[:size] + shift, self.y[:size] + (2 + shift @ self.coef)


def growth_cases(quick=False):
    """Map the name of the case to the function that runs it."""
    counts = QUICK_COUNTS if quick else COUNTS
    name = f"rows/{counts[0]:.0e} to {counts[-1]:.0e}".replace("e+0", "e")
    return {f"{name}x{N_COLUMNS}": partial(measure_growth, counts)}


def measure_growth(counts):
    """Measure each number of rows in a process of its own."""
    if not STATUS.exists():
        return {"rows": [{"n_rows": counts[-1], "left_out": UNKNOWN}]}
    rows = [ask(__spec__.name, [n_rows])[0] for n_rows in counts]
    for row, before in zip(rows[1:], rows, strict=False):
        row["growth"] = row["median"] / before["median"]
        row["rows_growth"] = row["n_rows"] / before["n_rows"]
    return {"rows": rows}


def main(n_rows):
    """Time the making of the blocks, and fits of them, in turn."""
    from skorchlite import TorchSGDRegressor

    blocks = ShiftedBlocks(n_rows)
    forget_peak()
    before = status_bytes("VmRSS")
    TorchSGDRegressor().fit(ShiftedBlocks(2 * BLOCK_ROWS))  # loads code and starts threads
    making, fitting = [], []
    for _ in range(ROUNDS):
        making.append(_seconds(lambda: _exhaust(blocks)))
        fitting.append(_seconds(lambda: TorchSGDRegressor().fit(blocks)))
    peak = status_bytes("VmHWM")
    coef = TorchSGDRegressor().fit(blocks).coef_
    return {
        "n_rows": n_rows,
        "making": median(making),
        "seconds": fitting,
        "median": median(fitting),
        "extra_bytes": peak - before,
        "coef_difference": scaled_error(coef, normal_equations(blocks), blocks.scale),
    }


def normal_equations(blocks):
    """Return the coefficients of least squares; scaled columns near zero lose no digits by it."""
    sums = np.zeros((N_COLUMNS + 2, N_COLUMNS + 2))
    for X, y in blocks:
        columns = np.column_stack((X / blocks.scale, np.ones(len(X)), y))
        sums += columns.T @ columns
    return np.linalg.solve(sums[:-1, :-1], sums[:-1, -1])[:-1] / blocks.scale


def _exhaust(blocks):
    for _ in blocks:
        pass


def _seconds(call):
    """Return the seconds of a call, as often as it takes to see them."""
    calls, spent = 0, 0.0
    while spent < SHORTEST_TIMING:
        start = time.perf_counter()
        call()
        spent += time.perf_counter() - start
        calls += 1
    return spent / calls


if __name__ == "__main__":
    print(json.dumps(main(*json.loads(sys.argv[1]))))

"""Fits under a hard limit of what the process may allocate, for test_out_of_core."""

import os
import resource
import traceback
from pathlib import Path

import numpy as np
import torch

# Read where pyarrow is imported, which is later: the other pools reserve a GiB.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

from skorchlite import TorchSGDRegressor, arrow_blocks

N_COLUMNS = 96
BLOCK_ROWS = 10_000
PARQUET_ROWS = 50_000  # rows of a row group


def mapped(folder):
    X = np.memmap(folder / "X.dat", np.float64, mode="r").reshape(-1, N_COLUMNS)
    return X, np.memmap(folder / "y.dat", np.float64, mode="r")


def columns_of_one_map(folder):
    both = np.memmap(folder / "X.dat", np.float64, mode="r").reshape(-1, N_COLUMNS)
    return both[:, 1:], both[:, 0]


def parquet(folder):
    return (arrow_blocks(folder / "parquet", target="y"),)


class Blocks:
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __iter__(self):
        for start in range(0, len(self.X), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            yield np.array(self.X[rows]), np.array(self.y[rows])


def stream(folder):
    return (Blocks(*mapped(folder)),)


class Longer:
    """Blocks that take 600 MB together, and are made one by one."""

    coef = np.arange(48) % 5 - 2.0

    def __iter__(self):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((BLOCK_ROWS, len(self.coef)))
        for _ in range(600_000_000 // X.nbytes):
            yield X, X @ self.coef + rng.standard_normal(BLOCK_ROWS)


def longer_stream(folder):
    return (Longer(),)


def copy(folder):
    X, y = mapped(folder)
    return np.array(X), y


SOURCES = {
    source.__name__: source
    for source in (mapped, columns_of_one_map, parquet, stream, longer_stream, copy)
}


def fit(kind, folder, room, loss):
    torch.set_num_threads(1)  # two would wait for each other where others use the processors
    rng = np.random.default_rng(0)
    small = rng.standard_normal((20_000, N_COLUMNS)), rng.standard_normal(20_000)
    TorchSGDRegressor().fit(*small)  # takes the memory that torch keeps
    TorchSGDRegressor().fit((small,))
    status = Path("/proc/self/status").read_text().splitlines()
    taken = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (taken + room, taken + room))
    model = TorchSGDRegressor(loss).fit(*SOURCES[kind](folder))
    return [model.intercept_, *model.coef_]


def measure(kind, folder, room, loss, connection):
    """Send the intercept and the coefficients, or None and the traceback of an error."""
    try:
        connection.send((fit(kind, folder, room, loss), ""))
    except Exception:
        connection.send((None, traceback.format_exc()))

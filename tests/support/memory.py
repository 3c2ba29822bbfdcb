"""How much memory a call takes beyond what is there; run by test_array_kinds in its own process."""

import ctypes
import gc
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import torch

import skorchlite

N_FEATURES = 100
SIZE = 0  # bytes
NAMES = [f"c{j}" for j in range(N_FEATURES)]


def numbers(dtype=np.float64, order="C"):
    """Whole numbers of full column rank, block by block: what is freed later is not new memory."""
    n_rows = SIZE // (N_FEATURES * np.dtype(dtype).itemsize)
    X = np.empty((n_rows, N_FEATURES), dtype, order=order)
    pattern = np.random.default_rng(0).integers(0, 9, (1000, N_FEATURES))
    pattern = pattern > 4 if X.dtype == bool else pattern
    for start in range(0, n_rows, 1000):
        X[start : start + 1000] = pattern[: n_rows - start]
    return X


def memory_map():
    with tempfile.TemporaryDirectory() as folder:  # the map outlives its name
        path = Path(folder, "X.npy")
        np.save(path, numbers())
        return np.load(path, mmap_mode="r")


def columns(kinds, n_bytes):
    """Columns of a frame whose kinds take turns; ``n_bytes`` of a row together."""
    n_rows = SIZE // n_bytes
    pattern = np.random.default_rng(0).integers(0, 9, (N_FEATURES, n_rows // 1000, 1))
    pattern = np.tile(pattern, 1000).reshape(N_FEATURES, -1)
    pattern[:, :1000] = np.random.default_rng(1).integers(0, 9, (N_FEATURES, 1000))
    kinds = kinds * N_FEATURES
    return {name: row.astype(kind) for name, row, kind in zip(NAMES, pattern, kinds, strict=False)}


def nullable():
    return pd.DataFrame(
        {name: pd.array(column) for name, column in columns(["int64", "float64"], 900).items()}
    )


ARRAYS = {
    "C order": numbers,
    "Fortran order": lambda: numbers(order="F"),
    "negative strides": lambda: numbers()[::-1, ::-1],
    "every other column": lambda: np.repeat(numbers(), 2, 1)[:, ::2],
    "read-only": lambda: np.broadcast_to(numbers(), (SIZE // (8 * N_FEATURES), N_FEATURES)),
    "memory map": memory_map,
    "big endian": lambda: numbers(">f8"),
    "int32": lambda: numbers(np.int32),
    "bool": lambda: numbers(bool),
    "float32": lambda: numbers(np.float32),
    "float16": lambda: numbers(np.float16),
    "pandas": lambda: pd.DataFrame(numbers(), columns=NAMES),
    "pandas mixed": lambda: pd.DataFrame(columns(["f8", "i4", "f4", "i8", "u1"], 500)),
    "pandas nullable": nullable,
    "polars": lambda: pl.DataFrame(columns(["f8", "i4", "f4", "i8"], 600)),
    "tensor": lambda: torch.from_numpy(numbers()),
    "int32 tensor": lambda: torch.from_numpy(numbers(np.int32)),
    "bfloat16 tensor": lambda: torch.from_numpy(numbers(np.float16)).bfloat16(),
}


def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def peak_of(call):
    """Bytes that a call takes at its peak beyond what was there before.

    The pages of files that it reads into a map are not counted: they can be dropped at any time.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before would hide what is taken now
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
    before, mapped = status("VmRSS"), status("RssFile")
    call()
    return status("VmHWM") - before - (status("RssFile") - mapped)


def light(X, y, weight):
    """Calls that read the rows and hold little but a block of them."""
    estimator = skorchlite.TorchSGDRegressor().fit(X[:1000], y[:1000])  # what torch keeps
    return {
        "fit": lambda: estimator.fit(X, y, weight),
        "predict": lambda: estimator.predict(X),
        "score": lambda: estimator.score(X, y),
        "partial_fit": lambda: estimator.partial_fit(X, y),
    }


def heavy(X, y, weight):
    """Calls that hold more, but no more where there are more rows."""
    batches = {"batch_size": 1024, "max_iter": 1, "tol": None, "random_state": 0}
    return {
        "fit in batches": lambda: skorchlite.TorchSGDRegressor(**batches).fit(X, y, weight),
        "another loss": lambda: skorchlite.TorchSGDRegressor("huber", max_iter=2).fit(X, y),
        "polynomial": lambda: skorchlite.TorchPolyRegressor(1).fit(X, y),
    }


def measure(kind, n_bytes, calls_of, connection):
    """Send ``{call: bytes at its peak}`` for rows of a kind, and for a copy of them."""
    global SIZE
    SIZE = n_bytes
    warnings.simplefilter("ignore")
    X = ARRAYS[kind]()
    y = np.arange(X.shape[0]) % 101 / 7
    calls = calls_of(X, y, 1 + y)
    calls["copy"] = lambda: np.array(X.double() if torch.is_tensor(X) else X)
    connection.send({name: peak_of(call) for name, call in calls.items()})

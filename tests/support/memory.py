"""How much memory a call takes at its peak, for test_array_kinds."""

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
SIZE = 0  # bytes of the rows, set by `measure`
NAMES = [f"c{j}" for j in range(N_FEATURES)]


def numbers(dtype=np.float64, order="C"):
    """Return whole numbers of full column rank.

    They are filled in block by block: memory that was freed here would hide what a call takes.
    """
    n_rows = SIZE // (N_FEATURES * np.dtype(dtype).itemsize)
    X = np.empty((n_rows, N_FEATURES), dtype, order=order)
    pattern = np.random.default_rng(0).integers(0, 9, (1000, N_FEATURES))
    pattern = pattern > 4 if X.dtype == bool else pattern
    for start in range(0, n_rows, 1000):
        X[start : start + 1000] = pattern[: n_rows - start]
    return X


def memory_map():
    with tempfile.TemporaryDirectory() as folder:  # the map lasts when its file is removed
        path = Path(folder, "X.npy")
        np.save(path, numbers())
        return np.load(path, mmap_mode="r")


def columns(kinds, n_bytes):
    """Return the columns of a frame, of the given dtypes in turn; a row has ``n_bytes`` bytes."""
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
    """Return how many bytes a call takes at its peak, beyond those that were taken before.

    Pages of mapped files are not counted, since the system can drop them at any time.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory that is free already would hide what is taken
    Path("/proc/self/clear_refs").write_text("5")  # begins a new peak
    before, mapped = status("VmRSS"), status("RssFile")
    call()
    return status("VmHWM") - before - (status("RssFile") - mapped)


def light(X, y, weight):
    """Return calls that hold little more than one block of the rows."""
    # A first fit takes the memory that torch keeps.
    estimator = skorchlite.TorchSGDRegressor().fit(X[:1000], y[:1000])
    return {
        "fit": lambda: estimator.fit(X, y, weight),
        "predict": lambda: estimator.predict(X),
        "score": lambda: estimator.score(X, y),
        "partial_fit": lambda: estimator.partial_fit(X, y),
    }


def heavy(X, y, weight):
    """Return calls that hold more than a block, but no more where there are more rows."""
    batches = {"batch_size": 1024, "max_iter": 1, "tol": None, "random_state": 0}
    fitted = skorchlite.TorchSGDRegressor().fit(X, y, weight)
    clusters = np.arange(X.shape[0]) % 50
    return {
        "fit in batches": lambda: skorchlite.TorchSGDRegressor(**batches).fit(X, y, weight),
        "another loss": lambda: skorchlite.TorchSGDRegressor("huber", max_iter=2).fit(X, y),
        "polynomial": lambda: skorchlite.TorchPolyRegressor(1).fit(X, y),
        "robust covariance": lambda: fitted.std_errors(X, y, weight, cov_type="HC3"),
        "clusters": lambda: fitted.std_errors(X, y, weight, cov_type="cluster", clusters=clusters),
    }


def measure(kind, n_bytes, calls_of, connection):
    """Send the bytes that each call takes at its peak for rows of a kind, and those of a copy."""
    global SIZE
    SIZE = n_bytes
    warnings.simplefilter("ignore")
    X = ARRAYS[kind]()
    y = np.arange(X.shape[0]) % 101 / 7
    calls = calls_of(X, y, 1 + y)
    calls["copy"] = lambda: np.array(X.double() if torch.is_tensor(X) else X)
    connection.send({name: peak_of(call) for name, call in calls.items()})

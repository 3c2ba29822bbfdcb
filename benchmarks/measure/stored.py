"""The data of a case in files, from which each process takes a copy of its own.

A map of one file would share the memory. But its pages are small ones, and those that NumPy
allocates are huge where the system has these: the fits would take other times than a user's.
"""

import pickle
from pathlib import Path

import numpy as np


def store(X, y, folder):
    """Write the data into a folder."""
    for name, values in (("X", X), ("y", y)):
        file = Path(folder) / name
        if isinstance(values, np.ndarray):
            np.save(file.with_suffix(".npy"), values)
        else:
            file.with_suffix(".pickle").write_bytes(pickle.dumps(values, protocol=5))


def load(folder):
    """Read the data from a folder."""
    return [_read(Path(folder) / name) for name in ("X", "y")]


def _read(file):
    array = file.with_suffix(".npy")
    if array.exists():
        return np.load(array)
    return pickle.loads(file.with_suffix(".pickle").read_bytes())

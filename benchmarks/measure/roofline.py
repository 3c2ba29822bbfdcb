"""The least time that a job can take: bytes over bandwidth, or operations over the peak.

Both are measured here, in a process of its own, with all threads and with one.
"""

import json
import sys
import time
from dataclasses import dataclass

from benchmarks.measure.children import ask

SUMMED_BYTES, QUICK_SUMMED_BYTES = 1 << 29, 1 << 24
PRODUCT_SIZE, QUICK_PRODUCT_SIZE = 2_048, 256
ROUNDS = 10
DTYPES = ("float64", "float32")
ALL, ONE = "all threads", "one thread"


@dataclass(frozen=True)
class Work:
    """What a job has to do at least: read its data once, and this many additions and products."""

    bytes: int
    operations: int
    dtype: str


def gram_work(X):
    """The work of least squares from all products of two columns, or of two rows if these are few.

    A matrix of products is symmetric, and half of it is enough.
    """
    small, large = sorted(X.shape)
    return _reading(X, large * small * (small + 1))


def epoch_work(X, epochs=1):
    """The work of steps along every row: its prediction, and its part of the gradient."""
    once = _reading(X, 4 * X.size)
    return Work(epochs * once.bytes, epochs * once.operations, once.dtype)


def prediction_work(X):
    """The work of predicting every row."""
    return _reading(X, 2 * X.size)


def sparse_work(X):
    """The work of reading the entries of a sparse matrix once, and of two products with each."""
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes + X.shape[0] * X.dtype.itemsize
    return Work(size, 4 * X.nnz, str(X.dtype))


def least_seconds(work, machine, threads=None):
    """Return the least time of a record of work on a measured machine.

    Parameters
    ----------
    work : dict
        The fields of `Work`.
    machine : dict
        What `measure_machine` returned.
    threads : int, default=None
        One, or None for all.
    """
    rates = machine[ALL if threads is None else ONE]
    return max(
        work["bytes"] / rates["bytes_per_second"],
        work["operations"] / rates["operations_per_second"][work["dtype"]],
    )


def measure_machine(quick=False):
    """Measure the rates of the machine with all threads and with one."""
    if quick:  # any rates will do
        return dict.fromkeys((ALL, ONE), main(quick))
    settings = {ALL: {}, ONE: dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    return {name: ask(__spec__.name, quick, env=env)[0] for name, env in settings.items()}


def main(quick):
    """Return the bytes that a sum reads in a second, and the operations of a product of matrices.

    The fastest of some rounds: other work on the machine can only lower them.
    """
    import torch

    summed = torch.ones((QUICK_SUMMED_BYTES if quick else SUMMED_BYTES) // 8, dtype=torch.float64)
    size = QUICK_PRODUCT_SIZE if quick else PRODUCT_SIZE
    operations = {}
    for dtype in DTYPES:
        factor = torch.ones((size, size), dtype=getattr(torch, dtype))
        operations[dtype] = 2 * size**3 / _seconds(lambda factor=factor: factor @ factor)
    return {
        "bytes_per_second": summed.nbytes / _seconds(summed.sum),
        "operations_per_second": operations,
    }


def _reading(X, operations):
    """The work of reading the rows and their targets once, and of some operations."""
    return Work(X.nbytes + len(X) * X.dtype.itemsize, operations, str(X.dtype))


def _seconds(call):
    call()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))

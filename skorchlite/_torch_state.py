"""The state of torch while we compute: no autograd, full precision, few threads for little work."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import nullcontext

import torch

_ONE_THREAD = 200_000  # entries of what is worked on at a time
_LOCK = threading.RLock()


@contextlib.contextmanager
def torch_settings(n_entries: float) -> Iterator[None]:
    """Compute without autograd, float32 products in full precision, small work in one thread.

    Full precision means neither TF32 nor bfloat16. Threads that wait for each other cost small
    work more than it takes, a thousand times more where other processes keep the cores busy. The
    settings are the caller's again at the end.
    """
    precision = torch.get_float32_matmul_precision()
    if precision != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), threads_for(n_entries):
            yield
    finally:
        if precision != "highest":
            torch.set_float32_matmul_precision(precision)


def threads_for(n_entries: float) -> contextlib.AbstractContextManager:
    """Work in one thread where each operation is on few numbers."""
    return _one_thread() if n_entries < _ONE_THREAD else nullcontext()


@contextlib.contextmanager
def one_thread_less() -> Iterator[None]:
    """Leave a core to what runs beside, for which threads that share the work would all wait."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(threads - 1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    # A Python thread takes its number of torch threads from where another may have just set it,
    # so that only one may be in here at a time: the interpreter runs one at a time anyway.
    with _LOCK:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

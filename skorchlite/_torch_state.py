"""The state of torch while we compute: no autograd, full precision, few threads for little work."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch

_ONE_THREAD = 200_000  # entries of what is worked on at a time
_LOCK = threading.Lock()  # held for moments only: who waits for it may be waited for
_LEVEL = threading.local()  # how deep a Python thread is in here
_USUAL: list[int] = []  # the number of torch threads elsewhere, for each Python thread in here


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
    return _threads(lambda usual: 1) if n_entries < _ONE_THREAD else nullcontext()


def one_thread_less() -> contextlib.AbstractContextManager:
    """Leave a core to what runs beside, for which threads that share the work would all wait."""
    return _threads(lambda usual: max(usual - 1, 1))


@contextlib.contextmanager
def _threads(wanted: Callable[[int], int]) -> Iterator[None]:
    level = getattr(_LEVEL, "number", 0)
    with _LOCK:
        # A Python thread that is new takes its number from what another, in here, has just set.
        threads = _USUAL[0] if _USUAL and not level else torch.get_num_threads()
        if not level:
            _USUAL.append(threads)
        torch.set_num_threads(wanted(threads))
    _LEVEL.number = level + 1
    try:
        yield
    finally:
        _LEVEL.number = level
        with _LOCK:
            torch.set_num_threads(threads)
            if not level:
                _USUAL.pop()

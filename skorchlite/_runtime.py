"""Settings of torch while we compute, whatever the caller has set, and how many threads it uses.

No autograd, the processor as the default device, full precision, and one thread for little work.
The caller's settings are restored at the end.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import inf
from typing import Any

import torch

_ONE_THREAD = 200_000  # entries that an operation works on, below which one thread is faster
_LOCK = threading.Lock()  # held for moments only, as other threads may wait for its holder
_LEVEL = threading.local()  # how many of our contexts a Python thread is in
_USUAL: list[int] = []  # torch's number of threads outside, for each Python thread in a context
_FORKED = False  # whether this process was forked from one that had torch


@contextlib.contextmanager
def torch_settings() -> Iterator[None]:
    """Compute without autograd, and float32 products in full precision.

    Full precision means neither TF32 nor bfloat16. A default device, an inference mode and the
    detection of anomalies are set aside. The default dtype is not: the targets that a data set
    makes, and the constants of a loss, have the dtype that the caller means. All settings are the
    caller's again at the end.
    """
    with _unset(), torch.no_grad(), threads_for(inf):
        yield


def _unset() -> AbstractContextManager:
    """Return a context without the caller's settings that matter; most often there are none."""
    aside: list[Callable[[], AbstractContextManager]] = []
    # Each of these makes every call of torch slower, and is entered only where it is needed.
    if torch.get_default_device().type != "cpu":
        aside.append(partial(torch.device, "cpu"))
    if torch.is_inference_mode_enabled():
        aside.append(partial(torch.inference_mode, False))
    if torch.is_anomaly_enabled():
        aside.append(partial(torch.autograd.set_detect_anomaly, False))
    if _precision() != "highest":
        aside.append(_full_precision)
    return _all(aside) if aside else nullcontext()


@contextlib.contextmanager
def _all(contexts: list[Callable[[], AbstractContextManager]]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context())
        yield


def _precision() -> str | None:
    """Return the precision of float32 products; None where the caller set it for each backend."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    processor: Any = torch.backends.mkldnn
    backends = torch.backends.cuda.matmul, processor.matmul
    precision, own = _precision(), [backend.fp32_precision for backend in backends]
    if precision is not None:  # torch raises where this and the backends' settings differ
        torch.set_float32_matmul_precision("highest")
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        for backend, before in zip(backends, own, strict=True):
            backend.fp32_precision = "none"  # it then follows the setting for all backends
            if backend.fp32_precision != before:
                backend.fp32_precision = before


def threads_for(n_entries: float) -> AbstractContextManager:
    """Use one thread where operations are on few numbers, and in forked processes.

    For little work, waiting for other threads takes longer than the work itself: a thousand times
    longer where other processes keep the cores busy. A forked process would wait for ever; see
    ``_note_fork``.
    """
    few = _FORKED or n_entries < _ONE_THREAD
    return _threads(lambda usual: 1) if few else nullcontext()


def one_thread_less() -> AbstractContextManager:
    """Leave a core to what runs beside us, which all threads of a product would else wait for."""
    return _threads(lambda usual: 1 if _FORKED else max(usual - 1, 1))


@contextlib.contextmanager
def _threads(wanted: Callable[[int], int]) -> Iterator[None]:
    level = getattr(_LEVEL, "number", 0)
    with _LOCK:
        # While another Python thread is in a context, torch's number is the one that was set there.
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


def _note_fork() -> None:
    """Note, in a forked process, that torch has to compute in one thread.

    The threads that it shares work with stay in the parent, and a child would wait for them for
    ever. Whether the parent had started any cannot be known, since those of other libraries look
    alike.
    """
    global _FORKED, _LOCK
    _FORKED, _LOCK = True, threading.Lock()  # a thread of the parent may have held the lock
    del _USUAL[
        min(getattr(_LEVEL, "number", 0), 1) :
    ]  # those of other Python threads, which are gone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)

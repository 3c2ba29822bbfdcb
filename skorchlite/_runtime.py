"""The state of torch while we compute, whatever the caller has set; it is the caller's afterwards.

No autograd, the processor as the default device, full precision, few threads for little work.
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

_ONE_THREAD = 200_000  # entries of what is worked on at a time
_LOCK = threading.Lock()  # held for moments only: who waits for it may be waited for
_LEVEL = threading.local()  # how deep a Python thread is in here
_USUAL: list[int] = []  # the number of torch threads elsewhere, for each Python thread in here
_FORKED = False  # whether this process was forked from one that had torch


@contextlib.contextmanager
def torch_settings() -> Iterator[None]:
    """Compute without autograd, and float32 products in full precision.

    Full precision means neither TF32 nor bfloat16. The settings are the caller's again at the end.

    What the caller has set does not matter: a default device, an inference mode, the detection of
    anomalies. The default dtype stays, since targets or constants that a data set or a loss makes
    are to be as the caller has them.
    """
    with _unset(), torch.no_grad(), threads_for(inf):
        yield


def _unset() -> AbstractContextManager:
    """Return what sets aside the settings of the caller that matter, most often none."""
    aside: list[Callable[[], AbstractContextManager]] = []
    # Any mode makes each call of torch slower, so that they are entered only where they are needed.
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
    """Return that of float32 products; None where the caller has set each backend's own."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    processor: Any = torch.backends.mkldnn
    backends = torch.backends.cuda.matmul, processor.matmul
    precision, own = _precision(), [backend.fp32_precision for backend in backends]
    if precision is not None:  # torch refuses to compute where it contradicts the backends
        torch.set_float32_matmul_precision("highest")
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        for backend, before in zip(backends, own, strict=True):
            backend.fp32_precision = "none"  # which has it follow that of all backends
            if backend.fp32_precision != before:
                backend.fp32_precision = before


def threads_for(n_entries: float) -> AbstractContextManager:
    """Work in one thread where each operation is on few numbers, or no other would ever answer.

    Threads that wait for each other cost small work more than it takes, a thousand times more where
    other processes keep the cores busy.
    """
    few = _FORKED or n_entries < _ONE_THREAD
    return _threads(lambda usual: 1) if few else nullcontext()


def one_thread_less() -> AbstractContextManager:
    """Leave a core to what runs beside, for which threads that share the work would all wait."""
    return _threads(lambda usual: 1 if _FORKED else max(usual - 1, 1))


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


def _note_fork() -> None:
    """Know, in a child, that the threads which share the work of torch are not there.

    They are those of the parent, and a child that counts on them waits for ever. Whether the parent
    had started any cannot be known: those of other libraries look alike.
    """
    global _FORKED, _LOCK
    _FORKED, _LOCK = True, threading.Lock()  # another thread may have held that of the parent
    del _USUAL[min(getattr(_LEVEL, "number", 0), 1) :]  # those of other threads, which are gone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)

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
from time import perf_counter, process_time
from typing import Any

import torch

_ONE_THREAD = 200_000  # entries that an operation works on, below which one thread is faster
_LAP_SECONDS = 0.05  # that are measured; time of other threads is counted in ticks of some 4 ms
_BUSY_SECONDS = 1.0  # that they then count as busy
_LOCK = threading.Lock()  # held for moments only, as other threads may wait for its holder
_LEVEL = threading.local()  # how many of our contexts a Python thread is in
_USUAL: list[int] = []  # torch's number of threads outside, for each Python thread in a context
_FORKED = False  # whether this process was forked from one that had torch
_DEVICE_TYPES = "cpu", "cuda", "mps", "xpu"
_FULL_PRECISION_IN: list[int] = []  # the Python threads for which precision was put aside
_PRECISION: list[str] = []  # the caller's meanwhile


def _switch(owner: Any) -> tuple[Callable[[], str], Callable[[str], None]]:
    return lambda: owner.fp32_precision, partial(setattr, owner, "fp32_precision")


def _set_processor_precision(value: str) -> None:
    # To set ``mkldnn.fp32_precision`` sets that of all backends in torch 2.13.
    torch.backends.mkldnn.set_flags(_fp32_precision=value)  # type: ignore[attr-defined]


# Those that products of float32 depend on, each below the one that it takes its value from.
_PRECISION_SWITCHES = [
    _switch(torch.backends),
    _switch(torch.backends.cudnn),
    (_switch(torch.backends.mkldnn)[0], _set_processor_precision),
    _switch(torch.backends.cuda.matmul),
    _switch(torch.backends.mkldnn.matmul),  # type: ignore[attr-defined]
]


@contextlib.contextmanager
def torch_settings() -> Iterator[None]:
    """Compute without autograd, and float32 products in full precision.

    Full precision means neither TF32 nor bfloat16, and no casts by ``torch.autocast``. A default
    device, an inference mode and the detection of anomalies are set aside. The default dtype is
    not: the targets that a data set makes, and the constants of a loss, have the dtype that the
    caller means. All settings are the caller's again at the end.
    """
    with _unset(), torch.no_grad(), threads_for(inf) if _FORKED else nullcontext():
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
    if any(map(torch.is_autocast_enabled, _DEVICE_TYPES)):
        aside += [partial(torch.autocast, kind, enabled=False) for kind in _DEVICE_TYPES]
    if _FULL_PRECISION_IN or not _is_full_precision():
        aside.append(_full_precision)
    return _all(aside) if aside else nullcontext()


@contextlib.contextmanager
def _all(contexts: list[Callable[[], AbstractContextManager]]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context())
        yield


def _is_full_precision() -> bool:
    """Whether products of float32 keep all digits on each backend, by old and new switches."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # what the old switch says is not what that of some backend says
        return False


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Keep all digits until the last Python thread that asked for it is done.

    The switches are of the process. The first thread to leave must not set them back while others
    compute.
    """
    with _LOCK:
        if not _FULL_PRECISION_IN:
            _PRECISION[:] = _put_precision_aside()
        _FULL_PRECISION_IN.append(threading.get_ident())
    try:
        yield
    finally:
        with _LOCK:
            _FULL_PRECISION_IN.remove(threading.get_ident())
            if not _FULL_PRECISION_IN:
                _put_precision_back()


def _put_precision_aside() -> list[str]:
    """Make all products of full precision, and return what each switch itself was set to.

    A switch that is "none" has the value of the one above it. What it is set to itself can be read
    once that one is "none", and so they are put aside from the top down.
    """
    own = []
    for get, put in _PRECISION_SWITCHES:
        own.append(get())
        put("none")
    # That of all backends can be read only now, as it raises where a backend says something else.
    own.append(torch.get_float32_matmul_precision())
    torch.set_float32_matmul_precision("highest")  # and the two switches for products to "ieee"
    return own


def _put_precision_back() -> None:
    *own, old = _PRECISION
    torch.set_float32_matmul_precision(old)
    for (_, put), value in zip(_PRECISION_SWITCHES, own, strict=True):
        put(value)


def threads_for(n_entries: float) -> AbstractContextManager:
    """Use one thread where operations are on few numbers, and in forked processes.

    For little work, waiting for other threads takes longer than the work itself: a thousand times
    longer where other processes keep the cores busy. A forked process would wait for ever; see
    ``_note_fork``. For much work the number is the caller's, or less; see ``lap``.
    """
    few = _FORKED or n_entries < _ONE_THREAD
    return _threads(lambda usual: 1 if few else _BUSY.room(usual))


def one_thread_less() -> AbstractContextManager:
    """Leave a core to what runs beside us, which all threads of a product would else wait for."""
    return _threads(lambda usual: 1 if _FORKED else _BUSY.room(max(usual - 1, 1)))


class _BusyCores:
    """Finds out, from the time that ours got, how many cores other processes leave to our threads.

    Threads share each operation and wait for the last of them. Where another process has its core,
    that takes until the system's next turn: milliseconds for work of microseconds, and a fit takes
    ten times as long as in one thread. The load that the system reports is an average over a
    minute, of fits that are past as well, and not there on every system.
    """

    def __init__(self) -> None:
        self.most, self.until = 0, 0.0  # threads that there was room for, and how long that counts
        self.wall = self.processor = 0.0  # seconds of the present measurement
        self.marked: tuple[float, float] = 0.0, 0.0
        self.doubted = False  # whether the last measurement said that cores are busy

    def room(self, usual: int) -> int:
        """Return for how many of the usual threads there is room."""
        return min(usual, self.most) if perf_counter() < self.until else usual

    def mark(self) -> None:
        """Begin to measure."""
        self.marked = perf_counter(), process_time()

    def measured(self, threads: int, sharing: int) -> int:
        """Measure until now; return how many of the threads go on.

        Parameters
        ----------
        threads : int
        sharing : int
            How many Python threads compute, with as many threads each.
        """
        wall, processor = self.marked
        self.mark()
        self.wall += self.marked[0] - wall
        self.processor += self.marked[1] - processor
        if self.wall < _LAP_SECONDS:
            return threads
        got = round(self.processor / self.wall / sharing)
        self.wall = self.processor = 0.0
        sure, self.doubted = self.doubted, got < threads
        if not (self.doubted and sure):  # once may be threads that begin, and new memory
            return threads
        self.most, self.until = max(got, 1), self.marked[0] + _BUSY_SECONDS
        return self.most


_BUSY = _BusyCores()


def mark() -> None:
    """Begin to measure how much of the cores our threads get; what went before is left out."""
    if torch.get_num_threads() > 1:
        _BUSY.mark()


def lap() -> None:
    """Go on in fewer threads where other processes keep the cores busy.

    It is to be called after operations that threads share, so that without other processes all of
    them would have been busy.
    """
    threads, level = torch.get_num_threads(), int(getattr(_LEVEL, "number", 0))
    if threads > 1 and level:
        fewer = _BUSY.measured(threads, len(_USUAL))
        if fewer < threads:
            with _LOCK:
                torch.set_num_threads(fewer)


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
    if _FULL_PRECISION_IN and threading.get_ident() not in _FULL_PRECISION_IN:
        _put_precision_back()
    _FULL_PRECISION_IN[:] = [i for i in _FULL_PRECISION_IN if i == threading.get_ident()]
    del _USUAL[
        min(getattr(_LEVEL, "number", 0), 1) :
    ]  # those of other Python threads, which are gone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)

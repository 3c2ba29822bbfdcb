"""Read ahead: a thread brings the next blocks while the present one is computed with."""

import contextlib
import queue
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import torch

from .._runtime import one_thread_less, threads_for

_NAME = "skorchlite-reader"
_DEPTH = 2  # blocks that wait
_END = object()
_PATIENCE = 0.1  # seconds after which a waiting thread looks whether it is still wanted
_PRESENT = threading.local()  # what reads for the present work of a Python thread


@contextlib.contextmanager
def computing(n_entries: float) -> Iterator[None]:
    """Compute, in few threads where work is little; at the end nothing is read any more.

    Where an error ends the work, its traceback would keep alive what reads ahead.
    """
    outer = getattr(_PRESENT, "readers", None)
    with threads_for(n_entries):
        _PRESENT.readers = readers = _Readers()
        try:
            yield
        finally:
            _PRESENT.readers = outer
            readers.close()


class _Readers:
    """What reads ahead for the same work, and the threads that wait for more to read.

    A thread keeps, and then leaves to any other, what it once took of memory. With a new one for
    each pass, several would come to hold as much as one needs.
    """

    def __init__(self) -> None:
        self.begun: list[weakref.ref[Generator]] = []
        self.idle: list[_Reader] = []

    def close(self) -> None:
        """Read no more."""
        for reader in filter(None, (reference() for reference in self.begun)):
            reader.close()
        while self.idle:
            self.idle.pop().end()


class _Reader:
    """A thread that reads for one pass after the other."""

    def __init__(self) -> None:
        self._passes: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        self._thread.start()

    def begin(self, blocks: Iterator[Any], read: queue.Queue, stopped: threading.Event) -> Any:
        """Read until it is stopped; return the event of its end."""
        ended = threading.Event()
        self._passes.put((blocks, read, stopped, ended))
        return ended

    def end(self) -> None:
        """End the thread."""
        self._passes.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (given := self._passes.get()) is not None:
            *pass_, ended = given
            del given
            _read(*pass_)
            del pass_  # which keeps what is read open
            ended.set()


def read_ahead(blocks: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Return an iterator over the blocks on a device, read ahead by a thread.

    What the thread raises is raised here. Closing the iterator ends the reading.

    Parameters
    ----------
    blocks : iterable of tuple of (Tensor or None)
    device : torch.device
    """
    readers = getattr(_PRESENT, "readers", None)
    reader = _read_ahead(blocks, device, None if readers is None else readers.idle)
    if readers is not None:
        readers.begun.append(weakref.ref(reader))
    return reader


def _read_ahead(
    blocks: Iterable[Any], device: torch.device, idle: list[_Reader] | None
) -> Generator:
    if device.type == "cuda":
        blocks = _sent(blocks, device)
    read: queue.Queue = queue.Queue(_DEPTH)
    stopped = threading.Event()
    with one_thread_less():
        reader = idle.pop() if idle else _Reader()
        ended = reader.begin(iter(blocks), read, stopped)
        try:
            while True:
                block, error = read.get()
                if error is not None:
                    raise error
                if block is _END:
                    return
                yield _arrived(block) if device.type == "cuda" else block
        finally:
            stopped.set()
            ended.wait()
            if idle is None:
                reader.end()
            else:
                idle.append(reader)


def _read(blocks: Iterator[Any], read: queue.Queue, stopped: threading.Event) -> None:
    try:
        for block in blocks:
            if not _put(read, (block, None), stopped):
                return
        _put(read, (_END, None), stopped)
    except BaseException as error:
        _put(read, (None, error), stopped)


def _sent(blocks: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Yield the blocks on their way to a card, from pinned memory and beside its computations.

    A sending blocks neither the processor nor the card. Pinned memory is kept by torch and used
    again when the sending is over.
    """
    stream = torch.cuda.Stream(device)
    for block in blocks:
        with torch.cuda.stream(stream):
            parts = [
                part if part is None or part.is_cuda else part.contiguous().pin_memory()
                for part in block
            ]
            moved = [None if p is None else p.to(device, non_blocking=True) for p in parts]
            yield moved, stream.record_event()


def _arrived(sent: Any) -> tuple:
    """Return a block that the present computations wait for."""
    block, event = sent
    stream = torch.cuda.current_stream(block[0].device)
    stream.wait_event(event)
    for part in block:
        if part is not None:
            part.record_stream(stream)  # its memory is not used again before they are done
    return tuple(block)


def _put(read: queue.Queue, item: Any, stopped: threading.Event) -> bool:
    """Put an item where it is waited for; return whether it was."""
    while not stopped.is_set():
        try:
            read.put(item, timeout=_PATIENCE)
        except queue.Full:
            continue
        return True
    return False

"""Prefetch: a thread reads the next blocks while the present one is computed with."""

import contextlib
import queue
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from .._runtime import one_thread_less, threads_for

_NAME = "skorchlite-reader"
_DEPTH = 2  # blocks that are read and wait
_END = object()
_PATIENCE = 0.1  # seconds after which a waiting thread looks whether it is still needed
_PRESENT = threading.local()  # the readers of the ``computing`` that a Python thread is in


@contextlib.contextmanager
def computing(n_entries: float) -> Iterator[None]:
    """Compute with ``n_entries`` entries of X, and with few threads if they are few.

    Readers that are begun inside end with it. The traceback of an error would otherwise keep them,
    and the files that they read, open.
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
    """The passes that are read ahead inside one ``computing``, and the threads that are idle.

    Passes use the same thread one after the other. The heap keeps memory for each thread that once
    took it, so that with a new thread for each pass several times the memory would be held.
    """

    def __init__(self) -> None:
        self.begun: list[weakref.ref[Generator]] = []
        self.idle: list[_Reader] = []

    def close(self) -> None:
        """End all passes, and all threads."""
        for reader in filter(None, (reference() for reference in self.begun)):
            reader.close()
        while self.idle:
            self.idle.pop().end()


class _Reader:
    """A thread that reads one pass after the other."""

    def __init__(self) -> None:
        self._passes: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        self._thread.start()

    def begin(
        self, blocks: Iterator[Any], read: queue.Queue, stopped: threading.Event
    ) -> threading.Event:
        """Read blocks into a queue until ``stopped`` is set; return the event of the end."""
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
            del pass_  # a reference to the blocks would keep their file open
            ended.set()


def read_ahead(blocks: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Return an iterator over the blocks on a device, which a thread reads ahead.

    An error of the thread is raised here. Closing the iterator ends the reading.

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
    """Yield the blocks; the thread comes from those that are idle, and goes back to them."""
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
    """Put ``(block, error)`` into a queue for each block, and for the end; runs in the thread."""
    try:
        for block in blocks:
            if not _put(read, (block, None), stopped):
                return
        _put(read, (_END, None), stopped)
    except BaseException as error:
        _put(read, (None, error), stopped)


def _sent(blocks: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Yield each block on its way to a card, and the event of its arrival.

    Blocks are sent from pinned memory on a stream of their own, so that neither the CPU nor the
    computations of the card wait for them. There is pinned memory for a few blocks, which are used
    in turns: to pin memory anew takes longer than to send it.
    """
    stream, turns = torch.cuda.Stream(device), cycle([_Pinned() for _ in range(_DEPTH)])
    for block in blocks:
        # Nothing is yielded inside: where a pass ends early, the stream would stay the current one.
        with torch.cuda.stream(stream):
            sent = next(turns).send(block, device), stream.record_event()
        yield sent


class _Pinned:
    """Pinned memory that blocks are sent from, one after the other."""

    def __init__(self) -> None:
        self._memory: dict[tuple[int, torch.dtype], Tensor] = {}
        self._gone: torch.cuda.Event | None = None

    def send(self, block: tuple, device: torch.device) -> list[Tensor | None]:
        """Return the parts of a block on their way to a card, on the current stream."""
        if self._gone is not None:
            self._gone.synchronize()  # the block before is still read from here
        moved = [
            part if part is None else self._pinned(i, part).to(device, non_blocking=True)
            for i, part in enumerate(block)
        ]
        self._gone = torch.cuda.current_stream(device).record_event()
        return moved

    def _pinned(self, place: int, part: Tensor) -> Tensor:
        """Return a part of a block in pinned memory, or as it is if it needs none."""
        if part.is_cuda or (part.is_pinned() and 1 in part.stride()):
            return part
        memory = self._memory.get((place, part.dtype))
        if memory is None or memory.numel() < part.numel():
            memory = torch.empty(part.numel(), dtype=part.dtype, pin_memory=True)
            self._memory[place, part.dtype] = memory
        memory = memory[: part.numel()]
        if part.ndim == 2 and part.stride(0) < part.stride(1):  # to write columns to rows is slow
            return memory.view(part.shape[::-1]).T.copy_(part)
        return memory.view(part.shape).copy_(part)


def _arrived(sent: Any) -> tuple:
    """Return a block that was sent; the computations of the present stream wait for it."""
    block, event = sent
    stream = torch.cuda.current_stream(block[0].device)
    stream.wait_event(event)
    for part in block:
        if part is not None:
            part.record_stream(stream)  # keeps its memory until the computations are done
    return tuple(block)


def _put(read: queue.Queue, item: Any, stopped: threading.Event) -> bool:
    """Put an item into a queue; return False if the reading was stopped before there was room."""
    while not stopped.is_set():
        try:
            read.put(item, timeout=_PATIENCE)
        except queue.Full:
            continue
        return True
    return False

"""Read ahead: a thread brings the next blocks while the present one is computed with."""

import contextlib
import queue
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import torch

from ._torch_state import one_thread_less, threads_for

_NAME = "skorchlite-reader"
_DEPTH = 2  # blocks that wait
_END = object()
_PATIENCE = 0.1  # seconds after which a waiting thread looks whether it is still wanted
_READERS = threading.local()  # that the present work of a Python thread has begun


@contextlib.contextmanager
def computing(n_entries: float) -> Iterator[None]:
    """Compute, in few threads where work is little; at the end nothing is read any more.

    Where an error ends the work, its traceback would keep alive what reads ahead.
    """
    outer = getattr(_READERS, "begun", None)
    with threads_for(n_entries):
        _READERS.begun = begun = list[weakref.ref[Generator]]()
        try:
            yield
        finally:
            _READERS.begun = outer
            for reader in filter(None, (reference() for reference in begun)):
                reader.close()


def read_ahead(blocks: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Return an iterator over the blocks on a device, read ahead by a thread.

    What the thread raises is raised here. Closing the iterator ends the thread.

    Parameters
    ----------
    blocks : iterable of tuple of (Tensor or None)
    device : torch.device
    """
    reader = _read_ahead(blocks, device)
    begun = getattr(_READERS, "begun", None)
    if begun is not None:
        begun.append(weakref.ref(reader))
    return reader


def _read_ahead(blocks: Iterable[Any], device: torch.device) -> Generator:
    if device.type == "cuda":
        blocks = _sent(blocks, device)
    read: queue.Queue = queue.Queue(_DEPTH)
    stopped = threading.Event()
    thread = threading.Thread(
        target=_read, args=(iter(blocks), read, stopped), name=_NAME, daemon=True
    )
    thread.start()
    try:
        with one_thread_less():
            while True:
                block, error = read.get()
                if error is not None:
                    raise error
                if block is _END:
                    return
                yield _arrived(block) if device.type == "cuda" else block
    finally:
        stopped.set()
        thread.join()


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

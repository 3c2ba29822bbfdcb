"""Rows that come in blocks, one after the other, in an order of their own."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ._ahead import read_ahead
from ._batches import Block, Rows, View, as_tensor


class StreamRows(Rows):
    """The rows of a reader.

    Parameters
    ----------
    reader : object
        With ``blocks()``, an iterator over ``(X, y, sample_weight)`` that begins anew each time;
        ``ahead(count)``, the blocks of at least so many rows that the next one begins with;
        ``n_rows``, None until they are known; ``n_features``, ``n_targets`` and ``rereadable``.
    device : torch.device
    first : int, default=0
        The number of the first row, among those of all places.
    """

    indexed = False

    def __init__(self, reader: Any, device: torch.device, first: int = 0):
        self.reader, self.device, self.first = reader, device, first
        self.n_features, self.n_targets = reader.n_features, reader.n_targets
        self.rereadable = reader.rereadable

    @property
    def n_rows(self) -> int:
        """The number of rows, to count which takes a pass where none was made."""
        if self.reader.n_rows is None:
            for _ in self.reader.blocks():
                pass
        return self.reader.n_rows

    def bound(self, width: int, itemsize: int) -> int:
        """Return how many rows of so many numbers a block has."""
        return self.room(width, itemsize)

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer rows, reading no more than it takes to know."""
        if self.reader.n_rows is None:
            return sum(X.shape[0] for X, *_ in self.reader.ahead(count)) < count
        return self.reader.n_rows < count

    def head(self, size: int) -> Block | None:
        """Return the first rows; None where there are none."""
        return next(_of_size(_tensors(self.reader.ahead(size), size, self.device), size), None)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device; see ``Rows``."""
        assert order is None, "a stream has an order of its own"
        here = torch.device("cpu") if self.device.type == "cuda" else self.device
        blocks = _tensors(self.reader.blocks(), size, here)
        yield from read_ahead(_of_size(blocks, size), self.device)

    def every(self, step: int) -> "StreamPart":
        """Return every so many-th of the rows."""
        return StreamPart(self, partial(_every, step=step))

    def taken(self, index: Tensor) -> "StreamPart":
        """Return the rows with these numbers, which rise."""
        return StreamPart(self, partial(_among, index=index))


class StreamPart(View):
    """Some of the rows of a stream.

    Parameters
    ----------
    source : Rows
    chosen : callable
        Returns, of the rows from one number to another, which are among them.
    """

    def __init__(self, source: Any, chosen: Callable[[int, int], Tensor]):
        super().__init__(source)
        self.chosen = chosen
        self.first = len(chosen(0, source.first))

    def of(self) -> Callable[[Rows], Rows]:
        """Return what takes the same rows of any other stream."""
        return partial(StreamPart, chosen=self.chosen)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        start = self.source.first
        return len(self.chosen(start, start + self.source.n_rows))

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        return Rows.mean_weight(self)

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer rows."""
        return self.n_rows < count

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` of these rows."""
        start = self.source.first
        for X, y, weight in self.source.blocks(size, order):
            stop = start + len(X)
            index = (self.chosen(start, stop) - start).to(self.device)
            start = stop
            if len(index):
                yield X[index], y[index], None if weight is None else weight[index]

    def every(self, step: int) -> "StreamPart":
        """Return every so many-th of these rows."""
        return StreamPart(self, partial(_every, step=step))

    def taken(self, index: Tensor) -> "StreamPart":
        """Return those of these rows with these numbers, which rise."""
        return StreamPart(self, partial(_among, index=index))


def _every(start: int, stop: int, step: int) -> Tensor:
    return torch.arange(-(-start // step) * step, stop, step)


def _among(start: int, stop: int, index: Tensor) -> Tensor:
    first, end = torch.searchsorted(index, torch.tensor([start, stop]))
    return index[first:end]


def _tensors(blocks: Iterable[tuple], size: int, device: torch.device) -> Iterator[Block]:
    """Yield the blocks as tensors, at most so many rows at a time."""
    for block in blocks:
        for start in range(0, block[0].shape[0], size):
            X, y, weight = (
                None if part is None else as_tensor(part[start : start + size], device)
                for part in block
            )
            assert X is not None
            yield X, (y[:, None] if y is not None and y.ndim == 1 else y), weight


def _of_size(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Yield the same rows in blocks of one size, the last of which may be smaller."""
    held: list[Block] = []
    n_held = 0
    for block in blocks:
        start = 0
        while n_held + len(block[0]) - start >= size:
            stop = start + size - n_held
            yield _joined([*held, _slice(block, start, stop)])
            start, held, n_held = stop, [], 0
        if start < len(block[0]):
            held.append(_slice(block, start, len(block[0])))
            n_held += len(block[0]) - start
    if held:
        yield _joined(held)


def _slice(block: Block, start: int, stop: int) -> Block:
    X, y, weight = (None if part is None else part[start:stop] for part in block)
    assert X is not None
    return X, y, weight


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    X, y, weight = (
        None if parts[0] is None else torch.cat(parts) for parts in zip(*blocks, strict=True)
    )
    assert X is not None
    return X, y, weight

"""Streams: rows that come in blocks, one after the other, in an order of their own."""

from collections.abc import Callable, Iterable, Iterator
from operator import methodcaller
from typing import Any, Protocol

import torch
from torch import Tensor

from .arrays import ArrayRows, as_tensor
from .blocks import Block
from .prefetch import read_ahead
from .row_source import Rows, View
from .sparse import SparseRows

_FEW_NUMBERS = 100_000


class Reader(Protocol):
    """Reads the blocks of a stream, pass after pass.

    Attributes
    ----------
    n_rows, n_weighted : int or None
        How many rows there are, and how many with weight; None until a pass has counted them.
    rereadable : bool
        Whether there can be more than one pass.
    """

    n_rows: int | None
    n_weighted: int | None
    rereadable: bool

    @property
    def n_features(self) -> int:
        """The number of columns of X."""

    @property
    def n_targets(self) -> int:
        """The number of columns of y."""

    def blocks(self) -> Iterator[tuple]:
        """Return an iterator over ``(X, y, sample_weight)`` that begins with the first block."""

    def ahead(self, count: int) -> list[tuple]:
        """Return the blocks that hold the first ``count`` rows; the next pass begins with them."""

    def as_sparse(self, X: Any) -> Any:
        """Return the X of a block as a sparse matrix, where that of the first block is one."""


class StreamRows(Rows):
    """The rows of a stream, in its order.

    Parameters
    ----------
    reader : Reader
    device : torch.device
    first : int, default=0
        The number of the first row, counted over all partitions.
    """

    indexed = False

    def __init__(self, reader: Reader, device: torch.device, first: int = 0):
        self.reader, self.device, self.first = reader, device, first
        self.n_features, self.n_targets = reader.n_features, reader.n_targets
        self.rereadable, self.sent = reader.rereadable, device.type == "cuda"

    @property
    def n_rows(self) -> int:
        """The number of rows; to count them takes a pass if there was none."""
        if self.reader.n_rows is None:
            for _ in self.reader.blocks():
                pass
        assert self.reader.n_rows is not None, "the pass has counted them"
        return self.reader.n_rows

    @property
    def counted(self) -> int | None:
        """None: the rows are counted as they are read."""
        return None

    @property
    def n_weighted(self) -> int | None:
        """The number of rows with weight; None until a pass has counted them."""
        return self.reader.n_weighted

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer than ``count`` rows; no more than those are read."""
        if self.reader.n_rows is None:
            return sum(X.shape[0] for X, *_ in self.reader.ahead(count)) < count
        return self.reader.n_rows < count

    def held(self, count: int) -> ArrayRows | None:
        """Return the rows in memory if there are few of them, else None; see ``Rows``."""
        if count * self.n_features > _FEW_NUMBERS or not self.fewer_than(count + 1):
            return None
        X, y, weight = _joined(list(_tensors(self.reader.blocks(), count, torch.device("cpu"))))
        return ArrayRows(X, y, None if weight is None else weight.numpy(), self.device)

    def head(self, size: int) -> Block | None:
        """Return the first ``size`` rows; None if there are none."""
        return next(_of_size(_tensors(self.reader.ahead(size), size, self.device), size), None)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device; see ``Rows``."""
        assert order is None, "a stream has an order of its own"
        # Blocks in the memory of the host are sent to a card once they have their size.
        here = None if self.sent else self.device
        blocks = _tensors(self.reader.blocks(), size, here)
        yield from read_ahead(_of_size(blocks, size), self.device)

    def every(self, step: int) -> "ThinnedStream":
        """Return every ``step``-th row."""
        return ThinnedStream(self, step)


class SparseStreamRows(StreamRows):
    """The rows of a stream of sparse matrices, whose zeros are neither kept nor computed with."""

    sparse = True

    def held(self, count: int) -> None:
        """Return None, as the rows would be in memory with their zeros."""
        return None

    @property
    def filled(self) -> Tensor:
        """Which columns of the first block are mostly filled."""
        return next(self._sparse(self.reader.ahead(1))).filled

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, Z, sample_weight)`` block by block; see ``Rows``."""
        for rows in self._sparse(self.reader.blocks()):
            yield from rows.centred(shift, scale)

    def _sparse(self, blocks: Iterable[tuple]) -> Iterator[SparseRows]:
        for X, y, weight in blocks:
            yield SparseRows(self.reader.as_sparse(X), y, weight, self.device)


class ThinnedStream(View):
    """Every ``step``-th row of a stream.

    Parameters
    ----------
    source : Rows
    step : int
    """

    def __init__(self, source: Rows, step: int):
        super().__init__(source)
        self.step = step

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that takes every ``step``-th row of another source."""
        return methodcaller("every", self.step)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return -(-self.source.n_rows // self.step)

    @property
    def n_weighted(self) -> None:
        """None: it takes a pass to know how many of these rows have weight."""
        return None

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer than ``count`` rows."""
        return self.n_rows < count

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        return Rows.mean_weight(self)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` of these rows."""
        start = 0
        for block in self.source.blocks(size, order):
            chosen = slice(-start % self.step, None, self.step)
            start += len(block[0])
            if chosen.start < len(block[0]):
                yield _sliced(block, chosen)

    def view_block(self, block: Block) -> Block:
        """Return every ``step``-th row of a block with the first rows."""
        return _sliced(block, slice(None, None, self.step))

    def every(self, step: int) -> "ThinnedStream":
        """Return every ``step``-th of these rows."""
        return ThinnedStream(self.source, self.step * step)


def _tensors(blocks: Iterable[tuple], size: int, device: torch.device | None) -> Iterator[Block]:
    """Yield the blocks as tensors, with at most ``size`` rows each.

    They are on the device; None for where the rows of each block are, on a card or the processor.
    """
    for block in blocks:
        here = device or (block[0].device if isinstance(block[0], Tensor) else torch.device("cpu"))
        for start in range(0, block[0].shape[0], size):
            X, y, weight = (
                None if part is None else as_tensor(part[start : start + size], here)
                for part in block
            )
            assert X is not None
            yield X, (y[:, None] if y is not None and y.ndim == 1 else y), weight


def _of_size(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Yield the same rows in blocks of ``size`` rows, the last of which may be smaller."""
    held: list[Block] = []
    n_held = 0
    for block in blocks:
        start = 0
        while n_held + len(block[0]) - start >= size:
            stop = start + size - n_held
            yield _joined([*held, _sliced(block, slice(start, stop))])
            start, held, n_held = stop, [], 0
        if start < len(block[0]):
            held.append(_sliced(block, slice(start, None)))
            n_held += len(block[0]) - start
    if held:
        yield _joined(held)


def _sliced(block: Block, rows: slice) -> Block:
    X, y, weight = (None if part is None else part[rows] for part in block)
    assert X is not None
    return X, y, weight


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    X, y, weight = (
        None if parts[0] is None else _stacked(parts) for parts in zip(*blocks, strict=True)
    )
    assert X is not None
    return X, y, weight


def _stacked(parts: tuple[Tensor, ...]) -> Tensor:
    """Return the rows of all parts; columns that are contiguous in the first stay so."""
    if any(part.is_cuda for part in parts):  # some blocks may have been on a card, and others not
        device = next(part.device for part in parts if part.is_cuda)
        parts = tuple(part.to(device) for part in parts)
    if parts[0].ndim == 2 and parts[0].stride(0) < parts[0].stride(1):
        return torch.cat([part.T for part in parts], 1).T
    return torch.cat(parts)

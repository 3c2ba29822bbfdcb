"""Where rows come from: what every row source has, arrays, and parts of a source."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._ahead import read_ahead

Block = tuple[Tensor, Any, Tensor | None]  # y is None in rows to predict

_DIRECT = (np.dtype(np.float32), np.dtype(np.float64))
_CPU_BLOCK_BYTES = 8 << 20  # stays in the cache between the centring and the products
_DEVICE_BLOCK_BYTES = 128 << 20


class OutOfRangeError(ArithmeticError):
    """A sum over the rows is not finite, or so small that its digits are lost."""


class NoWeightError(ValueError):
    """No row has a weight."""

    def __init__(self) -> None:
        super().__init__("Sample weights must contain at least one non-zero number.")


class Rows(ABC):
    """What every row source has, wherever its rows are.

    What a solver wants of rows are sums, and these add: over blocks, and over the places that rows
    may be spread over. So a function goes to the rows, by ``total``, and not the rows to the
    function. Where single rows are wanted, ``blocks`` brings them.

    Attributes
    ----------
    device : torch.device
    n_rows, n_features, n_targets : int
    basis : Basis or None
        That made the columns; None where they are the caller's.
    by_column : bool
        Whether a column of a block is contiguous rather than a row.
    sparse : bool
        Whether the rows are kept without their zeros; see ``SparseRows``.
    indexed : bool
        Whether rows can be read in any order.
    rereadable : bool
        Whether they can be read again.
    spread : bool
        Whether the rows are in other places.
    n_places : int
        How many places share them.
    first : int
        The number, among the rows of all places, of the first row here.
    halvings : int
        How often memory was short for a block.
    """

    basis: Any = None
    by_column, sparse, spread = False, False, False
    indexed, rereadable = True, True
    n_places, first, halvings = 1, 0, 0
    device: torch.device
    n_rows: Any
    n_features: int
    n_targets: int

    @abstractmethod
    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device, ``size`` rows at a time.

        Parameters
        ----------
        size : int
        order : Tensor of shape (n_ordered,), default=None
            The numbers of the rows to yield, in their order, which may leave out some and repeat
            others; None for each once.
        """

    @abstractmethod
    def every(self, step: int) -> "Rows":
        """Return every so many-th of the rows, without a copy."""

    def taken(self, index: Tensor) -> "Rows":
        """Return the rows with these numbers, which rise, without a copy."""
        raise TypeError("rows that cannot be read in any order cannot be chosen from")

    def total(self, add_up: Callable[[Any], tuple]) -> tuple:
        """Return ``add_up(rows)``, added over all places.

        Where memory is short for a block, the pass begins again with blocks of half the size.

        Parameters
        ----------
        add_up : callable
            Returns a tuple of tensors, floats and lists; lists are added end to end. It can be
            pickled.
        """
        while True:
            try:
                return add_up(self)
            except torch.OutOfMemoryError:
                if self.room(1, 1) == 1 or not self.rereadable:
                    raise
                self.halvings += 1
                self.staging.clear()

    @property
    def staging(self) -> dict[torch.dtype, Tensor]:
        """The memory that blocks are staged in."""
        return vars(self).setdefault("_staging", {})

    def room(self, width: int, itemsize: int) -> int:
        """Return how many rows of so many numbers there is memory for in a block."""
        return max(block_rows(width, itemsize, self.device) >> self.halvings, 1)

    def bound(self, width: int, itemsize: int) -> int:
        """Return how many rows of so many numbers a block has."""
        return max(min(self.room(width, itemsize), self.n_rows), 1)

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer rows."""
        return self.n_rows < count

    def head(self, size: int) -> Block | None:
        """Return the first rows; None where there are none."""
        return next(self.blocks(size), None)

    def columns(self, index: Tensor) -> "Rows":
        """Return the rows with some of the columns."""
        return ColumnRows(self, index)

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        count, weight = self.total(_weigh)
        return weight / count


def _weigh(rows: Rows) -> tuple[float, float]:
    """Return the number of rows and the sum of their weights."""
    if isinstance(rows, ArrayRows):
        return float(rows.n_rows), rows.n_rows * rows.mean_weight()
    count, total = 0.0, 0.0
    for X, _, weight in rows.blocks(rows.bound(rows.n_features, 8)):
        count += len(X)
        total += len(X) if weight is None else float(weight.sum())
    return count, total


class ArrayRows(Rows):
    """Blocks of rows of arrays, tensors or frames that can be sliced.

    Parameters
    ----------
    X : sliceable of shape (n_rows, n_features)
    y : sliceable of shape (n_rows,) or (n_rows, n_targets)
    sample_weight : ndarray of shape (n_rows,) or None
    device : torch.device
    first : int, default=0
        The number of the first row, among those of all places.
    """

    def __init__(self, X: Any, y: Any, sample_weight: Any, device: torch.device, first: int = 0):
        self.arrays = X, y, sample_weight
        self._start, self._step = 0, 1
        self._index: Tensor | None = None
        self.device, self.first = device, first
        self.n_rows, self.n_features = X.shape
        self.n_targets = 1 if y is None or len(y.shape) == 1 else y.shape[1]

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        weight = self.arrays[2]
        if weight is None or not self.n_rows:
            return 1.0
        rows = slice(self._start, None, self._step) if self._index is None else self._index.numpy()
        return float(weight[rows].mean())

    def every(self, step: int) -> "ArrayRows":
        """Return every so many-th of the rows, without a copy."""
        start = -self.first % step
        thinned = self._part(max(-(-(self.n_rows - start) // step), 0))
        thinned.first = -(-self.first // step)
        if self._index is None:
            thinned._start, thinned._step = self._start + start * self._step, self._step * step
        else:
            thinned._index = self._index[start::step]
        return thinned

    def taken(self, index: Tensor) -> "ArrayRows":
        """Return the rows with these numbers, which rise, without a copy."""
        first, stop = torch.searchsorted(
            index, torch.tensor([self.first, self.first + self.n_rows])
        )
        part = self._part(int(stop - first))
        part._index, part.first = self._numbers(index[first:stop] - self.first), int(first)
        return part

    def _part(self, n_rows: int) -> "ArrayRows":
        part = copy.copy(self)
        vars(part).pop("_staging", None)
        part.n_rows = n_rows
        return part

    def head(self, size: int) -> Block | None:
        """Return the first rows, and read no others; None where there are none."""
        return next(self._blocks(size, None, self.device), None)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device; see ``Rows``."""
        X = self.arrays[0]
        to_card = self.device.type == "cuda" and not (isinstance(X, Tensor) and X.is_cuda)
        if to_card:
            return read_ahead(self._blocks(size, order, torch.device("cpu")), self.device)
        blocks = self._blocks(size, order, self.device)
        return read_ahead(blocks, self.device) if getattr(X, "ahead", False) else blocks

    def _blocks(self, size: int, order: Tensor | None, device: torch.device) -> Iterator[Block]:
        for start in range(0, self.n_rows if order is None else len(order), size):
            rows = self._chosen(slice(start, start + size), order)
            X, y, weight = (
                None if column is None else rows_of(column, rows, device) for column in self.arrays
            )
            assert X is not None
            yield X, (y[:, None] if y is not None and y.ndim == 1 else y), weight

    def _chosen(self, part: slice, order: Tensor | None) -> slice | Tensor:
        """Return which rows of the columns are a part of the order."""
        if order is not None:
            return self._numbers(order[part])
        if self._index is not None:
            return self._index[part]
        start, step = self._start, self._step
        stop = start + min(part.stop, self.n_rows) * step
        return slice(start + part.start * step, stop, step)

    def _numbers(self, index: Tensor) -> Tensor:
        """Return the place in the columns of rows of this source."""
        return self._start + index * self._step if self._index is None else self._index[index]


class View(Rows):
    """The rows of another source, seen in another way.

    Parameters
    ----------
    source : Rows
    """

    def __init__(self, source: Any):
        self.source = source
        self.device, self.n_targets, self.n_features = (
            source.device,
            source.n_targets,
            source.n_features,
        )
        self.basis, self.by_column, self.first = source.basis, source.by_column, source.first
        self.indexed, self.rereadable = source.indexed, source.rereadable
        self.spread, self.n_places, self.halvings = source.spread, source.n_places, source.halvings

    @abstractmethod
    def of(self) -> Callable[[Rows], Rows]:
        """Return what sees any other source in the same way."""

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.source.n_rows

    def bound(self, width: int, itemsize: int) -> int:
        """Return how many rows of so many numbers a block has."""
        return min(self.room(width, itemsize), self.source.bound(width, itemsize))

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer rows."""
        return self.source.fewer_than(count)

    def head(self, size: int) -> Block | None:
        """Return the first rows; None where there are none."""
        if not self.spread:
            return super().head(size)
        block = self.source.head(size)
        if block is None:
            return None
        X, y, weight = block
        return self.of()(ArrayRows(X, y, weight, self.device)).head(size)

    def total(self, add_up: Callable[[Any], tuple]) -> tuple:
        """Return ``add_up(rows)``, added over all places; see ``Rows``."""
        if self.spread:
            return self.source.total(partial(_seen, add_up, self.of()))
        return super().total(add_up)

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        return self.source.mean_weight()

    def every(self, step: int) -> Rows:
        """Return every so many-th of the rows."""
        return self.of()(self.source.every(step))

    def taken(self, index: Tensor) -> Rows:
        """Return the rows with these numbers."""
        return self.of()(self.source.taken(index))


def _seen(add_up: Callable[[Any], tuple], view: Callable[[Rows], Rows], rows: Rows) -> tuple:
    return view(rows).total(add_up)


class ColumnRows(View):
    """Some of the columns of a row source.

    Parameters
    ----------
    source : Rows
    index : Tensor of shape (n_features,)
    """

    def __init__(self, source: Any, index: Tensor):
        super().__init__(source)
        self.index, self.basis, self.n_features = index, None, len(index)

    def of(self) -> Callable[[Rows], Rows]:
        """Return what takes these columns of any other source."""
        return partial(_columns_of, index=self.index)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with those columns of X."""
        index = self.index.to(self.device)
        # No more of the source at a time than its own width allows.
        size = min(size, self.source.bound(self.source.n_features, 8))
        for X, y, weight in self.source.blocks(size, order):
            yield X.index_select(1, index), y, weight


def _columns_of(rows: Rows, index: Tensor) -> Rows:
    return rows.columns(index)


class TargetRows(View):
    """A row source with one of its targets.

    Parameters
    ----------
    source : Rows
    target : int
    """

    def __init__(self, source: Any, target: int):
        super().__init__(source)
        self.target, self.n_targets, self.sparse = target, 1, source.sparse

    def of(self) -> Callable[[Rows], Rows]:
        """Return what takes this target of any other source."""
        return partial(TargetRows, target=self.target)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with that column of y."""
        for X, y, weight in self.source.blocks(size, order):
            yield X, y[:, self.target : self.target + 1], weight

    @property
    def filled(self) -> Tensor:
        """Which columns of sparse rows are mostly filled."""
        return self.source.filled

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, columns, sample_weight)`` of sparse rows with that column of y."""
        for y, columns, weight in self.source.centred(shift, scale):
            yield y[:, self.target : self.target + 1], columns, weight


def rows_of(column: Any, rows: slice | Tensor, device: torch.device) -> Tensor:
    """Return some rows of a column, or table, as a float tensor on the device."""
    if isinstance(rows, slice):
        return as_tensor(column[rows], device)
    if isinstance(column, np.ndarray) and _is_direct(column):
        column = as_tensor(column, torch.device("cpu"))  # torch gathers faster than NumPy
    if isinstance(column, Tensor):
        return as_tensor(column.detach().index_select(0, rows.to(column.device)), device)
    return as_tensor(column[rows.numpy()], device)


def _is_direct(array: np.ndarray) -> bool:
    """Return whether torch can read the array where it lies, as the floats that are wanted."""
    plain = array.dtype in _DIRECT and array.dtype.isnative and array.flags.aligned
    return plain and min(array.strides, default=0) >= 0


def as_tensor(block: Any, device: torch.device) -> Tensor:
    """Return a block as a float tensor on the device, without a copy where none is needed."""
    if isinstance(block, np.ndarray):
        if not _is_direct(block):
            narrow = block.dtype.kind == "f" and block.dtype.itemsize < 4
            block = np.array(block, dtype=np.float32 if narrow else np.float64, order="K")
            block = np.ascontiguousarray(block) if min(block.strides, default=0) < 0 else block
        # from_numpy warns of a read-only array; the blocks are never written to.
        convert = torch.from_numpy if block.flags.writeable else torch.from_dlpack
        block = convert(block)
    elif block.dtype not in (torch.float32, torch.float64):
        narrow = block.dtype in (torch.float16, torch.bfloat16)
        block = block.to(torch.float32 if narrow or device.type == "mps" else torch.float64)
    if device.type == "mps":
        block = block.to(torch.float32)
    return block.detach().to(device)


def block_rows(width: int, itemsize: int, device: torch.device) -> int:
    """Return how many rows of that width make a block: a power of two, which products like."""
    budget, most = (
        (_CPU_BLOCK_BYTES, 1 << 14) if device.type == "cpu" else (_DEVICE_BLOCK_BYTES, 1 << 20)
    )
    rows = max(budget // (width * itemsize), 16)
    return min(1 << (rows.bit_length() - 1), most)

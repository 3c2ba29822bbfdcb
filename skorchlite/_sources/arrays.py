"""Rows of arrays, tensors and tables, which are sliced block by block."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._linalg.views import viewed
from .blocks import Block
from .prefetch import read_ahead
from .row_source import Rows

_KEPT_ENTRIES = 1 << 16  # of X, of which a copy in another type is kept
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class ArrayRows(Rows):
    """The rows of arrays, tensors or tables.

    Parameters
    ----------
    X : sliceable of shape (n_rows, n_features)
    y : sliceable of shape (n_rows,) or (n_rows, n_targets)
    sample_weight : ndarray of shape (n_rows,) or None
    device : torch.device
    first : int, default=0
        The number of the first row, counted over all partitions.
    """

    n_rows: int = 0

    def __init__(self, X: Any, y: Any, sample_weight: Any, device: torch.device, first: int = 0):
        self.arrays = X, y, sample_weight
        self._start, self._step = 0, 1
        self._index: Tensor | None = None
        self.device, self.first = device, first
        self.n_rows, self.n_features = X.shape
        self.n_targets = 1 if y is None or len(y.shape) == 1 else y.shape[1]
        on_card = isinstance(X, Tensor) and X.is_cuda
        self.sent = device.type == "cuda" and not on_card
        if on_card and X.device == device:
            # The rest goes there whole: each block would else wait for its targets and weights.
            rest = (None if c is None else as_tensor(c, X.device) for c in (y, sample_weight))
            self.arrays = X, *rest

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        weight = self._weight
        return 1.0 if weight is None or not self.n_rows else float(weight.mean())

    @property
    def n_weighted(self) -> int:
        """The number of rows with weight."""
        weight = self._weight
        return self.n_rows if weight is None else int((weight > 0).sum())

    @property
    def _weight(self) -> Any:
        """The weights of these rows, of NumPy or torch; None if they have none."""
        weight = self.arrays[2]
        if weight is None:
            return None
        if isinstance(weight, Tensor):
            return rows_of(weight, self._chosen(slice(0, self.n_rows), None), weight.device)
        rows = slice(self._start, None, self._step) if self._index is None else self._index.numpy()
        return weight[rows]

    def weighed(self) -> tuple[float, float]:
        """Return the number of rows in this partition, and the sum of their weights."""
        return float(self.n_rows), self.n_rows * self.mean_weight()

    def every(self, step: int) -> "ArrayRows":
        """Return every ``step``-th row, counted over all partitions, without a copy."""
        start = -self.first % step
        thinned = self._part(max(-(-(self.n_rows - start) // step), 0))
        thinned.first = -(-self.first // step)
        if self._index is None:
            thinned._start, thinned._step = self._start + start * self._step, self._step * step
        else:
            thinned._index = self._index[start::step]
        return thinned

    def taken(self, index: Tensor) -> "ArrayRows":
        """Return the rows with these numbers, in ascending order, without a copy."""
        first, stop = torch.searchsorted(
            index, torch.tensor([self.first, self.first + self.n_rows])
        )
        part = self._part(int(stop - first))
        part._index, part.first = self._numbers(index[first:stop] - self.first), int(first)
        return part

    def _part(self, n_rows: int) -> "ArrayRows":
        part = copy.copy(self)
        for made in ("_staging", "_kept_block"):
            vars(part).pop(made, None)
        part.n_rows = n_rows
        return part

    def head(self, size: int) -> Block | None:
        """Return the first ``size`` rows, and read no others; None if there are none."""
        if not self._are_few:
            return next(self._blocks(size, None, self.device), None)
        X, y, weight = self._single_block
        y, weight = (None if part is None else part[:size] for part in (y, weight))
        return X[:size], y, weight

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device; see ``Rows``."""
        X = self.arrays[0]
        if self.sent:
            return read_ahead(self._blocks(size, order, torch.device("cpu")), self.device)
        if getattr(X, "ahead", False):
            return read_ahead(self._blocks(size, order, self.device), self.device)
        return self._blocks(size, order, self.device, reuse=True)

    def gathered(self, order: Tensor, place: Tensor) -> Iterator[Block]:
        """Yield blocks of the rows with these numbers, as many at a time as ``place`` has.

        Their X may be the first rows of ``place``, which saves to write it twice.
        """
        if self.sent or getattr(self.arrays[0], "ahead", False):
            return self.blocks(len(place), order)
        return self._blocks(len(place), order, self.device, place, reuse=True)

    def _blocks(
        self,
        size: int,
        order: Tensor | None,
        device: torch.device,
        place: Tensor | None = None,
        reuse: bool = False,
    ) -> Iterator[Block]:
        """Yield blocks; with ``reuse`` the next one may overwrite the X that was gathered.

        The first one is gathered into ``place``, if it may be.
        """
        if order is None and 0 < self.n_rows <= size and device == self.device:
            yield self._single_block
            return
        for start in range(0, self.n_rows if order is None else len(order), size):
            rows = self._chosen(slice(start, start + size), order)
            block = self._block(rows, device, place)
            if reuse and not start and isinstance(rows, Tensor):
                place = block[0]
            yield block

    @property
    def _are_few(self) -> bool:
        """Whether a block of all rows is kept: few rows are asked for often."""
        return 0 < self.n_rows * self.n_features <= _KEPT_ENTRIES

    @property
    def _single_block(self) -> Block:
        """All rows as one block, which is kept if they are few."""
        block = vars(self).get("_kept_block")
        if block is None:
            block = self._block(self._chosen(slice(0, self.n_rows), None), self.device)
            if self._are_few:
                self._kept_block = block
        return block

    def _block(
        self, rows: slice | Tensor, device: torch.device, place: Tensor | None = None
    ) -> Block:
        array, *others = self.arrays
        X = rows_of(array, rows, device, place)
        y, weight = (None if part is None else rows_of(part, rows, device) for part in others)
        return X, (y[:, None] if y is not None and y.ndim == 1 else y), weight

    def _chosen(self, part: slice, order: Tensor | None) -> slice | Tensor:
        """Return where in the arrays the rows of a part of the order are."""
        if order is not None:
            return self._numbers(order[part])
        if self._index is not None:
            return self._index[part]
        start, step = self._start, self._step
        stop = start + min(part.stop, self.n_rows) * step
        return slice(start + part.start * step, stop, step)

    def _numbers(self, index: Tensor) -> Tensor:
        """Return where in the arrays the rows with these numbers are."""
        return self._start + index * self._step if self._index is None else self._index[index]


def rows_of(
    array: Any, rows: slice | Tensor, device: torch.device, place: Tensor | None = None
) -> Tensor:
    """Return some rows of an array or table as a float tensor on the device.

    Rows that are gathered are written to the first ones of ``place``, if they may be: to touch new
    memory costs more than to gather.
    """
    if isinstance(rows, slice):
        return as_tensor(array[rows], device)
    if isinstance(array, np.ndarray) and _is_direct(array):
        array = as_tensor(array, torch.device("cpu"))  # torch gathers faster than NumPy
    if isinstance(array, Tensor):
        array, rows = array.detach(), rows.to(array.device)
        fits = place is not None and len(rows) <= len(place) and place.dtype == array.dtype
        if place is not None and fits and place.device == array.device == device:
            return torch.index_select(array, 0, rows, out=place[: len(rows)])
        return as_tensor(array.index_select(0, rows), device)
    return as_tensor(array[rows.numpy()], device)


def _is_direct(array: np.ndarray) -> bool:
    """Return whether torch can read an array where it lies, as the floats that blocks have."""
    plain = array.dtype in _FLOATS and array.dtype.isnative and array.flags.aligned
    return plain and min(array.strides, default=0) >= 0


def as_tensor(block: Any, device: torch.device) -> Tensor:
    """Return a block as a float tensor on the device, without a copy where none is needed."""
    if isinstance(block, np.ndarray):
        if not _is_direct(block):
            narrow = block.dtype.kind == "f" and block.dtype.itemsize < 4
            block = np.array(block, dtype=np.float32 if narrow else np.float64, order="K")
            block = np.ascontiguousarray(block) if min(block.strides, default=0) < 0 else block
        block = viewed(block)
        if device.type == "cpu":
            return block
    elif block.dtype not in (torch.float32, torch.float64):
        narrow = block.dtype in (torch.float16, torch.bfloat16)
        block = block.to(torch.float32 if narrow or device.type == "mps" else torch.float64)
    if device.type == "mps":
        block = block.to(torch.float32)
    return block.detach().to(device)

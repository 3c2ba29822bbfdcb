"""Where rows come from, and how a block of them is staged for the sums."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Block = tuple[Tensor, Any, Tensor | None]  # y is None in rows to predict

_DIRECT = (np.dtype(np.float32), np.dtype(np.float64))
_CPU_BLOCK_BYTES = 8 << 20  # stays in the cache between the centring and the products
_DEVICE_BLOCK_BYTES = 128 << 20
_PILOT_ROWS = 256


class OutOfRangeError(ArithmeticError):
    """A sum over the rows is not finite, or so small that its digits are lost."""


class ArrayRows:
    """Blocks of rows of arrays, tensors or frames that can be sliced.

    Parameters
    ----------
    X : sliceable of shape (n_rows, n_features)
    y : sliceable of shape (n_rows,) or (n_rows, n_targets)
    sample_weight : ndarray of shape (n_rows,) or None
    device : torch.device
    """

    basis = None  # the columns are those of the caller
    by_column = False  # whether a column of a block is contiguous rather than a row

    def __init__(self, X: Any, y: Any, sample_weight: Any, device: torch.device):
        self._columns = (X, y, sample_weight)
        self._step = 1
        self._index: Tensor | None = None
        self.staging: dict[torch.dtype, Tensor] = {}
        self.device = device
        self.n_rows, self.n_features = X.shape
        self.n_targets = 1 if y is None or len(y.shape) == 1 else y.shape[1]

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        weight = self._columns[2]
        if weight is None:
            return 1.0
        rows = slice(0, None, self._step) if self._index is None else self._index.numpy()
        return float(weight[rows].mean())

    def every(self, step: int) -> "ArrayRows":
        """Return every so many-th of the rows, without a copy."""
        thinned = copy.copy(self)
        thinned.staging = {}
        if self._index is None:
            thinned._step = self._step * step
        else:
            thinned._index = self._index[::step]
        thinned.n_rows = -(-self.n_rows // step)
        return thinned

    def taken(self, index: Tensor) -> "ArrayRows":
        """Return the rows with these numbers, without a copy."""
        part = copy.copy(self)
        part.staging = {}
        part._index = self._numbers(index)
        part.n_rows = len(index)
        return part

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device, ``size`` rows at a time.

        Parameters
        ----------
        size : int
        order : Tensor of shape (n_ordered,), default=None
            The numbers of the rows to yield, in their order, which may leave out some and repeat
            others; None for each once.
        """
        for start in range(0, self.n_rows if order is None else len(order), size):
            rows = self._chosen(slice(start, start + size), order)
            X, y, weight = (
                None if column is None else _rows_of(column, rows, self.device)
                for column in self._columns
            )
            assert X is not None
            yield X, (y[:, None] if y is not None and y.ndim == 1 else y), weight

    def _chosen(self, part: slice, order: Tensor | None) -> slice | Tensor:
        """Return which rows of the columns are a part of the order."""
        if order is not None:
            return self._numbers(order[part])
        if self._index is not None:
            return self._index[part]
        step = self._step
        return slice(part.start * step, min(part.stop, self.n_rows) * step, step)

    def _numbers(self, index: Tensor) -> Tensor:
        """Return the place in the columns of rows of this source."""
        return index * self._step if self._index is None else self._index[index]


class ColumnRows:
    """Some of the columns of a row source.

    Parameters
    ----------
    source : row source
    index : Tensor of shape (n_features,)
    """

    basis = None

    def __init__(self, source: Any, index: Tensor):
        self.source, self.index = source, index
        self.staging: dict[torch.dtype, Tensor] = {}
        self.device, self.n_rows, self.n_targets = source.device, source.n_rows, source.n_targets
        self.n_features, self.by_column = len(index), source.by_column

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with those columns of X."""
        index = self.index.to(self.device)
        # No more of the source at a time than its own width allows.
        size = min(size, block_rows(self.source.n_features, torch.float64, self.device))
        for X, y, weight in self.source.blocks(size, order):
            yield X.index_select(1, index), y, weight


class TargetRows:
    """A row source with one of its targets.

    Parameters
    ----------
    source : row source
    target : int
    """

    n_targets = 1

    def __init__(self, source: Any, target: int):
        self.source, self.target = source, target
        self.staging: dict[torch.dtype, Tensor] = {}
        self.device, self.n_rows, self.basis = source.device, source.n_rows, source.basis
        self.n_features, self.by_column = source.n_features, source.by_column

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        return self.source.mean_weight()

    def every(self, step: int) -> "TargetRows":
        """Return every so many-th of the rows."""
        return TargetRows(self.source.every(step), self.target)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with that column of y."""
        for X, y, weight in self.source.blocks(size, order):
            yield X, y[:, self.target : self.target + 1], weight


def _rows_of(column: Any, rows: slice | Tensor, device: torch.device) -> Tensor:
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


@dataclass(frozen=True)
class Origin:
    """Where the columns are measured from, and in which unit: ``(column - shift) / scale``.

    ``scale`` holds powers of two, so that dividing is exact; it is None where every scale is 1.
    """

    shift: Tensor  # (n_targets + n_features,) float64: the targets, then the features
    scale: Tensor | None = None

    def unit(self) -> Tensor:
        """Return the scales, ones where there are none."""
        return torch.ones_like(self.shift) if self.scale is None else self.scale

    def for_plain_targets(self, n_targets: int, shifted: bool) -> "Origin":
        """Return the origin with targets in their own unit, and from zero unless ``shifted``."""
        shift = self.shift.clone()
        shift[:n_targets] *= shifted
        if self.scale is None:
            return Origin(shift)
        scale = self.scale.clone()
        scale[:n_targets] = 1
        return Origin(shift, scale)


def staged(
    rows: Any,
    origin: Origin,
    dtype: torch.dtype,
    size: int | None = None,
    order: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield ``(A, sample_weight)`` block by block, ``A = [targets, features, 1, padding]``.

    Targets and features are measured from the origin. The buffer behind ``A`` is used again for
    the next block. Its width is a multiple of four (padded with zeros): matrix products on a
    processor lose up to a third of their speed on other widths.

    Parameters
    ----------
    rows : row source
    origin : Origin
    dtype : torch.dtype
    size : int, default=None
        Rows of a block; None for as many as its memory allows.
    order : Tensor of shape (n_ordered,), default=None
        Which rows, in which order; None for each once.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    width = -(-(k + 1) // 4) * 4
    size = size or min(block_rows(width, dtype, rows.device), rows.n_rows)
    # Subtracting in double and rounding once keeps the digits of data far from zero.
    exact = torch.float32 if rows.device.type == "mps" else torch.float64
    shift = origin.shift.to(rows.device, exact)
    buffer = _buffer(rows, (size, width), dtype)
    buffer[:, k:] = 0
    buffer[:, k] = 1
    for X, y, weight in rows.blocks(size, order):
        A = buffer[: len(X)]
        torch.sub(y, shift[:t], out=A[:, :t])
        torch.sub(X, shift[t:], out=A[:, t:k])
        if origin.scale is not None:
            A[:, :k] /= origin.scale.to(rows.device, dtype)
        if weight is not None:
            A[:, k] = 1  # a weighted sum scales the rows in place
        yield A, weight


def _buffer(rows: Any, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Return the memory that blocks are staged in, which the source keeps from pass to pass.

    To touch new memory costs a processor as much as to fill it.
    """
    buffer = rows.staging.get(dtype)
    if buffer is None or len(buffer) < shape[0]:
        # In the layout of the blocks, since writing across it is slow.
        layout = shape[::-1] if rows.by_column else shape
        buffer = torch.empty(layout, dtype=dtype, device=rows.device)
        buffer = rows.staging[dtype] = buffer.T if rows.by_column else buffer
    return buffer[: shape[0]]


def predicted(
    rows: Any, coef: np.ndarray, intercept: np.ndarray, dtype: torch.dtype | None = None
) -> Tensor:
    """Return the raw predictions of all rows, computed in double precision block by block.

    Parameters
    ----------
    rows : row source
    coef : ndarray of shape (n_targets, n_features)
    intercept : ndarray of shape (n_targets,)
    dtype : torch.dtype, default=None
        Of the result; None for that of the computation.
    """
    double = torch.float32 if rows.device.type == "mps" else torch.float64
    W = torch.from_numpy(coef.T.copy()).to(rows.device, double)
    b = torch.from_numpy(intercept).to(rows.device, double)
    out = torch.empty(rows.n_rows, len(b), dtype=dtype or double, device=rows.device)
    start = 0
    for X, _, _ in rows.blocks(block_rows(rows.n_features, double, rows.device)):
        stop = start + len(X)
        torch.add(X.to(double) @ W, b, out=out[start:stop])
        start = stop
    return out


def block_rows(width: int, dtype: torch.dtype, device: torch.device) -> int:
    """Return how many rows of that width make a block: a power of two, which products like."""
    budget, most = (
        (_CPU_BLOCK_BYTES, 1 << 14) if device.type == "cpu" else (_DEVICE_BLOCK_BYTES, 1 << 20)
    )
    rows = max(budget // (width * dtype.itemsize), 16)
    return min(1 << (rows.bit_length() - 1), most)


def pilot_origin(rows: Any, centre: bool) -> Origin:
    """Return an origin near the data, from its first rows.

    The shift of a constant column is exactly its value, so that its products are exactly zero.
    """
    size = min(_PILOT_ROWS, block_rows(rows.n_features, torch.float64, rows.device))
    X, y, weight = next(rows.blocks(size))
    if weight is not None and (weight > 0).any():
        X, y = X[weight > 0], y[weight > 0]
    columns = torch.cat((y.to("cpu", torch.float64), X.to("cpu", torch.float64)), 1)
    first = columns[0]
    return Origin(first + (columns - first).mean(0) if centre else torch.zeros_like(first))


def plain_origin(rows: Any, centre: bool) -> Origin:
    """Return the origin of the columns as they are."""
    return Origin(torch.zeros(rows.n_targets + rows.n_features, dtype=torch.float64))


def widest_origin(rows: Any, centre: bool) -> Origin:
    """Return an origin, from a pass over the data, in whose units no number exceeds 1."""
    first = torch.nan_to_num(pilot_origin(rows, centre).shift, 0.0, 0.0, 0.0)
    size = torch.zeros_like(first)
    for X, y, _ in rows.blocks(block_rows(rows.n_features, torch.float64, rows.device)):
        columns = torch.cat([block.to("cpu", torch.float64) for block in (y, X)], 1)
        size = torch.maximum(size, (columns - first).abs().amax(0))
    return Origin(first, power_of_two(size))


def power_of_two(size: Tensor) -> Tensor:
    """Return the power of two next above each size (1 for a size of zero)."""
    exponent = torch.frexp(size).exponent.clamp(-1020, 1020)
    return torch.ldexp(torch.ones_like(size), exponent)

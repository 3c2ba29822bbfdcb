"""The border for data that comes in blocks: loaders, datasets and other iterables.

A block is ``(X, y)`` or ``(X, y, sample_weight)``; to predict on, X alone is enough. What comes row
by row is put together.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ._arrays import Checked, check_finite, check_fit, check_predict, is_single, to_numpy
from ._tables import ArrowTable, Frame

_ROWS = 4_096  # put together to a block where they come one by one
_ENTRIES = 2 << 20  # of a block that is converted at once
_MARKS_OF_ARRAYS = ("shape", "__array__", "__array_interface__", "__dataframe__", "__dlpack__")


def is_stream(X: Any) -> bool:
    """Return whether X is no array or table, but yields blocks of them."""
    if isinstance(X, DataLoader | Dataset):
        return True
    if isinstance(X, list | tuple):
        return bool(X) and (_n_dims(X[0]) == 2 or _is_block(X[0]))
    array = any(hasattr(X, mark) for mark in _MARKS_OF_ARRAYS)
    return isinstance(X, Iterable) and not (array or isinstance(X, str | bytes | dict | set))


def _n_dims(array: Any) -> int | None:
    """Return the number of dimensions of an array; None for what is none."""
    return len(array.shape) if hasattr(array, "shape") else None


def _is_block(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) in (2, 3) and _n_dims(item[0]) == 2


def as_arrays(source: Any) -> tuple[Any, Any, Any] | None:
    """Return what can be read in any order as X, y and sample_weight; None for a stream."""
    if isinstance(source, TensorDataset):
        return _triple(source.tensors)
    if not isinstance(source, Dataset) or isinstance(source, IterableDataset):
        return None
    first = _parts(source[0])
    columns = [_Items(source, i, part) for i, part in enumerate(first)]
    X, y, weight = _triple(columns)
    return X, y, None if weight is None else weight[:]


class _Items(Checked):
    """One part, such as X or y, of the items of a dataset; rows are read as they are asked for."""

    def __init__(self, dataset: Any, part: int, first: Any):
        self.dataset, self.part = dataset, part
        first = np.asarray(first)
        if first.dtype.kind not in "biuf":
            raise ValueError(
                f"Part {part} of the items of {type(dataset).__name__} has dtype {first.dtype}, "
                "which holds no real numbers. An item is (x, y[, sample_weight])."
            )
        self.dtype = first.dtype
        self.shape = (len(dataset), *first.shape)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        numbers = range(self.shape[0])[rows] if isinstance(rows, slice) else rows.tolist()
        items = [np.asarray(_parts(self.dataset[i])[self.part]) for i in numbers]
        return np.stack(items) if items else np.empty((0, *self.shape[1:]), self.dtype)


class BlockReader:
    """Checked blocks of a source, which say in which block and row something is wrong.

    Parameters
    ----------
    estimator : object
    source : iterable
    reset : bool
        Whether the columns may be others than those fitted.
    targets : bool, default=True
        Whether there must be targets.

    Attributes
    ----------
    n_rows : int or None
        None before a first pass.
    single : bool
        Whether the numbers of X carry single precision.
    single_target : bool
    rereadable : bool
        Whether the source can be iterated again.
    """

    def __init__(self, estimator: Any, source: Any, reset: bool, targets: bool = True):
        self.estimator, self.source, self.targets = estimator, source, targets
        self.rereadable = not isinstance(source, Iterator)
        self.reset = reset
        self.n_rows: int | None = None
        self._begun: list[tuple] = []
        self._rest: Iterator[tuple] | None = None
        self._started = False
        X, y, weight = self.ahead(1)[0]
        self.n_features, self.single = X.shape[1], is_single(X)
        self.single_target = y is None or len(y.shape) == 1
        self.n_targets = 1 if self.single_target else y.shape[1]
        self.weighted = weight is not None

    def ahead(self, count: int) -> list[tuple]:
        """Return the blocks with the first so many rows, which the next pass begins with."""
        if self._rest is None:
            self._rest = self._checked()
        n_rows = sum(X.shape[0] for X, *_ in self._begun)
        while n_rows < count and (block := next(self._rest, None)) is not None:
            self._begun.append(block)
            n_rows += block[0].shape[0]
        return self._begun

    def blocks(self) -> Iterator[tuple]:
        """Return an iterator over ``(X, y, sample_weight)`` that begins anew."""
        begun, rest = self._begun, self._rest
        self._begun, self._rest = [], None
        return self._checked() if rest is None else chain(begun, rest)

    def _checked(self) -> Iterator[tuple]:
        if self._started and not self.rereadable:
            raise ValueError(
                f"{type(self.source).__name__} can be iterated once, and more passes over the rows "
                "are needed. Give what begins anew each time it is iterated: a list of blocks, a "
                "DataLoader, or an object whose __iter__ opens the source. Squared error with "
                "solver='auto' needs one pass, and partial_fit never more."
            )
        self._started, n_rows = True, 0
        for number, block in enumerate(_blocks_of(self.source)):
            X, y, weight = self._check(block, number, n_rows)
            n_rows += X.shape[0]
            yield X, y, weight
        if not n_rows:
            raise ValueError(
                f"{type(self.source).__name__} yields no rows"
                + (", though it did before: it does not begin anew." if self.n_rows else ".")
            )
        if self.n_rows not in (None, n_rows):
            raise ValueError(
                f"{type(self.source).__name__} yields {n_rows} rows now and had {self.n_rows} "
                "before. It must yield the same ones each time it is iterated."
            )
        self.n_rows = n_rows

    def _check(self, block: tuple, number: int, before: int) -> tuple:
        X, y, weight = block
        where = f"in block {number}, which begins with row {before}"
        if self.targets and y is None:
            raise ValueError(f"There are no targets {where}. A block is (X, y[, sample_weight]).")
        try:
            if not self.targets:
                X = _converted(check_predict(self.estimator, X))
                check_finite(type(self.estimator).__name__, X)
                return X, None, None
            reset, self.reset = self.reset, False
            X, y, weight = check_fit(self.estimator, X, y, weight, reset, whole=False)
            X = _converted(X)
            check_finite(type(self.estimator).__name__, X, y, weight)
        except ValueError as error:
            raise ValueError(f"{error}\n(This is {where}{_bad_row(X, y, weight)}.)") from error
        if number and (
            y.shape[1:] != (() if self.single_target else (self.n_targets,))
            or (weight is not None) != self.weighted
        ):
            raise ValueError(
                f"The blocks do not go together: that {where} has targets of shape "
                f"{tuple(y.shape)}, {'with' if weight is not None else 'without'} weights."
            )
        return X, y, weight


def _converted(X: Any) -> Any:
    """Return the numbers of a table of columns, once for all, where it takes little memory."""
    small = isinstance(X, ArrowTable | Frame) and X.shape[0] * X.shape[1] <= _ENTRIES
    return X[0 : X.shape[0]] if small else X


def _bad_row(*columns: Any) -> str:
    """Return which row has a number that is not finite, in words."""
    for column in columns:
        if hasattr(column, "shape") and len(column.shape) and hasattr(column, "dtype"):
            for row in range(column.shape[0]):
                if not np.isfinite(np.asarray(to_numpy(column[row : row + 1]), float)).all():
                    return f", and in row {row} of it, all counted from 0"
    return ""


def _blocks_of(source: Iterable) -> Iterator[tuple]:
    """Yield ``(X, y, sample_weight)``, rows put together."""
    rows: list[tuple] = []
    for number, item in enumerate(source):
        parts = _parts(item)
        n_dims = _n_dims(parts[0])
        if n_dims == 2:
            if parts[0].shape[0]:
                yield _triple(parts)
        elif n_dims == 1 or (n_dims is None and np.ndim(parts[0]) == 1):
            rows.append(parts)
            if len(rows) == _ROWS:
                yield _together(rows)
                rows = []
        else:
            raise ValueError(
                f"Item {number} of {type(source).__name__} is no block (X, y[, sample_weight]) "
                f"with X of shape (n_samples, n_features), nor a row of one, but "
                f"{type(item).__name__}."
            )
    if rows:
        yield _together(rows)


def _parts(item: Any) -> tuple:
    return tuple(item) if isinstance(item, list | tuple) else (item,)


def _triple(parts: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return X, y and sample_weight, None for those that are not there."""
    X, y, weight, *_ = *parts, None, None
    return X, y, weight


def _together(rows: list[tuple]) -> tuple:
    columns = [
        torch.stack(parts) if isinstance(parts[0], torch.Tensor) else np.array(parts)
        for parts in zip(*rows, strict=True)
    ]
    return _triple(columns)

"""Validation of data that comes in blocks: loaders, datasets and other iterables.

A block is ``(X, y)`` or ``(X, y, sample_weight)``; to predict on, X alone is enough. What comes row
by row is put together.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from .conversion import is_single, to_numpy
from .tables import NUMERIC_KINDS, ArrowTable, Checked, Frame, SparseTable
from .validation import check_finite, check_fit, check_predict

_ROWS = 4_096  # put together to a block where they come one by one
_ENTRIES = 2 << 20  # of a block that is converted at once
_MARKS_OF_ARRAYS = ("shape", "__array__", "__array_interface__", "__dataframe__", "__dlpack__")


def is_stream(X: Any) -> bool:
    """Return whether X is no array or table, but yields blocks of them."""
    if type(X) is np.ndarray:  # most are, and the questions below would take time
        return False
    if isinstance(X, DataLoader | Dataset):
        return True
    if isinstance(X, Sequence):
        return len(X) > 0 and (_n_dims(X[0]) == 2 or _is_block(X[0]) or _is_row(X[0]))
    array = any(hasattr(X, mark) for mark in _MARKS_OF_ARRAYS)
    return isinstance(X, Iterable) and not (array or isinstance(X, Mapping | Set))


def check_readable(X: Any) -> None:
    """Raise if X is what scikit-learn would take for one number, or for a list of keys."""
    if _n_dims(X) is None and isinstance(X, str | bytes | PathLike | Mapping | Set):
        raise TypeError(
            f"X is a {type(X).__name__}. Give an array, a data frame, or what yields blocks of "
            "them; arrow_blocks(path, target) reads files."
        )


def _n_dims(array: Any) -> int | None:
    """Return the number of dimensions of an array; None for what is none."""
    return len(array.shape) if hasattr(array, "shape") else None


def _is_block(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) > 0 and _n_dims(item[0]) == 2


def _is_row(item: Any) -> bool:
    """Return whether an item of a sequence is a row with what goes with it, as zip makes them."""
    together = isinstance(item, list | tuple) and 2 <= len(item) <= 3
    return together and len(_shape(item[0])) == 1


def as_arrays(source: Any) -> tuple[Any, Any, Any] | None:
    """Return what can be read in any order as X, y and sample_weight; None for a stream."""
    if isinstance(source, TensorDataset):
        return _triple(source.tensors)
    if isinstance(source, Sequence) and not isinstance(source, Dataset):
        if not _is_row(source[0]):
            return None
        _check_row(source, 0, source[0])
    elif not isinstance(source, Dataset) or isinstance(source, IterableDataset):
        return None
    if not hasattr(source, "__len__"):
        raise ValueError(
            f"{type(source).__name__} has no __len__, so that its rows cannot be numbered. Give "
            "it one, or make it an IterableDataset."
        )
    if not len(source):
        raise ValueError(f"{type(source).__name__} yields no rows.")
    items = _Items(source)
    X, y, weight = _triple([_Part(items, i) for i in range(len(items.first))])
    return X, y, None if weight is None else weight[:]


class _Items:
    """The items of a dataset; those read last are kept, since each part is asked for in turn."""

    def __init__(self, dataset: Any):
        self.dataset, self.first = dataset, _parts(dataset[0])
        self._kept: tuple[Any, tuple] = None, ()

    def read(self, numbers: range | list[int]) -> tuple:
        """Return the parts of the items with these numbers, each put together."""
        if self._kept[0] != numbers:
            self._kept = numbers, _together([_parts(self.dataset[i]) for i in numbers])
        return self._kept[1]


class _Part(Checked):
    """One part, such as X or y, of the items of a dataset; rows are read as they are asked for."""

    ahead = True

    def __init__(self, items: _Items, part: int):
        self.items, self.part = items, part
        name = type(items.dataset).__name__
        first = np.asarray(to_numpy(items.first[part]))
        if first.dtype.kind not in NUMERIC_KINDS:
            raise ValueError(
                f"Part {part} of the items of {name} has dtype {first.dtype}, which holds no real "
                "numbers. An item is (x, y[, sample_weight])."
            )
        if part == 0 and not first.ndim:
            raise ValueError(_expected_2d(f"The x of an item of {name} is one number."))
        if part == 0 and first.ndim != 1:
            raise ValueError(
                f"The x of an item of {name} has the shape {first.shape}. It must be one row, of "
                "shape (n_features,). Give blocks of rows as an IterableDataset, or as a list."
            )
        self.dtype = first.dtype
        self.shape = (len(items.dataset), *first.shape)

    def __getitem__(self, rows: slice | np.ndarray) -> Any:
        numbers = range(self.shape[0])[rows] if isinstance(rows, slice) else rows.tolist()
        if not numbers:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return self.items.read(numbers)[self.part]


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
    form : tuple or None
        The shape of the targets of a row, and whether there are weights; None without targets.
    sparse : bool
        Whether the first block is a sparse matrix.
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
        self.form: tuple[tuple, bool] | None = None
        X = self.ahead(1)[0][0]
        self.n_features, self.single = X.shape[1], is_single(X)
        self._sparse_kind = type(X.matrix) if isinstance(X, SparseTable) else None
        self.sparse = self._sparse_kind is not None
        self.n_targets = self.form[0][0] if self.form and self.form[0] else 1

    def as_sparse(self, X: Any) -> SparseTable:
        """Return the rows of a block, which may be dense, as a matrix like those of the first."""
        if isinstance(X, SparseTable):
            return X
        assert self._sparse_kind is not None
        return SparseTable(self._sparse_kind(X[:]))

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
                "solver='auto' needs one pass (up to 2,000 columns; in another basis than powers "
                "for a polynomial with an intercept and all lower terms only), and partial_fit "
                "never more."
            )
        self._started, n_rows = True, 0
        for number, X, y, weight in _blocks_of(self.source):
            where = f"in block {number}, which begins with row {n_rows}"
            X, y, weight = self._check(X, y, weight, where, n_rows)
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

    def _check(self, X: Any, y: Any, weight: Any, where: str, first: int) -> tuple:
        if self.targets and y is None:
            raise ValueError(f"There are no targets {where}. A block is (X, y[, sample_weight]).")
        try:
            if self.targets:
                reset, self.reset = self.reset, False
                X, y, weight = check_fit(self.estimator, X, y, weight, reset, whole=False)
            else:
                X, y, weight = check_predict(self.estimator, X), None, None
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error}\n(This is {where}.)") from error
        names, X = getattr(X, "names", None), _converted(X)
        try:
            check_finite(type(self.estimator).__name__, X, y, weight, first, names)
        except ValueError as error:
            rows = (_bad_rows(part) for part in (X, y, weight) if part is not None)
            row = next(row for row in rows if row < np.inf)
            raise ValueError(
                f"{error}\n(This is {where}, and in row {row} of it, all counted from 0.)"
            ) from error
        if not self.targets:
            return X, y, weight
        form = tuple(y.shape[1:]), weight is not None
        self.form = self.form or form
        if form != self.form:
            raise ValueError(
                f"The blocks do not go together: that {where} has targets of shape "
                f"{tuple(y.shape)}, {'with' if weight is not None else 'without'} weights."
            )
        return X, y, weight


def _converted(X: Any) -> Any:
    """Return the numbers of a table of columns, once for all, where it takes little memory."""
    small = isinstance(X, ArrowTable | Frame) and X.shape[0] * X.shape[1] <= _ENTRIES
    return X[0 : X.shape[0]] if small else X


def _bad_rows(part: Any) -> float:
    """Return the first row of a part that has a number that is not finite; infinite for none."""
    for start in range(0, part.shape[0], _ROWS):
        numbers = np.asarray(to_numpy(part[start : start + _ROWS]))
        bad = ~np.isfinite(numbers.reshape(len(numbers), -1)).all(1)
        if bad.any():
            return start + int(bad.argmax())
    return np.inf


def _blocks_of(source: Iterable) -> Iterator[tuple]:
    """Yield ``(number, X, y, sample_weight)``, rows put together.

    The number is that of the item, or of the first of them, in the order of the source.
    """
    # What is made item by item may be made in the same memory, and blocks are read ahead.
    batched = getattr(source, "batch_sampler", None) is not None
    lasting = isinstance(source, Sequence) or batched
    rows: list[tuple] = []
    number = -1
    for number, item in enumerate(source):
        parts = _parts(item)
        shape = _shape(parts[0]) if parts else ()
        if not lasting:
            parts = tuple(map(_copied, parts))
        if rows and (len(rows) == _ROWS or len(shape) == 2):
            yield number - len(rows), *_triple(_together(rows))
            rows = []
        if len(shape) == 2:
            if shape[0]:
                yield number, *_triple(parts)
        elif len(shape) == 1:
            if shape[0]:  # no row has no columns, and a list without rows has one dimension
                _check_row(source, number, parts, batched)
                rows.append(parts)
        elif len(parts) > 1 and _is_number(parts[0]):
            raise ValueError(_expected_2d(f"Item {number} of {type(source).__name__} is {parts}."))
        else:
            raise ValueError(
                f"Item {number} of {type(source).__name__} is no block (X, y[, sample_weight]) "
                f"with X of shape (n_samples, n_features), nor a row of one, but "
                f"{type(item).__name__}."
            )
    if rows:
        yield number + 1 - len(rows), *_triple(_together(rows))


def _check_row(source: Any, number: int, parts: Sequence[Any], batched: bool = False) -> None:
    """Raise if what looks like a row is a block of a column that has one dimension.

    It is one in a batch, and where its targets have two dimensions, or as many entries as there are
    features: as one row it would be fitted without an error, whatever it holds.
    """
    shape, *rest = map(_shape, parts)
    if batched or any(len(other) > 1 or (other == shape and shape[0] > 1) for other in rest):
        beside = f", and what goes with it {' and '.join(map(str, rest))}" if rest else ""
        has = f"The x of item {number} of {type(source).__name__} has the shape {shape}{beside}."
        raise ValueError(_expected_2d(has))


def _expected_2d(has: str) -> str:
    return (
        f"Expected 2D array, got 1D array instead: {has} Reshape your data either using "
        "x.reshape(-1, 1) if your data has a single feature or x.reshape(1, -1) if it contains a "
        "single sample."
    )


def _is_number(part: Any) -> bool:
    return isinstance(part, Real) or (_n_dims(part) == 0 and not isinstance(part, str))


def _shape(X: Any) -> tuple:
    """Return the shape of an array or of nested lists; () for what is neither."""
    if hasattr(X, "shape"):
        return tuple(X.shape)
    try:
        return np.shape(X) if isinstance(X, list | tuple) else ()
    except ValueError:  # lists of different lengths
        return ()


def _copied(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return part.detach().clone()
    return part.copy(order="K") if isinstance(part, np.ndarray) else part


def _parts(item: Any) -> tuple:
    return tuple(item) if isinstance(item, list | tuple) else (item,)


def _triple(parts: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return X, y and sample_weight, None for those that are not there."""
    if len(parts) > 3:
        raise ValueError(f"(X, y[, sample_weight]) has 3 parts at most, and here are {len(parts)}.")
    X, y, weight = (*parts, None, None)[:3]
    return X, y, weight


def _together(rows: list[tuple]) -> tuple:
    """Return the parts of rows, each put together."""
    try:
        return tuple(
            torch.stack(parts) if isinstance(parts[0], torch.Tensor) else np.array(parts)
            for parts in zip(*rows, strict=True)
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"Rows cannot be put together: {error}. Each must be (x, y[, sample_weight]), with x "
            "and y of the same shapes in all of them."
        ) from error

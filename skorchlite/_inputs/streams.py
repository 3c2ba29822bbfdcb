"""Streams: what yields blocks of rows, or single rows, such as loaders and other iterables.

An item is a block ``(X, y)`` or ``(X, y, sample_weight)``, or one row of such a block. To predict
on, X alone is enough. Single rows are stacked to blocks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

Triple = tuple[Any, Any, Any]  # X, y and sample_weight, of which the last two may be None

_STACKED_ROWS = 4_096  # of a block that is made of single rows
_MARKS_OF_ARRAYS = ("shape", "__array__", "__array_interface__", "__dataframe__", "__dlpack__")


def is_stream(X: Any) -> bool:
    """Return whether X is no array or table, but yields blocks or rows of one."""
    if isinstance(X, DataLoader | Dataset):
        return True
    if isinstance(X, Sequence):
        return len(X) > 0 and (n_dims(X[0]) == 2 or _is_block(X[0]) or is_row(X[0]))
    array = any(hasattr(X, mark) for mark in _MARKS_OF_ARRAYS)
    return isinstance(X, Iterable) and not (array or isinstance(X, Mapping | Set))


def refuse_arrays_beside(X: Any, **given: Any) -> None:
    """Raise if the user passed arrays with a stream, whose blocks hold them."""
    for name, array in given.items():
        if array is not None:
            raise ValueError(
                f"{name} goes with arrays. What yields blocks, as {type(X).__name__} does, has it "
                "in them: (X, y[, sample_weight])."
            )


def n_dims(array: Any) -> int | None:
    """Return the number of dimensions of an array; None for anything else."""
    return len(array.shape) if hasattr(array, "shape") else None


def _is_block(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) > 0 and n_dims(item[0]) == 2


def is_row(item: Any) -> bool:
    """Return whether an item of a sequence is a row with its target, as ``zip(X, y)`` yields."""
    together = isinstance(item, list | tuple) and 2 <= len(item) <= 3
    return together and len(_shape(item[0])) == 1


def blocks_of(source: Iterable) -> Iterator[tuple[int, Any, Any, Any]]:
    """Yield ``(number, X, y, sample_weight)``, single rows stacked to blocks.

    The number is that of the item, or of the first of the stacked items, in the order of the
    source.
    """
    # A source that makes its items one by one may write each into the memory of the one before,
    # and blocks are read ahead: so these items are copied.
    batched = getattr(source, "batch_sampler", None) is not None
    lasting = isinstance(source, Sequence) or batched
    rows: list[tuple] = []
    number = -1
    for number, item in enumerate(source):
        parts = parts_of(item)
        shape = _shape(parts[0]) if parts else ()
        if not lasting:
            parts = tuple(map(_copied, parts))
        if rows and (len(rows) == _STACKED_ROWS or len(shape) == 2):
            yield number - len(rows), *as_triple(stacked(rows))
            rows = []
        if len(shape) == 2:
            if shape[0]:
                yield number, *as_triple(parts)
        elif len(shape) == 1:
            if shape[0]:  # an empty list is a block without rows: a row has at least one column
                check_row(source, number, parts, batched)
                rows.append(parts)
        elif len(parts) > 1 and _is_number(parts[0]):
            raise ValueError(expected_2d(f"Item {number} of {type(source).__name__} is {parts}."))
        else:
            raise ValueError(
                f"Item {number} of {type(source).__name__} is no block (X, y[, sample_weight]) "
                f"with X of shape (n_samples, n_features), nor a row of one, but "
                f"{type(item).__name__}."
            )
    if rows:
        yield number + 1 - len(rows), *as_triple(stacked(rows))


def check_row(source: Any, number: int, parts: Sequence[Any], batched: bool = False) -> None:
    """Raise if an item that looks like a row is a block whose only column lacks its dimension.

    It is such a block if it comes from a loader that makes batches, if its targets have two
    dimensions, or if it has as many targets as features. Taken as one row it would be fitted
    without an error, and give a wrong model.
    """
    shape, *rest = map(_shape, parts)
    if batched or any(len(other) > 1 or (other == shape and shape[0] > 1) for other in rest):
        beside = f", and what goes with it {' and '.join(map(str, rest))}" if rest else ""
        has = f"The x of item {number} of {type(source).__name__} has the shape {shape}{beside}."
        raise ValueError(expected_2d(has))


def expected_2d(has: str) -> str:
    """Return scikit-learn's message for an array with one dimension, and what there is instead."""
    return (
        f"Expected 2D array, got 1D array instead: {has} Reshape your data either using "
        "x.reshape(-1, 1) if your data has a single feature or x.reshape(1, -1) if it contains a "
        "single sample."
    )


def parts_of(item: Any) -> tuple:
    """Return the parts of an item, which alone is X."""
    return tuple(item) if isinstance(item, list | tuple) else (item,)


def as_triple(parts: Sequence[Any]) -> Triple:
    """Return X, y and sample_weight, None for those that are missing."""
    if len(parts) > 3:
        raise ValueError(f"(X, y[, sample_weight]) has 3 parts at most, and here are {len(parts)}.")
    X, y, weight = (*parts, None, None)[:3]
    return X, y, weight


def stacked(rows: list[tuple]) -> tuple:
    """Return each part of the rows stacked to one array."""
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


def _is_number(part: Any) -> bool:
    return isinstance(part, Real) or (n_dims(part) == 0 and not isinstance(part, str))


def _shape(X: Any) -> tuple:
    """Return the shape of an array or of nested lists; () for anything else."""
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

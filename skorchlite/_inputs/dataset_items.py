"""Rows that have numbers: a torch ``Dataset``, or a list of rows with their targets, as arrays.

Such rows can be read in any order, so that they are shuffled and split like those of an array.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from .._sources.row_source import Rows
from .conversion import to_numpy
from .in_memory import ArrayInput, rows_to_predict
from .streams import (
    Triple,
    as_triple,
    check_row,
    expected_2d,
    is_row,
    parts_of,
    refuse_arrays_beside,
    stacked,
)
from .tables import NUMERIC_KINDS, Checked
from .user_input import LocalInput


class DatasetInput(LocalInput):
    """An X that is a ``Dataset``, or a list of rows with their targets."""

    def _read_rows(self, estimator: Any, reset: bool, chunk: bool) -> tuple[Rows, Any, bool, bool]:
        refuse_arrays_beside(self.X, y=self.y, sample_weight=self.sample_weight)
        return ArrayInput(*as_arrays(self.X))._read_rows(estimator, reset, chunk)

    def read_validation(self, estimator: Any, y_fit: Any, device: torch.device) -> Rows | None:
        """Return the rows to validate on, checked; see ``Input``."""
        refuse_arrays_beside(self.X, y_val=self.y)
        return ArrayInput(*as_arrays(self.X)).read_validation(estimator, y_fit, device)

    def _read_to_predict(self, estimator: Any) -> tuple[Rows, bool]:
        return rows_to_predict(estimator, as_arrays(self.X)[0])

    @property
    def scored_by_rows(self) -> bool:
        """Whether a score is summed over the rows, as where they bring their targets."""
        return self.y is None


def has_numbered_rows(source: Any) -> bool:
    """Return whether a stream is a sequence or ``Dataset`` of rows, which can be read by number."""
    if isinstance(source, Dataset):
        return not isinstance(source, IterableDataset)
    return isinstance(source, Sequence) and is_row(source[0])


def as_arrays(source: Any) -> Triple:
    """Return numbered rows as X, y and sample_weight, which read them as they are asked for."""
    if isinstance(source, TensorDataset):
        return as_triple(source.tensors)
    if not isinstance(source, Dataset):
        check_row(source, 0, source[0])
    if not hasattr(source, "__len__"):
        raise ValueError(
            f"{type(source).__name__} has no __len__, so that its rows cannot be numbered. Give "
            "it one, or make it an IterableDataset."
        )
    if not len(source):
        raise ValueError(f"{type(source).__name__} yields no rows.")
    items = _Items(source)
    X, y, weight = as_triple([_ItemPart(items, i) for i in range(len(items.first))])
    return X, y, None if weight is None else weight[:]


class _Items:
    """The items of a dataset by their numbers.

    The items read last are kept: X and y are asked for one after the other, and to read an item
    gives both.
    """

    def __init__(self, dataset: Any):
        self.dataset, self.first = dataset, parts_of(dataset[0])
        self._kept: tuple[Any, tuple] = None, ()

    def read(self, numbers: range | list[int]) -> tuple:
        """Return the parts of the items with these numbers, each stacked to one array."""
        if self._kept[0] != numbers:
            self._kept = numbers, stacked([parts_of(self.dataset[i]) for i in numbers])
        return self._kept[1]


class _ItemPart(Checked):
    """One part of the items of a dataset, such as X or y; its rows are read when sliced."""

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
            raise ValueError(expected_2d(f"The x of an item of {name} is one number."))
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

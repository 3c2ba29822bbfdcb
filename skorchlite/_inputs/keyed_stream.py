"""Streams whose blocks have columns of keys, which are taken from them as they come."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from .group_table import GroupTable, group_table, joined
from .key_columns import as_columns, key_columns, key_positions, without_columns
from .streams import Triple, blocks_of


class KeyedStream:
    """Blocks ``(X, y, sample_weight)`` without the columns of keys, which are kept beside them.

    Parameters
    ----------
    estimator : object
        Its columns are those of the first block, keys included.
    source : iterable
    keeping : bool, default=True
        Whether keys are kept until they are taken.

    Attributes
    ----------
    positions : list of int
        The numbers of the columns of keys in the last block.
    """

    def __init__(self, estimator: Any, source: Iterable, keeping: bool = True):
        self.estimator, self.source, self.keeping = estimator, source, keeping
        self.positions: list[int] = []
        self._begun = False
        self._pieces: deque[list[np.ndarray]] = deque()

    def __iter__(self) -> Iterator[Triple]:
        pieces: deque[list[np.ndarray]] = deque()
        self._pieces = pieces
        for _, X, y, weight in blocks_of(self.source):
            X = as_columns(X, has_keys=True)
            validate_data(self.estimator, X, reset=not self._begun, skip_check_array=True)
            self._begun = True
            positions = self.positions = key_positions(X, self.estimator.groups)
            if self.keeping:
                pieces.append([np.asarray(column) for column in key_columns(X, positions)])
            yield without_columns(X, positions), y, weight

    def take(self, count: int) -> list[np.ndarray]:
        """Return the keys of the next rows of the present pass, column by column."""
        found: list[list[np.ndarray]] = []
        while count:
            piece = self._pieces.popleft()
            if len(piece[0]) > count:
                self._pieces.appendleft([column[count:] for column in piece])
                piece = [column[:count] for column in piece]
            found.append(piece)
            count -= len(piece[0])
        return [joined(pieces) for pieces in zip(*found, strict=True)]


class KeyNumbers:
    """Numbers for keys, in the order in which these come.

    Parameters
    ----------
    labels : list
        The names of the columns of keys, for errors.
    name : str
        Of the estimator, for errors.
    """

    def __init__(self, labels: list[Any], name: str):
        self.labels, self.name = labels, name
        self._numbers: dict[tuple, int] = {}
        self._new: list[list[np.ndarray]] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, columns: list[np.ndarray]) -> np.ndarray:
        """Return the numbers of the keys of some rows, those of new ones after the others."""
        table, codes = group_table(columns, self.labels, self.name)
        before, keys = len(self), table.columns
        rows = zip(*(column.tolist() for column in keys), strict=True)
        numbers = np.array([self._numbers.setdefault(row, len(self._numbers)) for row in rows])
        new = numbers >= before
        if new.any():
            self._new.append([column[new] for column in keys])
        return numbers[codes]

    def table(self) -> tuple[GroupTable, np.ndarray]:
        """Return the table of all keys so far, and the number that each has there."""
        columns = [joined(pieces) for pieces in zip(*self._new, strict=True)]
        return group_table(columns, self.labels, self.name)

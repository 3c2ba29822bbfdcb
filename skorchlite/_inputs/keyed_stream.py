"""Streams whose blocks have columns of keys, which are taken from them as they come."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from .key_columns import as_columns, key_columns, key_positions, without_columns
from .streams import Triple, blocks_of


class KeyedStream:
    """Blocks ``(X, y, sample_weight)`` without the columns of keys, which are kept beside them.

    It is an iterator, so that it is read once.

    Parameters
    ----------
    estimator : object
        Its columns are those of the first block, keys included.
    source : iterable

    Attributes
    ----------
    positions : list of int
        The numbers of the columns of keys in the last block.
    """

    def __init__(self, estimator: Any, source: Iterable):
        self.positions: list[int] = []
        self._pieces: list[list[np.ndarray]] = []
        self._blocks = self._split(estimator, source)

    def __iter__(self) -> Iterator[Triple]:
        return self

    def __next__(self) -> Triple:
        return next(self._blocks)

    @property
    def keys(self) -> list[np.ndarray]:
        """The columns of keys of all blocks so far."""
        return [np.concatenate(pieces) for pieces in zip(*self._pieces, strict=True)]

    def _split(self, estimator: Any, source: Iterable) -> Iterator[Triple]:
        for number, (_, X, y, weight) in enumerate(blocks_of(source)):
            X = as_columns(X, has_keys=True)
            validate_data(estimator, X, reset=not number, skip_check_array=True)
            positions = self.positions = key_positions(X, estimator.groups)
            self._pieces.append([np.asarray(column) for column in key_columns(X, positions)])
            yield without_columns(X, positions), y, weight

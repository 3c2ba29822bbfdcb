"""Which key a row has, such as the fold of a cross-validation or the group of a model."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class RowKeys(ABC):
    """The keys of rows by their numbers, from 0 to ``n_keys - 1``; -1 for a row that has none.

    Attributes
    ----------
    n_keys : int
    """

    n_keys: int

    @abstractmethod
    def of(self, first: int, count: int) -> Tensor:
        """Return the keys of ``count`` rows from number ``first`` on, as int64."""


class GivenKeys(RowKeys):
    """Keys that are given for each row.

    Parameters
    ----------
    keys : ndarray of int, of shape (n_rows,)
    n_keys : int
    """

    def __init__(self, keys: NDArray[np.integer], n_keys: int):
        # They may be sent to where the rows are, in as few bytes as will do.
        self.keys, self.n_keys = keys.astype(np.min_scalar_type(-max(n_keys, 1))), n_keys

    def of(self, first: int, count: int) -> Tensor:
        """Return the keys of ``count`` rows from number ``first`` on, as int64."""
        return torch.from_numpy(self.keys[first : first + count].astype(np.int64))


class CyclicKeys(RowKeys):
    """Keys that follow each other row by row, for rows that are not counted beforehand.

    Parameters
    ----------
    n_keys : int
    """

    def __init__(self, n_keys: int):
        self.n_keys = n_keys

    def of(self, first: int, count: int) -> Tensor:
        """Return the keys of ``count`` rows from number ``first`` on, as int64."""
        return torch.arange(first, first + count) % self.n_keys


def is_sorted(codes: Tensor) -> bool:
    """Return whether keys never fall from row to row."""
    return bool((codes[1:] >= codes[:-1]).all())


def sorting(codes: np.ndarray) -> Tensor:
    """Return the numbers of the rows by key, those of the same key in their order.

    NumPy sorts integers of 16 bits in linear time, and larger ones in twice that by both halves.
    """
    least = int(codes.min()) if len(codes) else 0
    codes = codes.astype(np.int64) - least
    order = np.argsort((codes & 0xFFFF).astype(np.uint16), kind="stable")
    while len(codes) and codes.max() > 0xFFFF:
        codes = codes >> 16
        order = order[np.argsort((codes[order] & 0xFFFF).astype(np.uint16), kind="stable")]
    return torch.from_numpy(order)

"""Rows group by group, many groups at a time: as one array, with as many rows of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .row_keys import sorting
from .row_source import Rows

_BATCH_ENTRIES = 1 << 19  # 4 MB, which stay in a cache from one operation to the next
_OFTEN = 1 << 13  # rows of groups of one size, from which these are a batch of their own
_STEPS = 8  # lengths between a power of two and the next, so that a ninth is filled up at most


@dataclass(frozen=True)
class GroupBatch:
    """The rows of some groups, in double precision where the device has it.

    The next batch may overwrite them.

    Parameters
    ----------
    groups : Tensor of shape (n_batch,)
        The numbers of the groups.
    columns : Tensor of shape (n_batch, n_rows, n_targets + n_features)
        Of the targets, then the features. A group with fewer rows has its last one repeated. The
        numbers of a column lie together, as operations on long columns of few are faster.
    share : Tensor of shape (n_batch, n_rows)
        The part that each row has of the weight of its group; zero for rows that are repeated.
    counts : Tensor of shape (n_batch,)
        How many rows each group has.
    """

    groups: Tensor
    columns: Tensor
    share: Tensor
    counts: Tensor


class GroupedRows:
    """Rows that can be read in any order, group by group; those without weight are left out.

    Parameters
    ----------
    rows : Rows
    codes : array of shape (n_rows,)
        The number of the group of each row.
    n_groups : int
    weight : array of shape (n_rows,) or None

    Attributes
    ----------
    counts : array of shape (n_groups,)
        How many rows with weight each group has.
    """

    def __init__(
        self,
        rows: Rows,
        codes: NDArray[np.integer],
        n_groups: int,
        weight: NDArray[np.float64] | None,
    ):
        self.rows = rows
        self._counted: Tensor | None = None
        if weight is not None and not weight.all():
            (numbers,) = weight.nonzero()
            codes = codes[numbers]
            self._counted = torch.from_numpy(numbers)
        self._codes = codes
        self.counts = np.bincount(codes, minlength=n_groups)
        self._first = np.cumsum(self.counts) - self.counts

    @cached_property
    def _order(self) -> Tensor | None:
        """The numbers of the rows, group by group; None where they lie so."""
        codes, counted = self._codes, self._counted
        if (codes[1:] >= codes[:-1]).all():
            return counted
        order = sorting(codes)
        return order if counted is None else counted[order]

    def numbers_of(self, group: int) -> Tensor:
        """Return the numbers of the rows of a group, in ascending order."""
        first = int(self._first[group])
        places = torch.arange(first, first + int(self.counts[group]))
        return places if self._order is None else self._order[places]

    def of(self, group: int) -> Rows:
        """Return the rows of a group."""
        return self.rows.taken(self.numbers_of(group))

    def batches(self, groups: NDArray[np.int64]) -> Iterator[GroupBatch]:
        """Yield the rows of some groups, in batches of groups with about as many rows."""
        counts = self.counts[groups]
        padded = padded_counts(counts)
        for length in np.unique(padded).tolist():
            yield from self._batches(groups[padded == length], length)

    def _batches(self, groups: NDArray[np.int64], length: int) -> Iterator[GroupBatch]:
        """Yield batches of groups that have at most ``length`` rows each."""
        rows, width = self.rows, self.rows.n_targets + self.rows.n_features
        size = max(_BATCH_ENTRIES // (length * width), 1)
        double = torch.float32 if rows.device.type == "mps" else torch.float64
        place = torch.empty(size, width, length, dtype=double, device=rows.device).mT
        for start in range(0, len(groups), size):
            part = groups[start : start + size]
            numbers, counts = torch.from_numpy(part), torch.from_numpy(self.counts[part])
            columns, at = place[: len(part)], torch.arange(length)
            places = torch.from_numpy(self._first[part])[:, None] + torch.minimum(
                at, counts[:, None] - 1
            )
            order = places.reshape(-1) if self._order is None else self._order[places.reshape(-1)]
            ((X, y, weight),) = rows.blocks(len(order), order)
            columns[..., : rows.n_targets] = y.view(len(part), length, -1)
            columns[..., rows.n_targets :] = X.view(len(part), length, -1)
            share = (at < counts[:, None]).to(columns)
            if weight is not None:
                share *= weight.view(share.shape).to(share)
            share /= share.sum(1, keepdim=True)
            yield GroupBatch(numbers, columns, share, counts.to(rows.device))


def padded_counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many rows each group is to have: as many as it has, where many groups do."""
    power = 2 ** np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    step = np.maximum(power // (2 * _STEPS), 1)
    rounded = -(-counts // step) * step
    often = np.bincount(counts)[counts] * counts >= _OFTEN
    return np.where(often, counts, rounded)

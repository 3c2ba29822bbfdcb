"""Rows group by group, many groups at a time: as one array, with as many rows of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .device_sums import double_device
from .row_keys import sorting
from .row_source import Rows

_BATCH_ENTRIES = 1 << 19  # 4 MB, which stay in a cache from one operation to the next
_OFTEN = 1 << 13  # rows of groups of one size, from which these are a batch of their own
_STEPS = 8  # lengths between a power of two and the next, so that a ninth is filled up at most


class LocalTerms(Protocol):
    """Terms of the columns that are made for each group by itself; see ``LocalPowers``."""

    @property
    def n_terms(self) -> int:
        """The number of terms."""

    def frame(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and half length for columns of a range."""

    def cancel(self, low: Tensor, high: Tensor) -> Tensor:
        """Return for which ranges the terms lose digits, of shape (n_batch,)."""

    def expand(self, t: Tensor) -> Tensor:
        """Return the terms of mapped columns, of shape (n_terms, n_rows)."""

    def distance(self, centre: Tensor, half: Tensor) -> Tensor:
        """Return the size that the rounding of each term is relative to."""

    def turn(self, centre: Tensor, half: Tensor) -> Tensor:
        """Return the matrices that make the caller's coefficients, and last the constant."""


@dataclass(frozen=True)
class Frames:
    """What the columns of each group were mapped by, before terms were made of them.

    Parameters
    ----------
    centre, half : Tensor of shape (n_batch, n_columns)
    distance : Tensor of shape (n_batch, n_features)
    turn : Tensor of shape (n_batch, n_features + 1, n_features)
        As of ``LocalTerms``.
    cancelled : Tensor of shape (n_batch,), bool
        Of which groups the terms have lost digits.
    """

    centre: Tensor
    half: Tensor
    distance: Tensor
    turn: Tensor
    cancelled: Tensor


@dataclass(frozen=True)
class GroupBatch:
    """The rows of some groups in double precision; on the processor if their device has none.

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
    frames : Frames or None
        None where the features are the columns of the rows.
    """

    groups: Tensor
    columns: Tensor
    share: Tensor
    counts: Tensor
    frames: Frames | None = None


class GroupedRows:
    """Rows that can be read in any order, group by group; those without weight are left out.

    Parameters
    ----------
    rows : Rows
    codes : array of shape (n_rows,)
        The number of the group of each row.
    n_groups : int
    weight : array of shape (n_rows,) or None
    terms : LocalTerms or None, default=None
        What the features are made by; None for the columns as they are.

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
        terms: LocalTerms | None = None,
    ):
        self.rows, self.terms = rows, terms
        self._counted: Tensor | None = None
        if weight is not None and not weight.all():
            (numbers,) = weight.nonzero()
            codes = codes[numbers]
            self._counted = torch.from_numpy(numbers)
        self._codes = codes
        self.counts = np.bincount(codes, minlength=n_groups)
        self._first = np.cumsum(self.counts) - self.counts

    @property
    def n_features(self) -> int:
        """The number of columns, or of terms."""
        return self.rows.n_features if self.terms is None else self.terms.n_terms

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
        rows, width = self.rows, self.rows.n_targets + self.n_features
        size = max(_BATCH_ENTRIES // (max(length, width) * width), 1)
        device = double_device(rows.device)
        place = torch.empty(size, width, length, dtype=torch.float64, device=device).mT
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
            X = X.to(device).view(len(part), length, -1)
            frames = self._expand(X, columns[..., rows.n_targets :])
            share = (at < counts[:, None]).to(columns)
            if weight is not None:
                share *= weight.view(share.shape).to(share)
            share /= share.sum(1, keepdim=True)
            yield GroupBatch(numbers, columns, share, counts.to(device), frames)

    def _expand(self, X: Tensor, out: Tensor) -> Frames | None:
        """Write the features of groups to ``out``."""
        if self.terms is None:
            out.copy_(X)
            return None
        X = X.to(out.dtype)
        # A number that is not finite shows in the terms, and leaves the frame finite.
        low, high = (end.where(torch.isfinite(end), 0.0) for end in (X.amin(1), X.amax(1)))
        centre, half = self.terms.frame(low, high)
        mapped = (X - centre[:, None]) / half[:, None]
        made = self.terms.expand(mapped.reshape(-1, X.shape[2]))
        out.copy_(made.view(-1, *X.shape[:2]).permute(1, 2, 0))
        distance, turn = self.terms.distance(centre, half), self.terms.turn(centre, half)
        return Frames(centre, half, distance, turn, self.terms.cancel(low, high).to(X.device))


def padded_counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many rows each group is to have: as many as it has, where many groups do."""
    power = 2 ** np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    step = np.maximum(power // (2 * _STEPS), 1)
    rounded = -(-counts // step) * step
    often = np.bincount(counts)[counts] * counts >= _OFTEN
    return np.where(often, counts, rounded)

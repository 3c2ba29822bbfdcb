"""Groups whose rows come in a stream, those of one group in any of its blocks.

Squared error needs sums of each group, which one pass makes of all. Groups whose sums do not hold
enough digits, and those with other losses, need their rows: these are held in memory for as many
groups at a time as there is room for, in a pass for each such range of groups.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._exceptions import NoWeightError
from .._inputs.conversion import to_numpy
from .._inputs.fit_data import Data
from .._inputs.group_table import GroupTable
from .._inputs.keyed_stream import KeyedStream, KeyNumbers
from .._objective.keyed_moments import KeyedMoments, moments_of_keys
from .._objective.many_keys import ManySums
from .._polynomials.local_powers import LocalPowers
from .._solvers.grouped.from_moments import solve_moments
from .._sources.arrays import ArrayRows
from .._sources.group_batches import GroupedRows
from .._sources.row_source import Rows
from .group_fits import GroupFits, GroupModel, fit_groups, group_problem

HELD_ENTRIES = 1 << 26  # of rows in memory at a time, 512 MB
_ENTRIES_AT_ONCE = 1 << 20  # of the Gram matrices of groups that are solved together


class GroupedStream:
    """The rows of a stream that can be read again, by group.

    Parameters
    ----------
    rows : Rows
        Of the source, and of no one else: keys are taken as its blocks come.
    source : KeyedStream
    numbers : KeyNumbers
    with_sums : bool
        Whether to make the sums of each group in the pass that counts its rows.
    terms : LocalPowers or None

    Attributes
    ----------
    table : GroupTable
        Of the groups that have rows with weight.
    counts : array of shape (n_groups,)
        How many rows with weight each group has.
    """

    def __init__(
        self,
        rows: Rows,
        source: KeyedStream,
        numbers: KeyNumbers,
        with_sums: bool,
        terms: LocalPowers | None,
    ):
        self.rows, self.source, self.numbers, self.terms = rows, source, numbers, terms
        sums = ManySums(rows.n_targets, rows.n_features, rows.device, 0) if with_sums else None
        counts = self._count(sums)
        if not counts.any():
            raise NoWeightError
        table, place = numbers.table()
        order = np.argsort(place)[counts[np.argsort(place)] > 0]
        self.table: GroupTable = table.taken(counts[np.argsort(place)] > 0)
        self.counts = counts[order]
        self._group = np.full(len(counts), -1)  # by the order in which keys came
        self._group[order] = np.arange(len(order))
        self._sums = None if sums is None else _moments(sums, order)

    @property
    def n_features(self) -> int:
        """The number of columns, or of terms."""
        return self.rows.n_features if self.terms is None else self.terms.n_terms

    def _count(self, sums: ManySums | None) -> NDArray[np.int64]:
        """Return how many rows with weight each key has, in a pass that also makes the sums."""
        counts = np.zeros(0, np.int64)
        for X, y, weight, numbers in self._blocks():
            counted = numbers if weight is None else numbers[to_numpy(weight) > 0]
            new = np.bincount(counted, minlength=len(self.numbers))
            new[: len(counts)] += counts
            counts = new
            if sums is not None:
                sums.make_room(len(self.numbers))
                order = torch.from_numpy(np.argsort(numbers, kind="stable")).to(X.device)
                A = torch.cat((y.double(), X.double(), torch.ones_like(y[:, :1]).double()), 1)
                codes = torch.from_numpy(numbers).to(X.device)[order]
                sums.add(A[order], codes, None if weight is None else weight[order])
        return counts

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None, NDArray[np.int64]]]:
        """Yield ``(X, y, sample_weight, numbers of the keys)`` of a pass."""
        for X, y, weight in self.rows.blocks(self.rows.bound(self.rows.n_features, 8)):
            yield X, y, weight, self.numbers.of(self.source.take(len(X)))

    def fit(self, data: Data, model: GroupModel) -> GroupFits:
        """Return the fits of all groups."""
        n_columns = None if self.terms is None else self.rows.n_features
        shape = len(self.counts), self.rows.n_targets, self.n_features
        fits = GroupFits.empty(*shape, n_columns)
        if self._sums is not None:
            self._fit_sums(fits, self._sums, model)
        (left,) = np.nonzero(~fits.converged)
        for groups in _ranges(left, self.counts[left] * (shape[1] + self.rows.n_features)):
            grouped, part = self._held(groups, data)
            fits.take(groups, fit_groups(grouped, part, model, _nothing_to_find))
        return fits

    def _fit_sums(self, fits: GroupFits, sums: tuple[KeyedMoments, Any], model: GroupModel) -> None:
        """Fit those groups that their sums hold enough digits of."""
        moments, near = sums
        problem, tol = group_problem(model)
        size = max(_ENTRIES_AT_ONCE // (self.n_features + 1) ** 2, 1)
        for start in range(0, len(self.counts), size):
            groups = np.arange(start, min(start + size, len(self.counts)))
            n_rows = int(self.counts[groups].max())
            solutions = solve_moments(moments[groups], near[groups], problem, n_rows)
            fits.put(groups, solutions, None, tol)

    def _held(self, groups: NDArray[np.int64], data: Data) -> tuple[GroupedRows, Data]:
        """Return the rows of some groups, in memory."""
        wanted = np.full(len(self.counts) + 1, -1)  # the last one is for keys without weight
        wanted[groups] = np.arange(len(groups))
        kept: list[list[Any]] = []
        for X, y, weight, numbers in self._blocks():
            if len(self.numbers) > len(self._group):
                raise ValueError(
                    "The source yields keys that it did not before. It must yield the same rows "
                    "each time it is iterated."
                )
            codes = wanted[self._group[numbers]]
            chosen = codes >= 0
            if chosen.any():
                index = torch.from_numpy(chosen.nonzero()[0]).to(X.device)
                parts = (None if part is None else part[index] for part in (X, y, weight))
                kept.append([*parts, codes[chosen]])
        *tensors, codes = zip(*kept, strict=True)
        features, targets, weights = (None if p[0] is None else torch.cat(p) for p in tensors)
        weights = to_numpy(weights)
        rows = ArrayRows(features, targets, weights, data.device)
        numbers = np.concatenate(codes)
        grouped = GroupedRows(rows, numbers, len(groups), weights, self.terms)
        return grouped, replace(data, rows=rows)


def _moments(sums: ManySums, order: NDArray[np.int64]) -> tuple[KeyedMoments, Any]:
    """Return the moments of groups, and what their columns are measured from."""
    products, squares = sums.products.cpu().numpy()[order], sums.squares.cpu().numpy()[order]
    moments = moments_of_keys(products, squares, squares.shape[1], True, 0.0)
    return moments, sums.near.cpu().numpy()[order]


def _ranges(groups: NDArray[np.int64], entries: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield groups in turn, as many as there is room for their rows."""
    start, held = 0, np.cumsum(entries)
    while start < len(groups):
        before = held[start - 1] if start else 0
        stop = int(np.searchsorted(held, before + HELD_ENTRIES, side="right"))
        stop = max(stop, start + 1)
        yield groups[start:stop]
        start = stop


def _nothing_to_find() -> None:
    """Do nothing: the numbers of a stream are checked as they are read."""

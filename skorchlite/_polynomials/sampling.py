"""The range of each column, and rows that stand for all, each from one pass over the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .._exceptions import NoWeightError, OutOfRangeError
from .._sources.row_source import Rows

SAMPLE_ROWS = 4_096  # of more rows only a sample is kept
_PARTS = 1_024  # of the range of a column, each of which gives a row


@dataclass(frozen=True)
class ColumnRanges:
    """The range of each column and, if asked for, a sample of the rows.

    Parameters
    ----------
    low, high : ndarray of shape (n_features,)
        The least and the largest number of each column.
    sample : ndarray of shape (n_sampled, n_features), default=None
        All rows if there are fewer than ``SAMPLE_ROWS``.
    extremes : ndarray of shape (n_extremes, n_features), default=None
        The least and the largest numbers of the columns in each block. They are points in the
        range of the columns, but not rows.
    """

    low: np.ndarray
    high: np.ndarray
    sample: np.ndarray | None = None
    extremes: np.ndarray | None = None

    @property
    def points(self) -> np.ndarray:
        """The sample with the extremes, since a sample may miss all numbers far from the others."""
        assert self.sample is not None and self.extremes is not None, "no sample was asked for"
        return np.concatenate((self.sample, self.extremes))


def column_ranges(rows: Rows, sampled: bool = False) -> ColumnRanges:
    """Return the range of each column over the rows with weight, with a sample if asked for."""
    extremes, samples = rows.total(partial(_extremes_and_sample, sampled=sampled))
    if not extremes:
        raise NoWeightError
    bounds = torch.stack(extremes).numpy()
    low, high = bounds[:, 0].min(0), bounds[:, 1].max(0)
    if not np.isfinite(low + high).all():
        raise OutOfRangeError
    if not sampled:
        return ColumnRanges(low, high)
    sample = torch.cat(samples).numpy()
    return ColumnRanges(low, high, sample, bounds.reshape(-1, rows.n_features))


def _extremes_and_sample(rows: Rows, sampled: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Return the extremes of each block, and every so many-th row."""
    extremes, samples = [], []
    counted, step = rows.counted is not None, 1  # counted: the number of rows is known
    for X, _, weight in rows.blocks(rows.bound(rows.n_features, 8)):
        if weight is not None:  # rows without weight are not part of the data
            X, counted = X[weight > 0], False
        if not len(X):
            continue
        # Where columns are contiguous two passes take a tenth of the time of one; where rows are,
        # one pass is faster.
        by_column = X.stride(0) == 1
        least_and_most = (X.amin(0), X.amax(0)) if by_column else torch.aminmax(X, dim=0)
        extremes.append(torch.stack(least_and_most).cpu().double())
        if sampled:
            if counted:
                step = max(rows.n_rows * rows.n_partitions // SAMPLE_ROWS, 1)
            # A copy, since a slice would keep the memory of its whole block.
            samples.append(X[::step].to("cpu", torch.float64, copy=True))
            while sum(map(len, samples)) > 2 * SAMPLE_ROWS and not counted:
                samples, step = [part[::2].clone() for part in samples], 2 * step
    return extremes, samples


def rows_of_each_part(rows: Rows, ranges: ColumnRanges, columns: Sequence[int]) -> np.ndarray:
    """Return the first row in each of many equal parts of the ranges of some columns.

    Rare numbers are among these rows. Polynomials that are orthogonal on a sample without them
    vanish on the whole sample, and may have any size at the numbers that it misses.

    Parameters
    ----------
    rows : Rows
    ranges : ColumnRanges
    columns : sequence of int
        Those to cover; none of them is constant.
    """
    cover = partial(_first_of_each_part, low=ranges.low, high=ranges.high, columns=columns)
    (found,) = rows.total(cover)
    return torch.cat(found).numpy() if found else np.empty((0, len(ranges.low)))


def _first_of_each_part(
    rows: Rows, low: np.ndarray, high: np.ndarray, columns: Sequence[int]
) -> tuple[list[Tensor]]:
    found = []
    covered = torch.zeros(len(columns), _PARTS, dtype=torch.bool, device="cpu")
    for X, _, weight in rows.blocks(rows.bound(rows.n_features, 8)):
        X = X if weight is None else X[weight > 0]
        for i, j in enumerate(columns):
            # The difference of halves does not overflow.
            half = X[:, j].to("cpu", torch.float64) / 2
            position = (half - low[j] / 2) / (high[j] / 2 - low[j] / 2)  # from 0 to 1
            part = (position * _PARTS).long().clamp(0, _PARTS - 1)
            first = part.new_full((_PARTS,), len(X))
            first.scatter_reduce_(0, part, torch.arange(len(X), device=part.device), "amin")
            new = (first < len(X)) & ~covered[i]
            found.append(X[first[new].to(X.device)].to("cpu", torch.float64))
            covered[i] |= new
    return (found,)

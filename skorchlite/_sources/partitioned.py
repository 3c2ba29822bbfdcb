"""Rows in partitions: those of the ranks of a process group, or the chunks of a dask collection."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import Any, Protocol

import torch
from torch import Tensor

from .blocks import Block
from .row_source import Rows

AddUp = Callable[[Rows], tuple]


class Partitions(Protocol):
    """Sends a function to the rows of every partition, and adds up the sums that it returns.

    Attributes
    ----------
    kept : bool
        Whether rows are kept where they are read, and not made anew for each pass.
    """

    kept: bool

    def total(self, add_up: AddUp, among: Sequence[int] | None = None) -> tuple:
        """Return the sum of ``add_up(rows)`` over the partitions; see ``Rows.total``.

        Partitions that are not ``among`` these numbers have nothing to add, and may be left out.
        """

    def outlined(self, add_up: AddUp) -> tuple:
        """Return the same sum for an ``add_up`` that only needs the shapes of the rows."""


@dataclass(frozen=True)
class Pass:
    """A pass over the rows of a partition; it can be pickled and sent there.

    Parameters
    ----------
    add_up : callable
        Returns the sums over the rows.
    views : tuple of callable
        Each returns a view of the rows, the next one a view of that.
    n_partitions : int
    """

    add_up: AddUp
    views: tuple[Callable[[Rows], Rows], ...]
    n_partitions: int

    def __call__(self, rows: Rows) -> tuple:
        """Return the sums over the rows of one partition."""
        for view in self.views:
            rows = view(rows)
        rows.n_partitions = self.n_partitions
        return rows.total(self.add_up)


class PartitionedRows(Rows):
    """Rows that stay in their partitions, and of which sums come to the process of the solver.

    Rows are numbered from the first partition to the last. Where a solver needs single rows, as a
    stochastic one does, blocks of them are brought to it.

    Parameters
    ----------
    partitions : Partitions
    views : tuple of callable, default=()
        Each returns a view of the rows of a partition, the next one a view of that.
    """

    partitioned = True
    device = torch.device("cpu")

    def __init__(self, partitions: Partitions, views: tuple[Callable[[Rows], Rows], ...] = ()):
        self.partitions, self.views = partitions, views
        (described,) = partitions.outlined(Pass(_describe, views, self.n_partitions))
        self.starts, self.sizes, features, targets, indexed, sparse = zip(*described, strict=True)
        self.n_partitions = len(self.sizes)
        self.n_features, self.n_targets = features[0], targets[0]
        self.indexed, self.sparse = all(indexed), all(sparse)

    @property
    def n_rows(self) -> int:
        """The number of rows; to count those of streams takes a pass if there was none."""
        if self.counted is None:
            (self.sizes,) = self.total(_count)
        return sum(self.sizes)

    @property
    def counted(self) -> int | None:
        """The number of rows; None while there are streams whose rows have not been counted."""
        return None if None in self.sizes else sum(self.sizes)

    @property
    def n_weighted(self) -> int | None:
        """The number of rows with weight; None where it takes a pass over all rows to know."""
        if not self.partitions.kept:
            return None
        (counts,) = self.total(_n_weighted)
        return None if None in counts else sum(counts)

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer than ``count`` rows; streams are read no further."""
        if self.counted is not None:
            return self.counted < count
        (counted,) = self.total(partial(_count_up_to, count=count))
        return sum(counted) < count

    def total(self, add_up: AddUp) -> tuple:
        """Return ``add_up(rows)``, summed over all partitions; see ``Rows``."""
        return self._total_of(None, add_up)

    def _total_of(self, numbers: Sequence[int] | None, add_up: AddUp) -> tuple:
        """Return ``add_up(rows)``, summed over the partitions with these numbers, or all."""
        return self.partitions.total(Pass(add_up, self.views, self.n_partitions), numbers)

    @property
    def filled(self) -> Tensor:
        """Which columns are stored with their zeros in some partition; see ``Rows``."""
        if not self.sparse:
            return super().filled
        (filled,) = self.total(_filled)
        return torch.stack(filled).any(0)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)``, brought from their partitions; see ``Rows``."""
        if not self.indexed:
            raise ValueError(
                "Rows that are spread over processes and come as a stream cannot be taken in an "
                "order of all of them, as a stochastic solver does. Give arrays or a Dataset with "
                "__getitem__, or use solver='auto' with a loss by its name."
            )
        order = torch.arange(self.n_rows) if order is None else order
        for wanted in order.split(size):
            (parts,) = self._total_of(self._holding(wanted), partial(_chosen, order=wanted))
            positions, *columns = zip(*parts, strict=True)
            in_order = torch.cat(positions).argsort()
            X, y, weight = (
                None if parts[0] is None else torch.cat(parts)[in_order] for parts in columns
            )
            assert X is not None
            yield X, y, weight

    def head(self, size: int) -> Block | None:
        """Return the first rows of the first partition that has any; None if there are none."""
        first = next((i for i, n_rows in enumerate(self.sizes) if n_rows != 0), None)
        if first is None:
            return None
        (heads,) = self._total_of([first], partial(_first_rows, size=size))
        return heads[0]

    def columns(self, index: Tensor) -> "PartitionedRows":
        """Return the rows with some of the columns."""
        return self._viewed(methodcaller("columns", index))

    def every(self, step: int) -> "PartitionedRows":
        """Return every ``step``-th row."""
        return self._viewed(methodcaller("every", step))

    def taken(self, index: Tensor) -> "PartitionedRows":
        """Return the rows with these numbers, in ascending order."""
        return self._viewed(methodcaller("taken", index))

    def _holding(self, order: Tensor) -> list[int]:
        """Return the numbers of the partitions that some of these rows are in."""
        return torch.bucketize(order, torch.tensor(self.starts[1:]), right=True).unique().tolist()

    def _viewed(self, view: Callable[[Rows], Rows]) -> "PartitionedRows":
        return PartitionedRows(self.partitions, (*self.views, view))


def _count(rows: Rows) -> tuple[list]:
    return ([rows.n_rows],)


def _n_weighted(rows: Rows) -> tuple[list]:
    return ([rows.n_weighted],)


def _count_up_to(rows: Rows, count: int) -> tuple[list]:
    return ([rows.n_rows if rows.fewer_than(count) else count],)


def _describe(rows: Rows) -> tuple[list]:
    shape = rows.counted, rows.n_features, rows.n_targets
    return ([(rows.first, *shape, rows.indexed, rows.sparse)],)


def _filled(rows: Rows) -> tuple[list[Tensor]]:
    return ([rows.filled],)


def _first_rows(rows: Rows, size: int) -> tuple[list[Block]]:
    head = rows.head(size)
    return ([] if head is None else [_to_send(head)],)


def _chosen(rows: Rows, order: Tensor) -> tuple[list]:
    """Return the rows of this partition that are in the order, and their positions in it."""
    here = (order >= rows.first) & (order < rows.first + rows.n_rows)
    (positions,) = here.nonzero(as_tuple=True)
    if not len(positions):
        return ([],)
    blocks = rows.blocks(len(positions), order[positions] - rows.first)
    X, y, weight = (
        None if parts[0] is None else torch.cat(parts)
        for parts in zip(*map(_to_send, blocks), strict=True)
    )
    return ([(positions, X, y, weight)],)


def _to_send(block: Block) -> Any:
    # A slice that is not cloned would be pickled with all of the memory that it is a slice of.
    return tuple(None if column is None else column.cpu().clone() for column in block)

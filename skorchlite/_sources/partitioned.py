"""Rows that are spread over places: the ranks of a process group, or the workers of a cluster."""

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


class Places(Protocol):
    """Sends a function to the rows of every place, and adds up what it returns there."""

    def total(self, add_up: AddUp, among: Sequence[int] | None = None) -> tuple:
        """Return the sum of ``add_up(rows)`` over the places; see ``Rows.total``.

        Places that are not ``among`` these numbers have nothing to add, and need not be asked.
        """

    def outlined(self, add_up: AddUp) -> tuple:
        """Return the same sum for an ``add_up`` that asks for the shapes of the rows only."""


@dataclass(frozen=True)
class Pass:
    """What a place does in a pass over its rows; it can be pickled.

    Parameters
    ----------
    add_up : callable
        Returns the sums over some rows.
    views : tuple of callable
        Each returns the rows as they are to be seen, one after the other.
    n_places : int
    """

    add_up: AddUp
    views: tuple[Callable[[Rows], Rows], ...]
    n_places: int

    def __call__(self, rows: Rows) -> tuple:
        """Return the sums over the rows of a place."""
        for view in self.views:
            rows = view(rows)
        rows.n_places = self.n_places
        return rows.total(self.add_up)


class SpreadRows(Rows):
    """Rows that stay in their places, and of which only sums travel.

    A solver runs in one place. Rows are numbered from the first place to the last. Where a solver
    asks for blocks of them, as a stochastic one does, these are brought to it.

    Parameters
    ----------
    places : Places
    views : tuple of callable, default=()
        Each returns the rows of a place as they are to be seen, one after the other.
    """

    spread = True
    device = torch.device("cpu")

    def __init__(self, places: Places, views: tuple[Callable[[Rows], Rows], ...] = ()):
        self.places, self.views = places, views
        (described,) = self.places.outlined(Pass(_describe, views, self.n_places))
        self.starts, self.sizes, features, targets, indexed, sparse = zip(*described, strict=True)
        self.n_places = len(self.sizes)
        self.n_features, self.n_targets = features[0], targets[0]
        self.indexed, self.sparse = all(indexed), all(sparse)

    @property
    def n_rows(self) -> int:
        """The number of rows, to count which takes a pass over streams where none was made."""
        if self.counted is None:
            (self.sizes,) = self.total(_count)
        return sum(self.sizes)

    @property
    def counted(self) -> int | None:
        """The number of rows; None where some are streams that have not been counted."""
        return None if None in self.sizes else sum(self.sizes)

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer rows, reading no more than it takes to know."""
        if self.counted is not None:
            return self.counted < count
        (counted,) = self.total(partial(_count_up_to, count=count))
        return sum(counted) < count

    def total(self, add_up: AddUp) -> tuple:
        """Return ``add_up(rows)``, added over all places; see ``Rows``."""
        return self._among(None, add_up)

    def _among(self, places: Sequence[int] | None, add_up: AddUp) -> tuple:
        return self.places.total(Pass(add_up, self.views, self.n_places), places)

    @property
    def filled(self) -> Tensor:
        """Which columns of sparse rows are mostly filled in some place; see ``Rows``."""
        if not self.sparse:
            return super().filled
        (filled,) = self.total(_filled)
        return torch.stack(filled).any(0)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)``, brought from their places; see ``Rows``."""
        if not self.indexed:
            raise ValueError(
                "Rows that are spread over processes and come as a stream cannot be taken in an "
                "order of all of them, as a stochastic solver does. Give arrays or a Dataset with "
                "__getitem__, or use solver='auto' with a loss by its name."
            )
        order = torch.arange(self.n_rows) if order is None else order
        for wanted in order.split(size):
            (parts,) = self._among(self._holding(wanted), partial(_chosen, order=wanted))
            positions, *columns = zip(*parts, strict=True)
            back = torch.cat(positions).argsort()
            X, y, weight = (
                None if parts[0] is None else torch.cat(parts)[back] for parts in columns
            )
            assert X is not None
            yield X, y, weight

    def head(self, size: int) -> Block | None:
        """Return the first rows of the first place that has any; None where there are none."""
        first = next((i for i, n_rows in enumerate(self.sizes) if n_rows != 0), None)
        if first is None:
            return None
        (heads,) = self._among([first], partial(_first_rows, size=size))
        return heads[0]

    def columns(self, index: Tensor) -> "SpreadRows":
        """Return the rows with some of the columns."""
        return self._then(methodcaller("columns", index))

    def every(self, step: int) -> "SpreadRows":
        """Return every so many-th of the rows."""
        return self._then(methodcaller("every", step))

    def taken(self, index: Tensor) -> "SpreadRows":
        """Return the rows with these numbers, which rise."""
        return self._then(methodcaller("taken", index))

    def _holding(self, order: Tensor) -> list[int]:
        """Return the places that some of these rows are in."""
        return torch.bucketize(order, torch.tensor(self.starts[1:]), right=True).unique().tolist()

    def _then(self, view: Callable[[Rows], Rows]) -> "SpreadRows":
        return SpreadRows(self.places, (*self.views, view))


def _count(rows: Rows) -> tuple[list]:
    return ([rows.n_rows],)


def _count_up_to(rows: Rows, count: int) -> tuple[list]:
    return ([rows.n_rows if rows.fewer_than(count) else count],)


def _describe(rows: Rows) -> tuple[list]:
    shape = rows.counted, rows.n_features, rows.n_targets
    return ([(rows.first, *shape, rows.indexed, rows.sparse)],)


def _filled(rows: Rows) -> tuple[list[Tensor]]:
    return ([rows.filled],)


def _first_rows(rows: Rows, size: int) -> tuple[list[Block]]:
    head = rows.head(size)
    return ([] if head is None else [_here(head)],)


def _chosen(rows: Rows, order: Tensor) -> tuple[list]:
    """Return which of the ordered rows are here, and them."""
    here = (order >= rows.first) & (order < rows.first + rows.n_rows)
    (positions,) = here.nonzero(as_tuple=True)
    if not len(positions):
        return ([],)
    blocks = rows.blocks(len(positions), order[positions] - rows.first)
    X, y, weight = (
        None if parts[0] is None else torch.cat(parts)
        for parts in zip(*map(_here, blocks), strict=True)
    )
    return ([(positions, X, y, weight)],)


def _here(block: Block) -> Any:
    # Clones: of a slice, the whole would travel.
    return tuple(None if column is None else column.cpu().clone() for column in block)

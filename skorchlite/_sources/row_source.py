"""What every row source has, and the rows of one seen in another way."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller

import torch
from torch import Tensor

from .blocks import Block, block_rows
from .feature_map import IDENTITY, FeatureMap
from .origin import Origin


class Rows(ABC):
    """What every row source has, wherever its rows are.

    What a solver wants of rows are sums, and these add: over blocks, and over the places that rows
    may be spread over. So a function goes to the rows, by ``total``, and not the rows to the
    function. Where single rows are wanted, ``blocks`` brings them.

    Attributes
    ----------
    device : torch.device
    n_rows, n_features, n_targets : int
    basis : FeatureMap
        That made the columns.
    sparse : bool
        Whether the rows are kept without their zeros; see ``SparseRows``.
    formed : bool
        Whether blocks are formed where they are only multiplied by; see ``ExpandedRows``.
    indexed : bool
        Whether rows can be read in any order.
    rereadable : bool
        Whether they can be read again.
    spread : bool
        Whether the rows are in other places.
    n_places : int
        How many places share them.
    first : int
        The number, among the rows of all places, of the first row here.
    halvings : int
        How often memory was short for a block.
    """

    basis: FeatureMap = IDENTITY
    sparse, spread, formed = False, False, True
    indexed, rereadable = True, True
    n_places, first, halvings = 1, 0, 0
    device: torch.device
    n_features: int
    n_targets: int

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """The number of rows, to count which may take a pass over them."""

    @abstractmethod
    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device, ``size`` rows at a time.

        Parameters
        ----------
        size : int
        order : Tensor of shape (n_ordered,), default=None
            The numbers of the rows to yield, in their order, which may leave out some and repeat
            others; None for each once.
        """

    @abstractmethod
    def every(self, step: int) -> "Rows":
        """Return every so many-th of the rows, without a copy."""

    def taken(self, index: Tensor) -> "Rows":
        """Return the rows with these numbers, which rise, without a copy."""
        raise TypeError("rows that cannot be read in any order cannot be chosen from")

    def total(self, add_up: Callable[["Rows"], tuple]) -> tuple:
        """Return ``add_up(rows)``, added over all places.

        Where memory is short for a block, the pass begins again with blocks of half the size.

        Parameters
        ----------
        add_up : callable
            Returns a tuple of tensors, floats and lists; lists are added end to end. It can be
            pickled.
        """
        while True:
            try:
                return add_up(self)
            except torch.OutOfMemoryError:
                if _room(self, 1, 1) == 1 or not self.rereadable:
                    raise
                self.halvings += 1
                self.staging.clear()

    @property
    def staging(self) -> dict[tuple[torch.dtype, bool], Tensor]:
        """The memory that blocks are staged in, by dtype and by whether columns are contiguous."""
        return vars(self).setdefault("_staging", {})

    @property
    def counted(self) -> int | None:
        """The number of rows; None for a stream, whose rows are counted as they are read."""
        return self.n_rows

    def bound(self, width: int, itemsize: int) -> int:
        """Return how many rows of so many numbers a block has."""
        room, counted = _room(self, width, itemsize), self.counted
        return room if counted is None else max(min(room, counted), 1)

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer rows."""
        return self.n_rows < count

    def head(self, size: int) -> Block | None:
        """Return the first rows; None where there are none."""
        return next(self.blocks(size), None)

    @property
    def filled(self) -> Tensor:
        """Which columns have few zeros, or keep them: of dense rows, all."""
        return torch.ones(self.n_features, dtype=torch.bool)

    @property
    def density(self) -> float:
        """The part of the entries that are kept."""
        return 1.0

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, columns, sample_weight)``, columns to multiply by; see ``SparseRows``."""
        raise TypeError("the columns of these rows are formed, and blocks have them")

    def batches(
        self,
        size: int,
        order: Tensor | None,
        shift: Tensor,
        scale: Tensor | None,
        intercept: bool,
    ) -> Iterator[tuple]:
        """Yield ``(y, columns, sample_weight)`` of some rows at a time; see ``SparseRows``."""
        raise TypeError("the columns of these rows are formed, and blocks have them")

    def held(self, count: int) -> "Rows | None":
        """Return the rows in memory if they can be read once, and are no more than that and few."""
        return None

    def columns(self, index: Tensor) -> "Rows":
        """Return the rows with some of the columns."""
        return ColumnRows(self, index)

    def gram_from_sums(self, origin: Origin, dtype: torch.dtype) -> Tensor | None:
        """Return what ``design.gram`` does, if sums of single columns give it; else None."""
        return None

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        count, weight = self.total(methodcaller("weighed"))
        return weight / count

    def weighed(self) -> tuple[float, float]:
        """Return the number of rows here, and the sum of their weights."""
        count, total = 0.0, 0.0
        for X, _, weight in self.blocks(self.bound(self.n_features, 8)):
            count += len(X)
            total += len(X) if weight is None else float(weight.sum())
        return count, total

    def lightest(self) -> tuple[list[float], float]:
        """Return the least weight of a row here that has any, and the sum of weights."""
        least, total = torch.inf, 0.0
        for X, _, weight in self.blocks(self.bound(self.n_features, 8)):
            if weight is None:
                least, total = min(least, 1.0), total + len(X)
            elif (weight > 0).any():
                least = min(least, float(weight[weight > 0].min()))
                total += float(weight.sum())
        return [least], total


def _room(rows: Rows, width: int, itemsize: int) -> int:
    """Return how many rows of so many numbers there is memory for in a block."""
    return max(block_rows(width, itemsize, rows.device) >> rows.halvings, 1)


def n_entries_here(rows: Rows) -> float:
    """Return the number of entries of X here; infinite where it is not known."""
    known = rows.counted is not None and not rows.spread
    return rows.n_rows * rows.n_features if known else torch.inf


class View(Rows):
    """The rows of another source, seen in another way.

    Parameters
    ----------
    source : Rows
    """

    def __init__(self, source: Rows):
        self.source = source
        self.device, self.n_targets, self.n_features = (
            source.device,
            source.n_targets,
            source.n_features,
        )
        self.basis, self.first = source.basis, source.first
        self.indexed, self.rereadable = source.indexed, source.rereadable
        self.spread, self.n_places, self.halvings = source.spread, source.n_places, source.halvings

    @abstractmethod
    def of(self) -> Callable[[Rows], Rows]:
        """Return what sees any other source in the same way."""

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.source.n_rows

    @property
    def counted(self) -> int | None:
        """The number of rows; None for a stream."""
        return None if self.source.counted is None else self.n_rows

    def bound(self, width: int, itemsize: int) -> int:
        """Return how many rows of so many numbers a block has."""
        return min(_room(self, width, itemsize), self.source.bound(width, itemsize))

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer rows."""
        return self.source.fewer_than(count)

    @abstractmethod
    def seen(self, block: Block) -> Block:
        """Return a block of the source as it is seen here."""

    def head(self, size: int) -> Block | None:
        """Return the first rows; None where there are none."""
        block = self.source.head(size)
        return None if block is None else self.seen(block)

    def total(self, add_up: Callable[["Rows"], tuple]) -> tuple:
        """Return ``add_up(rows)``, added over all places; see ``Rows``."""
        if self.spread:
            return self.source.total(partial(_seen, add_up, self.of()))
        return super().total(add_up)

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        return self.source.mean_weight()

    def every(self, step: int) -> Rows:
        """Return every so many-th of the rows."""
        return self.of()(self.source.every(step))

    def taken(self, index: Tensor) -> Rows:
        """Return the rows with these numbers."""
        return self.of()(self.source.taken(index))


def _seen(add_up: Callable[["Rows"], tuple], view: Callable[[Rows], Rows], rows: Rows) -> tuple:
    return view(rows).total(add_up)


class ColumnRows(View):
    """Some of the columns of a row source.

    Parameters
    ----------
    source : Rows
    index : Tensor of shape (n_features,)
    """

    def __init__(self, source: Rows, index: Tensor):
        super().__init__(source)
        self.index, self.basis, self.n_features = index, IDENTITY, len(index)

    def of(self) -> Callable[[Rows], Rows]:
        """Return what takes these columns of any other source."""
        return partial(_columns_of, index=self.index)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with those columns of X."""
        # No more of the source at a time than its own width allows.
        size = min(size, self.source.bound(self.source.n_features, 8))
        yield from map(self.seen, self.source.blocks(size, order))

    def seen(self, block: Block) -> Block:
        """Return a block with those columns of X."""
        X, y, weight = block
        return X.index_select(1, self.index.to(X.device)), y, weight


def _columns_of(rows: Rows, index: Tensor) -> Rows:
    return rows.columns(index)


class TargetRows(View):
    """A row source with one of its targets.

    Parameters
    ----------
    source : Rows
    target : int
    """

    def __init__(self, source: Rows, target: int):
        super().__init__(source)
        self.target, self.n_targets = target, 1
        self.sparse, self.formed = source.sparse, source.formed

    def of(self) -> Callable[[Rows], Rows]:
        """Return what takes this target of any other source."""
        return partial(TargetRows, target=self.target)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with that column of y."""
        yield from map(self.seen, self.source.blocks(size, order))

    def seen(self, block: Block) -> Block:
        """Return a block with that column of y."""
        X, y, weight = block
        return X, y[:, self.target : self.target + 1], weight

    @property
    def filled(self) -> Tensor:
        """Which columns of sparse rows are mostly filled."""
        return self.source.filled

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, columns, sample_weight)`` of sparse rows with that column of y."""
        for y, columns, weight in self.source.centred(shift, scale):
            yield y[:, self.target : self.target + 1], columns, weight

"""What every row source has, and views of a row source."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller

import torch
from torch import Tensor

from .blocks import Block, block_rows
from .device_sums import DeviceSums, weight_of
from .feature_map import IDENTITY, FeatureMap
from .origin import Origin


class Rows(ABC):
    """What every row source has, wherever its rows are.

    What a solver needs of rows are sums. These add, over blocks and over the partitions that rows
    may be in. So ``total`` sends a function to the rows, and its sums come back. Where a solver
    needs single rows, ``blocks`` brings them.

    Attributes
    ----------
    device : torch.device
    n_rows, n_features, n_targets : int
    basis : FeatureMap
        What made the columns.
    sparse : bool
        Whether the rows are kept without their zeros, so that ``centred`` has them.
    formed : bool
        Whether products with the rows are made from ``blocks``; else from ``centred``, which does
        not form the columns.
    indexed : bool
        Whether rows can be read in any order.
    rereadable : bool
        Whether rows can be read more than once.
    partitioned : bool
        Whether the rows are in other processes, and only sums of them come here.
    n_partitions : int
        How many partitions there are, of which these rows are one.
    first : int
        The number of the first row, counted over all partitions.
    sent : bool
        Whether the rows come to a card from the memory of the host.
    halvings : int
        How often memory was too short for a block, and its size was halved.
    """

    basis: FeatureMap = IDENTITY
    sparse, formed, partitioned = False, True, False
    indexed, rereadable, sent = True, True, False
    n_partitions, first, halvings = 1, 0, 0
    device: torch.device
    n_features: int
    n_targets: int

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """The number of rows; to count those of a stream may take a pass over them."""

    @abstractmethod
    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` tensors on the device, ``size`` rows at a time.

        Parameters
        ----------
        size : int
        order : Tensor of shape (n_ordered,), default=None
            The numbers of the rows to yield, in this order; some may be left out, and others come
            more than once. None for each row once.
        """

    @abstractmethod
    def every(self, step: int) -> "Rows":
        """Return every ``step``-th row, without a copy."""

    def taken(self, index: Tensor) -> "Rows":
        """Return the rows with these numbers, in ascending order, without a copy."""
        raise TypeError("rows that cannot be read in any order cannot be chosen from")

    def total(self, add_up: Callable[["Rows"], tuple]) -> tuple:
        """Return ``add_up(rows)``, summed over all partitions.

        Where memory is too short for a block, the pass begins again with blocks of half the size.

        Parameters
        ----------
        add_up : callable
            Returns a tuple of tensors, floats and lists. Sums of lists are the lists end to end.
            It can be pickled.
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

    @property
    def n_weighted(self) -> int | None:
        """The number of rows with weight; None where it takes a pass to know."""
        return None

    def bound(self, width: int, itemsize: int) -> int:
        """Return how many rows of ``width`` numbers a block has at most."""
        room, counted = _room(self, width, itemsize), self.counted
        return room if counted is None else max(min(room, counted), 1)

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer than ``count`` rows."""
        return self.n_rows < count

    def head(self, size: int) -> Block | None:
        """Return the first ``size`` rows, or all if they are fewer; None if there are none."""
        return next(self.blocks(size), None)

    @property
    def filled(self) -> Tensor:
        """Which columns are stored with their zeros: all, unless the rows are sparse."""
        return torch.ones(self.n_features, dtype=torch.bool)

    @property
    def density(self) -> float:
        """The part of the entries that ``batches`` multiplies by."""
        return 1.0

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, Z, sample_weight)`` block by block, Z a ``DesignOperator``.

        Only sources whose rows are sparse, or not formed, have this.

        Parameters
        ----------
        shift : Tensor of shape (n_features,)
            What the columns of Z are measured from. Those of y are as they are.
        scale : Tensor of shape (n_features,) or None
            Divides the columns of Z; None for ones.
        """
        raise TypeError("the columns of these rows are formed, and blocks have them")

    def batches(
        self,
        size: int,
        order: Tensor | None,
        shift: Tensor,
        scale: Tensor | None,
        intercept: bool,
    ) -> Iterator[tuple]:
        """Yield ``(y, Z, sample_weight)``, ``size`` rows at a time; see ``SparseRows``."""
        raise TypeError("the columns of these rows are formed, and blocks have them")

    def held(self, count: int) -> "Rows | None":
        """Return the rows of a stream in memory if there are few of them, else None.

        Few are at most ``count``, and of few columns. The pass that reads them is the only one that
        is needed then.
        """
        return None

    def columns(self, index: Tensor) -> "Rows":
        """Return the rows with some of the columns."""
        return ColumnRows(self, index)

    def gram_from_sums(self, origin: Origin, dtype: torch.dtype) -> Tensor | None:
        """Return the same as ``design.gram`` if sums of single columns give it, else None."""
        return None

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        count, weight = self.total(methodcaller("weighed"))
        return weight / count

    def weighed(self) -> tuple[float, float]:
        """Return the number of rows in this partition, and the sum of their weights."""
        count, total = 0.0, DeviceSums(self.device, ())
        for X, _, weight in self.blocks(self.bound(self.n_features, 8)):
            count += len(X)
            total.add(weight_of(X, weight))
        return count, float(total.fetched()[0])


def lightest(rows: Rows) -> tuple[list[float], float]:
    """Return the least positive weight in a partition, and the sum of weights."""
    least, total = None, DeviceSums(rows.device, ())
    for X, _, weight in rows.blocks(rows.bound(rows.n_features, 8)):
        part = X.new_ones(()) if weight is None else weight.where(weight > 0, torch.inf).min()
        least = part if least is None else torch.minimum(least, part)
        total.add(weight_of(X, weight))
    return [torch.inf if least is None else float(least)], float(total.fetched()[0])


def _room(rows: Rows, width: int, itemsize: int) -> int:
    """Return how many rows of ``width`` numbers there is memory for in a block."""
    return max(block_rows(width, itemsize, rows.device, rows.sent) >> rows.halvings, 1)


def n_entries_here(rows: Rows) -> float:
    """Return the number of entries of X in this process; infinite where it is not known."""
    known = rows.counted is not None and not rows.partitioned
    return rows.n_rows * rows.n_features if known else torch.inf


class View(Rows):
    """The rows of another source with other columns or targets, or some of the rows.

    Parameters
    ----------
    source : Rows
    """

    def __init__(self, source: Rows):
        self.source = source
        self.device, self.basis = source.device, source.basis
        self.n_targets, self.n_features = source.n_targets, source.n_features
        self.indexed, self.rereadable = source.indexed, source.rereadable
        self.partitioned, self.n_partitions = source.partitioned, source.n_partitions
        self.first, self.halvings, self.sent = source.first, source.halvings, source.sent

    @abstractmethod
    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that makes the same view of another source; it can be pickled."""

    @abstractmethod
    def view_block(self, block: Block) -> Block:
        """Return the view of a block of the source."""

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.source.n_rows

    @property
    def counted(self) -> int | None:
        """The number of rows; None for a stream."""
        return None if self.source.counted is None else self.n_rows

    @property
    def n_weighted(self) -> int | None:
        """The number of rows with weight; None where it takes a pass to know."""
        return self.source.n_weighted

    def bound(self, width: int, itemsize: int) -> int:
        """Return how many rows of ``width`` numbers a block has at most."""
        return min(_room(self, width, itemsize), self.source.bound(width, itemsize))

    def fewer_than(self, count: int) -> bool:
        """Return whether there are fewer than ``count`` rows."""
        return self.source.fewer_than(count)

    def head(self, size: int) -> Block | None:
        """Return the first ``size`` rows; None if there are none."""
        block = self.source.head(size)
        return None if block is None else self.view_block(block)

    def total(self, add_up: Callable[[Rows], tuple]) -> tuple:
        """Return ``add_up(rows)``, summed over all partitions; see ``Rows``."""
        if self.partitioned:  # the view is made anew where the rows are
            return self.source.total(partial(_total_of_view, add_up, self.same_view()))
        return super().total(add_up)

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        return self.source.mean_weight()

    def every(self, step: int) -> Rows:
        """Return every ``step``-th row."""
        return self.same_view()(self.source.every(step))

    def taken(self, index: Tensor) -> Rows:
        """Return the rows with these numbers."""
        return self.same_view()(self.source.taken(index))


def _total_of_view(
    add_up: Callable[[Rows], tuple], view: Callable[[Rows], Rows], rows: Rows
) -> tuple:
    return view(rows).total(add_up)


class ColumnRows(View):
    """Some of the columns of a row source.

    Parameters
    ----------
    source : Rows
    index : Tensor of shape (n_features,)
        The numbers of the columns.
    """

    def __init__(self, source: Rows, index: Tensor):
        super().__init__(source)
        self.index, self.basis, self.n_features = index, IDENTITY, len(index)

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that takes these columns of another source."""
        return methodcaller("columns", self.index)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with these columns of X."""
        # A block of the source is wider, so that there may be memory for fewer of its rows.
        size = min(size, self.source.bound(self.source.n_features, 8))
        yield from map(self.view_block, self.source.blocks(size, order))

    def view_block(self, block: Block) -> Block:
        """Return a block with these columns of X."""
        X, y, weight = block
        return X.index_select(1, self.index.to(X.device)), y, weight


class TargetRows(View):
    """Some of the targets of a row source, and all of its columns.

    Parameters
    ----------
    source : Rows
    targets : list of int
        The numbers of the targets.
    """

    def __init__(self, source: Rows, targets: list[int]):
        super().__init__(source)
        self.targets, self.n_targets = targets, len(targets)
        self.sparse, self.formed = source.sparse, source.formed

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that takes these targets of another source."""
        return partial(TargetRows, targets=self.targets)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with these columns of y."""
        yield from map(self.view_block, self.source.blocks(size, order))

    def view_block(self, block: Block) -> Block:
        """Return a block with these columns of y."""
        X, y, weight = block
        return X, self._chosen(y), weight

    def _chosen(self, y: Tensor) -> Tensor:
        if len(self.targets) == 1:  # without a copy
            return y[:, self.targets[0] : self.targets[0] + 1]
        return y[:, self.targets]

    @property
    def filled(self) -> Tensor:
        """Which columns are stored with their zeros; see ``Rows``."""
        return self.source.filled

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, Z, sample_weight)`` with these columns of y; see ``Rows``."""
        for y, Z, weight in self.source.centred(shift, scale):
            yield self._chosen(y), Z, weight

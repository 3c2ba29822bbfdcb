"""Rows in random order, staged block by block and handed out batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..._linalg.sparse_batch import SparseBatch, TransposedBatch
from ..._objective.objective import Objective
from ..._sources.design import staged
from ..._sources.row_source import Rows

# With more columns and a smaller density than these, batches of sparse rows stay sparse.
_MANY_COLUMNS, _FEW_ENTRIES = 1_000, 0.05
_EVEN = 128  # rows that a block is a multiple of, where it is of several batches
_SEVERAL = 4  # epochs that have to fit into a block for it to be of more than one
_BLOCK_BYTES = 1 << 22  # near a processor cache; a smaller block takes longer in calls than in sums
_DEVICE_BLOCK_BYTES = 128 << 20  # a card has room, and rows that fit into one are sent once


BatchColumns = Tensor | SparseBatch  # the features and, if there is an intercept, ones
BatchTransposed = Tensor | TransposedBatch
Staged = tuple[Tensor, BatchColumns, Tensor | None, Tensor | None]  # see ``Block``


class Batch(NamedTuple):
    """The rows of a step, or a part of them.

    Parameters
    ----------
    Z : Tensor of shape (n, d), or SparseBatch
    Zt : Tensor of shape (d, n), or what multiplies like one
        The transpose.
    y : Tensor of shape (n, n_targets)
    weight : Tensor of shape (n, 1) or None
        See ``Block``.
    parts : tuple of Tensor, each of n rows
        The same rows of the columns that ``Block.batches`` was given.
    """

    Z: BatchColumns
    Zt: BatchTransposed
    y: Tensor
    weight: Tensor | None
    parts: tuple[Tensor, ...]


@dataclass
class Block:
    """Some staged rows: several whole batches, or a part of a large one.

    Parameters
    ----------
    y : Tensor of shape (n, n_targets)
    Z : Tensor of shape (n, d), or SparseBatch
        The features and, if there is an intercept, ones.
    weight : Tensor of shape (n, 1) or None
        Of each row, relative to the mean over all rows; None where each is one.
    n_batch : int
        Rows of a batch; the last batch may have fewer.
    whole : bool
        Whether it holds whole batches.
    last : bool
        Whether a batch ends with it.
    A : Tensor of shape (n, width) or None, default=None
        The targets, the columns of Z and perhaps more, side by side; None for sparse rows.
    """

    y: Tensor
    Z: BatchColumns
    weight: Tensor | None
    n_batch: int
    whole: bool
    last: bool
    A: Tensor | None = None

    def batches(self, *columns: Tensor) -> Iterator[Batch]:
        """Return the batches, or the part of one, each with its rows of some more columns."""
        if self.n_batch >= len(self.Z):  # splitting would take most of the time of a small batch
            return iter([Batch(self.Z, self.Z.T, self.y, self.weight, columns)])
        size = self.n_batch
        weights = [None] * len(self.Z) if self.weight is None else self.weight.split(size)
        parts = zip(*(column.split(size) for column in columns), strict=True)
        split = self.Z.split(size), self.Z.T.split(size, 1), self.y.split(size), weights
        return map(Batch, *split, parts)

    def weighed(self, losses: Tensor) -> Tensor:
        """Return the losses of the rows times their weight."""
        return losses if self.weight is None else losses * self.weight


def _stays_sparse(rows: Rows) -> bool:
    """Return whether batches of sparse rows are faster without their zeros."""
    return rows.n_features > _MANY_COLUMNS and rows.density <= _FEW_ENTRIES


def multiply(Z: BatchColumns, v: Tensor, out: Tensor) -> None:
    """Write the product of a batch with coefficients."""
    if isinstance(Z, Tensor):
        torch.mm(Z, v, out=out)
    else:
        out.copy_(Z @ v)


def add_product(
    start: Tensor, Zt: BatchTransposed, slope: Tensor, beta: float, alpha: float, out: Tensor
) -> None:
    """Write ``beta * start + alpha * Zt @ slope``."""
    if isinstance(Zt, Tensor):
        torch.addmm(start, Zt, slope, beta=beta, alpha=alpha, out=out)
    elif beta:
        torch.add(start, Zt @ slope, alpha=alpha, out=out)
    else:
        torch.mul(Zt @ slope, alpha, out=out)


def squared_rows(Z: BatchColumns, n_features: int) -> Tensor:
    """Return the squared norm of each row of a batch, without the ones."""
    if not isinstance(Z, Tensor):
        return Z.row_squares()[:, None]
    weights = Z[:, :n_features]
    return (weights * weights).sum(1, keepdim=True)


def split_columns(A: Tensor, rows: Rows, intercept: bool) -> tuple[Tensor, Tensor]:
    """Return the targets of staged rows, and the columns that have a coefficient."""
    t = rows.n_targets
    return A[:, :t], A[:, t : t + rows.n_features + intercept]


class Draws(NamedTuple):
    """The rows that an epoch draws, if not each once.

    Parameters
    ----------
    rows : Tensor of shape (n_drawn,)
        The numbers of the rows, some of them more than once.
    weight : Tensor of shape (n_drawn,)
        What each draw counts.
    """

    rows: Tensor
    weight: Tensor


class Minibatches:
    """Blocks of all rows, in a new order each time.

    Parameters
    ----------
    objective : Objective
    batch_size : int or None
        None for all rows.
    generator : torch.Generator or None
        Of the order of the rows; None for their own.
    dtype : torch.dtype
    whole : bool, default=False
        Whether each batch must be one block.
    draws : Draws or None, default=None
        None for each row once.
    """

    def __init__(
        self,
        objective: Objective,
        batch_size: int | None,
        generator: torch.Generator | None,
        dtype: torch.dtype,
        whole: bool = False,
        draws: Draws | None = None,
    ):
        self.objective, self.generator, self.dtype = objective, generator, dtype
        self.draws = draws
        rows = objective.rows
        self.n_rows = rows.n_rows if draws is None else len(draws.rows)
        self.n_batch = min(batch_size or self.n_rows, self.n_rows)
        self._sparse = _stays_sparse(rows)
        width = rows.n_features * (rows.density if self._sparse else 1.0)
        n_bytes = _BLOCK_BYTES if rows.device.type == "cpu" else _DEVICE_BLOCK_BYTES
        room = max(n_bytes // int((rows.n_targets + width + 1) * dtype.itemsize), 1)
        self._room = self.n_batch  # rows of a block
        if not whole:
            # A batch of a stream cannot be made in parts, which would be read one by one.
            part = room if rows.indexed else self.n_batch
            even = self.n_batch * max(_EVEN // self.n_batch, 1)
            self._room = room // even * even or room // self.n_batch * self.n_batch or part
        self._mean_weight = rows.mean_weight()
        self._kept: tuple[Tensor, Tensor | None] | None = None

    def __len__(self) -> int:
        return -(-self.n_rows // self.n_batch)

    def __iter__(self) -> Iterator[Block]:
        """Yield blocks; the next one is made in the same place."""
        order = self._order()
        if self._fits:
            yield self._in_memory(order)
        elif self.n_batch <= self._room:
            yield from self._of_whole_batches(order)
        else:
            yield from self._of_parts(order)

    @property
    def _fits(self) -> bool:
        """Whether all rows are one block."""
        return self.n_rows <= self._room and not self._sparse

    def _order(self) -> Tensor | None:
        """Return the order of the rows in the next epoch; None for their own.

        The rows of a single batch need no order; those of a stream are mixed block by block.
        """
        shuffled = self.generator is not None and self.n_batch < self.n_rows
        if not (shuffled and self.objective.rows.indexed):
            return None
        return torch.randperm(self.n_rows, generator=self.generator)

    @property
    def most_at_once(self) -> int:
        """How many epochs may be one block: several where there are few rows, else one."""
        count = self._room // (len(self) * self.n_batch) if self._fits else 1
        return count if count >= _SEVERAL else 1

    def several(self, n_epochs: int) -> tuple[Block, Tensor | None]:
        """Return the rows of some epochs as one block, and what each row counts in the objective.

        The last batch of each epoch is filled up with rows of zeros, and its own rows count more in
        its gradient.
        """
        n, size = self.n_rows, len(self) * self.n_batch
        orders = [self._order() for _ in range(n_epochs)]
        numbers = torch.stack([torch.arange(n) if order is None else order for order in orders])
        order = pad(numbers, (0, size - n), value=n).flatten()
        block, rest = self._in_memory(order), n % self.n_batch
        weight = block.weight
        if rest:
            shares = torch.ones_like(block.y[:size, :1])
            shares[n - rest :] = self.n_batch / rest
            shares = shares.repeat(n_epochs, 1)
            block = replace(block, weight=shares if weight is None else shares * weight)
        return block, weight

    def part(self, block: Block, weight: Tensor | None, epoch: int) -> Block:
        """Return the rows of one of several epochs, given what ``several`` returned."""
        begin = epoch * len(self) * self.n_batch
        chosen = slice(begin, begin + self.n_rows)
        assert block.A is not None
        A, weight = block.A[chosen], None if weight is None else weight[chosen]
        return Block(*self._split(A), weight, self.n_batch, whole=True, last=True, A=A)

    def _in_memory(self, order: Tensor | None) -> Block:
        """Return all rows, staged once and kept, in an order; one of zeros is after the last."""
        if self._kept is None:
            objective, draws = self.objective, self.draws
            drawn, drawn_weight = (None, None) if draws is None else draws
            blocks = staged(objective.rows, objective.origin, self.dtype, self.n_rows, drawn)
            ((A, weight),) = blocks
            weight = self._weights(weight, drawn_weight)
            row = 0, 0, 0, 1
            self._kept = pad(A, row), None if weight is None else pad(weight, row)
        A, weight = self._kept
        if order is None:
            A, weight = A[: self.n_rows], None if weight is None else weight[: self.n_rows]
        else:
            order = order.to(A.device)
            A = A.index_select(0, order)
            weight = None if weight is None else weight.index_select(0, order)
        return Block(*self._split(A), weight, self.n_batch, whole=True, last=True, A=A)

    def _of_whole_batches(self, order: Tensor | None) -> Iterator[Block]:
        """Yield blocks that hold whole batches."""
        for y, Z, weight, A in self._blocks(order):
            yield Block(y, Z, weight, self.n_batch, whole=True, last=True, A=A)

    def _of_parts(self, order: Tensor | None) -> Iterator[Block]:
        """Yield blocks that are parts of a batch, which is larger than there is room for."""
        if order is None and len(self) > 1:
            order = torch.arange(self.n_rows)
        for start in range(0, self.n_rows, self.n_batch):
            end, stop = start, min(start + self.n_batch, self.n_rows)
            for y, Z, weight, _ in self._blocks(None if order is None else order[start:stop]):
                end += len(y)
                yield Block(y, Z, weight, stop - start, whole=False, last=end == stop)

    def _blocks(self, order: Tensor | None) -> Iterator[Staged]:
        """Yield ``(y, Z, weight, A)`` of the draws with these numbers, None for all."""
        rows, drawn_weight, end = order, None, 0
        if self.draws is not None:
            rows, drawn_weight = (part if order is None else part[order] for part in self.draws)
        for y, Z, weight, A in self._rows(rows):
            begin, end = end, end + len(y)
            own = None if drawn_weight is None else drawn_weight[begin:end]
            yield y, Z, self._weights(weight, own), A

    def _rows(self, numbers: Tensor | None) -> Iterator[Staged]:
        """Yield ``(y, Z, sample_weight, A)`` for the rows with these numbers, None for all."""
        rows, origin = self.objective.rows, self.objective.origin
        if not self._sparse:
            for A, weight in staged(rows, origin, self.dtype, self._room, numbers):
                A, weight = self._mixed(A, weight)
                yield *self._split(A), weight, A
            return
        t, intercept = rows.n_targets, bool(self.objective.fit_intercept)
        shift, unit = origin.shift.to(rows.device), origin.unit().to(rows.device)
        scale = None if origin.scale is None else unit[t:].to(self.dtype)
        away = shift[t:].to(self.dtype)
        for y, Z, weight in rows.batches(self._room, numbers, away, scale, intercept):
            yield ((y - shift[:t]) / unit[:t]).to(self.dtype), Z, weight, None

    def _mixed(self, A: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return a block in a new order, where the order of the blocks is that of a stream."""
        if self.generator is None or self.objective.rows.indexed:
            return A, weight
        order = torch.randperm(len(A), generator=self.generator)
        return A[order], None if weight is None else weight[order]

    def _weights(self, sample_weight: Tensor | None, drawn_weight: Tensor | None) -> Tensor | None:
        """Return what each row counts, relative to the mean; None if that is 1."""
        parts = [] if sample_weight is None else [sample_weight[:, None] / self._mean_weight]
        if drawn_weight is not None:
            parts.append(drawn_weight.to(self.objective.rows.device)[:, None])
        if not parts:
            return None
        return (parts[0] if len(parts) == 1 else parts[0] * parts[1]).to(self.dtype)

    def _split(self, A: Tensor) -> tuple[Tensor, Tensor]:
        return split_columns(A, self.objective.rows, bool(self.objective.fit_intercept))

"""Rows in random order, staged block by block and handed out batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..._linalg.sparse_batch import SparseBatch, TransposedBatch
from ..._objective.objective import Objective
from ..._sources.design import staged
from ..._sources.row_source import Rows

_MANY_COLUMNS, _FEW_ENTRIES = 1_000, 0.05  # of sparse rows, from where dense ones are slower
_BLOCK_BYTES = 1 << 20  # stays in the cache while its batches are learned from


BatchColumns = Tensor | SparseBatch  # the features and, if there is an intercept, ones
BatchTransposed = Tensor | TransposedBatch


class Batch(NamedTuple):
    """The rows of a step, or a part of them.

    Parameters
    ----------
    Z : Tensor of shape (n, d), or SparseBatch
    Zt : Tensor of shape (d, n), or what multiplies like one
        The transpose.
    y : Tensor of shape (n, n_targets)
    weight : Tensor of shape (n, 1) or None
    parts : tuple of Tensor, each of n rows
        Of the columns that ``Block.batches`` was given.
    """

    Z: BatchColumns
    Zt: BatchTransposed
    y: Tensor
    weight: Tensor | None
    parts: tuple[Tensor, ...]


@dataclass
class Block:
    """Some staged rows: whole batches, or a part of one.

    Parameters
    ----------
    Z : Tensor of shape (n, d), or SparseBatch
        The features and, if there is an intercept, ones.
    y : Tensor of shape (n, n_targets)
    weight : Tensor of shape (n, 1) or None
        Of each row, relative to the mean of all; None where each is one.
    n_batch : int
        Rows of a batch; the last batch may have fewer.
    whole : bool
        Whether it holds whole batches.
    last : bool
        Whether a batch ends with it.
    """

    Z: BatchColumns
    y: Tensor
    weight: Tensor | None
    n_batch: int
    whole: bool
    last: bool

    def batches(self, *columns: Tensor) -> Iterator[Batch]:
        """Yield each batch, or the part of one, with its part of some columns."""
        if self.n_batch >= len(self.Z):  # most of the time of a small one would go into splitting
            yield Batch(self.Z, self.Z.T, self.y, self.weight, columns)
            return
        size = self.n_batch
        weights = [None] * len(self.Z) if self.weight is None else self.weight.split(size)
        rest = [column.split(size) for column in columns]
        split = self.Z.split(size), self.Z.T.split(size, 1), self.y.split(size), weights
        for Z, Zt, y, weight, *parts in zip(*split, *rest):  # noqa: B905 (a check takes time)
            yield Batch(Z, Zt, y, weight, tuple(parts))

    def weighed(self, losses: Tensor) -> Tensor:
        """Return the losses of the rows times their weight."""
        return losses if self.weight is None else losses * self.weight


def _stays_sparse(rows: Rows) -> bool:
    """Return whether steps with a batch are faster without its zeros."""
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


class Minibatches:
    """Blocks of all rows, in a new order each time.

    Parameters
    ----------
    objective : Objective
    batch_size : int or None
        None for all rows.
    generator : torch.Generator or None
        Of the order; None for that of the rows.
    dtype : torch.dtype
    whole : bool
        Whether each batch must be a block.
    drawn, weight : Tensor of shape (n_drawn,), default=None
        The numbers of the rows that an epoch draws, some of them more than once, and what each is
        to count; None for each row once.
    """

    def __init__(
        self,
        objective: Objective,
        batch_size: int | None,
        generator: torch.Generator | None,
        dtype: torch.dtype,
        whole: bool = False,
        drawn: Tensor | None = None,
        weight: Tensor | None = None,
    ):
        self.objective, self.generator, self.dtype = objective, generator, dtype
        self.drawn, self.weight = drawn, weight
        rows = objective.rows
        self.n_rows = rows.n_rows if drawn is None else len(drawn)
        self.n_batch = min(batch_size or self.n_rows, self.n_rows)
        self._intercept = bool(objective.fit_intercept)
        self._sparse = _stays_sparse(rows)
        width = rows.n_features * (rows.density if self._sparse else 1.0)
        room = max(_BLOCK_BYTES // int((rows.n_targets + width + 1) * dtype.itemsize), 1)
        if whole:
            self._room = self.n_batch
        else:  # a batch of a stream cannot be made in parts, which would be read one by one
            self._room = room // self.n_batch * self.n_batch or (
                room if rows.indexed else self.n_batch
            )
        self._mean_weight = rows.mean_weight()
        self._kept: tuple[Tensor, Tensor | None] | None = None

    def __len__(self) -> int:
        return -(-self.n_rows // self.n_batch)

    def __iter__(self) -> Iterator[Block]:
        """Yield blocks; the next one is made in the same place."""
        # The rows of a single batch need no order; those of a stream are mixed block by block.
        shuffled = self.generator is not None and self.n_batch < self.n_rows
        order = None
        if shuffled and self.objective.rows.indexed:
            order = torch.randperm(self.n_rows, generator=self.generator)
        if self.n_rows <= self._room and not self._sparse:
            A, share = self._all()
            if order is not None:
                A, share = A[order], None if share is None else share[order]
            y, Z = self._split(A)
            yield Block(Z, y, share, self.n_batch, True, True)
        else:
            yield from self._staged(order)

    def _staged(self, order: Tensor | None) -> Iterator[Block]:
        split = self.n_batch > self._room
        if order is None and split and len(self) > 1:
            order = torch.arange(self.n_rows)
        weight = self.weight if order is None or self.weight is None else self.weight[order]
        if self.drawn is not None:
            order = self.drawn if order is None else self.drawn[order]
        step = self.n_batch if split else self.n_rows
        for start in range(0, self.n_rows, step):
            end, stop = start, min(start + step, self.n_rows)
            part = None if order is None else order[start:stop]
            for y, Z, share in self._blocks(part):
                begin, end = end, end + len(y)
                share = self._shares(share, None if weight is None else weight[begin:end])
                n_batch = stop - start if split else self.n_batch
                yield Block(Z, y, share, n_batch, not split, not split or end == stop)

    def _blocks(self, part: Tensor | None) -> Iterator[tuple[Tensor, BatchColumns, Tensor | None]]:
        """Yield ``(y, Z, sample_weight)`` for the rows with these numbers."""
        rows, origin, intercept = self.objective.rows, self.objective.origin, self._intercept
        if not self._sparse:
            for A, share in staged(rows, origin, self.dtype, self._room, part):
                A, share = self._mixed(A, share)
                yield *self._split(A), share
            return
        t = rows.n_targets
        shift, unit = origin.shift.to(rows.device), origin.unit().to(rows.device)
        scale = None if origin.scale is None else unit[t:].to(self.dtype)
        away = shift[t:].to(self.dtype)
        for y, Z, share in rows.batches(self._room, part, away, scale, intercept):
            yield ((y - shift[:t]) / unit[:t]).to(self.dtype), Z, share

    def _mixed(self, A: Tensor, share: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the rows of a block in a new order, where that of all rows is a stream's own."""
        if self.generator is None or self.objective.rows.indexed:
            return A, share
        order = torch.randperm(len(A), generator=self.generator)
        return A[order], None if share is None else share[order]

    def _all(self) -> tuple[Tensor, Tensor | None]:
        """Return all rows, staged once and kept."""
        if self._kept is None:
            rows, origin = self.objective.rows, self.objective.origin
            ((A, share),) = staged(rows, origin, self.dtype, self.n_rows, self.drawn)
            self._kept = A.clone(), self._shares(share, self.weight)
        return self._kept

    def _shares(self, share: Tensor | None, weight: Tensor | None) -> Tensor | None:
        """Return what each row counts, or None if that is 1."""
        parts = [] if share is None else [share[:, None] / self._mean_weight]
        parts += [] if weight is None else [weight.to(self.objective.rows.device)[:, None]]
        if not parts:
            return None
        return (parts[0] if len(parts) == 1 else parts[0] * parts[1]).to(self.dtype)

    def _split(self, A: Tensor) -> tuple[Tensor, Tensor]:
        """Return the targets, and the columns that have a coefficient."""
        t = self.objective.rows.n_targets
        return A[:, :t], A[:, t : t + self.objective.n_features + self._intercept]

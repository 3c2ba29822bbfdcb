"""Blocks of rows as design matrices, measured from an origin, and the sums of their products."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from .._linalg.gram import sum_products
from .._linalg.operators import DenseColumns, DesignOperator, ShiftedColumns
from .._runtime import lap, mark
from .arrays import ArrayRows
from .blocks import Block
from .column_sums import ColumnSums
from .origin import Origin
from .row_source import Rows

_FEW_TARGETS = 16  # whose products with each other take no time beside a call

Parts = tuple[Tensor, Tensor, Tensor]  # memory, and its columns for targets and for features


def staged(
    rows: Rows,
    origin: Origin,
    dtype: torch.dtype,
    size: int | None = None,
    order: Tensor | None = None,
    most: int | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield ``(A, sample_weight)`` block by block, ``A = [targets, features, 1, padding]``.

    Targets and features are measured from the origin. The next block overwrites ``A``. Its width is
    a multiple of four (padded with zeros): on a CPU, matrix products lose up to a third of their
    speed with other widths.

    Parameters
    ----------
    rows : Rows
    origin : Origin
    dtype : torch.dtype
    size : int, default=None
        How many rows a block has; None for as many as there is memory for.
    order : Tensor of shape (n_ordered,), default=None
        The numbers of the rows, in their order; None for each row once.
    most : int, default=None
        How many rows are staged at a time, where a block of the source is cut into pieces.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    width = width_of(k)
    size = size or rows.bound(width, dtype.itemsize)
    room = size if most is None else min(size, most)
    # Subtracting in double and rounding once keeps the digits of data far from zero.
    exact = torch.float32 if rows.device.type == "mps" else torch.float64
    shift = origin.shift.to(rows.device, exact)
    moved = bool(origin.shift.numpy().any())
    places: dict[bool, Parts] = {}
    if order is not None and isinstance(rows, ArrayRows) and rows.device.type == "cpu":
        # What is gathered are rows, whatever the layout of the source.
        places[False] = _places(rows, (room, width), dtype, by_column=False)
        blocks = rows.gathered(order, places[False][2])
    else:
        blocks = _pieces(rows.blocks(size, order), room)
    for X, y, weight in blocks:
        mark()
        by_column = X.stride(0) < X.stride(1)
        if by_column not in places:
            places[by_column] = _places(rows, (room, width), dtype, by_column)
        whole = places[by_column]
        # Full ones are all the same tensor, of which views need to be made only once.
        A, targets, features = whole if len(X) == room else (part[: len(X)] for part in whole)
        _measure(y, shift[:t] if moved else None, targets)
        _measure(X, shift[t:] if moved else None, features)
        if origin.scale is not None:
            A[:, :k] /= origin.scale.to(rows.device, dtype)
        if weight is not None:
            A[:, k] = 1  # a weighted sum scales the rows in place
        yield A, weight
        lap()


def _pieces(blocks: Iterator[Block], room: int) -> Iterator[Block]:
    """Yield the blocks, cut into pieces of at most so many rows."""
    for block in blocks:
        if len(block[0]) <= room:
            yield block
            continue
        X, y, weight = (repeat(None) if part is None else part.split(room) for part in block)
        yield from zip(X, y, weight, strict=False)


def _measure(columns: Tensor, shift: Tensor | None, out: Tensor) -> None:
    """Write columns to ``out``, measured from a shift unless that is None, with one rounding.

    They may be there already. An operation on numbers of two types takes twice as long as on
    numbers of one.
    """
    if shift is None:
        if columns.device.type != "cpu" or columns.data_ptr() != out.data_ptr():
            out.copy_(columns)
    elif columns.dtype == shift.dtype:
        torch.sub(columns, shift, out=out)
    elif out.dtype == shift.dtype:
        torch.sub(out.copy_(columns), shift, out=out)
    elif columns.dtype == out.dtype and torch.equal(shift.to(out.dtype).to(shift.dtype), shift):
        torch.sub(columns, shift.to(out.dtype), out=out)
    else:
        torch.sub(columns, shift, out=out)


Design = Iterator[tuple[Tensor, DesignOperator, Tensor | None]]


def paired(rows: Rows, origin: Origin, dtype: torch.dtype) -> Design:
    """Yield ``(y, Z, sample_weight)`` block by block, Z with the features and a column of ones.

    Targets and features are measured from the origin.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    if rows.sparse:
        yield from _centred(rows, origin)
        return
    for A, weight in staged(rows, origin, dtype):
        yield A[:, :t], DenseColumns(A[:, t : k + 1]), weight


def multiplied(rows: Rows, origin: Origin, dtype: torch.dtype) -> Design:
    """Yield the same for products with Z only, for which columns need not be formed."""
    if rows.sparse or not rows.formed:
        return _centred(rows, origin)
    return _shifted(rows, origin, dtype) if origin.near else paired(rows, origin, dtype)


def matrices(
    rows: Rows, origin: Origin, dtype: torch.dtype
) -> Iterator[tuple[DesignOperator, Tensor | None]]:
    """Yield ``(Z, sample_weight)`` of ``multiplied``, without the targets."""
    dense = rows.formed and not rows.sparse
    for _, Z, weight in multiplied(rows, origin, dtype) if dense else _unmeasured(rows, origin):
        yield Z, weight


def _shifted(rows: Rows, origin: Origin, dtype: torch.dtype) -> Design:
    """Yield the same where the origin is near, with the features where they lie."""
    t, shift = rows.n_targets, origin.shift.to(rows.device, dtype)
    for X, y, weight in rows.blocks(rows.bound(rows.n_features, dtype.itemsize)):
        mark()
        yield y.to(dtype) - shift[:t], ShiftedColumns(X.to(dtype), shift[t:]), weight
        lap()


def _centred(rows: Rows, origin: Origin) -> Design:
    t = rows.n_targets
    shift, scale = origin.shift[:t].to(rows.device), origin.unit()[:t].to(rows.device)
    for y, Z, weight in _unmeasured(rows, origin):
        yield (y - shift) / scale, Z, weight


def _unmeasured(rows: Rows, origin: Origin) -> Design:
    """Yield the blocks with the targets as they are."""
    shift = origin.shift[rows.n_targets :].to(rows.device)
    scale = None if origin.scale is None else origin.scale[rows.n_targets :].to(rows.device)
    for block in rows.centred(shift, scale):
        mark()
        yield block
        lap()


def width_of(k: int) -> int:
    """Return the width of ``staged`` blocks with ``k`` targets and features."""
    return -(-(k + 1) // 4) * 4


def _places(rows: Rows, shape: tuple[int, int], dtype: torch.dtype, by_column: bool) -> Parts:
    """Return the memory that blocks are staged in, and its columns for targets and for features.

    The columns after these are filled. The source keeps the memory from pass to pass: to touch new
    memory costs a CPU as much as to fill it. The layout is that of the blocks, since to write
    columns to rows is slow.
    """
    buffer = rows.staging.get((dtype, by_column))
    if buffer is None or len(buffer) < shape[0]:
        layout = shape[::-1] if by_column else shape
        buffer = torch.empty(layout, dtype=dtype, device=rows.device)
        buffer = rows.staging[dtype, by_column] = buffer.T if by_column else buffer
    buffer, t, k = buffer[: shape[0]], rows.n_targets, rows.n_targets + rows.n_features
    buffer[:, k] = 1
    if shape[1] > k + 1:
        buffer[:, k + 1 :] = 0
    return buffer, buffer[:, :t], buffer[:, t:k]


def gram(rows: Rows, origin: Origin, dtype: torch.dtype) -> Tensor:
    """Return the weighted sums of products of the columns of ``staged``, added up in float64.

    Nothing depends on those of targets with each other, and of many targets they are left out.
    """
    products = rows.gram_from_sums(origin, dtype)
    if products is not None:
        return products
    width = width_of(rows.n_targets + rows.n_features)
    if rows.sparse:
        return _sparse_gram(rows, origin, width)
    if rows.n_targets > _FEW_TARGETS:
        return _gram_of_targets(rows, origin, dtype, width)
    return sum_products(staged(rows, origin, dtype), width).cpu()


def _gram_of_targets(rows: Rows, origin: Origin, dtype: torch.dtype, width: int) -> Tensor:
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    sums = ColumnSums(t, k, rows.device)
    for A, weight in staged(rows, origin, dtype):
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        sums.add(A)
    products, squares = sums.result()
    total = torch.zeros(width, width, dtype=torch.float64)
    total[t : k + 1, : k + 1] = products
    total[:t, t : k + 1] = products[:, :t].T
    total.diagonal()[:t] = squares
    return total


def _sparse_gram(rows: Rows, origin: Origin, width: int) -> Tensor:
    t, k = rows.n_targets, rows.n_targets + rows.n_features + 1
    total = torch.zeros(width, width, dtype=torch.float64)
    for y, Z, weight in paired(rows, origin, torch.float64):
        weighted = y if weight is None else y * weight[:, None]
        across = (Z.T @ weighted).cpu()
        total.diagonal()[:t] += (y * weighted).sum(0).cpu()
        total[t:k, :t] += across
        total[:t, t:k] += across.T
        total[t:k, t:k] += Z.gram(weight).cpu()
    return total


def dense(blocks: Iterator[Any], dtype: torch.dtype) -> Iterator[tuple[Tensor, Any, Any]]:
    """Yield blocks with X in a dtype and without gaps, copied to one buffer where they are not so.

    A product would copy such an X by itself, but to new memory each time, which adds up.
    """
    buffer: Tensor | None = None
    for X, y, weight in blocks:
        if X.dtype != dtype or 1 not in X.stride():
            if buffer is None or buffer.numel() < X.numel():
                buffer = torch.empty(X.numel(), dtype=dtype, device=X.device)
            n_rows, n_features = X.shape
            copy = buffer[: X.numel()]
            by_column = X.stride(0) < X.stride(1)  # to write columns to rows is slow
            copy = copy.view(n_features, n_rows).T if by_column else copy.view(n_rows, n_features)
            X = copy.copy_(X)
        yield X, y, weight

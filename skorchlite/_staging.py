"""Where columns are measured from, and blocks of rows that are measured from there."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._rows import block_rows
from ._views import dense, viewed

_PILOT_ROWS = 256


@dataclass(frozen=True)
class Origin:
    """Where the columns are measured from, and in which unit: ``(column - shift) / scale``.

    ``scale`` holds powers of two, so that dividing is exact; it is None where every scale is 1.
    """

    shift: Tensor  # (n_targets + n_features,) float64: the targets, then the features
    scale: Tensor | None = None

    def unit(self) -> Tensor:
        """Return the scales, ones where there are none."""
        return torch.ones_like(self.shift) if self.scale is None else self.scale

    def for_plain_targets(self, n_targets: int, shifted: bool) -> "Origin":
        """Return the origin with targets in their own unit, and from zero unless ``shifted``."""
        shift = self.shift.clone()
        shift[:n_targets] *= shifted
        if self.scale is None:
            return Origin(shift)
        scale = self.scale.clone()
        scale[:n_targets] = 1
        return Origin(shift, scale)


def staged(
    rows: Any,
    origin: Origin,
    dtype: torch.dtype,
    size: int | None = None,
    order: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield ``(A, sample_weight)`` block by block, ``A = [targets, features, 1, padding]``.

    Targets and features are measured from the origin. The buffer behind ``A`` is used again for
    the next block. Its width is a multiple of four (padded with zeros): matrix products on a
    processor lose up to a third of their speed on other widths.

    Parameters
    ----------
    rows : row source
    origin : Origin
    dtype : torch.dtype
    size : int, default=None
        Rows of a block; None for as many as its memory allows.
    order : Tensor of shape (n_ordered,), default=None
        Which rows, in which order; None for each once.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    width = width_of(k)
    size = size or rows.bound(width, dtype.itemsize)
    # Subtracting in double and rounding once keeps the digits of data far from zero.
    exact = torch.float32 if rows.device.type == "mps" else torch.float64
    shift = origin.shift.to(rows.device, exact)
    buffers: dict[bool, Tensor] = {}
    for X, y, weight in rows.blocks(size, order):
        by_column = X.stride(0) < X.stride(1)
        if by_column not in buffers:
            buffer = buffers[by_column] = _buffer(rows, (size, width), dtype, by_column)
            buffer[:, k:] = 0
            buffer[:, k] = 1
        A = buffers[by_column][: len(X)]
        torch.sub(y, shift[:t], out=A[:, :t])
        torch.sub(X, shift[t:], out=A[:, t:k])
        if origin.scale is not None:
            A[:, :k] /= origin.scale.to(rows.device, dtype)
        if weight is not None:
            A[:, k] = 1  # a weighted sum scales the rows in place
        yield A, weight


def paired(rows: Any, origin: Origin, dtype: torch.dtype) -> Iterator[tuple[Tensor, Any, Any]]:
    """Yield ``(y, Z, sample_weight)`` block by block, ``Z`` the features and ones.

    Both are measured from the origin. Of sparse rows, Z is no tensor but multiplies like one.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    if rows.sparse:
        yield from _centred(rows, origin)
        return
    for A, weight in staged(rows, origin, dtype):
        yield A[:, :t], A[:, t : k + 1], weight


def multiplied(rows: Any, origin: Origin, dtype: torch.dtype) -> Iterator[tuple]:
    """Yield the same, with a Z that may do no more than multiply."""
    return paired(rows, origin, dtype) if rows.formed else _centred(rows, origin)


def _centred(rows: Any, origin: Origin) -> Iterator[tuple[Tensor, Any, Any]]:
    t = rows.n_targets
    shift, scale = origin.shift.to(rows.device), origin.unit().to(rows.device)
    for y, columns, weight in rows.centred(shift[t:], None if origin.scale is None else scale[t:]):
        yield (y - shift[:t]) / scale[:t], columns, weight


def width_of(k: int) -> int:
    """Return the width of staged rows with so many columns."""
    return -(-(k + 1) // 4) * 4


def _buffer(rows: Any, shape: tuple[int, int], dtype: torch.dtype, by_column: bool) -> Tensor:
    """Return the memory that blocks are staged in, which the source keeps from pass to pass.

    It has the layout of the blocks, since to write across it is slow; and to touch new memory costs
    a processor as much as to fill it.
    """
    buffer = rows.staging.get((dtype, by_column))
    if buffer is None or len(buffer) < shape[0]:
        layout = shape[::-1] if by_column else shape
        buffer = torch.empty(layout, dtype=dtype, device=rows.device)
        buffer = rows.staging[dtype, by_column] = buffer.T if by_column else buffer
    return buffer[: shape[0]]


def predicted(
    rows: Any, coef: np.ndarray, intercept: np.ndarray, dtype: torch.dtype | None = None
) -> Tensor:
    """Return the raw predictions of all rows, computed in double precision block by block.

    Parameters
    ----------
    rows : row source
    coef : ndarray of shape (n_targets, n_features)
    intercept : ndarray of shape (n_targets,)
    dtype : torch.dtype, default=None
        Of the result; None for that of the computation.
    """
    (predictions,) = rows.total(partial(_predicted, coef=coef, intercept=intercept, dtype=dtype))
    return predictions


def _predicted(
    rows: Any, coef: np.ndarray, intercept: np.ndarray, dtype: torch.dtype | None
) -> tuple[Tensor]:
    double = torch.float32 if rows.device.type == "mps" else torch.float64
    W = torch.from_numpy(coef.T.copy()).to(rows.device, double)
    b = viewed(intercept).to(rows.device, double)
    if rows.sparse:
        columns = (Z for _, Z, _ in rows.centred(W.new_zeros(rows.n_features), None))
        v = torch.cat((W, b[None]))
        return (torch.cat([(Z @ v).to(dtype or double) for Z in columns]),)
    blocks = dense(rows.blocks(rows.bound(rows.n_features, double.itemsize)), double)
    if not rows.indexed:  # how many there are is known at the end
        parts = [torch.add(X @ W, b).to(dtype or double) for X, _, _ in blocks]
        return (torch.cat(parts),)
    out = torch.empty(rows.n_rows, len(b), dtype=dtype or double, device=rows.device)
    start = 0
    for X, _, _ in blocks:
        stop = start + len(X)
        torch.add(X @ W, b, out=out[start:stop])
        start = stop
    return (out,)


def pilot_origin(rows: Any, centre: bool) -> Origin:
    """Return an origin near the data, from its first rows.

    The shift of a constant column is exactly its value, so that its products are exactly zero.
    """
    head = rows.head(min(_PILOT_ROWS, block_rows(rows.n_features, 8, rows.device)))
    assert head is not None, "rows to fit are not none"
    X, y, weight = head
    if weight is not None and (weight > 0).any():
        X, y = X[weight > 0], y[weight > 0]
    columns = torch.cat((y.to("cpu", torch.float64), X.to("cpu", torch.float64)), 1)
    first = columns[0]
    shift = first + (columns - first).mean(0) if centre else torch.zeros_like(first)
    if rows.sparse:
        shift[rows.n_targets :] *= rows.filled
    return Origin(shift)


def plain_origin(rows: Any, centre: bool) -> Origin:
    """Return the origin of the columns as they are."""
    return Origin(torch.zeros(rows.n_targets + rows.n_features, dtype=torch.float64))


def widest_origin(rows: Any, centre: bool) -> Origin:
    """Return an origin, from a pass over the data, in whose units no number exceeds 1."""
    first = torch.nan_to_num(pilot_origin(rows, centre).shift, 0.0, 0.0, 0.0)
    (sizes,) = rows.total(partial(_sizes, first=first))
    return Origin(first, power_of_two(torch.stack(sizes).amax(0)))


def _sizes(rows: Any, first: Tensor) -> tuple[list[Tensor]]:
    size = torch.zeros_like(first)
    if rows.sparse:
        for y, columns, _ in rows.centred(first[rows.n_targets :], None):
            largest = (y.cpu() - first[: rows.n_targets]).abs().amax(0), columns.largest()
            size = torch.maximum(size, torch.cat(largest))
        return ([size],)
    for X, y, _ in rows.blocks(rows.bound(rows.n_features, 8)):
        columns = torch.cat([block.to("cpu", torch.float64) for block in (y, X)], 1)
        size = torch.maximum(size, (columns - first).abs().amax(0))
    return ([size],)


def power_of_two(size: Tensor) -> Tensor:
    """Return the power of two next above each size (1 for a size of zero)."""
    exponent = torch.frexp(size).exponent.clamp(-1020, 1020)
    return torch.ldexp(torch.ones_like(size), exponent)

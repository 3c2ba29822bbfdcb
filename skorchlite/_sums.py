"""What a pass adds up over rows: each function takes a row source and returns sums that add.

They are sent to where the rows are, so that what they take and return can be pickled.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ._models import Sums
from ._moments import sum_products
from ._staging import Origin, staged, width_of


def losses(
    rows: Any, origin: Origin, dtype: torch.dtype, loss: Any, v: Tensor
) -> tuple[Tensor, float]:
    """Return the sum of losses for each target, and that of weights."""
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    point, value, total = v.to(rows.device, dtype), v.new_zeros(t), 0.0
    for A, weight in staged(rows, origin, dtype):
        part = loss.value(A[:, :t], A[:, t : k + 1] @ point)
        if weight is not None:
            part = part * weight[:, None].to(A.dtype)
        value += part.sum(0).cpu()
        total += len(A) if weight is None else float(weight.sum())
    return value, total


def slopes(
    rows: Any, origin: Origin, dtype: torch.dtype, loss: Any, v: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Return the sums of losses, for each target, of gradients, and of weights."""
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    point, value = v.to(rows.device, dtype), v.new_zeros(t)
    gradient, total = torch.zeros_like(v), 0.0
    for A, weight in staged(rows, origin, dtype):
        Z, y = A[:, t : k + 1], A[:, :t]
        raw_prediction = Z @ point
        part, slope = loss.value(y, raw_prediction), loss.gradient(y, raw_prediction)
        if weight is not None:
            weight = weight[:, None].to(A.dtype)
            part, slope = part * weight, slope * weight
        value += part.sum(0).cpu()
        gradient += (Z.T @ slope).cpu()
        total += len(A) if weight is None else float(weight.sum())
    return value, gradient, total


def doubled_slopes(
    rows: Any, origin: Origin, v: Tensor, v_low: Any
) -> tuple[Tensor, Tensor, float]:
    """Return the same for squared error, in the doubled precision that a basis has."""
    return rows.basis.doubled_sums(rows, origin, v, v_low)


def spread(rows: Any, origin: Origin, dtype: torch.dtype) -> tuple[float, Tensor, Tensor]:
    """Return the sums of weights, of columns alone and times targets, and of squares.

    The columns are the targets, then the features.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    total, sums = 0.0, torch.zeros(k, t + 1, dtype=torch.float64)
    squares = torch.zeros(k, dtype=torch.float64)
    for A, weight in staged(rows, origin, dtype):
        if weight is not None:
            A[:, : k + 1] *= weight.to(A.dtype).sqrt()[:, None]
        columns, ones = A[:, :k], A[:, k : k + 1]
        total += float((ones * ones).sum())
        sums += (columns.T @ torch.cat((ones, columns[:, :t]), 1)).cpu()
        # Squares of a block as a whole would need a second buffer.
        squares += (torch.linalg.vector_norm(columns, dim=0) ** 2).cpu()
    return total, sums, squares


def products(
    rows: Any, origin: Origin, dtype: torch.dtype, whiten: Tensor | None = None
) -> tuple[Tensor]:
    """Return the sums of products of columns, the features multiplied by ``whiten`` if given."""
    k = rows.n_targets + rows.n_features
    blocks: Any = staged(rows, origin, dtype)
    if whiten is not None:
        k = rows.n_targets + whiten.shape[1]
        blocks = _whitened(blocks, whiten.to(rows.device, dtype), rows.n_targets)
    return (sum_products(blocks, width_of(k)).cpu(),)


def _whitened(
    blocks: Iterator[tuple[Tensor, Tensor | None]], whiten: Tensor, t: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the blocks with their features multiplied by ``whiten``."""
    d, k = whiten.shape
    for A, weight in blocks:
        out = A.new_zeros(len(A), width_of(t + k))
        out[:, :t], out[:, t + k] = A[:, :t], A[:, t + d]
        torch.mm(A[:, t : t + d], whiten, out=out[:, t : t + k])
        yield out, weight


def models(
    rows: Any,
    origin: Origin,
    dtype: torch.dtype,
    loss: Any,
    points: Tensor,
    reach: dict[int, float],
    room: int,
) -> tuple:
    """Return the sum of weights, and those that make the models of some targets; see ``Sums``.

    The places that rows may be spread over share the room.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    room = -(-room // rows.n_places)
    sums = {j: Sums(loss, near, room, k + 1 - t) for j, near in reach.items()}
    total = 0.0
    for A, weight in staged(rows, origin, dtype):
        Z, y = A[:, t : k + 1], A[:, :t]
        raw_prediction = Z @ points.to(A)
        share = A.new_ones(len(A)) if weight is None else weight.to(A.dtype)
        total += float(share.sum())
        for j, part in sums.items():
            part.add(Z, y[:, j], raw_prediction[:, j], share)
    return total, *(part for one in sums.values() for part in one.parts())

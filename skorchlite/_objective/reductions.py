"""The sums that a pass over the rows makes.

Each function takes rows and returns sums, to which those over other rows can be added. It is sent
to where the rows are, so that its arguments and its result can be pickled.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .._linalg import double_double as dd
from .._linalg.exact_products import exact_gram
from .._linalg.gram import sum_products
from .._sources.design import gram, matrices, multiplied, paired, staged, width_of
from .._sources.device_sums import DeviceSums, weight_of
from .._sources.origin import Origin
from .._sources.row_source import Rows
from .local_model import Sums
from .loss import Loss


def losses(
    rows: Rows, origin: Origin, dtype: torch.dtype, loss: Loss, v: Tensor
) -> tuple[Tensor, float]:
    """Return the sum of losses for each target, and that of weights."""
    point, sums = v.to(rows.device, dtype), DeviceSums(rows.device, (rows.n_targets,), ())
    for y, Z, weight in multiplied(rows, origin, dtype):
        loss.check(y, weight)
        part = loss.value(y, Z @ point)
        if weight is not None:
            part = part * weight[:, None].to(part.dtype)
        sums.add(part.sum(0), weight_of(y, weight))
    value, total = sums.fetched()
    return value, float(total)


def slopes(
    rows: Rows, origin: Origin, dtype: torch.dtype, loss: Loss, v: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Return the sums of losses, for each target, of gradients, and of weights."""
    point = v.to(rows.device, dtype)
    sums = DeviceSums(rows.device, (rows.n_targets,), v.shape, ())
    for y, Z, weight in multiplied(rows, origin, dtype):
        loss.check(y, weight)
        raw_prediction = Z @ point
        part, slope = loss.value(y, raw_prediction), loss.gradient(y, raw_prediction)
        if weight is not None:
            weight = weight[:, None].to(part.dtype)
            part, slope = part * weight, slope * weight
        sums.add(part.sum(0), Z.T @ slope, weight_of(y, weight))
    value, gradient, total = sums.fetched()
    return value, gradient, float(total)


def clipped(
    rows: Rows, origin: Origin, dtype: torch.dtype, loss: Loss, v: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Return the sums of squared slopes, of weights of rows without curvature, and of weights."""
    point, sums = v.to(rows.device, dtype), DeviceSums(rows.device, (), (), ())
    for y, Z, weight in multiplied(rows, origin, dtype):
        raw_prediction = Z @ point
        square = loss.gradient(y, raw_prediction) ** 2
        beyond = (loss.curvature(y, raw_prediction) == 0).to(square.dtype)
        if weight is not None:
            weight = weight[:, None].to(square.dtype)
            square, beyond = square * weight, beyond * weight
        sums.add(square.sum(), beyond.sum(), weight_of(y, weight))
    squares, outside, total = sums.fetched()
    return squares, outside, float(total)


def hessian_products(
    rows: Rows, origin: Origin, dtype: torch.dtype, v: Tensor
) -> tuple[Tensor, float]:
    """Return the sums of squared error's Hessian times v, and of weights."""
    point, sums = v.to(rows.device, dtype), DeviceSums(rows.device, v.shape, ())
    for Z, weight in matrices(rows, origin, dtype):
        along = Z @ point
        along = along if weight is None else along * weight[:, None].to(along.dtype)
        sums.add(Z.T @ along, weight_of(Z, weight))
    product, total = sums.fetched()
    return product, float(total)


def spread(rows: Rows, origin: Origin, dtype: torch.dtype) -> tuple[float, Tensor, Tensor]:
    """Return the sums of weights, of columns alone and times targets, and of squares.

    The columns are the targets, then the features.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    of_parts = (), (t, t + 1), (k - t, t + 1), (t,), (k - t,)
    sums = DeviceSums(rows.device, *of_parts)
    for y, Z, weight in paired(rows, origin, dtype):
        ones = y.new_ones(len(y), 1) if weight is None else weight[:, None].to(y.dtype)
        right = torch.cat((ones, ones * y), 1)
        columns, squares = (Z.T @ right)[:-1], Z.column_squares(weight)
        sums.add(ones.sum(), y.T @ right, columns, (ones * y**2).sum(0), squares)
    total, *parts = sums.fetched()
    return float(total), torch.cat(parts[:2]), torch.cat(parts[2:])


def products(
    rows: Rows, origin: Origin, dtype: torch.dtype, whiten: Tensor | None = None
) -> tuple[Tensor]:
    """Return the sums of products of columns, the features multiplied by ``whiten`` if given."""
    if whiten is None:
        return (gram(rows, origin, dtype),)
    k = rows.n_targets + whiten.shape[1]
    blocks = _whitened(staged(rows, origin, dtype), whiten.to(rows.device, dtype), rows.n_targets)
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
    rows: Rows,
    origin: Origin,
    dtype: torch.dtype,
    loss: Loss,
    points: Tensor,
    reach: dict[int, float],
    room: int,
) -> tuple:
    """Return the sum of weights, the least ones, and the sums that make models; see ``Sums``.

    The room is divided between the partitions that rows may be in.
    """
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    room = -(-room // rows.n_partitions)
    room = room if rows.counted is None else min(room, rows.counted)
    device = rows.device
    sums = {j: Sums(loss.of_target(j), near, room, k + 1 - t, device) for j, near in reach.items()}
    total, at = DeviceSums(device, ()), points.to(device, dtype)
    least = torch.full((), torch.inf, dtype=dtype, device=device)
    for A, weight in staged(rows, origin, dtype):
        Z, y = A[:, t : k + 1], A[:, :t]
        raw_prediction = Z @ at
        if weight is None:
            weight = A.new_ones(len(A))
        elif bool((weight == 0).any()):  # rows of weight zero are no part of the problem
            there = weight > 0
            Z, y, raw_prediction, weight = (part[there] for part in (Z, y, raw_prediction, weight))
        if not len(weight):
            continue
        weight = weight.to(A.dtype)
        total.add(weight.sum())
        least = torch.minimum(least, weight.min())
        for j, part in sums.items():
            part.add(Z, y[:, j], raw_prediction[:, j], weight)
    parts = [part for one in sums.values() for part in one.parts()]
    return float(total.fetched()[0]), [float(least)], *parts


def doubled_products(rows: Rows, origin: Origin) -> tuple[list[dd.Pair]]:
    """Return the sums of products of ``[targets, features, 1]``, a pair for each place.

    Only the sums are pairs: a column less its origin, times the root of a weight, is rounded to a
    double.
    """
    k = rows.n_targets + rows.n_features + 1
    total = None
    for A, weight in staged(rows, origin, torch.float64):
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        high, low = exact_gram(A[:, :k])
        part = high.cpu(), low.cpu()
        total = part if total is None else dd.add(total, part)
    return ([] if total is None else [total],)

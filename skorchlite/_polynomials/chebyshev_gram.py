"""The Gram matrix of Chebyshev's polynomials in one column, from fewer sums than it has entries.

``T_j T_k = (T_{j+k} + T_{|j-k|}) / 2``, so that the sums of ``T_0, ..., T_2d`` over the rows make
those of all products up to degree d. The sums of ``T_{d+1}, ..., T_2d`` follow in the same way from
those of the products ``T_d T_k``. So only ``T_d``, ones and the targets are multiplied by all
columns, instead of all columns by all.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .._linalg.gram import add_product
from .._sources.blocks import Block
from .._sources.design import width_of
from .._sources.origin import Origin
from .._sources.row_source import Rows

_LEAST_VARIANCE = 0.01  # of a term of size 1, of which at most two digits cancel


def chebyshev_products(
    rows: Rows, origin: Origin, blocks: Callable[..., Iterator[Block]]
) -> Tensor | None:
    """Return the sums of products of columns, as ``design.gram`` does; None if digits are lost.

    The products are of terms of size 1, and are moved to the origin at the end. This cancels digits
    unless the terms vary by about as much, as they do where rows and weights cover the interval
    evenly.

    Parameters
    ----------
    rows : Rows
        Whose columns are the polynomials of one column.
    origin : Origin
    blocks : callable
        Yields blocks of a given size, and writes their terms to ``out``; see
        ``ExpandedRows.blocks``.
    """
    t, d, dtype = rows.n_targets, rows.n_features, torch.float64
    shift, unit = (part.to(rows.device, dtype)[:t, None] for part in (origin.shift, origin.unit()))
    size = rows.bound(d + 1 + t, dtype.itemsize)
    room = torch.empty(d + 1 + t, size, dtype=dtype, device=rows.device)
    room[d] = 1
    total = torch.zeros(2 + t, d + 1 + t, dtype=torch.float64, device="cpu")
    for X, y, weight in blocks(size, out=room[:d].T):
        block = room[:, : len(X)]
        torch.sub(y.T, shift, out=block[d + 1 :])
        block[d + 1 :] /= unit
        weighted = block[d - 1 :] if weight is None else block[d - 1 :] * weight.to(dtype)
        add_product(total, weighted.T, block.T)
    products = _all_products(total, d, origin)
    mean, square = total[1, :d] / total[1, d], products.diagonal()[t : t + d] / total[1, d]
    centred = mean - origin.shift[t:]
    variance = square * origin.unit()[t:] ** 2 - centred**2
    return products if (variance > _LEAST_VARIANCE).all() else None


def _all_products(total: Tensor, d: int, origin: Origin) -> Tensor:
    """Return the products of ``[targets, terms, 1, padding]``, measured from the origin.

    Parameters
    ----------
    total : Tensor of shape (2 + n_targets, d + 1 + n_targets)
        The products of ``[T_d, 1, targets]`` and ``[T_1, ..., T_d, 1, targets]``.
        The targets are measured from the origin.
    d : int
    origin : Origin
    """
    t = len(total) - 2
    lower = torch.cat((total[1, d : d + 1], total[1, :d]))  # the sums of T_0, ..., T_d
    sums = torch.cat((lower, 2 * total[0, :d] - lower[:d].flip(0)))
    k = torch.arange(1, d + 1, device=total.device)
    products = total.new_zeros(width_of(t + d), width_of(t + d))
    targets, terms, ones = slice(0, t), slice(t, t + d), t + d
    products[targets, targets] = total[2:, d + 1 :]
    products[terms, terms] = (sums[k[:, None] + k] + sums[(k[:, None] - k).abs()]) / 2
    products[targets, terms] = total[2:, :d]
    products[targets, ones] = total[1, d + 1 :]
    products[terms, ones] = lower[1:]
    products[ones, ones] = lower[0]
    products[terms, targets] = products[targets, terms].T
    products[ones, : t + d] = products[: t + d, ones]
    unit = total.new_ones(len(products))
    shifted = unit.diag()
    shifted[ones, terms] = -origin.shift[terms]
    unit[terms] = origin.unit()[terms]
    return shifted.T @ products @ shifted / torch.outer(unit, unit)

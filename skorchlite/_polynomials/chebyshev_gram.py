"""The sums of products of Chebyshev's polynomials in one column, from sums of fewer.

``T_j T_k = (T_{j+k} + T_{|j-k|}) / 2``, so that the sums of ``T_0, ..., T_2d`` are those of all
products up to degree d, and ``T_d T_k`` gives the upper half of them: a product of three columns
with the others takes the place of one of all with all.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .._linalg.gram import product_of
from .._sources.blocks import Block
from .._sources.design import width_of
from .._sources.origin import Origin
from .._sources.row_source import Rows

_SPREAD = 0.01  # the least variance of a term, of size 1, that costs no more than two digits


def chebyshev_products(
    rows: Rows, origin: Origin, blocks: Callable[..., Iterator[Block]]
) -> Tensor | None:
    """Return the sums of products of columns, as ``products`` does; None if they would be inexact.

    Terms are measured from the origin at the end, so that they must vary by about as much as their
    size, which is 1: rows and weights have to cover the interval evenly.

    Parameters
    ----------
    rows : Rows
        Whose columns are the polynomials of one column.
    origin : Origin
    blocks : callable
        Yields so many rows at a time, their terms in ``out``; see ``ExpandedRows.blocks``.
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
        total += product_of(weighted.T, block.T).cpu()
    products = _as_staged(total, d, origin)
    mean, square = total[1, :d] / total[1, d], products.diagonal()[t : t + d] / total[1, d]
    centred = mean - origin.shift[t:]
    varied = square * origin.unit()[t:] ** 2 - centred**2
    return products if (varied > _SPREAD).all() else None


def _as_staged(total: Tensor, d: int, origin: Origin) -> Tensor:
    """Return the products of ``[targets, terms, 1, padding]``, the terms measured from the origin.

    Parameters
    ----------
    total : Tensor of shape (2 + n_targets, d + 1 + n_targets)
        The products of ``[T_d, 1, targets]`` and ``[T_1, ..., T_d, 1, targets]``.
    d : int
    origin : Origin
    """
    t = len(total) - 2
    lower = torch.cat((total[1, d : d + 1], total[1, :d]))  # the sums of T_0, ..., T_d
    sums = torch.cat((lower, 2 * total[0, :d] - lower[:d].flip(0)))
    k = torch.arange(1, d + 1, device=total.device)
    products = total.new_zeros(width_of(t + d), width_of(t + d))
    own, terms, ones = slice(0, t), slice(t, t + d), t + d
    products[own, own] = total[2:, d + 1 :]
    products[terms, terms] = (sums[k[:, None] + k] + sums[(k[:, None] - k).abs()]) / 2
    products[own, terms] = total[2:, :d]
    products[own, ones] = total[1, d + 1 :]
    products[terms, ones] = lower[1:]
    products[ones, ones] = lower[0]
    products[terms, own] = products[own, terms].T
    products[ones, : t + d] = products[: t + d, ones]
    unit = total.new_ones(len(products))
    shifted = unit.diag()
    shifted[ones, terms] = -origin.shift[terms]
    unit[terms] = origin.unit()[terms]
    return shifted.T @ products @ shifted / torch.outer(unit, unit)

"""Weighted sums of products of columns, in one pass.

Columns are measured from near their mean, since variances from raw columns would lose digits.

References
----------
Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance: analysis and
recommendations", The American Statistician 37(3).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

# Widths of the column panels of a symmetric product. MKL is fastest on multiples of 24.
_NARROW_PANEL, _WIDE_PANEL, _WIDE = 24, 96, 256
_SHARED_ENTRIES = 65_536  # fewer are not worth a second thread
_CACHED_ENTRIES = 1 << 17  # 1 MB, which stays in the cache of a processor


def sum_products(blocks: Iterable[tuple[Tensor, Tensor | None]], width: int) -> Tensor:
    """Return ``sum over blocks of A^T diag(s) A`` in float64, for blocks ``(A, s)`` of that width.

    The products of a block are made in its dtype, and are added across blocks in float64.
    The rows of A are scaled by ``sqrt(s)`` in place.
    """
    total: Tensor | None = None
    for A, weight in blocks:
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        product = square_of(A)
        if product.device.type == "mps":
            product = product.cpu()
        product = product.to(torch.float64)
        total = product if total is None else total.add_(product)
    return torch.zeros(width, width, dtype=torch.float64) if total is None else total


def weighted_gram(Z: Tensor, weight: Tensor) -> Tensor:
    """Return ``Z^T diag(weight) Z``.

    On a processor it is made a few rows at a time, which stay in its cache. The product of all rows
    with their weights would need as much memory as the rows.

    Parameters
    ----------
    Z : Tensor of shape (m, k)
    weight : Tensor of shape (m,)
    """
    if Z.device.type != "cpu":
        return Z.T @ (Z * weight[:, None])
    gram = Z.new_zeros(Z.shape[1], Z.shape[1])
    size = cached_rows(Z.shape[1])
    for rows, weights in zip(Z.split(size), weight.split(size), strict=True):
        gram += rows.T @ (rows * weights[:, None])
    return gram


def cached_rows(width: int) -> int:
    """Return how many rows of a width stay in the cache of a processor."""
    return max(_CACHED_ENTRIES // max(width, 1), 16)


def square_of(A: Tensor) -> Tensor:
    """Return ``A^T A``.

    On a processor only the lower triangle is computed, in panels: half the operations.
    """
    width = A.shape[1]
    if A.device.type != "cpu" or A.numel() < _SHARED_ENTRIES:
        return A.T @ A
    panel = _NARROW_PANEL if width < _WIDE else _WIDE_PANEL
    product = A.new_empty(width, width)
    for left in range(0, width, panel):
        right = min(left + panel, width)
        product[left:, left:right] = product_of(A[:, left:], A[:, left:right])
        product[left:right, right:] = product[right:, left:right].T
    return product


def product_of(A: Tensor, B: Tensor) -> Tensor:
    """Return ``A^T B``.

    On a processor each thread multiplies its own rows, since MKL does not share narrow products
    well between threads.
    """
    n, threads = len(A), torch.get_num_threads()
    if A.device.type != "cpu" or B.numel() < _SHARED_ENTRIES or n % threads:
        return A.T @ B
    left, right = (part.unflatten(0, (threads, n // threads)) for part in (A, B))
    return torch.bmm(left.transpose(1, 2), right).sum(0)

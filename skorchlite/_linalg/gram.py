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
_NARROW_PANEL, _WIDE_PANEL, _WIDE = 48, 192, 256
_PARTS = 8  # of the rows of a narrow product, for up to as many threads
_SHARED_ENTRIES = 65_536  # fewer are not worth a second thread
_CACHED_ENTRIES = 1 << 17  # 1 MB, which stays in the cache of a processor


def sum_products(blocks: Iterable[tuple[Tensor, Tensor | None]], width: int) -> Tensor:
    """Return ``sum over blocks of A^T diag(s) A`` in float64, for blocks ``(A, s)`` of that width.

    The products of a block are made in its dtype, and are added across blocks in float64.
    The rows of A are scaled by ``sqrt(s)`` in place.
    """
    total: Tensor | None = None
    halved = False
    for A, weight in blocks:
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        if not _is_shared(A):
            product = A.T @ A
            product = product.cpu() if product.device.type == "mps" else product
            product = product.to(torch.float64)
            total = product if total is None else total.add_(product)
            continue
        if total is None:
            total = torch.zeros(width, width, dtype=torch.float64, device="cpu")
        _add_lower(total, A)
        halved = True
    if total is None:
        return torch.zeros(width, width, dtype=torch.float64)
    return _mirrored(total) if halved else total


def _is_shared(A: Tensor) -> bool:
    """Return whether a processor's threads share the products of a block."""
    return A.device.type == "cpu" and A.numel() >= _SHARED_ENTRIES


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
    size = cached_rows(Z.shape[1])
    if len(Z) <= size:
        return Z.T @ (Z * weight[:, None])
    gram = Z.new_zeros(Z.shape[1], Z.shape[1])
    for rows, weights in zip(Z.split(size), weight.split(size), strict=True):
        gram += rows.T @ (rows * weights[:, None])
    return gram


def cached_rows(width: int) -> int:
    """Return how many rows of a width stay in the cache of a processor."""
    return max(_CACHED_ENTRIES // max(width, 1), 16)


def square_of(A: Tensor) -> Tensor:
    """Return ``A^T A``."""
    if not _is_shared(A):
        return A.T @ A
    width = A.shape[1]
    square = A.new_zeros(width, width)
    _add_lower(square, A)
    return _mirrored(square)


def _add_lower(total: Tensor, A: Tensor) -> None:
    """Add the lower triangle of ``A^T A``, and parts of the upper one, on a processor.

    In panels, which takes half the operations of the whole. It is added where it is computed: the
    product of a block of many columns is as large as the block.
    """
    width = A.shape[1]
    panel = _NARROW_PANEL if width < _WIDE else _WIDE_PANEL
    for left in range(0, width, panel):
        right = min(left + panel, width)
        add_product(total[left:, left:right], A[:, left:], A[:, left:right])


def _mirrored(lower: Tensor) -> Tensor:
    """Return a symmetric matrix from its lower triangle; made in place, by panels."""
    width = len(lower)
    for left in range(0, width, _WIDE_PANEL):
        right = min(left + _WIDE_PANEL, width)
        square = lower[left:right, left:right]
        square.copy_(square.tril() + square.tril(-1).T)
        lower[left:right, right:] = lower[right:, left:right].T
    return lower


def add_product(total: Tensor, A: Tensor, B: Tensor) -> None:
    """Add ``A^T B``.

    Of few columns, threads multiply rows of their own, since MKL does not share narrow products
    well between threads. There are as many parts however many threads there are, so that these do
    not change how the sum is rounded.
    """
    narrow = A.shape[1] < _WIDE and B.numel() >= _SHARED_ENTRIES and A.device.type == "cpu"
    n = len(A) - len(A) % _PARTS if narrow else 0
    if n:
        left, right = (part[:n].unflatten(0, (_PARTS, n // _PARTS)) for part in (A, B))
        _add(total, torch.bmm(left.transpose(1, 2), right).sum(0))
        A, B = A[n:], B[n:]
    if not len(A):
        return
    if A.dtype == total.dtype and A.device == total.device:
        total.addmm_(A.T, B)
    else:
        _add(total, A.T @ B)


def _add(total: Tensor, part: Tensor) -> None:
    total += part if part.device == total.device else part.to(total.device)

"""Weighted sums of products of columns, measured from near their mean, in one pass.

References
----------
Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance: analysis and
recommendations", The American Statistician 37(3).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

# Widths of the column panels of a symmetric product. MKL is at its best on multiples of 24.
_NARROW_PANEL, _WIDE_PANEL, _WIDE = 24, 96, 256
_SHARED_ENTRIES = 65_536  # fewer are not worth a second thread
_PIECE_ENTRIES = 1 << 17  # 1 MB


def sum_products(blocks: Iterable[tuple[Tensor, Tensor | None]], width: int) -> Tensor:
    """Return ``sum over blocks of A^T diag(s) A`` in float64, for blocks ``(A, s)`` of that width.

    The products of a block are made in the dtype of the block, the sums across blocks in float64.
    The rows of A are scaled by ``sqrt(s)`` in place.
    """
    total: Tensor | None = None
    for A, weight in blocks:
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        product = _product(A)
        if product.device.type == "mps":
            product = product.cpu()
        product = product.to(torch.float64)
        total = product if total is None else total.add_(product)
    return torch.zeros(width, width, dtype=torch.float64) if total is None else total


def weighted_gram(Z: Tensor, weight: Tensor) -> Tensor:
    """Return ``Z^T diag(weight) Z``.

    On a processor it is made of pieces that stay in its cache: a product of all rows with their
    weights would be as large as they are.

    Parameters
    ----------
    Z : Tensor of shape (m, k)
    weight : Tensor of shape (m,)
    """
    if Z.device.type != "cpu":
        return Z.T @ (Z * weight[:, None])
    gram = Z.new_zeros(Z.shape[1], Z.shape[1])
    size = max(_PIECE_ENTRIES // max(Z.shape[1], 1), 16)
    for rows, part in zip(Z.split(size), weight.split(size), strict=True):
        gram += rows.T @ (rows * part[:, None])
    return gram


def _product(A: Tensor) -> Tensor:
    """Return ``A^T A``: of a processor's, the lower triangle in panels, half the operations."""
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
    """Return ``A^T B``, of which each thread of a processor takes its own rows.

    For MKL does not share narrow products well.
    """
    n, threads = len(A), torch.get_num_threads()
    if A.device.type != "cpu" or B.numel() < _SHARED_ENTRIES or n % threads:
        return A.T @ B
    left, right = (part.unflatten(0, (threads, n // threads)) for part in (A, B))
    return torch.bmm(left.transpose(1, 2), right).sum(0)

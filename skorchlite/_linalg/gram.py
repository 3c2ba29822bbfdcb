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
    total = SymmetricSum(width)
    for A, weight in blocks:
        total.add(A, weight)
    return total.result()


class SymmetricSum:
    """The sum of ``A^T diag(s) A`` over blocks; see ``sum_products``.

    Of blocks that a processor's threads share, the lower triangle is made, in panels, which takes
    half the operations of the whole.

    Parameters
    ----------
    width : int
        The number of columns of A.
    """

    def __init__(self, width: int):
        self.width = width
        self._whole: Tensor | None = None
        self._lower: Tensor | None = None
        self._panels: list[tuple[slice, ProductSum]] = []
        self._viewed: Tensor | None = None
        self._views: list[Views] = []

    def add(self, A: Tensor, weight: Tensor | None = None) -> None:
        """Add a block, whose rows are scaled in place if they have weights."""
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        if _is_shared(A):
            self._add_lower(A)
            return
        product = A.T @ A
        product = product.cpu() if product.device.type == "mps" else product
        product = product.to(torch.float64)
        self._whole = product if self._whole is None else self._whole.add_(product)

    def result(self) -> Tensor:
        """Return the sum; nothing may be added afterwards."""
        whole = self._whole
        if self._lower is None:
            if whole is None:
                return torch.zeros(self.width, self.width, dtype=torch.float64, device="cpu")
            return whole
        for _, panel in self._panels:
            panel.fold()
        total = _mirrored(self._lower)
        return total if whole is None else total.add_(whole)

    def _add_lower(self, A: Tensor) -> None:
        """Add the lower triangle of ``A^T A``, and parts of the upper one.

        It is added where it is computed: the product of a block of many columns is as large as the
        block.
        """
        if self._lower is None:
            self._lower = torch.zeros(self.width, self.width, dtype=torch.float64, device="cpu")
            self._panels = [
                (columns, ProductSum(self._lower[columns.start :, columns]))
                for columns in _panels(self.width)
            ]
        # Blocks are often staged in the same memory, and then need their views only once.
        if self._viewed is not A:
            self._viewed = A
            self._views = [
                panel.views(A[:, columns.start :], A[:, columns], shared=True)
                for columns, panel in self._panels
            ]
        for (_, panel), views in zip(self._panels, self._views, strict=True):
            panel.add_views(views)


def _panels(width: int) -> list[slice]:
    """Return the columns of the panels of a symmetric product."""
    panel = _NARROW_PANEL if width < _WIDE else _WIDE_PANEL
    return [slice(left, min(left + panel, width)) for left in range(0, width, panel)]


Views = tuple[tuple[Tensor, Tensor] | None, tuple[Tensor, Tensor] | None]


class ProductSum:
    """The sum of ``A^T B`` over blocks, added to a matrix.

    Of few columns, in A and in B, threads multiply rows of their own, since MKL does not share
    narrow products well between threads. There are as many parts however many threads there are, so
    that these do not change how the sum is rounded.

    Parameters
    ----------
    total : Tensor of shape (width of A, width of B)
        Has the sum once it is folded.
    """

    def __init__(self, total: Tensor):
        self.total = total
        self._parts: Tensor | None = None

    def add(self, A: Tensor, B: Tensor) -> None:
        """Add the product of a block."""
        self.add_views(self.views(A, B, _is_shared(B)))

    def views(self, A: Tensor, B: Tensor, shared: bool) -> Views:
        """Return a block as ``add_views`` takes it: the parts of most rows, and the other rows.

        Parameters
        ----------
        A, B : Tensor
        shared : bool
            Whether a processor's threads share the product.
        """
        n, width = A.shape
        n_shared = n - n % _PARTS if shared and max(width, B.shape[1]) < _WIDE else 0
        parts = rest = None
        if n_shared:
            left = A[:n_shared].view(_PARTS, -1, width).transpose(1, 2)
            parts = left, B[:n_shared].view(_PARTS, -1, B.shape[1])
        if n_shared < n:
            rest = A[n_shared:].T, B[n_shared:]
        return parts, rest

    def add_views(self, views: Views) -> None:
        """Add the product of a block; see ``views``."""
        parts, rest = views
        if parts is not None:
            if parts[0].dtype != self.total.dtype:
                self._add(torch.bmm(*parts).sum(0))
            elif self._parts is None:
                self._parts = torch.bmm(*parts)
            else:
                self._parts.baddbmm_(*parts)
        if rest is None:
            return
        if rest[0].dtype == self.total.dtype and rest[0].device == self.total.device:
            self.total.addmm_(*rest)
        else:
            self._add(rest[0] @ rest[1])

    def fold(self) -> None:
        """Add the parts of all blocks."""
        if self._parts is not None:
            self._add(self._parts.sum(0))
            self._parts = None

    def _add(self, product: Tensor) -> None:
        self.total += product.to(self.total.device)


def _is_shared(A: Tensor) -> bool:
    """Return whether a processor's threads share the products with a block."""
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
    for columns in _panels(width):
        add_product(square[columns.start :, columns], A[:, columns.start :], A[:, columns])
    return _mirrored(square)


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
    """Add ``A^T B``; see ``ProductSum``."""
    product = ProductSum(total)
    product.add(A, B)
    product.fold()

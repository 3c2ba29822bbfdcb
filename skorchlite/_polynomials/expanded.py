"""Polynomial terms of the columns, expanded block by block."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import torch
from torch import Tensor

from .._linalg.views import viewed
from .._sources.blocks import Block
from .._sources.origin import Origin
from .._sources.row_source import Rows, View
from .basis import Basis
from .chebyshev_gram import chebyshev_products
from .double_double_gradient import squared_error_gradient
from .implicit import UnformedTerms

_DOUBLED_ROWS = 65_536  # of a block in doubled precision
_KEPT_ENTRIES = 1 << 16  # of the terms of all rows, which are then expanded once
_MANY_TERMS = 2_000  # which take longer to form than to multiply by


class ExpandedRows(View):
    """A row source with the terms of a basis in place of the columns.

    Parameters
    ----------
    source : Rows
    basis : Basis
    """

    basis: Basis

    def __init__(self, source: Rows, basis: Basis):
        super().__init__(source)
        self.basis, self.n_features = basis, len(basis.terms)
        # If false, products are made of blocks from ``centred``.
        self.formed = self.n_features <= _MANY_TERMS or basis.terms.degrees.most == 1

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that expands any other source in the same way."""
        return partial(ExpandedRows, basis=self.basis)

    def view_block(self, block: Block) -> Block:
        """Return a block with the terms in place of the columns."""
        X, y, weight = block
        return self.basis.expand(self.weighted(X, weight), self._room(len(X))).T, y, weight

    def blocks(
        self, size: int, order: Tensor | None = None, out: Tensor | None = None
    ) -> Iterator[Block]:
        """Yield ``(terms, y, sample_weight)``; each block overwrites the one before.

        Parameters
        ----------
        size, order
            As of ``Rows``.
        out : Tensor of shape (size, n_formed), default=None
            Where the terms are written; None for new memory.
        """
        if order is None and out is None and self._are_few and size >= self.n_rows:
            yield self._single_block
            return
        if out is None:
            room = self._room(size if order is None else min(size, len(order)))
        else:
            room = out.T
        for X, y, weight in self.source.blocks(size, order):
            yield self.basis.expand(self.weighted(X, weight), room[:, : len(X)]).T, y, weight

    def head(self, size: int) -> Block | None:
        """Return the first ``size`` rows; None if there are none."""
        if not self._are_few:
            return super().head(size)
        X, y, weight = self._single_block
        y, weight = (None if part is None else part[:size] for part in (y, weight))
        return X[:size], y, weight

    @property
    def _are_few(self) -> bool:
        """Whether the terms of all rows are kept: few rows are asked for often."""
        if self.partitioned or not self.source.indexed:
            return False
        return 0 < self.n_rows * self.basis.terms.n_formed <= _KEPT_ENTRIES

    @cached_property
    def _single_block(self) -> Block:
        (block,) = self.source.blocks(self.n_rows)
        return self.view_block(block)

    def gram_from_sums(self, origin: Origin, dtype: torch.dtype) -> Tensor | None:
        """Return the sums of products of columns, if sums of columns give them; see ``Rows``."""
        suited = self.basis.even and self.basis.terms.n_features == 1 and self.rereadable
        if not suited or dtype != torch.float64:
            return None
        return chebyshev_products(self, origin, self.blocks)

    def double_double_gradient(
        self, origin: Origin, v: Tensor, v_low: Tensor | None
    ) -> tuple[Tensor, Tensor, float]:
        """Return the sums that make the gradient of squared error, for terms of one column."""
        return squared_error_gradient(self._weighted_columns(), self.basis, origin, v, v_low)

    def _weighted_columns(self) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` of the one column; see ``weighted``."""
        for X, y, weight in self.source.blocks(_DOUBLED_ROWS):
            yield self.weighted(X, weight), y, weight

    def weighted(self, X: Tensor, weight: Tensor | None) -> Tensor:
        """Return a block of the columns with rows without weight moved into the domain.

        Outside of the domain, terms may overflow, and zero times infinity is NaN. Entries that are
        not finite stay, so that validation finds them.
        """
        if weight is None or weight.all():
            return X
        kept = (weight[:, None] > 0) | ~X.isfinite()
        return torch.where(kept, X, viewed(self.basis.centre).to(X))

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, terms, sample_weight)``; the terms are multiplied by without being formed.

        Parameters
        ----------
        shift : Tensor of shape (n_terms,)
            Subtracted from the terms.
        scale : Tensor of shape (n_terms,) or None
            Divides them; None for ones.
        """
        terms = self.basis.terms
        size = self.source.bound(terms.top.n_lower, 8)
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        room = torch.empty(terms.top.n_lower, size, dtype=dtype, device=self.device)
        for X, y, weight in self.source.blocks(size):
            lower = room[:, : len(X)]
            univariate = self.basis.lower(self.weighted(X, weight), lower)
            yield y.to(dtype), UnformedTerms(terms, lower, univariate, shift, scale), weight

    def _room(self, n_rows: int) -> Tensor:
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return torch.empty(self.basis.terms.n_formed, n_rows, dtype=dtype, device=self.device)

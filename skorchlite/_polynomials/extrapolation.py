"""Rows outside the domain that a polynomial was fitted on."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .._linalg.views import viewed
from .._sources.blocks import Block
from .._sources.row_source import Rows, View

OUTSIDE = ("warn", "nan", "clip")  # what may be done with rows outside the domain


class BoundedRows(View):
    """A row source that warns of rows outside the domain of the columns, or changes them.

    Parameters
    ----------
    source : Rows
    domain : ndarray of shape (n_features, 2)
    outside : {"warn", "nan", "clip"}
        Warn of such rows after all have been read, set all their entries to NaN, or replace each
        entry outside by the nearest number in the domain.
    """

    def __init__(self, source: Rows, domain: np.ndarray, outside: str):
        super().__init__(source)
        self.domain, self.outside = domain, outside

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that bounds any other source in the same way."""
        return partial(BoundedRows, domain=self.domain, outside=self.outside)

    def view_block(self, block: Block) -> Block:
        """Return a block without entries outside the domain, unless rows are only warned of."""
        X, y, weight = block
        low, high = viewed(self.domain).to(X).unbind(1)
        if self.outside == "clip":
            # Infinite entries stay, so that validation finds them.
            X = torch.where(X.isinf(), X, torch.minimum(torch.maximum(X, low), high))
        elif self.outside == "nan":
            X = torch.where(self._beyond(X)[:, None], torch.nan, X)
        return X, y, weight

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)``."""
        n_rows = n_beyond = 0
        for block in self.source.blocks(size, order):
            if self.outside == "warn":
                n_rows += len(block[0])
                n_beyond += int(self._beyond(block[0]).sum())
            yield self.view_block(block)
        if n_beyond:
            message = (
                f"{n_beyond} of {n_rows} samples are outside of domain_, the range of the columns "
                "that the polynomial was fitted to. Its values may grow fast there. Use "
                "extrapolation='clip' or 'nan', or 'allow' for no warning."
            )
            warnings.warn(message, UserWarning, stacklevel=2)

    def _beyond(self, X: Tensor) -> Tensor:
        low, high = viewed(self.domain).to(X).unbind(1)
        return ((low > X) | (high < X)).any(1)

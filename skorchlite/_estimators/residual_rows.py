"""Rows whose targets are what a model leaves of others."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from .._polynomials.local_powers import LocalPowers
from .._sources.blocks import Block
from .._sources.row_source import Rows, View
from .group_models import Coefficients


class ResidualRows(View):
    """The rows of another source, the targets less what a model predicts.

    Parameters
    ----------
    source : Rows
    model : Coefficients
        Of one model.
    terms : LocalPowers or None
        What the model is of; None for the columns as they are.
    """

    def __init__(self, source: Rows, model: Coefficients, terms: LocalPowers | None):
        super().__init__(source)
        self.model, self.terms = model, terms

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that makes the same view of another source."""
        return partial(ResidualRows, model=self.model, terms=self.terms)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(X, y, sample_weight)`` with these targets."""
        yield from map(self.view_block, self.source.blocks(size, order))

    def view_block(self, block: Block) -> Block:
        """Return a block with these targets."""
        X, y, weight = block
        wide = X if X.device.type == "mps" else X.double()
        coef, intercept, centre, half = (
            torch.from_numpy(part).to(wide) for part in vars(self.model).values()
        )
        if self.terms is not None:
            wide = self.terms.expand((wide - centre) / half).T
        return X, y - (wide @ coef[0].T + intercept), weight

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

    def rounding(self) -> tuple[float, float]:
        """Return what rounding may add to the mean squared error, and that of a constant, halved.

        Predictions are rounded beside what adds up to them, and coefficients that are added to
        those of a fit are as well. Of several targets, it is the sum over these.
        """
        sizes = torch.from_numpy(abs(self.model.coef[0]))
        summands, squares = self.source.total(partial(_squares, sizes=sizes))
        rounding = (2 * torch.finfo(torch.float64).eps) ** 2 * float(summands)
        return 0.5 * rounding / self.n_rows, 0.5 * float(squares) / self.n_rows

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


def _squares(rows: Rows, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of squares of what adds up to predictions, and of the targets.

    Parameters
    ----------
    rows : Rows
    sizes : Tensor of shape (n_targets, n_features)
        Of the coefficients.
    """
    start, summands, squares = None, sizes.new_zeros(()), sizes.new_zeros(())
    for X, y, _ in rows.blocks(rows.bound(rows.n_features, 8)):
        start = y[:1] if start is None else start
        summands += (X.abs().to(sizes) @ sizes.T).square().sum()
        squares += (y - start).to(sizes).square().sum()
    return summands, squares

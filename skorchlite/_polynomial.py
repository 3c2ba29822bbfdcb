"""Polynomial terms of the columns, expanded block by block, and the basis that suits the data."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._basis import Basis, centre_and_half, exponents
from ._rows import Block, OutOfRangeError, Rows, View

_SCAN_ROWS = 65_536
_MANY_TERMS = 500  # up to here the Gram matrix of the terms takes a fraction of a second
_DOUBLED_ENTRIES = 1_000_000  # rows times terms: above, doubled precision takes longer than it pays


class ExpandedRows(View):
    """A row source with the terms of a basis in place of the columns."""

    def __init__(self, source: Any, basis: Basis):
        super().__init__(source)
        self.basis, self.n_features = basis, len(basis.powers)

    def of(self) -> Callable[[Rows], Rows]:
        """Return what expands any other source."""
        return partial(ExpandedRows, basis=self.basis)

    def seen(self, block: Block) -> Block:
        """Return a block with the terms in place of the columns."""
        X, y, weight = block
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        terms = torch.empty(self.n_features, len(X), dtype=dtype, device=self.device)
        self.basis.expand(X, terms)
        return terms.T, y, weight

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(terms, y, sample_weight)``; the next block is made in the same place."""
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        size = size if order is None else min(size, len(order))
        buffer = torch.empty(self.n_features, size, dtype=dtype, device=self.device)
        for X, y, weight in self.source.blocks(size, order):
            terms = buffer[:, : len(X)]
            self.basis.expand(X, terms)
            yield terms.T, y, weight


def fitted_basis(
    rows: Any,
    degree: int,
    interaction_only: bool,
    fit_intercept: bool,
    *,
    penalised: bool,
    least_squares: bool,
    plain: bool = False,
) -> Basis:
    """Return the basis for the data: its intervals take a pass over the columns.

    Powers of the scaled columns serve where a penalty or bound is on their coefficients, and where
    terms outnumber the rows by so much that the minimum of their norm is sought in the span of the
    rows; powers of the columns as they are where these are asked for.
    """
    if plain:
        ones = np.ones(rows.n_features)
        degree = min(degree, rows.n_features) if interaction_only else degree
        return Basis("power", degree, interaction_only, 0 * ones, ones)
    low, high = (ends.numpy() for ends in intervals(rows))
    n_terms = len(exponents(len(low), degree, interaction_only))
    wide = n_terms > _MANY_TERMS and rows.fewer_than(n_terms)
    kind = "rooted"
    if penalised or wide:
        kind = "power"
    elif fit_intercept:
        kind = "chebyshev"
    centre, half = centre_and_half(kind, low, high)
    one_column = len(half) == 1 and least_squares and not penalised
    return Basis(
        kind,
        min(degree, len(half)) if interaction_only else degree,
        interaction_only,
        centre,
        half,
        doubled=one_column and rows.n_rows * degree <= _DOUBLED_ENTRIES,
    )


def intervals(rows: Any) -> tuple[Tensor, Tensor]:
    """Return the least and the largest number of each column."""
    (ends,) = rows.total(_ends)
    bounds = torch.stack(ends)
    low, high = bounds[:, 0].amin(0), bounds[:, 1].amax(0)
    if not torch.isfinite(low + high).all():
        raise OutOfRangeError
    return low, high


def _ends(rows: Any) -> tuple[list[Tensor]]:
    blocks = rows.blocks(_SCAN_ROWS)
    return ([torch.stack((X.amin(0), X.amax(0))).cpu().double() for X, _, _ in blocks],)

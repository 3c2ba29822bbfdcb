"""Polynomial terms of the columns, expanded block by block, and the basis that suits the data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._basis import Basis, centre_and_half, exponents
from ._batches import Block, OutOfRangeError

_SCAN_ROWS = 65_536
_MANY_TERMS = 500  # up to here the Gram matrix of the terms takes a fraction of a second
_DOUBLED_ENTRIES = 1_000_000  # rows times terms: above, doubled precision takes longer than it pays


class ExpandedRows:
    """A row source with the terms of a basis in place of the columns."""

    by_column = True

    def __init__(self, source: Any, basis: Basis):
        self.source, self.basis = source, basis
        self.staging: dict[torch.dtype, Tensor] = {}
        self.device, self.n_rows, self.n_targets = source.device, source.n_rows, source.n_targets
        self.n_features = len(basis.powers)

    def every(self, step: int) -> "ExpandedRows":
        """Return every so many-th of the rows."""
        return ExpandedRows(self.source.every(step), self.basis)

    def mean_weight(self) -> float:
        """Return the mean of the sample weights."""
        return self.source.mean_weight()

    def taken(self, index: Tensor) -> "ExpandedRows":
        """Return the rows with these numbers."""
        return ExpandedRows(self.source.taken(index), self.basis)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(terms, y, sample_weight)``; the next block is made in the same place."""
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        size = min(size, self.n_rows if order is None else len(order))
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
    wide = rows.n_rows < len(exponents(len(low), degree, interaction_only)) > _MANY_TERMS
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
    ends = []
    for X, _, _ in rows.blocks(_SCAN_ROWS):
        ends.append(torch.stack((X.amin(0), X.amax(0))).cpu().double())
    bounds = torch.stack(ends)
    low, high = bounds[:, 0].amin(0), bounds[:, 1].amax(0)
    if not torch.isfinite(low + high).all():
        raise OutOfRangeError
    return low, high

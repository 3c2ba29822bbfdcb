"""Powers of columns that are mapped to [-1, 1] for each of many sets of rows by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import product
from math import comb

import numpy as np
import torch
from torch import Tensor

from .._sources.blocks import Block
from .._sources.origin import power_of_two
from .._sources.row_source import Rows, View
from .degrees import Degrees
from .evaluation import Expansion
from .families import family
from .multi_index import terms_of


@dataclass(frozen=True)
class LocalPowers:
    """Powers and products of ``(x - centre) / half``, in the order of PolynomialFeatures.

    Parameters
    ----------
    degree, n_features : int
    mapped : bool
        Whether columns are divided by their size; else they are left as they are.
    centred : bool
        Whether they are measured from the middle of their range, and not from zero.
    """

    degree: int
    n_features: int
    mapped: bool
    centred: bool

    def __getstate__(self) -> dict:
        # What is made of these is made anew.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def powers(self) -> np.ndarray:
        """The degree of each column in each term, of shape (n_terms, n_features)."""
        return self._expansion.terms.powers

    @property
    def n_terms(self) -> int:
        """The number of terms."""
        return len(self._expansion.terms)

    @cached_property
    def _expansion(self) -> Expansion:
        terms = terms_of(Degrees.up_to(self.degree, self.n_features))
        steps = [family("power", self.degree)] * self.n_features
        return Expansion(terms, steps, np.zeros(self.n_features), np.ones(self.n_features))

    def frame(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and half length for columns of a range, of shape (..., n_features)."""
        centre = low / 2 + high / 2 if self.mapped and self.centred else torch.zeros_like(low)
        if not self.mapped:
            return centre, torch.ones_like(low)
        half = torch.maximum((high - centre).abs(), (low - centre).abs())
        return centre, power_of_two(half).to(half)

    def expand(self, t: Tensor) -> Tensor:
        """Return the terms of mapped columns, of shape (n_terms, n_rows)."""
        return self._expansion.expand(t, t.new_empty(self.n_terms, len(t)))

    def distance(self, centre: Tensor, half: Tensor) -> Tensor:
        """Return the size that the rounding of each term is relative to, (..., n_terms)."""
        far = centre.abs() / half + 1
        return far @ torch.from_numpy(self.powers.T.copy()).to(far)

    def turn(self, centre: Tensor, half: Tensor) -> Tensor:
        """Return the matrices that make coefficients of powers of the columns as they are.

        Parameters
        ----------
        centre, half : Tensor of shape (n_sets, n_features)

        Returns
        -------
        turn : Tensor of shape (n_sets, n_terms + 1, n_terms)
            The last row makes the constant.
        """
        target, source, times, above, below = self._moves
        exponents = torch.arange(self.degree + 1, device=centre.device)
        away, size = (-centre)[..., None] ** exponents, half[..., None] ** exponents
        column = torch.arange(self.n_features, device=centre.device)
        parts = away[:, column, above] / size[:, column, below]
        turn = centre.new_zeros(len(centre), self.n_terms + 1, self.n_terms)
        turn[:, target, source] = times.to(centre) * parts.prod(2)
        return turn

    @cached_property
    def _moves(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Which terms of the columns as they are have a part in each mapped one.

        Their number, the number of the mapped term, the binomial coefficients, the exponents of the
        centres, and those of the half lengths.
        """
        numbers = {tuple(row): i for i, row in enumerate(self.powers.tolist())}
        numbers[(0,) * self.n_features] = self.n_terms
        found = [
            (numbers[lower], i, np.prod(list(map(comb, row, lower))), np.subtract(row, lower), row)
            for i, row in enumerate(self.powers.tolist())
            for lower in product(*(range(degree + 1) for degree in row))
        ]
        target, source, times, above, below = (np.array(part) for part in zip(*found, strict=True))
        parts = target, source, times.astype(float), above, below
        first, second, third, fourth, fifth = map(torch.from_numpy, parts)
        return first, second, third, fourth, fifth


class PowerRows(View):
    """The rows of another source with powers of their columns.

    Parameters
    ----------
    source : Rows
    terms : LocalPowers
    centre, half : Tensor of shape (n_features,)
    """

    def __init__(self, source: Rows, terms: LocalPowers, centre: Tensor, half: Tensor):
        super().__init__(source)
        self.terms, self.centre, self.half = terms, centre, half
        self.n_features = terms.n_terms

    def same_view(self) -> Callable[[Rows], Rows]:
        """Return a function that takes the same powers of another source."""
        return partial(PowerRows, terms=self.terms, centre=self.centre, half=self.half)

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Yield ``(terms, y, sample_weight)``."""
        yield from map(self.view_block, self.source.blocks(size, order))

    def view_block(self, block: Block) -> Block:
        """Return a block with the powers in place of the columns."""
        X, y, weight = block
        wide = X if X.device.type == "mps" else X.double()
        mapped = (wide - self.centre.to(wide)) / self.half.to(wide)
        return self.terms.expand(mapped).T, y, weight

"""Powers of columns that are mapped to [-1, 1] for each of many sets of rows by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import product
from math import comb

import numpy as np
import torch
from torch import Tensor

from .._linalg.rational import Rationals, as_integers
from .._sources.blocks import Block
from .._sources.origin import power_of_two
from .._sources.row_source import Rows, View
from .basis import Basis
from .cancellation import MANY_DIGITS, digits_lost_in_powers
from .change_of_basis import ChangeOfBasis, connections
from .column_functions import ColumnFunctions
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

    def cancel(self, low: Tensor, high: Tensor) -> Tensor:
        """Return for which ranges, of shape (..., n_features), powers as they are lose digits.

        These are lost in what is fitted and in what is predicted. Mapped columns lose none.
        """
        if self.mapped:
            return torch.zeros_like(low[..., 0], dtype=torch.bool)
        ends = low.numpy(force=True), high.numpy(force=True)
        return torch.from_numpy(digits_lost_in_powers(*ends, self.degree) >= MANY_DIGITS)

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

    def moved(self, centre: Tensor, half: Tensor, to_centre: Tensor, to_half: Tensor) -> Tensor:
        """Return the matrices that make coefficients of columns that are mapped by others.

        Parameters and result are as those of ``turn``.
        """
        return self.turn((centre - to_centre) / to_half, half / to_half)

    def of_basis(
        self,
        basis: Basis,
        model: tuple[np.ndarray, np.ndarray],
        frame: tuple[Tensor, Tensor],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef, intercept) for these terms of a model in other terms of the same degree.

        Parameters
        ----------
        basis : Basis
            Of the model; without a penalty root.
        model : (coef, intercept), ndarray of shape (n_targets, n_terms) or (n_targets,)
        frame : (centre, half), Tensor of shape (n_features,)
        """
        coef, intercept = model
        centre, half = (part.numpy() for part in frame)
        own = Expansion(basis.terms, self._expansion.steps, centre, half)
        parts = connections(ColumnFunctions.of(basis), ColumnFunctions.of(own))
        given = torch.from_numpy(np.concatenate((coef.T, intercept[None])))
        (numerators,), denominator = as_integers(given)
        exact = Rationals(numerators, denominator)
        found = ChangeOfBasis(basis.terms, parts, 0).exactly(exact)
        return np.ascontiguousarray(found[:-1].T), found[-1]

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

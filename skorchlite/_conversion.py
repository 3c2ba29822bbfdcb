"""Coefficients of the terms of one basis as those of another, exactly where that is asked for."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ._linalg.rational import Rationals, as_doubles
from ._terms import Terms


class Conversion:
    """Writes the functions of each column of X in others, one column after the other.

    Parameters
    ----------
    terms : Terms
    connections : list of Rationals, one for each column
        Entry (p, q) is the part of the q-th of the other functions in the p-th.
    lowest : int
        The least degree that the others begin with: 0 where they have a part in the constant.
    """

    def __init__(self, terms: Terms, connections: Sequence[Rationals], lowest: int):
        self.terms, self.connections, self.lowest = terms, connections, lowest

    def __call__(self, values: np.ndarray, constant: Any = 0) -> np.ndarray:
        """Return coefficients as they are in the other functions; doubles.

        Parameters
        ----------
        values : ndarray of shape (n_terms, n_targets)
        constant : ndarray of shape (n_targets,) or number

        Returns
        -------
        values : ndarray of shape (n_terms + 1, n_targets)
            The last row holds the constants.
        """
        return self.moved(values, constant, [parts.doubles for parts in self.connections])

    def exactly(self, values: Rationals) -> np.ndarray:
        """Return the nearest doubles of what rational coefficients are in the other functions.

        Parameters
        ----------
        values : Rationals of shape (n_terms + 1, n_targets)
            The last row holds the constants.
        """
        if len(self.connections) > 1:  # the denominators of all columns would make a long one
            fractions, matrices = values.fractions, [parts.fractions for parts in self.connections]
            return as_doubles(self.moved(fractions[:-1], fractions[-1], matrices))
        (parts,), integers = self.connections, values.numerators
        moved = self.moved(integers[:-1], integers[-1], [parts.numerators], parts.denominator)
        return Rationals(moved, values.denominator * parts.denominator).doubles

    def sizes(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of absolute values that make up each coefficient."""
        sizes = [np.abs(parts.doubles) for parts in self.connections]
        return self.moved(np.abs(values), 0, sizes)[:-1]

    def moved(
        self, values: np.ndarray, constant: Any, matrices: Sequence[np.ndarray], whole: int = 1
    ) -> np.ndarray:
        """Return the coefficients in the other functions, of which the matrices hold multiples."""
        below = np.repeat(np.zeros_like(values[:1]), self.terms.n_below, 0)
        values = np.concatenate((below, values, np.zeros_like(values[:1]) + constant))
        for (source, target, p, q), matrix in zip(self._moves, matrices, strict=True):
            moved = values.copy() if whole == 1 else values * whole
            moved[source] = 0
            with np.errstate(invalid="ignore"):  # an infinite coefficient is found by its user
                np.add.at(moved, target, matrix[p, q][:, None] * values[source])
            values = moved
        return values[self.terms.n_below :]

    @cached_property
    def _moves(self) -> list[np.ndarray]:
        return [self.terms.moves(j, self.lowest) for j in range(self.terms.n_features)]

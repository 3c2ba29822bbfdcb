"""Coefficients of the terms of one basis as those of another, exactly where that is asked for."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ._rational import as_doubles, triangular_inverse
from ._terms import Terms


class Conversion:
    """Writes the functions of each column of X in others, one column after the other.

    Parameters
    ----------
    terms : Terms
    matrices : list of ndarray of Fraction, one for each column
        ``matrices[j][p, q]`` is the part of the q-th of the other functions in the p-th.
    lowest : int
        The least degree that the others begin with: 0 where they have a part in the constant.
    """

    def __init__(self, terms: Terms, matrices: Sequence[np.ndarray], lowest: int):
        self.terms, self.exact, self.lowest = terms, matrices, lowest

    def __call__(self, values: np.ndarray, constant: Any = 0, exact: bool = False) -> np.ndarray:
        """Return coefficients as they are in the other functions.

        Parameters
        ----------
        values : ndarray of shape (n_terms, n_targets)
        constant : ndarray of shape (n_targets,) or number
        exact : bool, default=False
            Whether the numbers are fractions, to be converted exactly.

        Returns
        -------
        values : ndarray of shape (n_terms + 1, n_targets)
            The last row holds the constants.
        """
        return self._moved(values, constant, self.exact if exact else self.rounded)

    def sizes(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of absolute values that make up each coefficient."""
        return self._moved(np.abs(values), 0, [np.abs(matrix) for matrix in self.rounded])[:-1]

    @cached_property
    def rounded(self) -> list[np.ndarray]:
        """The matrices in doubles."""
        return [as_doubles(matrix) for matrix in self.exact]

    @cached_property
    def back(self) -> "Conversion":
        """The conversion back."""
        unique = {id(matrix): triangular_inverse(matrix) for matrix in self.exact}
        inverses = [unique[id(matrix)] for matrix in self.exact]
        return Conversion(self.terms, inverses, self.lowest)

    def _moved(self, values: np.ndarray, constant: Any, matrices: Sequence) -> np.ndarray:
        below = np.repeat(np.zeros_like(values[:1]), self.terms.n_below, 0)
        values = np.concatenate((below, values, np.zeros_like(values[:1]) + constant))
        for (source, target, p, q), matrix in zip(self._moves, matrices, strict=True):
            moved = values.copy()
            moved[source] = 0
            with np.errstate(invalid="ignore"):  # an infinite coefficient is found by its user
                np.add.at(moved, target, matrix[p, q][:, None] * values[source])
            values = moved
        return values[self.terms.n_below :]

    @cached_property
    def _moves(self) -> list[np.ndarray]:
        return [self.terms.moves(j, self.lowest) for j in range(self.terms.n_features)]

"""How large the rounding errors of the terms of a polynomial are."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._sources.feature_map import ColumnRounding
from .evaluation import Expansion
from .families import derivatives, values
from .kinds import Kind

Array = NDArray[np.float64]

_FEW_ENTRIES = 1 << 18  # rows times terms, which take a few milliseconds
_FAR_SLOPE = 1e3  # a slope that terms have beside a row that is far from the others


class Factor(NamedTuple):
    """The factor of a column in each term and row; arrays of shape (n_terms, n_rows).

    Parameters
    ----------
    value : ndarray
    error : ndarray
        The error of the value for a relative error of size 1 in the column.
    lowest : ndarray
        The lowest power of the column in it.
    """

    value: np.ndarray
    error: np.ndarray
    lowest: np.ndarray


class TermRounding(ColumnRounding):
    """How large the rounding errors of terms are.

    Parameters
    ----------
    terms : Expansion
    kind : Kind
    slopes : sequence of ndarray of shape (degree,) or None
        By how much an error in t is amplified in each ``phi_k``, k from 1, for each column; None
        for the degree k.
    rows : ndarray of shape (n_rows, n_features) or None
        All rows of the data, where these are few.
    """

    def __init__(
        self,
        terms: Expansion,
        kind: Kind,
        slopes: Sequence[np.ndarray] | None,
        rows: np.ndarray | None,
    ):
        self.expansion, self.kind, self.slopes, self.rows = terms, kind, slopes, rows
        self.least_size = kind.least_size

    @property
    def uniform(self) -> bool:
        """Whether errors are of about the same size in all rows."""
        slopes = [0.0] if self.slopes is None else np.concatenate(self.slopes)
        steepest = np.max(slopes, where=np.isfinite(slopes), initial=0.0)
        return self.kind.uniform_rounding and steepest <= _FAR_SLOPE

    @property
    def amplification(self) -> Array:
        """By how much relative errors of the data can be amplified in each term."""
        return self._amplified(self._slopes)

    @property
    def n_roundings(self) -> Array:
        """How many roundings it takes to make each term, of a t that is exact.

        It is infinite for polynomials that vanish on the data.
        """
        return self._amplified([np.where(np.isinf(part), part, 0) for part in self._slopes])

    @property
    def _slopes(self) -> Sequence[np.ndarray]:
        if self.slopes is not None:
            return self.slopes
        return [np.arange(1.0, 1 + self.expansion.terms.degree)] * len(self.expansion.half)

    def _amplified(self, slopes: Sequence[np.ndarray]) -> Array:
        """Return the error of each term for relative errors of size 1 in its columns.

        It is the sum over the columns. Each amplifies its error by the slope of the polynomial, or
        by the degree if that is larger, and by its distance from zero relative to its range.
        """
        terms = self.expansion.terms
        far = 1 + np.abs(self.expansion.centre) / self.expansion.half
        degrees = np.arange(1.0, 1 + terms.degree)
        table = np.zeros((len(far), 1 + terms.degree))
        np.maximum(slopes, degrees, out=table[:, 1:])
        numbers, columns, powers = terms.entries
        amplified = table[columns, powers] * far[columns]
        return np.bincount(numbers, amplified, len(terms)).astype(float)

    def propagated(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the error of each term, and the size of its entries; None if that takes long.

        Where one row is far from the others, only errors in that row are relative to the range of
        the columns. So the errors are propagated row by row.

        Returns
        -------
        errors : ndarray of shape (n_terms,)
            Of independent relative errors of size 1 in each column, to first order; the root mean
            square over the rows.
        sizes : ndarray of shape (n_terms,)
            What the errors of making a term are relative to. For polynomials that vanish at zero it
            is the root mean square of the lowest powers in the term.
        """
        if self.rows is None:
            return None
        X, n_terms = self.rows, len(self.expansion.terms)
        if len(X) * n_terms > _FEW_ENTRIES:
            return None
        squares, before, lowest = np.zeros((n_terms, len(X))), *np.ones((2, n_terms, len(X)))
        factors = list(self._factors(X))
        after = [before]  # products of the factors after each, from the last
        for value, _, _ in factors[:0:-1]:
            after.append(after[-1] * value)
        for value, error, lowest_factor in factors:
            squares += (before * error * after.pop()) ** 2
            before, lowest = before * value, lowest * lowest_factor
        sizes = self.least_size + 0 * lowest[:, 0]
        if not self.kind.uniform_rounding:
            sizes = np.sqrt((lowest**2).mean(1))
        return np.sqrt(squares.mean(1)), sizes

    def _factors(self, X: np.ndarray) -> Iterator[Factor]:
        """Yield the factors of each column."""
        centre, half = self.expansion.centre, self.expansion.half
        terms, t, far = self.expansion.terms, (X - centre) / half, X / half
        least, one = max(terms.degrees.least, 1), np.ones((1, len(X)))
        columns = zip(self.expansion.steps, t.T, far.T, terms.powers.T, strict=True)
        for steps, x, error_of_t, k in columns:
            value = np.concatenate((one, values(steps, x)))
            error = np.concatenate((0 * one, derivatives(steps, x) * error_of_t))
            yield Factor(value[k], error[k], x ** np.minimum(k, least)[:, None])

"""Which terms a polynomial has, in the order of PolynomialFeatures."""

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import combinations, combinations_with_replacement

import numpy as np

from .degrees import Degrees
from .term_products import Product, ProductTable, TopTerms, products_of, table_of

_KEPT_MOVES = 1 << 16  # terms times columns: the moves of more are made anew
_KEPT_ENTRIES = 1 << 20  # of a table of degrees, which is kept in int64


class Terms:
    """The terms that some degrees allow.

    A term is the product of lower ones, which are formed even if they are below the least degree.
    Then they come first, and are not terms of the polynomial.

    Parameters
    ----------
    degrees : Degrees

    Attributes
    ----------
    n_formed : int
        The number of terms that are formed.
    n_below : int
        How many of these are below the least degree.
    univariate : dict of int to (ndarray, ndarray)
        By degree: the columns that have a term of this degree to themselves, and the numbers of
        these terms among all that are formed.
    """

    def __init__(self, degrees: Degrees):
        self.degrees = degrees
        self._kept_moves: dict[tuple[int, int], np.ndarray] = {}
        formed = list(_terms_as_columns(degrees))
        self._numbers = {columns: i for i, columns in enumerate(formed)}
        self.n_below = sum(len(columns) < degrees.least for columns in formed)
        self.n_formed = len(formed)
        univariate: dict[int, list[tuple[int, int]]] = {}
        for columns, i in self._numbers.items():
            if len(set(columns)) == 1:
                univariate.setdefault(len(columns), []).append((columns[0], i))
        self.univariate = {k: tuple(np.array(pairs).T) for k, pairs in univariate.items()}

    def __reduce__(self) -> tuple:
        return terms_of, (self.degrees,)

    def __len__(self) -> int:
        return self.n_formed - self.n_below

    @property
    def n_features(self) -> int:
        """The number of columns."""
        return len(self.degrees.of_columns)

    @property
    def used(self) -> np.ndarray:
        """Whether a column is in any term, of shape (n_features,)."""
        return np.array(self.degrees.of_columns) > 0

    @property
    def degree(self) -> int:
        """The largest degree of a single column."""
        return max(self.univariate)

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The degrees that are not zero, as (term, column, degree), each of shape (n_entries,)."""
        found = [
            (i - self.n_below, column, columns.count(column))
            for columns, i in self._numbers.items()
            if i >= self.n_below
            for column in dict.fromkeys(columns)
        ]
        terms, columns, degrees = np.array(found, dtype=np.int64).reshape(-1, 3).T
        return terms, columns, degrees

    @property
    def powers(self) -> np.ndarray:
        """The degree of each column in each term, of shape (n_terms, n_features).

        A large table, most of which is zero, is not kept but made anew in small integers.
        """
        if len(self) * self.n_features <= _KEPT_ENTRIES:
            return self._kept_powers
        return self._filled(np.min_scalar_type(-self.degrees.most))

    @cached_property
    def _kept_powers(self) -> np.ndarray:
        powers = self._filled(np.dtype(np.int64))
        powers.flags.writeable = False
        return powers

    def _filled(self, dtype: np.dtype) -> np.ndarray:
        powers = np.zeros((len(self), self.n_features), dtype=dtype)
        terms, columns, degrees = self.entries
        powers[terms, columns] = degrees
        return powers

    @cached_property
    def products(self) -> list[Product]:
        """The products that make all terms of several columns, in order."""
        return products_of(self._numbers)

    @cached_property
    def products_by_degree(self) -> list[ProductTable]:
        """The same products as a table for each total degree from 2.

        If few columns have high degrees, there are about as many slices as terms, and a table is
        faster.
        """
        table = self._product_table
        degrees = np.array([len(columns) for columns in self._numbers])[table.terms]
        return [table.only(degrees == k) for k in range(2, self.degrees.most + 1)]

    @cached_property
    def _product_table(self) -> ProductTable:
        return table_of(self.products)

    @cached_property
    def top(self) -> TopTerms:
        """The terms of the largest total degree."""
        n_lower = sum(len(columns) < self.degrees.most for columns in self._numbers)
        _, univariate = self.univariate.get(self.degrees.most, (None, np.zeros(0, np.int64)))
        return TopTerms.of(self._product_table, n_lower, univariate)

    def moves(self, column: int, lowest: int) -> np.ndarray:
        """Return which terms each term has a part in if the functions of a column are changed.

        Parameters
        ----------
        column : int
        lowest : int
            The least degree of the functions that the others are written in.

        Returns
        -------
        moves : ndarray of shape (4, n_moves)
            The source term, the target term, and the degrees of the column in both. Terms are
            numbered among all that are formed; the constant comes after the last.
        """
        found = self._kept_moves.get((column, lowest))
        if found is None:
            found = self._moves(column, lowest)
            if self.n_formed * self.n_features <= _KEPT_MOVES:
                self._kept_moves[column, lowest] = found
        return found

    def _moves(self, column: int, lowest: int) -> np.ndarray:
        numbers = {**self._numbers, (): self.n_formed}
        entries = []
        for columns, i in self._numbers.items():
            start = next((k for k, other in enumerate(columns) if other >= column), len(columns))
            power = columns.count(column)
            before, after = columns[:start], columns[start + power :]
            entries += [
                (i, numbers[before + (column,) * q + after], power, q)
                for q in range(lowest, power + 1)
                if power
            ]
        return np.array(entries, dtype=np.int64).reshape(-1, 4).T


@lru_cache(maxsize=32)
def terms_of(degrees: Degrees) -> Terms:
    """Return the terms that some degrees allow."""
    return Terms(degrees)


def _terms_as_columns(degrees: Degrees) -> Iterator[tuple[int, ...]]:
    """Yield each term as its columns, each as often as its degree."""
    present = [j for j, degree in enumerate(degrees.of_columns) if degree]
    for k in range(1, degrees.most + 1):
        if all(degrees.of_columns[j] >= k for j in present):
            yield from combinations_with_replacement(present, k)
        elif all(degrees.of_columns[j] == 1 for j in present):
            yield from combinations(present, k)
        else:
            yield from _bounded(present, degrees.of_columns, k)


def _bounded(columns: Sequence[int], most: Sequence[int], count: int) -> Iterator[tuple[int, ...]]:
    """Yield the choices of ``count`` columns, in order, each at most ``most[column]`` times."""
    if not count:
        yield ()
        return
    if not columns:
        return
    (first, *rest) = columns
    for times in range(min(most[first], count), -1, -1):
        for others in _bounded(rest, most, count - times):
            yield (first,) * times + others

"""Which terms a polynomial has, in PolynomialFeatures' order, and the products that make them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, combinations_with_replacement

import numpy as np

from .degrees import Degrees

_KEPT_ENTRIES = 1 << 20  # of a table of degrees, which are kept as int64


@dataclass(frozen=True)
class Product:
    """Consecutive terms, each a lower term times the same polynomial of one column."""

    terms: slice
    lower: slice
    factor: int  # the term that is this polynomial alone


@dataclass(frozen=True)
class Top:
    """The terms of the largest degree, as products of lower terms; numbers among all that are made.

    Parameters
    ----------
    n_lower : int
        The number of terms that are lower.
    terms, lower : ndarray of shape (n_products,)
        Each term in several columns, and the lower term that it is a multiple of.
    factor : ndarray of shape (n_products,)
        Which of the ``factors`` it is multiplied by.
    factors : ndarray of shape (n_factors,)
    alone : ndarray of shape (n_alone,)
        Those of one column.
    """

    n_lower: int
    terms: np.ndarray
    lower: np.ndarray
    factor: np.ndarray
    factors: np.ndarray
    alone: np.ndarray


class Terms:
    """The terms that some degrees allow.

    To make one it takes those of lower degree, also such as are below the least: these come first,
    and are no terms of the polynomial.

    Parameters
    ----------
    degrees : Degrees

    Attributes
    ----------
    n_below : int
        The number of those that are made on the way.
    alone : dict of int to (ndarray, ndarray)
        By degree: the columns that have a term of their own, and the numbers of these terms, among
        all that are made.
    """

    def __init__(self, degrees: Degrees):
        self.degrees = degrees
        made = list(_chosen(degrees))
        self._index = {columns: i for i, columns in enumerate(made)}
        self.n_below = sum(len(columns) < degrees.least for columns in made)
        self.n_made = len(made)
        alone: dict[int, list[tuple[int, int]]] = {}
        for columns, i in self._index.items():
            if len(set(columns)) == 1:
                alone.setdefault(len(columns), []).append((columns[0], i))
        self.alone = {k: tuple(np.array(pairs).T) for k, pairs in alone.items()}

    def __reduce__(self) -> tuple:
        return terms_of, (self.degrees,)

    def __len__(self) -> int:
        return self.n_made - self.n_below

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The terms, the columns and the degrees of these in them, where they are not zero."""
        found = [
            (i - self.n_below, column, columns.count(column))
            for columns, i in self._index.items()
            if i >= self.n_below
            for column in dict.fromkeys(columns)
        ]
        terms, columns, degrees = np.array(found, dtype=np.int64).reshape(-1, 3).T
        return terms, columns, degrees

    @property
    def powers(self) -> np.ndarray:
        """The degree of each column in each term, of shape (n_terms, n_features).

        Of many terms in small integers, made anew each time: most of the degrees are zero.
        """
        if len(self) * self.n_features <= _KEPT_ENTRIES:
            return self._powers
        kind = np.min_scalar_type(-self.degrees.most)
        powers = np.zeros((len(self), self.n_features), dtype=kind)
        terms, columns, degrees = self.entries
        powers[terms, columns] = degrees
        return powers

    @cached_property
    def _powers(self) -> np.ndarray:
        powers = np.zeros((len(self), self.n_features), dtype=np.int64)
        terms, columns, degrees = self.entries
        powers[terms, columns] = degrees
        powers.flags.writeable = False
        return powers

    @property
    def used(self) -> np.ndarray:
        """Whether a column is in any term, of shape (n_features,)."""
        return np.array(self.degrees.of_columns) > 0

    @property
    def n_features(self) -> int:
        """The number of columns."""
        return len(self.degrees.of_columns)

    @property
    def degree(self) -> int:
        """The largest degree of a single column."""
        return max(self.alone)

    @cached_property
    def products(self) -> list[Product]:
        """The products that make all terms of several columns, in order.

        Each term costs one multiplication: the polynomial of its first column times a term in the
        columns after it.
        """
        found: list[tuple[slice, slice, int]] = []
        for columns, i in self._index.items():
            own = columns.count(columns[0])
            if own == len(columns):
                continue
            lower, factor = self._index[columns[own:]], self._index[columns[:own]]
            last = found[-1] if found else None
            if last and last[2] == factor and last[0].stop == i and last[1].stop == lower:
                found[-1] = (slice(last[0].start, i + 1), slice(last[1].start, lower + 1), factor)
            else:
                found.append((slice(i, i + 1), slice(lower, lower + 1), factor))
        return [Product(*entry) for entry in found]

    @cached_property
    def by_degree(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The same products by total degree: the terms, the lower terms, and the factors.

        Few columns to high powers have as many slices as terms.
        """
        size = len(self.products), 3
        entries = np.array(
            [(p.terms.start, p.lower.start, p.factor) for p in self.products], np.int64
        ).reshape(size)
        lengths = [p.terms.stop - p.terms.start for p in self.products]
        within = np.concatenate([np.arange(0), *map(np.arange, lengths)])
        terms, lower, factor = np.repeat(entries, lengths, 0).T
        terms, lower = terms + within, lower + within
        degrees = np.array([len(columns) for columns in self._index])[terms]
        return [
            (terms[chosen], lower[chosen], factor[chosen])
            for chosen in (degrees == k for k in range(2, self.degrees.most + 1))
        ]

    @cached_property
    def top(self) -> "Top":
        """The terms of the largest total degree."""
        n_lower = sum(len(columns) < self.degrees.most for columns in self._index)
        products = [product for product in self.products if product.terms.start >= n_lower]
        factors = sorted({product.factor for product in products})
        place = {factor: i for i, factor in enumerate(factors)}
        parts = [
            (
                range(p.terms.start, p.terms.stop),
                range(p.lower.start, p.lower.stop),
                place[p.factor],
            )
            for p in products
        ]
        entries = [
            (i, k, f) for numbers, lower, f in parts for i, k in zip(numbers, lower, strict=True)
        ]
        terms, lower, factor = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        _, alone = self.alone.get(self.degrees.most, (None, np.zeros(0, np.int64)))
        return Top(n_lower, terms, lower, factor, np.array(factors, dtype=np.int64), alone)

    def moves(self, column: int, lowest: int) -> np.ndarray:
        """Return what terms become where the functions of a column are written in others.

        Parameters
        ----------
        column : int
        lowest : int
            The least degree that the others begin with.

        Returns
        -------
        moves : ndarray of shape (4, n_moves)
            Each from a source term to a target term, and from which degree of the column to which.
            Terms below the least count, and the last number is that of the constant.
        """
        numbers = {**self._index, (): self.n_made}
        entries = []
        for columns, i in self._index.items():
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


def _chosen(degrees: Degrees) -> Iterator[tuple[int, ...]]:
    """Yield the columns that each term multiplies, as often as it does."""
    present = [j for j, degree in enumerate(degrees.of_columns) if degree]
    for k in range(1, degrees.most + 1):
        if all(degrees.of_columns[j] >= k for j in present):
            yield from combinations_with_replacement(present, k)
        elif all(degrees.of_columns[j] == 1 for j in present):
            yield from combinations(present, k)
        else:
            yield from _bounded(present, degrees.of_columns, k)


def _bounded(columns: Sequence[int], most: Sequence[int], count: int) -> Iterator[tuple[int, ...]]:
    """Yield so many of the columns, in order, each as often as it may be."""
    if not count:
        yield ()
        return
    if not columns:
        return
    (first, *rest) = columns
    for times in range(min(most[first], count), -1, -1):
        for others in _bounded(rest, most, count - times):
            yield (first,) * times + others

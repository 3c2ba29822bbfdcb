"""The products that make terms of several columns from lower terms.

Each takes one multiplication: the polynomial of the first column of a term, times the lower term in
the columns after it. Terms are given by their numbers among all that are formed; see ``Terms``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TermNumbers = dict[tuple[int, ...], int]  # by the columns of a term, each as often as its degree


@dataclass(frozen=True)
class Product:
    """Consecutive terms, each the product of a lower term and the same polynomial of one column.

    Parameters
    ----------
    terms, lower : slice
        The terms, and the lower terms that they are multiples of.
    factor : int
        The term that is the polynomial of one column.
    """

    terms: slice
    lower: slice
    factor: int


@dataclass(frozen=True)
class ProductTable:
    """The products of single terms.

    Parameters
    ----------
    terms, lower, factor : ndarray of shape (n_products,)
        Each term, and the two that it is the product of.
    """

    terms: np.ndarray
    lower: np.ndarray
    factor: np.ndarray

    def only(self, chosen: np.ndarray) -> "ProductTable":
        """Return some of the products."""
        return ProductTable(self.terms[chosen], self.lower[chosen], self.factor[chosen])


@dataclass(frozen=True)
class TopTerms:
    """The terms of the largest total degree.

    Parameters
    ----------
    n_lower : int
        The number of terms of a lower degree.
    univariate : ndarray of shape (n_univariate,)
        Those in one column.
    products : ProductTable
        Those in several columns.
    factors : ndarray of shape (n_factors,)
        The different factors of the products.
    factor_index : ndarray of shape (n_products,)
        Which of these the factor of each product is.
    """

    n_lower: int
    univariate: np.ndarray
    products: ProductTable
    factors: np.ndarray
    factor_index: np.ndarray

    @classmethod
    def of(cls, table: ProductTable, n_lower: int, univariate: np.ndarray) -> "TopTerms":
        """Return those in a table of all products."""
        products = table.only(table.terms >= n_lower)
        factors, index = np.unique(products.factor, return_inverse=True)
        return cls(n_lower, univariate, products, factors, index)


def products_of(numbers: TermNumbers) -> list[Product]:
    """Return the products that make all terms of several columns, in order."""
    found: list[tuple[slice, slice, int]] = []
    for columns, i in numbers.items():
        power = columns.count(columns[0])
        if power == len(columns):
            continue
        lower, factor = numbers[columns[power:]], numbers[columns[:power]]
        last = found[-1] if found else None
        if last and last[2] == factor and last[0].stop == i and last[1].stop == lower:
            found[-1] = (slice(last[0].start, i + 1), slice(last[1].start, lower + 1), factor)
        else:
            found.append((slice(i, i + 1), slice(lower, lower + 1), factor))
    return [Product(*entry) for entry in found]


def table_of(products: Sequence[Product]) -> ProductTable:
    """Return the products of single terms that consecutive ones consist of."""
    starts = [(product.terms.start, product.lower.start, product.factor) for product in products]
    lengths = [product.terms.stop - product.terms.start for product in products]
    within = np.concatenate([np.arange(0), *map(np.arange, lengths)])
    entries = np.array(starts, np.int64).reshape(len(products), 3)
    terms, lower, factor = np.repeat(entries, lengths, 0).T
    return ProductTable(terms + within, lower + within, factor)

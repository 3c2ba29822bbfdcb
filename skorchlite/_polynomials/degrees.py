"""The degrees that the terms of a polynomial may have, and how many terms that makes."""

from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Degrees:
    """The degrees that terms may have.

    Parameters
    ----------
    least, most : int
        Bounds of the total degree, which is the sum over the columns.
    of_columns : tuple of int
        The largest degree in each column.
    """

    least: int
    most: int
    of_columns: tuple[int, ...]

    @classmethod
    def up_to(cls, degree: int, n_features: int, least: int = 1) -> "Degrees":
        """Return the degrees of all terms up to a total degree, with no bound on single columns."""
        return cls(least, degree, (degree,) * n_features)

    @property
    def n_terms(self) -> int:
        """The number of terms, which is counted without listing them."""
        return sum(_counts(self)[self.least :])

    @property
    def n_formed(self) -> int:
        """The number of terms together with the lower ones that they are products of."""
        return sum(_counts(self)[1:])

    def without_powers(self) -> "Degrees":
        """Return the degrees of the terms that have no column to a higher power than one."""
        of_columns = tuple(min(degree, 1) for degree in self.of_columns)
        most = min(self.most, sum(of_columns))
        if most < self.least:
            raise ValueError(
                f"interaction_only=True leaves no term: those of {len(of_columns)} columns have a "
                f"degree of at most {most}, and degree asks for {self.least} at least."
            )
        return Degrees(self.least, most, of_columns)


@lru_cache(maxsize=32)
def _counts(degrees: Degrees) -> list[int]:
    """Return how many products of each total degree there are, from degree zero."""
    # These are the coefficients of the product of (1 + x + ... + x^bound) over the columns.
    counts = [1]
    for bound in set(degrees.of_columns):
        columns = _power([1] * (bound + 1), degrees.of_columns.count(bound), degrees.most)
        counts = _times(counts, columns, degrees.most)
    return counts + [0] * (degrees.most + 1 - len(counts))


def _times(a: list[int], b: list[int], most: int) -> list[int]:
    """Return the coefficients of a product of polynomials, up to degree ``most``."""
    product = [0] * min(len(a) + len(b) - 1, most + 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b[: len(product) - i]):
            product[i + j] += x * y
    return product


def _power(a: list[int], exponent: int, most: int) -> list[int]:
    """Return the coefficients of a power of a polynomial, up to degree ``most``."""
    power = [1]
    while exponent:
        if exponent % 2:
            power = _times(power, a, most)
        a, exponent = _times(a, a, most), exponent // 2
    return power


def degrees_of(degree: Any, n_features: int) -> Degrees:
    """Return the degrees that the parameter ``degree``, an int, a tuple or a list, asks for."""
    if isinstance(degree, Integral):
        return Degrees.up_to(int(degree), n_features)
    try:
        given = np.asarray(degree)
    except ValueError:  # lists in a list
        given = np.asarray(None)
    are_degrees = given.ndim == 1 and given.dtype.kind in "iu" and given.min(initial=0) >= 0
    if isinstance(degree, tuple):
        if not are_degrees or len(given) != 2 or not max(1, given[0]) <= given[1]:
            raise ValueError(
                "degree=(min_degree, max_degree) must be two non-negative integers with "
                f"min_degree <= max_degree and 1 <= max_degree, got {degree}. For a degree of each "
                "column give a list."
            )
        return Degrees.up_to(int(given[1]), n_features, max(int(given[0]), 1))
    if not are_degrees or len(given) != n_features or not given.max(initial=0):
        raise ValueError(
            f"A list as degree must hold a non-negative integer for each of the {n_features} "
            f"columns of X, and one of them at least 1, got {degree!r}."
        )
    return Degrees(1, int(given.max()), tuple(given.tolist()))

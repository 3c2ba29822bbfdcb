"""Exact arrays of rational numbers."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from torch import Tensor

_DIGITS = 53  # of a double, in base two


@dataclass(frozen=True)
class Rationals:
    """An array of rational numbers, as integers over one denominator.

    With a denominator of its own for each, a sum would search for common divisors, which is slow.

    Parameters
    ----------
    numerators : ndarray of int objects
    denominator : int
    """

    numerators: np.ndarray
    denominator: int

    @cached_property
    def doubles(self) -> np.ndarray:
        """The nearest doubles; infinities for numbers beyond their range."""
        return self._each(_quotient).astype(float)

    @cached_property
    def fractions(self) -> np.ndarray:
        """The same, each over a denominator of its own."""
        return self._each(Fraction)

    def _each(self, quotient: Any) -> np.ndarray:
        results = np.empty(self.numerators.size, dtype=object)
        results[:] = [quotient(n, self.denominator) for n in self.numerators.ravel().tolist()]
        return results.reshape(self.numerators.shape)


def as_doubles(fractions: np.ndarray) -> np.ndarray:
    """Return the nearest doubles of fractions; infinities for numbers beyond their range."""
    doubles = [_quotient(*fraction.as_integer_ratio()) for fraction in fractions.ravel().tolist()]
    return np.array(doubles, dtype=float).reshape(fractions.shape)


def as_fractions(doubles: np.ndarray) -> np.ndarray:
    """Return doubles as fractions, exactly."""
    fractions = np.empty(doubles.size, dtype=object)
    fractions[:] = [Fraction(value) for value in doubles.ravel().tolist()]
    return fractions.reshape(doubles.shape)


def _quotient(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator  # rounded once, however long the integers are
    except OverflowError:
        return inf if numerator > 0 else -inf


def as_integers(*tensors: Tensor) -> tuple[list[np.ndarray], int]:
    """Return the doubles of tensors as integers over one denominator, a power of two."""
    parts = [np.frexp(tensor.numpy()) for tensor in tensors]
    if not all(np.isfinite(mantissas).all() for mantissas, _ in parts):
        raise OverflowError("infinity and NaN are no ratio of integers")
    least = min((int(exponents.min(initial=0)) for _, exponents in parts), default=0)
    bits = _DIGITS - least  # of the denominator
    arrays = []
    for mantissas, exponents in parts:
        integers = np.ldexp(mantissas, _DIGITS).astype(np.int64).astype(object)
        arrays.append(np.left_shift(integers, (exponents - least).astype(object)))
    return arrays, 1 << bits

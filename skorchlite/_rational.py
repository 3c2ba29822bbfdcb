"""Coefficients of polynomials in rational arithmetic, which rounds nothing."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from ._recurrences import Step


def power_coefficients(steps: Sequence[Step], centre: Any = 0, half: Any = 1) -> np.ndarray:
    """Return the coefficients of x^q in ``phi_p((x - centre) / half)``, rational numbers.

    ``steps`` is the recurrence of phi.
    """
    size, zero = len(steps) + 1, Fraction()
    offset, slope = -Fraction(centre) / Fraction(half), 1 / Fraction(half)
    before, last = [zero] * size, [Fraction(1)] + [zero] * (size - 1)
    rows = [last]
    for a, b, c in steps:
        fixed, rising = a * offset + b, a * slope
        raised = [zero, *last[:-1]]
        before, last = (
            last,
            [
                fixed * own + rising * lower - c * old
                for own, lower, old in zip(last, raised, before, strict=True)
            ],
        )
        rows.append(last)
    return np.array(rows)


def triangular_inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower triangular matrix of rational numbers."""
    n = len(matrix)
    inverse = np.full((n, n), Fraction())
    for i in range(n):
        unit = np.array([Fraction(int(i == j)) for j in range(n)])
        inverse[i] = (unit - matrix[i, :i] @ inverse[:i] if i else unit) / matrix[i, i]
    return inverse


def as_doubles(fractions: np.ndarray) -> np.ndarray:
    """Return the nearest doubles; infinities where there are none."""
    doubles = np.empty(fractions.size)
    for i, fraction in enumerate(fractions.ravel().tolist()):
        try:
            doubles[i] = fraction
        except OverflowError:
            doubles[i] = np.inf if fraction > 0 else -np.inf
    return doubles.reshape(fractions.shape)


def as_fractions(values: Tensor) -> np.ndarray:
    """Return an array of rational numbers equal to the doubles of a tensor."""
    array = values.numpy()
    exact = np.empty(array.size, dtype=object)
    exact[:] = [Fraction(value) for value in array.ravel().tolist()]
    return exact.reshape(array.shape)

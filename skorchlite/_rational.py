"""Coefficients of polynomials in rational arithmetic, which rounds nothing."""

from fractions import Fraction

import numpy as np
from torch import Tensor


def power_coefficients(kind: str, degree: int, centre: float, half: float) -> np.ndarray:
    """Return the coefficients of x^q in ``phi_p((x - centre) / half)``, rational numbers."""
    t = np.array([-Fraction(centre) / Fraction(half), 1 / Fraction(half)] + [Fraction()] * degree)
    one = np.array([Fraction(1)] + [Fraction()] * (degree + 1))

    zero = np.array([Fraction()])

    def times_t(a: np.ndarray) -> np.ndarray:
        return t[0] * a + t[1] * np.concatenate((zero, a[:-1]))

    rows, before, last = [one, times_t(one)], one, times_t(one)
    for _ in range(2, degree + 1):
        if kind == "rooted":
            rows.append(times_t(last))
        if kind == "power":
            last = times_t(last)
        else:
            before, last = last, 2 * times_t(last) - before
        if kind != "rooted":
            rows.append(last)
    return np.array(rows)[:, : degree + 1]


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

"""One family of polynomials written in another, in integers, without rounding."""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from math import gcd, lcm, prod
from typing import Any

import numpy as np

from .._linalg.rational import Rationals, as_doubles
from .column_functions import ColumnFunctions, Interval, Ratio
from .families import Recurrence
from .multi_index import Terms

Ratios = tuple[tuple[Ratio, Ratio, Ratio], ...]  # a, b and c of each step

_SHORT = 10  # steps of a recurrence, whose connections take little memory
_LONG = 4_000  # bits of a common denominator, beyond which fractions take less time


def connection(steps: Recurrence, others: Recurrence, slope: Any = 1, offset: Any = 0) -> Rationals:
    """Return the connection coefficients of two families of polynomials.

    Row p has the parts of ``psi_0(s), psi_1(s), ...`` in ``phi_p(slope s + offset)``.

    Parameters
    ----------
    steps : Recurrence
        That of phi.
    others : Recurrence
        That of psi, with as many steps.
    slope, offset : rational number, default=1 and 0
    """
    mapped = slope.as_integer_ratio(), offset.as_integer_ratio()
    return _connection(_ratios(steps), _ratios(others), *mapped)


def _connection(steps: Ratios, others: Ratios, slope: Ratio, offset: Ratio) -> Rationals:
    """Return the same.

    The rows follow the recurrence of phi, in which a multiplication by s turns each psi into its
    neighbours. It would take far longer integers to go by the powers of s. Python's fractions would
    take most of the time.
    """
    size = len(steps) + 1
    times_s, denominator_of_s = _multiplication_by_s(others)
    before, last = [0] * size, [1] + [0] * (size - 1)
    rows, denominators = [last], [1]  # of each row
    denominator_before = 1
    for a, b, c in steps:
        scales = (
            _reduced(a[0] * slope[0], a[1] * slope[1] * denominator_of_s),
            _reduced(a[0] * offset[0] * b[1] + b[0] * a[1] * offset[1], a[1] * offset[1] * b[1]),
            _reduced(c[0] * denominators[-1], c[1] * denominator_before),
        )
        common = lcm(*(q for _, q in scales))
        of_product, of_last, of_before = (p * (common // q) for p, q in scales)
        new = [
            of_product * p + of_last * q - of_before * r
            for p, q, r in zip(times_s(last), last, before, strict=True)
        ]
        # Without their common divisor, numbers for Legendre would grow to many thousand bits.
        divisor = gcd(denominators[-1] * common, *new)
        denominator_before = denominators[-1]
        before, last = last, [number // divisor for number in new]
        rows.append(last)
        denominators.append(denominator_before * common // divisor)
    denominator = lcm(*denominators)
    numerators = np.empty((size, size), dtype=object)
    for p, row in enumerate(rows):
        numerators[p] = [number * (denominator // denominators[p]) for number in row]
    return Rationals(numerators, denominator)


@lru_cache(maxsize=32)
def _multiplication_by_s(others: Ratios) -> tuple[Callable[[list[int]], list[int]], int]:
    """Return the function that multiplies parts of psi by s, and the denominator of its results.

    ``s psi_q = (psi_{q+1} - b_q psi_q + c_q psi_{q-1}) / a_q``. That of the last psi is not needed,
    since no row but the last has a part in it.
    """
    parts = [
        (
            (a[1], a[0]),
            _reduced(-b[0] * a[1], b[1] * a[0]),
            _reduced(c[0] * a[1], c[1] * a[0]) if q else (0, 1),
        )
        for q, (a, b, c) in enumerate(others)
    ]
    denominator = lcm(*(q for of_step in parts for _, q in of_step))
    to_next, to_same, to_previous = (
        [p * (denominator // q) for p, q in column] for column in zip(*parts, strict=True)
    )
    # Entry q is the factor with which psi_q gets a part of its neighbours, or of itself.
    from_previous, from_same, from_next = [0, *to_next], [*to_same, 0], [*to_previous[1:], 0, 0]

    def times_s(row: list[int]) -> list[int]:
        previous, following = [0, *row[:-1]], [*row[1:], 0]
        return [
            a * p + b * q + c * r
            for a, b, c, p, q, r in zip(
                from_previous, from_same, from_next, previous, row, following, strict=True
            )
        ]

    return times_s, denominator


def connections(functions: ColumnFunctions, others: ColumnFunctions) -> list[Rationals]:
    """Return the parts of the other functions in each function, column by column."""
    different = {id(steps): steps for steps in (*functions.steps, *others.steps)}  # most often two
    ratios = {number: _ratios(steps) for number, steps in different.items()}
    columns = zip(functions.steps, others.steps, functions.intervals, others.intervals, strict=True)
    return [
        (_kept_short if len(steps) <= _SHORT else _kept)(
            ratios[id(steps)], ratios[id(other_steps)], interval, other_interval
        )
        for steps, other_steps, interval, other_interval in columns
    ]


def _on_intervals(steps: Ratios, others: Ratios, interval: Interval, other: Interval) -> Rationals:
    return _connection(steps, others, *other.map_to(interval))


# Columns often have the same polynomials, and further fits on the same rows have them again.
_kept = lru_cache(maxsize=8)(_on_intervals)
_kept_short = lru_cache(maxsize=512)(_on_intervals)


def _ratios(steps: Recurrence) -> Ratios:
    """Return a recurrence as integers, which take far less time than fractions."""
    return tuple(
        (a.as_integer_ratio(), b.as_integer_ratio(), c.as_integer_ratio()) for a, b, c in steps
    )


def _reduced(numerator: int, denominator: int) -> Ratio:
    divisor = gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor


class ChangeOfBasis:
    """Converts coefficients of some functions to those of others, one column after the other.

    Parameters
    ----------
    terms : Terms
        The terms, which are products of either functions.
    connections : list of Rationals, one for each column
        Entry (p, q) is the part of the q-th of the other functions in the p-th.
    lowest : int
        The least degree of the other functions: 0 if a function may have a constant part, else 1.
    """

    def __init__(self, terms: Terms, connections: Sequence[Rationals], lowest: int):
        self.terms, self.connections, self.lowest = terms, connections, lowest

    def __call__(self, coefficients: np.ndarray, constant: Any = 0) -> np.ndarray:
        """Return the coefficients of the other functions, in doubles.

        Parameters
        ----------
        coefficients : ndarray of shape (n_terms, n_targets)
        constant : ndarray of shape (n_targets,) or number

        Returns
        -------
        coefficients : ndarray of shape (n_terms + 1, n_targets)
            The last row holds the constants.
        """
        return self.moved(coefficients, constant, [parts.doubles for parts in self.connections])

    def exactly(self, coefficients: Rationals) -> np.ndarray:
        """Return the coefficients of the other functions, exact but for one rounding to doubles.

        Parameters
        ----------
        coefficients : Rationals of shape (n_terms + 1, n_targets)
            The last row holds the constants.
        """
        denominators = [parts.denominator for parts in self.connections]
        common = prod(denominators)
        if len(denominators) > 1 and common.bit_length() > _LONG:
            fractions = coefficients.fractions
            matrices = [parts.fractions for parts in self.connections]
            return as_doubles(self.moved(fractions[:-1], fractions[-1], matrices))
        integers = coefficients.numerators
        matrices = [parts.numerators for parts in self.connections]
        moved = self.moved(integers[:-1], integers[-1], matrices, denominators)
        return Rationals(moved, coefficients.denominator * common).doubles

    def sizes(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the sums of absolute values that make up each coefficient."""
        sizes = [np.abs(parts.doubles) for parts in self.connections]
        return self.moved(np.abs(coefficients), 0, sizes)[:-1]

    def moved(
        self,
        coefficients: np.ndarray,
        constant: Any,
        matrices: Sequence[np.ndarray],
        denominators: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return the coefficients of the other functions, in the arithmetic of the arguments.

        Parameters
        ----------
        coefficients, constant
            As of ``__call__``, or arrays of integers, fractions or decimals.
        matrices : list of ndarray
            The connections in the same arithmetic, times the denominators.
        denominators : list of int, default=None
            One for each column; ones by default.

        Returns
        -------
        coefficients : ndarray of shape (n_terms + 1, n_targets)
            With the constants, and times all denominators.
        """
        zeros = np.zeros_like(coefficients[:1])
        below = np.repeat(zeros, self.terms.n_below, 0)
        values = np.concatenate((below, coefficients, zeros + constant))
        of_columns = denominators or [1] * len(matrices)
        columns = zip(self._moves, matrices, of_columns, strict=True)
        with np.errstate(invalid="ignore"):  # the caller checks for infinite coefficients
            for (source, target, p, q), matrix, denominator in columns:
                parts = matrix[p, q][:, None] * values[source]
                values = values if denominator == 1 else values * denominator
                values[source] = 0
                np.add.at(values, target, parts)
        return values[self.terms.n_below :]

    @cached_property
    def _moves(self) -> list[np.ndarray]:
        return [self.terms.moves(j, self.lowest) for j in range(self.terms.n_features)]

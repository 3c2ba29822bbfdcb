"""One family of polynomials written in another, in integers, which round nothing."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property, lru_cache
from math import gcd, lcm
from typing import Any

import numpy as np

from .._linalg.rational import Rationals, as_doubles
from .column_functions import ColumnFunctions
from .families import Recurrence, Step
from .multi_index import Terms


@lru_cache(maxsize=8)  # columns often have the same, and so have fits in one family
def connection(steps: Recurrence, others: Recurrence, slope: Any = 1, offset: Any = 0) -> Rationals:
    """Return the parts of ``psi_0(s), psi_1(s), ...`` in ``phi_p(slope s + offset)``, row by row.

    They follow phi's own recurrence, since to multiply by s turns psi's into psi's. Through the
    powers of s, and the inverse of what writes psi in these, it would take far longer integers.

    Parameters
    ----------
    steps : tuple of Step
        The recurrence of phi.
    others : tuple of Step
        That of psi, with as many steps.
    slope, offset : rational number, default=1 and 0
    """
    size = len(steps) + 1
    raised, shared = _multiplied_by_s(others)
    before, last = [0] * size, [1] + [0] * (size - 1)
    rows, wholes = [last], [1]  # each row is over a whole of its own
    older = 1
    for a, b, c in steps:
        scales = (
            Fraction(a * slope) / shared,
            Fraction(a * offset + b),
            c * Fraction(wholes[-1], older),
        )
        factor = lcm(*(scale.denominator for scale in scales))
        up, level, down = (int(scale * factor) for scale in scales)
        new = [
            up * above + level * own - down * old
            for above, own, old in zip(raised(last), last, before, strict=True)
        ]
        # Without what they share, Legendre's would grow to many thousand bits.
        excess = gcd(wholes[-1] * factor, *new)
        before, last, older = last, [number // excess for number in new], wholes[-1]
        rows.append(last)
        wholes.append(older * factor // excess)
    whole = lcm(*wholes)
    numerators = np.empty((size, size), dtype=object)
    for p, row in enumerate(rows):
        numerators[p] = [number * (whole // wholes[p]) for number in row]
    return Rationals(numerators, whole)


def _multiplied_by_s(steps: Sequence[Step]) -> tuple[Callable[[list[int]], list[int]], int]:
    """Return what gives the parts of ``s f`` from those of f, and what these are over.

    ``s psi_q = (psi_{q+1} - b_q psi_q + c_q psi_{q-1}) / a_q``, but for the last of them, which
    nothing has a part in before the end.
    """
    parts = [(1 / a, -b / a, c / a if q else Fraction()) for q, (a, b, c) in enumerate(steps)]
    shared = lcm(*(part.denominator for of_step in parts for part in of_step))
    ups, levels, downs = (
        [int(part * shared) for part in of_kind] for of_kind in zip(*parts, strict=True)
    )
    ups, levels, downs = [0, *ups], [*levels, 0], [*downs[1:], 0, 0]

    def raised(row: list[int]) -> list[int]:
        lower, higher = [0, *row[:-1]], [*row[1:], 0]
        return [
            up * before + level * own + down * after
            for up, level, down, before, own, after in zip(
                ups, levels, downs, lower, row, higher, strict=True
            )
        ]

    return raised, shared


def connections(functions: ColumnFunctions, others: ColumnFunctions) -> list[Rationals]:
    """Return the parts of the other functions in each function, column by column."""
    columns = zip(functions.steps, others.steps, functions.intervals, others.intervals, strict=True)
    return [
        connection(steps, other_steps, *other_interval.map_to(interval))
        for steps, other_steps, interval, other_interval in columns
    ]


class ChangeOfBasis:
    """Writes the functions of each column of X in others, one column after the other.

    Parameters
    ----------
    terms : Terms
    connections : list of Rationals, one for each column
        Entry (p, q) is the part of the q-th of the other functions in the p-th.
    lowest : int
        The least degree that the others begin with: 0 where they have a part in the constant.
    """

    def __init__(self, terms: Terms, connections: Sequence[Rationals], lowest: int):
        self.terms, self.connections, self.lowest = terms, connections, lowest

    def __call__(self, values: np.ndarray, constant: Any = 0) -> np.ndarray:
        """Return coefficients as they are in the other functions; doubles.

        Parameters
        ----------
        values : ndarray of shape (n_terms, n_targets)
        constant : ndarray of shape (n_targets,) or number

        Returns
        -------
        values : ndarray of shape (n_terms + 1, n_targets)
            The last row holds the constants.
        """
        return self.moved(values, constant, [parts.doubles for parts in self.connections])

    def exactly(self, values: Rationals) -> np.ndarray:
        """Return the nearest doubles of what rational coefficients are in the other functions.

        Parameters
        ----------
        values : Rationals of shape (n_terms + 1, n_targets)
            The last row holds the constants.
        """
        if len(self.connections) > 1:  # the denominators of all columns would make a long one
            fractions, matrices = values.fractions, [parts.fractions for parts in self.connections]
            return as_doubles(self.moved(fractions[:-1], fractions[-1], matrices))
        (parts,), integers = self.connections, values.numerators
        moved = self.moved(integers[:-1], integers[-1], [parts.numerators], parts.denominator)
        return Rationals(moved, values.denominator * parts.denominator).doubles

    def sizes(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of absolute values that make up each coefficient."""
        sizes = [np.abs(parts.doubles) for parts in self.connections]
        return self.moved(np.abs(values), 0, sizes)[:-1]

    def moved(
        self, values: np.ndarray, constant: Any, matrices: Sequence[np.ndarray], whole: int = 1
    ) -> np.ndarray:
        """Return the coefficients in the other functions, of which the matrices hold multiples."""
        below = np.repeat(np.zeros_like(values[:1]), self.terms.n_below, 0)
        values = np.concatenate((below, values, np.zeros_like(values[:1]) + constant))
        for (source, target, p, q), matrix in zip(self._moves, matrices, strict=True):
            moved = values.copy() if whole == 1 else values * whole
            moved[source] = 0
            with np.errstate(invalid="ignore"):  # an infinite coefficient is found by its user
                np.add.at(moved, target, matrix[p, q][:, None] * values[source])
            values = moved
        return values[self.terms.n_below :]

    @cached_property
    def _moves(self) -> list[np.ndarray]:
        return [self.terms.moves(j, self.lowest) for j in range(self.terms.n_features)]

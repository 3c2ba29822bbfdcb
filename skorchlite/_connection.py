"""One family of polynomials written in another, in integers, which round nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import gcd, inf, lcm
from typing import Any

import numpy as np
from torch import Tensor

from ._recurrences import Step


@dataclass(frozen=True)
class Rationals:
    """An array of rational numbers, integers over one denominator.

    To have one denominator spares the search for common divisors that a sum of fractions takes.

    Parameters
    ----------
    numerators : ndarray of int objects
    denominator : int
    """

    numerators: np.ndarray
    denominator: int

    @cached_property
    def doubles(self) -> np.ndarray:
        """The nearest doubles; infinities where there are none."""
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
    """Return the nearest doubles of fractions; infinities where there are none."""
    doubles = [_quotient(*fraction.as_integer_ratio()) for fraction in fractions.ravel().tolist()]
    return np.array(doubles, dtype=float).reshape(fractions.shape)


def as_fractions(doubles: np.ndarray) -> np.ndarray:
    """Return doubles as the fractions that they are."""
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
    ratios = [[value.as_integer_ratio() for value in tensor.ravel().tolist()] for tensor in tensors]
    denominator = max((d for part in ratios for _, d in part), default=1)
    arrays = []
    for tensor, part in zip(tensors, ratios, strict=True):
        integers = np.empty(len(part), dtype=object)
        integers[:] = [n * (denominator // d) for n, d in part]
        arrays.append(integers.reshape(tensor.shape))
    return arrays, denominator


@lru_cache(maxsize=8)  # columns often have the same, and so have fits in one family
def connection(
    steps: tuple[Step, ...], others: tuple[Step, ...], slope: Any = 1, offset: Any = 0
) -> Rationals:
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

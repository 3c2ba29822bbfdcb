"""Polynomials of single columns as exact numbers: recurrences, each on an interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from .families import Recurrence

Ratio = tuple[int, int]  # numerator and denominator


class Mapped(Protocol):
    """Polynomials of mapped columns; see ``Expansion``."""

    steps: Sequence[Recurrence]
    centre: np.ndarray
    half: np.ndarray


@dataclass(frozen=True)
class Interval:
    """An interval of a column, which is mapped to [-1, 1].

    Parameters
    ----------
    centre, half : float or Fraction
        The centre and half of the length, taken as exact. Doubles are kept as they are, since
        fractions take longer to make and to compare.
    """

    centre: float | Fraction
    half: float | Fraction

    @classmethod
    def from_ends(cls, low: float, high: float) -> "Interval":
        """Return the interval between two doubles."""
        ends = Fraction(low), Fraction(high)
        return cls((ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2)

    def map_to(self, other: "Interval") -> tuple[Ratio, Ratio]:
        """Return the slope and the offset of t in another interval, as a function of t in this."""
        ends = self.half, self.centre, other.half, other.centre
        half, centre, other_half, other_centre = (end.as_integer_ratio() for end in ends)
        slope = half[0] * other_half[1], half[1] * other_half[0]
        away = centre[0] * other_centre[1] - other_centre[0] * centre[1]
        offset = away * other_half[1], centre[1] * other_centre[1] * other_half[0]
        return slope, offset


@dataclass(frozen=True)
class ColumnFunctions:
    """The polynomials ``phi_k((x - centre) / half)`` of each column.

    Parameters
    ----------
    steps : sequence of Recurrence
        That of phi, for each column.
    intervals : sequence of Interval
    """

    steps: Sequence[Recurrence]
    intervals: Sequence[Interval]

    @classmethod
    def of(cls, expansion: Mapped) -> "ColumnFunctions":
        """Return those that the terms of an expansion are products of."""
        ends = zip(expansion.centre.tolist(), expansion.half.tolist(), strict=True)
        return cls(expansion.steps, [Interval(*of_column) for of_column in ends])

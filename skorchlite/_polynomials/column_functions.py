"""Polynomials of single columns as exact numbers: recurrences, each on an interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from .families import Recurrence


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

    def map_to(self, other: "Interval") -> tuple[Fraction, Fraction]:
        """Return the slope and the offset of t in another interval, as a function of t in this."""
        half = Fraction(other.half)
        return Fraction(self.half) / half, (Fraction(self.centre) - Fraction(other.centre)) / half


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

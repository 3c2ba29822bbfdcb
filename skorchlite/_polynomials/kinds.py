"""The kinds of a basis: what the polynomials of a column are, and where they have [-1, 1]."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .._sources.origin import power_of_two
from .families import Step, family, rooted
from .multi_index import Terms

Ends = tuple[np.ndarray, np.ndarray]


def _whole(low: np.ndarray, high: np.ndarray) -> Ends:
    """Return (centre, half length) of the interval of each column."""
    half = high / 2 - low / 2
    return low / 2 + high / 2, np.where(half == 0, 1.0, half)


def _about_zero(low: np.ndarray, high: np.ndarray) -> Ends:
    """Return (centre, half length) of the shortest interval about zero with each column in it."""
    half = np.maximum(np.abs(low), np.abs(high))
    return np.zeros_like(low), np.where(half == 0, 1.0, half)


def _about_zero_exactly(low: np.ndarray, high: np.ndarray) -> Ends:
    """Return such intervals of lengths that are powers of two, by which nothing is rounded."""
    half = np.maximum(np.abs(low), np.abs(high))
    half = power_of_two(torch.from_numpy(half)).numpy()
    return np.zeros_like(low), np.where(half == 0, 1.0, half)


def _as_it_is(low: np.ndarray, high: np.ndarray) -> Ends:
    return np.zeros_like(low), np.ones_like(low)


def _rooted_steps(terms: Terms) -> tuple[Step, ...]:
    return rooted(terms.degree, max(terms.degrees.least, 1))


def _steps_of(name: str) -> Callable[[Terms], tuple[Step, ...]]:
    return lambda terms: family(name, terms.degree)


@dataclass(frozen=True)
class Kind:
    """What all bases of a kind have.

    Parameters
    ----------
    steps : callable
        Returns the recurrence of the polynomials of a column, for some terms.
    interval : callable
        Returns (centre, half length) of what is mapped to [-1, 1], from the ends of the columns.
    from_zero : bool, default=False
        Whether the polynomials vanish where the column is zero, so that no constant is left over
        when they are written on another interval.
    magnitude : float, default=1.0
        What the rounding of a term is relative to, where it is more than its own size. Powers, and
        Hermite's polynomials, which grow like them, are relative to themselves, while others are
        differences.
    alike : bool, default=True
        Whether rounding makes about as much of a term in each row.
    lasting : str, default=None
        The kind to go on with where more rows come; None for the same one.
    """

    steps: Callable[[Terms], tuple[Step, ...]]
    interval: Callable[[np.ndarray, np.ndarray], Ends]
    from_zero: bool = False
    magnitude: float = 1.0
    alike: bool = True
    lasting: str | None = None


KINDS = {
    # Powers of columns that are scaled to be at most 1 in size.
    "power": Kind(_steps_of("power"), _about_zero_exactly, from_zero=True, magnitude=0.0),
    # Powers of columns that are not scaled.
    "raw": Kind(_steps_of("power"), _as_it_is, from_zero=True, magnitude=0.0),
    # Polynomials that vanish with the column like the least power that a term may have.
    "rooted": Kind(_rooted_steps, _about_zero, from_zero=True, alike=False),
    "chebyshev": Kind(_steps_of("chebyshev"), _whole),
    "legendre": Kind(_steps_of("legendre"), _whole),
    "hermite": Kind(_steps_of("hermite"), _whole, magnitude=0.0),
    # Polynomials that are orthogonal on a sample of the rows, which a recurrence of their own
    # makes; on other rows they are none to go on with.
    "orthogonal": Kind(_steps_of("chebyshev"), _whole, lasting="chebyshev"),
    # Combinations of the terms of another basis, see ``PenalisedBasis``.
    "penalised": Kind(_steps_of("chebyshev"), _whole),
}

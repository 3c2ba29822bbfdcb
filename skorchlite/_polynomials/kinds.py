"""The kinds of a basis: which polynomials of a column, on which interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .._sources.origin import power_of_two
from .families import Recurrence, family, rooted
from .multi_index import Terms

CentreAndHalf = tuple[np.ndarray, np.ndarray]


def _range(low: np.ndarray, high: np.ndarray) -> CentreAndHalf:
    """Return (centre, half length) of the range of each column."""
    half = high / 2 - low / 2
    return low / 2 + high / 2, np.where(half == 0, 1.0, half)


def _around_zero(low: np.ndarray, high: np.ndarray) -> CentreAndHalf:
    """Return (centre, half length) of the shortest interval around zero that holds each column."""
    half = np.maximum(np.abs(low), np.abs(high))
    return np.zeros_like(low), np.where(half == 0, 1.0, half)


def _around_zero_exactly(low: np.ndarray, high: np.ndarray) -> CentreAndHalf:
    """Return the same with lengths that are powers of two, by which a division rounds nothing."""
    half = np.maximum(np.abs(low), np.abs(high))
    half = power_of_two(torch.from_numpy(half)).numpy()
    return np.zeros_like(low), np.where(half == 0, 1.0, half)


def _unscaled(low: np.ndarray, high: np.ndarray) -> CentreAndHalf:
    """Return (0, 1), which leaves columns as they are."""
    return np.zeros_like(low), np.ones_like(low)


def _rooted_steps(terms: Terms) -> Recurrence:
    return rooted(terms.degree, max(terms.degrees.least, 1))


def _steps_of(name: str) -> Callable[[Terms], Recurrence]:
    return lambda terms: family(name, terms.degree)


@dataclass(frozen=True)
class Kind:
    """What all bases of a kind share.

    Parameters
    ----------
    steps : callable
        Returns the recurrence of the polynomials of a column, for some terms.
    interval : callable
        Returns (centre, half length) of the interval of each column that is mapped to [-1, 1], from
        the least and the largest numbers of the columns.
    vanishes_at_zero : bool, default=False
        Whether the polynomials vanish where the column is zero, so that no constant remains when
        they are written in those on another interval.
    least_size : float, default=1.0
        The size that rounding errors of a term are relative to, where the term is smaller. It is
        zero for powers, and for Hermite's polynomials, which grow like them: their errors are
        relative to themselves. Others are differences of numbers of size 1.
    uniform_rounding : bool, default=True
        Whether rounding errors of a term are of about the same size in all rows.
    continued_as : str, default=None
        The kind that takes its place where more rows come; None for the same kind.
    """

    steps: Callable[[Terms], Recurrence]
    interval: Callable[[np.ndarray, np.ndarray], CentreAndHalf]
    vanishes_at_zero: bool = False
    least_size: float = 1.0
    uniform_rounding: bool = True
    continued_as: str | None = None


KINDS = {
    # Powers of columns that are scaled to a size of at most 1.
    "power": Kind(_steps_of("power"), _around_zero_exactly, vanishes_at_zero=True, least_size=0.0),
    # Powers of columns that are not scaled.
    "raw": Kind(_steps_of("power"), _unscaled, vanishes_at_zero=True, least_size=0.0),
    # Polynomials with a root at zero, of the least degree that a term may have.
    "rooted": Kind(_rooted_steps, _around_zero, vanishes_at_zero=True, uniform_rounding=False),
    "chebyshev": Kind(_steps_of("chebyshev"), _range),
    "legendre": Kind(_steps_of("legendre"), _range),
    "hermite": Kind(_steps_of("hermite"), _range, least_size=0.0),
    # Polynomials that are orthogonal on a sample of the rows, each column with a recurrence of its
    # own. They need not suit the rows of later chunks.
    "orthogonal": Kind(_steps_of("chebyshev"), _range, continued_as="chebyshev"),
    # Combinations of the terms of another basis; see ``PenalisedBasis``.
    "penalised": Kind(_steps_of("chebyshev"), _range),
}

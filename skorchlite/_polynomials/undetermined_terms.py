"""Why the data does not determine all terms: by the nature of its columns, or for their degree.

A column of two values has no square of its own, products of dummies vanish, and one column may be
another's double. Such a table is no mistake, and a lower degree would leave out terms that matter.
It is another thing where a column of many values has fewer than its powers ask for, where rows are
fewer than terms, or where powers are more than doubles tell apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.polynomial.polynomial import polyvander

_FEW_ROWS = 4  # of which two values are no nature of a column
_MANY_TERMS = 500  # whose rank takes a while to find
_DEPENDENT = 1e-9  # what is left of a column of size 1 that depends on others
_ZERO = 1e-12  # an eigenvalue, relative to the largest


@dataclass(frozen=True)
class Cause:
    """What lets terms depend on each other.

    Parameters
    ----------
    values : dict of int to int
        How many distinct values a column has, for those with fewer than their powers ask for.
    n_rows : int or None
        How many rows there are, where they are fewer than terms.
    alike : tuple of (ndarray, ndarray) or None
        The powers of two terms that are the same, or differ in scale and a constant, if some are.
    """

    values: dict[int, int]
    n_rows: int | None
    alike: tuple[np.ndarray, np.ndarray] | None = None

    def told(
        self,
        names: Sequence[str],
        degrees: Sequence[int],
        name_of: Callable[[np.ndarray, Sequence[str]], str],
    ) -> tuple[str, str]:
        """Return what it is, and what to do, in words.

        Parameters
        ----------
        names : list of str
            Of the columns.
        degrees : list of int
            The largest of each column.
        name_of : callable
            Returns the name of a term, from its powers and the names of the columns.
        """
        reasons = [
            f"{names[j]} has {count} distinct values, which tell its powers up to "
            f"{_power(names[j], count - 1)} apart"
            for j, count in list(self.values.items())[:3]
        ]
        if len(self.values) > 3:
            reasons.append(f"and so have {len(self.values) - 3} other columns")
        if self.n_rows is not None:
            reasons.append(f"there are {self.n_rows} samples")
        if self.alike is not None:
            term, other = (name_of(powers, names) for powers in self.alike)
            reasons.append(f"{term} tells no more than {other}")
        elif not reasons:
            reasons = ["others depend on lower ones in double precision"]
        lower = [min(k, self.values.get(j, k + 1) - 1) for j, k in enumerate(degrees)]
        cure = "Lower the degree"
        if self.values and len(lower) <= 8:
            cure = f"Use degree={lower if len(lower) > 1 else lower[0]}"
        return "; ".join(reasons), cure


def cause(
    rows: np.ndarray, n_rows: int, powers: np.ndarray, fit_intercept: bool, rank: int
) -> Cause | None:
    """Return why the rank is that small; None where it is by the nature of the columns.

    Parameters
    ----------
    rows : ndarray of shape (n_sampled, n_features)
        Of the data.
    n_rows : int
        How many it has.
    powers : ndarray of shape (n_terms, n_features)
        The degree of each column in each term.
    fit_intercept : bool
    rank : int
        Of the terms, about their mean where there is an intercept.
    """
    degrees = powers.max(0)
    if powers.sum(1).max() <= 1:  # columns that depend on each other, which no degree cures
        return None
    counts = np.array([len(np.unique(column)) for column in rows.T])
    two_valued = (counts <= 2) & (n_rows > _FEW_ROWS)
    values = {
        int(j): int(counts[j])
        for j in np.flatnonzero(~two_valued & (degrees >= counts))
        if counts[j] > 1
    }
    reduced = powers[(powers <= np.where(two_valued, counts - 1, degrees)).all(1)]
    if rank >= len(reduced):  # powers of two values are all that is missing
        return None
    t = _scaled(rows, fit_intercept)
    asked = len(powers) if n_rows <= _FEW_ROWS else _n_distinct(t, reduced, n_rows)
    few = n_rows - fit_intercept < asked
    if values or few:
        return Cause(values, n_rows if few else None)
    if (
        not len(reduced)
        or len(reduced) > _MANY_TERMS
        or rank >= _natural_rank(t, two_valued, reduced, fit_intercept)
    ):
        return None
    sizes = np.abs(rows).max(0)
    return Cause({}, None, _alike(rows / np.where(sizes > 0, sizes, 1), reduced))


def _alike(columns: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the powers of two terms that are linear functions of each other, if there are some."""
    found: dict[bytes, np.ndarray] = {}
    for term in powers:
        values = _values(columns, term)
        values = values - values.mean()
        size = np.abs(values).max()
        if size > _DEPENDENT:
            values = values / (size * np.sign(values[np.abs(values).argmax()]))
            other = found.setdefault((values.round(8) + 0.0).tobytes(), term)
            if other is not term:
                return term, other
    return None


def _values(t: np.ndarray, powers: np.ndarray) -> np.ndarray:
    return np.prod([t[:, j] ** powers[j] for j in np.flatnonzero(powers)], 0)


def _power(name: str, degree: int) -> str:
    return name if degree == 1 else f"{name}^{degree}"


def _scaled(rows: np.ndarray, shifted: bool) -> np.ndarray:
    """Return the columns scaled to [-1, 1]; if shifted, those of two values to 0 and 1."""
    low, high = rows.min(0), rows.max(0)
    if not shifted:
        size = np.maximum(np.abs(low), np.abs(high))
        return rows / np.where(size > 0, size, 1)
    width = np.where(high > low, high / 2 - low / 2, 1)
    t = (rows / 2 - low / 2) / width  # halves do not overflow
    two = ((t == 0) | (t == 1)).all(0)
    return np.where(two, t, 2 * t - 1)


def _n_distinct(t: np.ndarray, powers: np.ndarray, n_rows: int) -> int:
    """Return how many terms are not constant, and none the other's double, on the rows.

    As many as there are rows are enough to know.
    """
    found: set[bytes] = set()
    for term in powers:
        if len(found) > n_rows:
            break
        values = _values(t, term)
        if np.ptp(values) > 0:
            found.add(values.tobytes())
    return len(found)


def _natural_rank(
    t: np.ndarray, two_valued: np.ndarray, powers: np.ndarray, fit_intercept: bool
) -> int:
    """Return the rank of the terms if columns of many values could have any.

    What is theirs by nature stays: combinations of two-valued columns that do not occur, and
    columns that depend on others.
    """
    rng = np.random.default_rng(0)
    patterns = np.unique(t[:, two_valued], axis=0)
    n_rows = min(3 * len(powers) + 50 + 20 * len(patterns), 20_000)
    any_rows = np.zeros((n_rows, t.shape[1]))
    any_rows[:, two_valued] = patterns[np.arange(n_rows) % len(patterns)]
    known, any_known = (np.c_[np.ones(len(part)), part[:, two_valued]] for part in (t, any_rows))
    for j in np.flatnonzero(~two_valued).tolist():
        parts = np.linalg.lstsq(known, t[:, j], rcond=None)[0]
        if np.abs(t[:, j] - known @ parts).max() < _DEPENDENT:
            any_rows[:, j] = any_known @ parts
        else:
            any_rows[:, j] = np.cos(np.pi * rng.random(n_rows))
            known, any_known = np.c_[known, t[:, j]], np.c_[any_known, any_rows[:, j]]
    terms = np.ones((n_rows, len(powers)))
    # Chebyshev's polynomials, which are far from dependent, span no more if there is a constant.
    functions = chebvander if fit_intercept else polyvander
    for j, column in enumerate(any_rows.T):
        terms *= functions(column, powers[:, j].max())[:, powers[:, j]]
    terms = terms - terms.mean(0) if fit_intercept else terms
    size = np.sqrt((terms * terms).sum(0))
    terms = terms[:, size > _DEPENDENT] / size[size > _DEPENDENT]
    eigenvalues = np.linalg.eigvalsh(terms.T @ terms)
    return int((eigenvalues > _ZERO * eigenvalues.max(initial=0)).sum())

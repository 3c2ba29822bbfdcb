"""Why the data does not determine all terms: the nature of its columns, or a degree too high.

The square of a column of two values is a linear function of it, products of dummies vanish, and
columns may depend on each other. This is the nature of such columns, and a lower degree would leave
out terms that matter. But the degree is too high if a column has fewer distinct values than its
powers need, if there are fewer rows than terms, or if terms are the same in double precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.polynomial.polynomial import polyvander

_FEW_ROWS = 4  # up to here, a column of two values is not taken for one that has no others
_MANY_TERMS = 500  # above, it takes long to compute their rank
_DEPENDENT = 1e-9  # the largest residual of a column of size 1 that counts as dependent on others
_ZERO = 1e-12  # the largest eigenvalue, relative to the largest of all, that counts as zero


@dataclass(frozen=True)
class Cause:
    """Why the degree is too high for the data.

    Parameters
    ----------
    n_values : dict of int to int
        The number of distinct values of each column that has fewer than its powers need.
    n_rows : int or None
        The number of rows, if there are fewer than terms.
    equivalent : tuple of (ndarray, ndarray) or None
        The powers of two terms that are linear functions of each other, if there are such.
    """

    n_values: dict[int, int]
    n_rows: int | None
    equivalent: tuple[np.ndarray, np.ndarray] | None = None

    def in_words(
        self,
        names: Sequence[str],
        degrees: Sequence[int],
        name_of: Callable[[np.ndarray, Sequence[str]], str],
    ) -> tuple[str, str]:
        """Return the reason, and a remedy.

        Parameters
        ----------
        names : list of str
            The names of the columns.
        degrees : list of int
            The largest degree of each column.
        name_of : callable
            Returns the name of a term, from its powers and the names of the columns.
        """
        reasons = [
            f"{names[j]} has {count} distinct values, which determine its powers only up to "
            f"{_power(names[j], count - 1)}"
            for j, count in list(self.n_values.items())[:3]
        ]
        if len(self.n_values) > 3:
            reasons.append(f"{len(self.n_values) - 3} other columns have few distinct values too")
        if self.n_rows is not None:
            reasons.append(f"there are only {self.n_rows} samples")
        if self.equivalent is not None:
            term, other = (name_of(powers, names) for powers in self.equivalent)
            reasons.append(f"{term} is, to 8 digits, a linear function of {other}")
        elif not reasons:
            reasons = ["some terms depend on lower ones in double precision"]
        lower = [min(k, self.n_values.get(j, k + 1) - 1) for j, k in enumerate(degrees)]
        remedy = "Lower the degree"
        if self.n_values and len(lower) <= 8:
            remedy = f"Use degree={lower if len(lower) > 1 else lower[0]}"
        return "; ".join(reasons), remedy


def cause(
    rows: np.ndarray, n_rows: int, powers: np.ndarray, fit_intercept: bool, rank: int
) -> Cause | None:
    """Return why the terms have a rank that is so small; None if it is the nature of the columns.

    Parameters
    ----------
    rows : ndarray of shape (n_sampled, n_features)
        A sample of the rows.
    n_rows : int
        The number of all rows.
    powers : ndarray of shape (n_terms, n_features)
        The degree of each column in each term.
    fit_intercept : bool
    rank : int
        The rank of the terms, less their means if there is an intercept.
    """
    degrees = powers.max(0)
    if powers.sum(1).max() <= 1:  # columns depend on each other, and no other degree helps
        return None
    counts = 1 + (np.diff(np.sort(rows, 0), axis=0) > 0).sum(0)
    two_valued = (counts <= 2) & (n_rows > _FEW_ROWS)
    n_values = {
        int(j): int(counts[j])
        for j in np.flatnonzero(~two_valued & (degrees >= counts))
        if counts[j] > 1
    }
    reduced = powers[(powers <= np.where(two_valued, counts - 1, degrees)).all(1)]
    if rank >= len(reduced):  # only powers of two-valued columns are missing
        return None
    t = _scaled(rows, fit_intercept)
    n_terms = len(powers) if n_rows <= _FEW_ROWS else _n_distinct(t, reduced, n_rows)
    few_rows = n_rows - fit_intercept < n_terms
    if n_values or few_rows:
        return Cause(n_values, n_rows if few_rows else None)
    if (
        not len(reduced)
        or len(reduced) > _MANY_TERMS
        or rank >= _natural_rank(t, two_valued, reduced, fit_intercept)
    ):
        return None
    sizes = np.abs(rows).max(0)
    return Cause({}, None, _equivalent(rows / np.where(sizes > 0, sizes, 1), reduced))


def _equivalent(columns: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
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
    """Return the values of a term on rows."""
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
    """Return how many terms differ on the rows, without constant ones.

    The count ends where it exceeds the number of rows.
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
    """Return the rank that the terms would have on many rows of columns of the same nature.

    These have the same combinations of two-valued columns as the data, and columns that depend on
    others still do. All other columns have random values.
    """
    rng = np.random.default_rng(0)
    patterns = np.unique(t[:, two_valued], axis=0)
    n_rows = min(3 * len(powers) + 50 + 20 * len(patterns), 20_000)
    random = np.zeros((n_rows, t.shape[1]))
    random[:, two_valued] = patterns[np.arange(n_rows) % len(patterns)]
    # The columns so far that do not depend on each other, of the data and of the random rows.
    known, known_random = (np.c_[np.ones(len(A)), A[:, two_valued]] for A in (t, random))
    for j in np.flatnonzero(~two_valued).tolist():
        coef = np.linalg.lstsq(known, t[:, j], rcond=None)[0]
        if np.abs(t[:, j] - known @ coef).max() < _DEPENDENT:
            random[:, j] = known_random @ coef
        else:
            random[:, j] = np.cos(np.pi * rng.random(n_rows))
            known, known_random = np.c_[known, t[:, j]], np.c_[known_random, random[:, j]]
    terms = np.ones((n_rows, len(powers)))
    # With a constant, Chebyshev's polynomials have the span of the powers. They are far from
    # dependent, so that the rank is not lost to rounding.
    functions = chebvander if fit_intercept else polyvander
    for j, column in enumerate(random.T):
        terms *= functions(column, powers[:, j].max())[:, powers[:, j]]
    terms = terms - terms.mean(0) if fit_intercept else terms
    size = np.sqrt((terms * terms).sum(0))
    terms = terms[:, size > _DEPENDENT] / size[size > _DEPENDENT]
    eigenvalues = np.linalg.eigvalsh(terms.T @ terms)
    return int((eigenvalues > _ZERO * eigenvalues.max(initial=0)).sum())

"""Polynomials that are adapted to the rows where those of a textbook are nearly dependent on them.

Chebyshev's polynomials are far from dependent on data that covers the range of a column evenly.
Where a column does not, polynomials that are orthogonal on its numbers take their place.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from .._sources.row_source import Rows
from .basis import Basis
from .families import Recurrence, family, orthogonal, slopes, values
from .sampling import SAMPLE_ROWS, ColumnRanges, rows_of_each_part

_CONDITION = 1e4  # up to here, a Gram matrix is exact enough for a fit in one pass
_CACHED_POINTS = 1 << 14  # of some columns, whose polynomials take a few times as much memory
_STEEP = 1e8  # where slopes are larger, rounding t changes terms too much for doubled precision


def orthogonal_basis(rows: Rows, ranges: ColumnRanges, chebyshev: Basis) -> Basis:
    """Return a basis of polynomials that are far from dependent on the rows.

    Parameters
    ----------
    rows : Rows
    ranges : ColumnRanges
        With a sample.
    chebyshev : Basis
        Of kind "chebyshev". Columns whose range is evenly covered keep its polynomials.
    """
    centre, half, degree = chebyshev.centre, chebyshev.half, chebyshev.terms.degree
    steps = family("chebyshev", degree)
    t = np.ascontiguousarray(((ranges.points - centre) / half).T)
    uneven = _nearly_dependent(steps, t)
    if not uneven:
        even = partial(Basis, chebyshev.terms, chebyshev.caller, "chebyshev", even=True)
        return even(low=chebyshev.low, high=chebyshev.high, doubled=chebyshev.doubled)
    if rows.rereadable and not rows.fewer_than(SAMPLE_ROWS):
        varied = [j for j in uneven if ranges.low[j] < ranges.high[j]]
        t = np.concatenate((t, ((rows_of_each_part(rows, ranges, varied) - centre) / half).T), 1)
    recurrences = [
        orthogonal(column, degree) if j in uneven else (steps, degree) for j, column in enumerate(t)
    ]
    return _adapted(chebyshev, "orthogonal", recurrences, t)


def adapted_rooted_basis(ranges: ColumnRanges, rooted: Basis) -> Basis:
    """Return polynomials that vanish where a column is zero, and are far from dependent.

    Parameters
    ----------
    ranges : ColumnRanges
        With a sample.
    rooted : Basis
        Of kind "rooted". It is returned itself if its polynomials suit all columns.
    """
    t, least = (ranges.points / rooted.half).T, max(rooted.terms.degrees.least, 1)
    degree, columns = rooted.terms.degree, list(zip(rooted.steps, t, strict=True))
    recurrences = [_rooted_steps(steps, column, degree, least) for steps, column in columns]
    if all(steps is plain for (steps, _), plain in zip(recurrences, rooted.steps, strict=True)):
        return rooted
    return _adapted(rooted, "rooted", recurrences, t)


def _rooted_steps(
    plain: Recurrence, column: np.ndarray, degree: int, least: int
) -> tuple[Recurrence, int]:
    """Return the steps that suit a column, ``plain`` itself if these do, and how many are sound."""
    if len(np.unique(column)) <= degree - least + 1:
        # With fewer distinct numbers than terms the coefficients of least norm are sought, which is
        # easy among powers: those that are the same on all rows get the same coefficients.
        return family("power", degree), degree
    if _nearly_dependent(plain, column[None], least):
        return orthogonal(column, degree, least)
    return plain, degree


def _adapted(
    plain: Basis, kind: str, recurrences: Sequence[tuple[Recurrence, int]], t: np.ndarray
) -> Basis:
    """Return a basis with a recurrence of its own for each column.

    Parameters
    ----------
    plain : Basis
        With the same terms and ranges.
    kind : str
    recurrences : sequence of (steps, n_sound)
        Of each column; see ``orthogonal``.
    t : ndarray of shape (n_features, n_points)
        Points in [-1, 1], on which slopes are measured.
    """
    medians, largest = np.empty((len(t), plain.terms.degree)), 0.0
    # Columns often have the same polynomials.
    alike: dict[tuple[int, int], list[int]] = {}
    for j, (steps, n_sound) in enumerate(recurrences):
        alike.setdefault((id(steps), n_sound), []).append(j)
    for columns in alike.values():
        steps, n_sound = recurrences[columns[0]]
        for piece in _pieces(len(columns), t):
            some = columns[piece]
            medians[some], steepest = slopes(steps, t[some], n_sound)
            largest = max(largest, steepest)
    return Basis(
        plain.terms,
        plain.caller,
        kind,
        plain.low,
        plain.high,
        steps=[steps for steps, _ in recurrences],
        slopes=list(medians),
        doubled=plain.doubled and largest < _STEEP,
    )


def _nearly_dependent(steps: Recurrence, t: np.ndarray, least: int = 1) -> list[int]:
    """Return the columns on which the polynomials of at least a degree are nearly dependent.

    Their Gram matrix, centred and scaled, has a large condition number there.

    Parameters
    ----------
    steps : Recurrence
    t : ndarray of shape (n_columns, n_points)
    least : int, default=1
    """
    found: list[int] = []
    for columns in _pieces(len(t), t):
        terms = values(steps, t[columns])[least - 1 :].swapaxes(0, 1)
        terms -= terms.mean(2, keepdims=True)
        scale = np.sqrt((terms * terms).sum(2, keepdims=True))
        constant = ~scale.all((1, 2))
        terms /= np.where(scale > 0, scale, 1.0)
        eigenvalues = np.linalg.eigvalsh(terms @ terms.swapaxes(1, 2))
        dependent = constant | (eigenvalues[:, 0] * _CONDITION < eigenvalues[:, -1])
        found += (columns.start + np.flatnonzero(dependent)).tolist()
    return found


def _pieces(n_columns: int, t: np.ndarray) -> list[slice]:
    """Return slices of so many columns, of few enough points to stay in a processor's cache."""
    size = max(_CACHED_POINTS // t.shape[1], 1)
    return [slice(first, first + size) for first in range(0, n_columns, size)]

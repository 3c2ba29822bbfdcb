"""The basis that suits the data."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._exceptions import NoWeightError, OutOfRangeError
from .._sources.row_source import Rows
from .basis import SAMPLE_ROWS, Basis
from .families import Step, family, orthogonal, slopes, values
from .multi_index import Degrees, Terms, terms_of
from .penalised_basis import PenalisedBasis, is_cheap

_MANY_TERMS = 500  # up to here the Gram matrix of the terms takes a fraction of a second
_DOUBLED_ENTRIES = 1_000_000  # rows times terms: above, doubled precision takes longer than it pays
_CONDITION = 1e4  # of a Gram matrix, which then is exact enough for a fit in one pass
_PARTS = 1_024  # of an interval, of which each gives a row
_CANCELLED = 9.0  # digits that powers may lose before a fit in them loses its own
_STEEP = 1e8  # a slope at which rounding t to doubles changes a term by more than can be told


def fitted_basis(
    rows: Rows,
    degrees: Degrees,
    caller: str,
    fit_intercept: bool,
    *,
    penalised: bool,
    least_squares: bool,
    literal: bool = False,
    lasting: bool = False,
    curvature: float = 0.0,
) -> Basis:
    """Return the basis for the data: its intervals take a pass over the columns.

    The caller's own serves where a penalty or bound is on its coefficients, where terms outnumber
    the rows by so much that the minimum of their norm is sought in the span of the rows, and where
    terms are left out that others are made of.

    Parameters
    ----------
    rows : Rows
    degrees : Degrees
    caller : str
        The family that the coefficients are of.
    fit_intercept : bool
    penalised : bool
        Whether there is a penalty or bound on the coefficients.
    least_squares : bool
    literal : bool, default=False
        Whether the columns are to be those of a textbook, which scales nothing.
    lasting : bool, default=False
        Whether rows may follow that reach further.
    curvature : float, default=0.0
        That of a penalty on the coefficients, if it is smooth and its solver takes any quadratic.
    """
    terms = terms_of(degrees)
    kind = _kind_of(rows, degrees, caller, fit_intercept, penalised, literal)
    spread = kind is None
    if not (lasting or literal) and _may_combine(rows, terms, caller, curvature):
        spread = True
    sampled = (spread or not penalised) and terms.degrees.most > 1
    low, high, seen, ends = intervals(rows, sampled)
    one_column = len(low) == 1 and least_squares and not (penalised or literal or lasting)
    doubled = one_column and rows.n_rows * terms.degree <= _DOUBLED_ENTRIES
    basis = partial(Basis, terms, caller, low=low, high=high)
    own = basis("chebyshev" if kind is None else kind, doubled=doubled)
    own.seen = seen
    if kind is None:
        if lasting or terms.degree == 1:
            return own
        own = _spread_basis(rows, np.concatenate((seen, ends)), basis, doubled)
        own.seen = seen
        return own
    if kind == "rooted" and not lasting and terms.degree > 1:
        own = _rooted_basis(np.concatenate((seen, ends)), own, basis, doubled)
        own.seen = seen
    if not spread or own.cancelling < _CANCELLED or not is_cheap(own, curvature):
        return own
    base = _spread_basis(rows, np.concatenate((seen, ends)), basis, False)
    return PenalisedBasis(base, _vanishing(rows, base), curvature, fit_intercept)


def _may_combine(rows: Rows, terms: Terms, caller: str, curvature: float) -> bool:
    """Return whether the terms may be those of a ``PenalisedBasis``, if powers cancel."""
    if caller != "power" or not curvature or terms.degree == 1 or terms.degrees.least > 1:
        return False
    # Of fewer rows than terms of several columns, the penalty alone determines some.
    return terms.n_features == 1 or not rows.fewer_than(len(terms) + 1)


def _vanishing(rows: Rows, basis: Basis) -> np.ndarray:
    """Return which terms are known to be nothing but rounding errors on the rows."""
    if basis.slopes is None or not rows.fewer_than(SAMPLE_ROWS):
        return np.zeros(len(basis.terms), bool)
    terms, columns, powers = basis.terms.entries
    table = np.array([np.r_[0, slopes] for slopes in basis.slopes])
    return np.bincount(terms, np.isinf(table[columns, powers]), len(basis.terms)) > 0


def _spread_basis(
    rows: Rows, sample: np.ndarray, basis: Callable[..., Basis], doubled: bool
) -> Basis:
    """Return the basis in polynomials that are far from dependent on the rows.

    Parameters
    ----------
    rows : Rows
    sample : ndarray of shape (n_sampled, n_features)
    basis : callable
        Returns a basis of a kind.
    doubled : bool
    """
    chebyshev = basis("chebyshev", doubled=doubled, even=True)
    centre, half, degree = chebyshev.centre, chebyshev.half, chebyshev.terms.degree
    t, steps = (sample - centre) / half, family("chebyshev", degree)
    uneven = [j for j in range(t.shape[1]) if _nearly_dependent(values(steps, t[:, j]))]
    if not uneven:
        return chebyshev
    if rows.rereadable and not rows.fewer_than(SAMPLE_ROWS):
        low, high = chebyshev.low, chebyshev.high
        rare = _of_each_part(rows, low, high, [j for j in uneven if low[j] < high[j]])
        t = np.concatenate((t, (rare - centre) / half))
    all_steps, medians, largest = _orthogonal_on(t, uneven, degree)
    doubled = doubled and largest < _STEEP
    return basis("orthogonal", steps=all_steps, slopes=medians, doubled=doubled)


def _rooted_basis(
    sample: np.ndarray, rooted: Basis, basis: Callable[..., Basis], doubled: bool
) -> Basis:
    """Return polynomials that vanish with the columns and are far from dependent on the rows.

    Parameters
    ----------
    sample : ndarray of shape (n_sampled, n_features)
    rooted : Basis
        Those that are, where rows cover the intervals evenly.
    basis : callable
        Returns a basis of a kind.
    doubled : bool
    """
    t, least = sample / rooted.half, max(rooted.terms.degrees.least, 1)
    degree, columns = rooted.terms.degree, list(zip(rooted.steps, t.T, strict=True))
    chosen = [_rooted_steps(steps, column, degree, least) for steps, column in columns]
    if all(steps is plain for (steps, _), plain in zip(chosen, rooted.steps, strict=True)):
        return rooted
    medians, largest = [], 0.0
    for (steps, n_sound), column in zip(chosen, t.T, strict=True):
        median, steepest = slopes(steps, column, n_sound)
        medians.append(median)
        largest = max(largest, steepest)
    doubled = doubled and largest < _STEEP
    all_steps = [steps for steps, _ in chosen]
    return basis("rooted", steps=all_steps, slopes=medians, doubled=doubled)


def _rooted_steps(
    plain: tuple[Step, ...], column: np.ndarray, degree: int, least: int
) -> tuple[tuple[Step, ...], int]:
    """Return the steps that suit a column, ``plain`` if these do, and how many are sound."""
    if len(np.unique(column)) <= degree - least + 1:
        # Of fewer numbers than terms least norm is sought, which is easy among powers: where they
        # are alike in the rows, so are the shares that they take.
        return family("power", degree), degree
    if _nearly_dependent(values(plain, column)[least - 1 :]):
        return orthogonal(column, degree, least)
    return plain, degree


def _orthogonal_on(
    t: np.ndarray, uneven: Sequence[int], degree: int
) -> tuple[list[tuple[Step, ...]], list[np.ndarray], float]:
    """Return the recurrence of each column, the slopes that it has on points, and the largest.

    It is Chebyshev's where the points cover the interval evenly.

    Parameters
    ----------
    t : ndarray of shape (n_points, n_features)
        Of [-1, 1].
    uneven : list of int
        The other columns.
    degree : int
    """
    all_steps, medians, largest = [], [], 0.0
    for j, column in enumerate(t.T):
        even = family("chebyshev", degree), degree
        steps, n_sound = orthogonal(column, degree) if j in uneven else even
        median, steepest = slopes(steps, column, n_sound)
        all_steps.append(steps)
        medians.append(median)
        largest = max(largest, steepest)
    return all_steps, medians, largest


def _kind_of(
    rows: Rows, degrees: Degrees, caller: str, fit_intercept: bool, penalised: bool, literal: bool
) -> str | None:
    """Return the kind of basis that serves, see ``Basis``; None where any of the span does."""
    n_terms = len(terms_of(degrees))
    powers = caller == "power"
    if literal:
        return "raw" if powers else caller
    wide = n_terms > _MANY_TERMS and rows.fewer_than(n_terms)
    if penalised or wide:
        return caller
    if degrees.least <= 1 and fit_intercept:
        return None
    one_column = len(degrees.of_columns) == 1
    return "rooted" if powers and (degrees.least <= 1 or one_column) else caller


def intervals(rows: Rows, sampled: bool = False) -> tuple[np.ndarray, np.ndarray, Any, Any]:
    """Return the least and the largest number of each column, a sample of the rows, and ends.

    The ends of each block go with the sample, lest it should miss all that are far from the others;
    they are no rows. Both are None if no sample is asked for.
    """
    ends, samples = rows.total(partial(_ends, sampled=sampled))
    if not ends:
        raise NoWeightError
    bounds = torch.stack(ends)
    low, high = bounds[:, 0].amin(0), bounds[:, 1].amax(0)
    if not torch.isfinite(low + high).all():
        raise OutOfRangeError
    sample = (torch.cat(samples).numpy(), torch.cat(ends).numpy()) if sampled else (None, None)
    return low.numpy(), high.numpy(), *sample


def _ends(rows: Rows, sampled: bool) -> tuple[list[Tensor], list[Tensor]]:
    ends, samples = [], []
    counted, step = rows.counted is not None, 1  # how many rows there are to sample
    for X, _, weight in rows.blocks(rows.bound(rows.n_features, 8)):
        if weight is not None:  # rows without any are none of the data
            X, counted = X[weight > 0], False
        if not len(X):
            continue
        # Along a column two passes take a tenth of the time of one; across, one is faster.
        along = X.stride(0) == 1
        least_and_most = (X.amin(0), X.amax(0)) if along else torch.aminmax(X, dim=0)
        ends.append(torch.stack(least_and_most).cpu().double())
        if sampled:
            if counted:
                step = max(rows.n_rows * rows.n_places // SAMPLE_ROWS, 1)
            # A copy: of a slice, the block would be kept.
            samples.append(X[::step].to("cpu", torch.float64, copy=True))
            while sum(map(len, samples)) > 2 * SAMPLE_ROWS and not counted:
                samples, step = [part[::2].clone() for part in samples], 2 * step
    return ends, samples


def _of_each_part(
    rows: Rows, low: np.ndarray, high: np.ndarray, columns: Sequence[int]
) -> np.ndarray:
    """Return a row from each part of the intervals of some columns: rare numbers are among them.

    Polynomials that are orthogonal on a sample without these vanish on all that it has, and may be
    anything on the others.
    """
    (found,) = rows.total(partial(_first_of_each, low=low, high=high, columns=columns))
    return torch.cat(found).numpy() if found else np.empty((0, len(low)))


def _first_of_each(
    rows: Rows, low: np.ndarray, high: np.ndarray, columns: Sequence[int]
) -> tuple[list[Tensor]]:
    found = []
    seen = torch.zeros(len(columns), _PARTS, dtype=torch.bool, device="cpu")
    for X, _, weight in rows.blocks(rows.bound(rows.n_features, 8)):
        X = X if weight is None else X[weight > 0]
        for i, j in enumerate(columns):
            # By halves, whose difference does not overflow.
            half = X[:, j].to("cpu", torch.float64) / 2
            share = (half - low[j] / 2) / (high[j] / 2 - low[j] / 2)
            part = (share * _PARTS).long().clamp(0, _PARTS - 1)
            first = part.new_full((_PARTS,), len(X))
            first.scatter_reduce_(0, part, torch.arange(len(X), device=part.device), "amin")
            new = (first < len(X)) & ~seen[i]
            found.append(X[first[new].to(X.device)].to("cpu", torch.float64))
            seen[i] |= new
    return (found,)


def _nearly_dependent(terms: np.ndarray) -> bool:
    """Return whether the Gram matrix of terms, centred and scaled, has a large condition."""
    centred = terms - terms.mean(1, keepdims=True)
    scale = np.sqrt((centred * centred).sum(1, keepdims=True))
    if not scale.all():
        return True
    eigenvalues = np.linalg.eigvalsh((centred / scale) @ (centred / scale).T)
    return bool(eigenvalues[0] * _CONDITION < eigenvalues[-1])

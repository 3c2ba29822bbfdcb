"""Orthonormal coordinates of columns, in extended precision or, with mpmath, in any."""

from dataclasses import dataclass

import mpmath
import numpy as np

WIDE = np.longdouble
BITS = 400


@dataclass
class Orthonormal:
    """``basis = columns @ transform``, with orthonormal columns.

    Parameters
    ----------
    basis : ndarray of shape (n, rank)
    transform : ndarray of shape (k, rank)
    margin : float
        The smallest part of a column that was made a direction of its own.
    pivots : list of int
        The column that each direction was made of.
    """

    basis: np.ndarray
    transform: np.ndarray
    margin: float
    pivots: list


def orthonormal(columns, cutoff):
    """Return coordinates of the span, by Gram-Schmidt with pivots, each column twice.

    Parameters
    ----------
    columns : ndarray of shape (n, k)
        Of numbers of extended precision, or of mpmath.
    cutoff : float or ndarray of shape (k,)
        What is left of a column is taken for nothing where it is no longer than this; for one of
        each column, than those of the columns that were taken off it and its own together.
    """
    each = np.ndim(cutoff) == 1
    left = columns if columns.dtype == object else columns.astype(WIDE)
    left = left.copy()
    n_columns = left.shape[1]
    made = np.eye(n_columns, dtype=left.dtype) * (left.dtype.type(1) if left.dtype != object else 1)
    cutoff = np.broadcast_to(np.minimum(np.asarray(cutoff, WIDE), 1e300), n_columns)
    if left.dtype == object:
        cutoff = exactly(cutoff)
    length = norms(left)
    length = np.where(length > 0, length, 1)
    rest, taken, margin = list(range(n_columns)), [], 1.0
    while rest and len(taken) < len(columns):
        size = norms(left[:, rest])
        least = norms(cutoff[:, None] * made[:, rest]) if each else cutoff[rest]
        share = np.where(size > least, size / length[rest], 0).astype(float)
        best = int(share.argmax())
        if not share[best] > 0:
            break
        margin = min(margin, float(share[best]))
        j = rest.pop(best)
        if taken:  # what rounding has left of those before
            again = left[:, taken].T @ left[:, j]
            left[:, j] -= left[:, taken] @ again
            made[:, j] -= made[:, taken] @ again
        size = norms(left[:, [j]])[0]
        left[:, j] /= size
        made[:, j] /= size
        taken.append(j)
        if rest:
            along = left[:, j] @ left[:, rest]
            left[:, rest] -= np.outer(left[:, j], along)
            made[:, rest] -= np.outer(made[:, j], along)
    return Orthonormal(left[:, taken], made[:, taken], margin, taken)


def norms(columns):
    """Return the length of each column."""
    squares = (columns * columns).sum(0)
    if columns.dtype != object:
        return np.sqrt(squares)
    return np.array([mpmath.sqrt(square) for square in squares], object)


def exactly(numbers):
    """Return numbers as those of mpmath; call it within ``mpmath.workprec``."""
    numbers = np.asarray(numbers)
    parts = numbers.astype(float)
    finite = np.isfinite(parts)
    low = np.where(finite, np.where(finite, numbers, 0) - np.where(finite, parts, 0), 0)
    flat = [mpmath.mpf(float(a)) + float(b) for a, b in zip(parts.flat, low.flat, strict=True)]
    return np.array(flat, object).reshape(numbers.shape)


def rounded(numbers):
    """Return numbers of mpmath in extended precision."""
    parts = numbers.astype(float)
    return parts.astype(WIDE) + (numbers - parts).astype(float).astype(WIDE)

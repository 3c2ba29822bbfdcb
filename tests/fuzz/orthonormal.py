"""Orthonormal coordinates of columns, in extended precision."""

from dataclasses import dataclass

import numpy as np

WIDE = np.longdouble


@dataclass
class Coordinates:
    """``basis = columns @ transform``, with orthonormal columns.

    Parameters
    ----------
    basis : ndarray of shape (n, rank)
    transform : ndarray of shape (k, rank)
    """

    basis: np.ndarray
    transform: np.ndarray


def orthonormal(columns, cutoff):
    """Return coordinates of the span, by Gram-Schmidt with pivots, each column twice.

    Parameters
    ----------
    columns : ndarray of shape (n, k)
    cutoff : ndarray of shape (k,)
        What is left of a column is taken for nothing where it is no longer than this.
    """
    left = columns.astype(WIDE)
    n_columns = left.shape[1]
    made = np.eye(n_columns, dtype=WIDE)
    cutoff = np.asarray(cutoff, WIDE)
    rest, taken = list(range(n_columns)), []
    while rest and len(taken) < len(columns):
        size = np.sqrt(np.square(left[:, rest]).sum(0))
        margin = np.where(size > cutoff[rest], size / _length(columns[:, rest]), 0)
        best = int(margin.argmax())
        if not margin[best] > 0:
            break
        j = rest.pop(best)
        if taken:  # what rounding has left of those before
            again = left[:, taken].T @ left[:, j]
            left[:, j] -= left[:, taken] @ again
            made[:, j] -= made[:, taken] @ again
        size = np.sqrt(np.square(left[:, j]).sum())
        left[:, j] /= size
        made[:, j] /= size
        taken.append(j)
        if rest:
            along = left[:, j] @ left[:, rest]
            left[:, rest] -= np.outer(left[:, j], along)
            made[:, rest] -= np.outer(made[:, j], along)
    return Coordinates(left[:, taken], made[:, taken])


def _length(columns):
    length = np.sqrt(np.square(columns.astype(WIDE)).sum(0))
    return np.where(length > 0, length, 1)

"""What rounding makes of the terms of a polynomial, followed row by row.

Where a row is far from the others it is far from alike in all rows: what is relative to the
interval, and so to that row, is nothing in the others.
"""

from collections.abc import Iterator

import numpy as np

from .evaluation import Expansion
from .families import derivatives, values
from .kinds import Kind

_FEW_ENTRIES = 1 << 18  # rows times terms, which take a few milliseconds

Factor = tuple[np.ndarray, np.ndarray, np.ndarray]


def followed(basis: Expansion, kind: Kind, X: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return by how much relative errors of the columns move each term, and the size of its root.

    Both are root mean squares over the rows X; the first is to first order, of errors that are
    independent. The root is what the rounding of making a term is relative to: where its
    polynomials vanish with the columns, the least powers in it. None unless rows are few.
    """
    n_terms = len(basis.terms)
    if len(X) * n_terms > _FEW_ENTRIES:
        return None
    squares, before, root = np.zeros((n_terms, len(X))), *np.ones((2, n_terms, len(X)))
    factors = list(_factors(basis, X))
    after = [before]
    for value, _, _ in factors[:0:-1]:
        after.append(after[-1] * value)
    for value, slope, least in factors:
        squares += (before * slope * after.pop()) ** 2
        before, root = before * value, root * least
    size = kind.magnitude + 0 * root[:, 0] if kind.alike else np.sqrt((root**2).mean(1))
    return np.sqrt(squares.mean(1)), size


def _factors(basis: Expansion, X: np.ndarray) -> Iterator[Factor]:
    """Yield what each column is in each term, what relative errors make of it, and its root."""
    t, far, least = (X - basis.centre) / basis.half, X / basis.half, basis.terms.degrees.least
    one = np.ones((1, len(X)))
    for steps, x, away, k in zip(basis.steps, t.T, far.T, basis.terms.powers.T, strict=True):
        value = np.concatenate((one, values(steps, x)))
        slope = np.concatenate((0 * one, derivatives(steps, x) * away))
        yield value[k], slope[k], x ** np.minimum(k, max(least, 1))[:, None]

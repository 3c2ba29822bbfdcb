"""Which of many columns to minimise over, where a penalty leaves most coefficients zero."""

import numpy as np
from numpy.typing import NDArray

from .kinks import Kinks

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_ENTERING = 64  # columns in the first working set, and later at least


def steepness(kinks: Kinks[np.ndarray], gradient: Array) -> Array:
    """Return by how much the gradient at zero exceeds the kink, the largest over the targets.

    Parameters
    ----------
    kinks : Kinks
    gradient : array of shape (k, n_targets)
        Of what is smooth.
    """
    return np.maximum.reduce([abs(kinks.beyond(each)) for each in gradient.T])


def widened(v: Array, entering: Index, part: float = 1.0) -> Index:
    """Return the columns that have a coefficient, and the first of those that would leave zero.

    Parameters
    ----------
    v : array of shape (n_features + 1, n_targets)
        Coefficients and, last, the intercept.
    entering : array of int
        Columns at zero that would leave it, the steepest first.
    part : float, default=1.0
        How many enter at most, relative to those that have a coefficient. Of many most are not
        needed, and of few the next set may need others.
    """
    (support,) = (v[:-1] != 0).any(1).nonzero()
    return np.union1d(support, entering[: max(_ENTERING, int(part * len(support)))])

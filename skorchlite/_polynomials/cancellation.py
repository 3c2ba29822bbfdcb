"""How many digits cancel where powers of columns that are far from zero add up."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MANY_DIGITS = 9.0  # digits that powers may lose; with more, a fit in powers loses digits as well


def digits_lost_in_powers(low: Array, high: Array, degrees: int | NDArray[np.int64]) -> Array:
    """Return how many digits cancel where powers of the columns add up to numbers of size 1.

    That is the size of the coefficients of Chebyshev's polynomials in columns scaled to 1. None
    cancel in a constant column.

    Parameters
    ----------
    low, high : array of shape (..., n_features)
        The range of each column.
    degrees : int or array of shape (n_features,)
        The largest degree in each column.

    Returns
    -------
    digits : array of shape (...)
    """
    centre, half = np.abs(low / 2 + high / 2), high / 2 - low / 2
    far = 1 + 2 * centre / np.where(half > 0, half, np.inf)
    digits = degrees * np.log10(far + np.sqrt(far * far + 1))
    return np.where(half > 0, digits, 0).max(-1)

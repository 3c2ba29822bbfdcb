"""Means of columns, and products of columns about their means, from sums over the rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Moments:
    """Sum of weights, mean, and cross products about it (or about zero); float64.

    Parameters
    ----------
    weight : float
        The sum of the weights.
    mean : array of shape (k,)
    cross : array of shape (k, k)
        ``sum_i s_i (a_i - mean) (a_i - mean)^T``.
    """

    weight: float
    mean: Array
    cross: Array


def moments_of(products: Array, k: int, centre: bool) -> Moments:
    """Return the moments of the first k columns of A from the sums of products of all.

    Parameters
    ----------
    products : array of shape (width, width)
        ``A^T diag(s) A``, where column k of A holds ones.
    k : int
    centre : bool
        Whether to take the products about the mean instead of about zero.
    """
    weight = float(products[k, k])
    cross, total = products[:k, :k], products[k, :k]
    mean = total / weight
    return Moments(weight, mean, cross - total[:, None] * mean if centre else cross)


# From here on (mean / deviation)^2, about the origin, costs products of columns two digits.
FAR_MEAN = 100.0
MANY_COLUMNS = 2_000  # whose products with each other take seconds, and much memory

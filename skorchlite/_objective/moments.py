"""Means of columns, and products of columns about their means, from sums over the rows."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROUNDING = 4.0  # of a sum of products, in units of eps
_BLOCK_ROWS = 10_000.0  # whose sums are made one after another, with errors of one sign
PER_ROW = 0.01  # roundings of one sign that each further row adds to the error of a sum


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


def rounding_of_sums(n_rows: int, dtype: torch.dtype) -> float:
    """Return the part of a sum of products that rounding may have made, at most.

    Errors of one sign add up where the same numbers come again and again, as those of dummies do,
    and so do the roundings that the order of a processor's sums changes.

    Parameters
    ----------
    n_rows : int
    dtype : torch.dtype
        Of the products within a block; sums of blocks are doubles.
    """
    in_one_go = n_rows if dtype == torch.float64 else 0
    return _ROUNDING * torch.finfo(dtype).eps * PER_ROW * max(_BLOCK_ROWS, in_one_go)


# From here on (mean / deviation)^2, about the origin, costs products of columns two digits.
FAR_MEAN = 100.0
MANY_COLUMNS = 2_000  # whose products with each other take seconds, and much memory

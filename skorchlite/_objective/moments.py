"""Means of columns, and products of columns about their means, from sums over the rows."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Moments:
    """Sum of weights, mean, and cross products about it (or about zero); float64.

    Parameters
    ----------
    weight : float
        The sum of the weights.
    mean : Tensor of shape (k,)
    cross : Tensor of shape (k, k)
        ``sum_i s_i (a_i - mean) (a_i - mean)^T``.
    """

    weight: float
    mean: Tensor
    cross: Tensor


def moments_of(products: Tensor, k: int, centre: bool) -> Moments:
    """Return the moments of the first k columns of A from the sums of products of all.

    Parameters
    ----------
    products : Tensor of shape (width, width)
        ``A^T diag(s) A``, where column k of A holds ones.
    k : int
    centre : bool
        Whether to take the products about the mean instead of about zero.
    """
    weight = float(products[k, k])
    cross, total = products[:k, :k], products[k, :k]
    mean = total / weight
    return Moments(weight, mean, cross - torch.outer(total, mean) if centre else cross)


MANY_COLUMNS = 2_000  # whose products with each other take seconds, and much memory

"""The weights of a penalty that a search tries."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar

Array = NDArray[np.float64]

LEAST_SHARE = 1e-3  # of "l1" in a penalty: with less, no weight of interest leaves all at zero


def given_alphas(alphas: Any) -> Array | None:
    """Return the weights that were given, in descending order; None for a number of them."""
    if isinstance(alphas, Integral):
        return None
    alphas = list(alphas) if np.ndim(alphas) else [alphas]
    if not alphas:
        raise ValueError("alphas is empty. Give how many to try, or the weights themselves.")
    for index, alpha in enumerate(alphas):
        check_scalar(
            alpha, f"alphas[{index}]", target_type=Real, min_val=0.0, include_boundaries="left"
        )
    found = np.unique(np.array(alphas, float))[::-1]
    if not np.isfinite(found).all():
        raise ValueError(f"alphas must be finite, got {alphas!r}.")
    return found


def given_shares(l1_ratio: Any) -> list[float]:
    """Return the shares of "l1" that were given, checked."""
    shares = list(l1_ratio) if np.ndim(l1_ratio) else [l1_ratio]
    if not shares:
        raise ValueError("l1_ratio is empty. Give the shares of l1 to try.")
    for index, share in enumerate(shares):
        name = f"l1_ratio[{index}]"
        check_scalar(share, name, target_type=Real, min_val=0.0, max_val=1.0)
        if np.isnan(share):
            raise ValueError(f"{name} is NaN.")
    return [float(share) for share in shares]


def alpha_grid(
    slope: float, curvatures: tuple[float, float], shares: list[float], n: int, eps: float
) -> Array:
    """Return weights on a logarithmic scale, of shape (n_shares, n), in descending order.

    Parameters
    ----------
    slope : float
        The largest of a coefficient, at the best constant: where all of the penalty is "l1", that
        is the least weight which leaves all coefficients at zero.
    curvatures : tuple of float
        The largest and the least that matter, along coefficients; the same one twice for columns
        that are of a size.
    shares : list of float
        Of "l1" in the penalty.
    n : int
    eps : float
        The least weight, relative to the largest; without "l1" the weights reach from
        ``largest / eps`` to ``least * eps**2``.
    """
    tiny = np.finfo(float).resolution
    rows = []
    for share in shares:
        if share < LEAST_SHARE:
            most, least = (max(curvature, tiny) for curvature in curvatures)
            rows.append(np.geomspace(most / eps, least * eps**2, n))
        else:
            largest = max(slope, tiny) / share
            rows.append(np.geomspace(largest, largest * eps, n))
    return np.array(rows)

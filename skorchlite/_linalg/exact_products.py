"""Products of matrices in doubled precision, as sums of products of slices that round nothing.

Each matrix is cut into slices of so few bits that the products of two are exact in doubles: it is
the speed of matrix products that they have, where arithmetic on pairs has that of a loop.

References
----------
Ozaki, Ogita, Oishi, Rump (2012), "Error-free transformations of matrix multiplication by using fast
routines of matrix multiplication and its applications", Numerical Algorithms 59.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from . import double_double as dd
from .double_double import Pair

_BITS = 21  # of a slice: products have twice as many,
_ROWS = 2048  # and the sum of so many products a few more, together less than the 53 of a double
_SLICES = 5  # of a pair, and 3 of a double, which leaves nothing of the largest of a column
_SLICES_OF_DOUBLE = 3


def exact_product(A: Pair, B: Pair) -> Pair:
    """Return ``A^T B``."""
    total = None
    for start in range(0, len(A[0]), _ROWS):
        rows = slice(start, start + _ROWS)
        left, right = (_slices((P[0][rows], P[1][rows]), _SLICES) for P in (A, B))
        parts = (
            left[p].T @ right[q]
            for order in reversed(range(_SLICES))
            for p in range(order + 1)
            for q in [order - p]
        )
        part = _sum(parts)
        total = part if total is None else dd.add(total, part)
    assert total is not None, "there are no rows"
    return total


def exact_gram(A: Tensor) -> Pair:
    """Return ``A^T A`` of doubles."""
    total = None
    for start in range(0, len(A), _ROWS):
        block = A[start : start + _ROWS]
        slices = _slices((block, torch.zeros_like(block)), _SLICES_OF_DOUBLE)
        parts = (
            product if p == q else product + product.T  # exact: there is room for a bit more
            for p in reversed(range(_SLICES_OF_DOUBLE))
            for q in reversed(range(p + 1))
            for product in [slices[q].T @ slices[p]]
        )
        part = _sum(parts)
        total = part if total is None else dd.add(total, part)
    assert total is not None, "there are no rows"
    return total


def _slices(A: Pair, count: int) -> list[Tensor]:
    """Return matrices of few bits in each column that add up to A."""
    rest, low = A
    exponent = torch.frexp(rest.abs().amax(0)).exponent
    slices = []
    for i in range(count):
        # Adding and taking off so large a number rounds to a multiple of 2^(its exponent - 52).
        large = torch.ldexp(torch.full_like(rest[:1], 1.5), exponent + 53 - _BITS * (i + 1))
        part = (rest + large) - large
        slices.append(part)
        rest, low = dd.two_sum(rest - part, low)
    return slices


def _sum(parts: Iterable[Tensor]) -> Pair:
    total = None
    for part in parts:
        pair = part, torch.zeros_like(part)
        total = pair if total is None else dd.add(total, pair)
    assert total is not None
    return total

"""Products of matrices in doubled precision, as sums of exact products.

Each matrix is cut into slices of so few bits that a product of two slices is exact in doubles.
These are fast products of matrices, where arithmetic on pairs would take a loop over the rows.

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

# A product of two numbers has twice as many bits as each, and the sum over so many rows has 11
# more: 2 * 21 + 11 = 53, as many as a double holds.
_BITS = 21  # of a slice
_ROWS = 2048  # of a product
_SLICES = 5  # of a pair, which has 106 bits
_SLICES_OF_DOUBLE = 3


def exact_product(A: Pair, B: Pair) -> Pair:
    """Return ``A^T B`` of pairs."""
    total = None
    for start in range(0, len(A[0]), _ROWS):
        rows = slice(start, start + _ROWS)
        left, right = (_slices((P[0][rows], P[1][rows]), _SLICES) for P in (A, B))
        products = (  # from the smallest to the largest
            left[p].T @ right[order - p]
            for order in reversed(range(_SLICES))
            for p in range(order + 1)
        )
        of_rows = _sum(products)
        total = of_rows if total is None else dd.add(total, of_rows)
    assert total is not None, "there are no rows"
    return total


def exact_gram(A: Tensor) -> Pair:
    """Return ``A^T A`` of doubles."""
    total = None
    for start in range(0, len(A), _ROWS):
        block = A[start : start + _ROWS]
        slices = _slices(dd.exactly(block), _SLICES_OF_DOUBLE)
        products = (
            product if p == q else product + product.T  # exact, since a bit is to spare
            for p in reversed(range(_SLICES_OF_DOUBLE))
            for q in reversed(range(p + 1))
            for product in [slices[q].T @ slices[p]]
        )
        of_rows = _sum(products)
        total = of_rows if total is None else dd.add(total, of_rows)
    assert total is not None, "there are no rows"
    return total


def _slices(A: Pair, count: int) -> list[Tensor]:
    """Return matrices that add up to A, each of few bits below the largest entry of a column."""
    rest, low = A
    exponent = torch.frexp(rest.abs().amax(0)).exponent
    slices = []
    for i in range(count):
        # To add a large number and subtract it again rounds to a multiple of its last bit.
        large = torch.ldexp(torch.full_like(rest[:1], 1.5), exponent + 53 - _BITS * (i + 1))
        rounded = (rest + large) - large
        slices.append(rounded)
        rest, low = dd.two_sum(rest - rounded, low)
    return slices


def _sum(matrices: Iterable[Tensor]) -> Pair:
    total = None
    for matrix in matrices:
        pair = dd.exactly(matrix)
        total = pair if total is None else dd.add(total, pair)
    assert total is not None
    return total

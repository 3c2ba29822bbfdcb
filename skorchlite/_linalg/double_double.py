"""Arithmetic with about 32 digits, on pairs ``(high, low)`` of doubles that stand for their sum.

References
----------
Dekker (1971), "A floating-point technique for extending the available precision". Knuth, "The Art
of Computer Programming", volume 2, 4.2.2.
"""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
Number = TypeVar("Number", Tensor, np.ndarray)

_SPLITTER = 134217729.0  # 2^27 + 1: splits a double into two halves whose products are exact


def exactly(a: Tensor) -> Pair:
    """Return a double as a pair."""
    return a, torch.zeros_like(a)


def two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    """Return the sum of two doubles, exactly."""
    high = a + b
    rounded_b = high - a
    return high, (a - (high - rounded_b)) + (b - rounded_b)


def two_product(a: Tensor, b: Tensor) -> Pair:
    """Return the product of two doubles, exactly."""
    high = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2


def add(a: Pair, b: Pair) -> Pair:
    """Return the sum of two pairs."""
    high, low = two_sum(a[0], b[0])
    return _renormalise(high, low + (a[1] + b[1]))


def multiply(a: Pair, b: Pair) -> Pair:
    """Return the product of two pairs."""
    high, low = two_product(a[0], b[0])
    return _renormalise(high, low + (a[0] * b[1] + a[1] * b[0]))


def divide(a: Pair, divisor: Tensor) -> Pair:
    """Return a pair divided by a double."""
    first = a[0] / divisor
    product = two_product(first, divisor)
    remainder = ((a[0] - product[0]) - product[1]) + a[1]
    return _renormalise(first, remainder / divisor)


def total(a: Pair, axis: int) -> Pair:
    """Return the sum of a pair along an axis, which adds its halves until one entry is left."""
    high, low = a
    while (length := high.shape[axis]) > 1:
        half = length // 2
        first, second, rest = (
            (high.narrow(axis, start, size), low.narrow(axis, start, size))
            for start, size in ((0, half), (half, half), (2 * half, length - 2 * half))
        )
        high, low = (torch.cat(pair, axis) for pair in zip(add(first, second), rest, strict=True))
    return high.squeeze(axis), low.squeeze(axis)


def _split(a: Tensor) -> Pair:
    scaled = a * _SPLITTER
    upper = scaled - (scaled - a)
    return upper, a - upper


def _renormalise(high: Tensor, low: Tensor) -> Pair:
    upper = high + low
    return upper, low - (upper - high)

"""Arithmetic on unevaluated sums of two doubles, about 32 digits: ``(high, low)`` of tensors.

References
----------
Dekker (1971), "A floating-point technique for extending the available precision". Knuth, "The Art
of Computer Programming", volume 2, 4.2.2.
"""

import torch

_SPLITTER = 134217729.0  # 2^27 + 1 cuts a double into two halves whose products are exact


def two_sum(a, b):
    """Return the sum of two doubles, exactly."""
    high = a + b
    part = high - a
    return high, (a - (high - part)) + (b - part)


def two_product(a, b):
    """Return the product of two doubles, exactly."""
    high = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2


def add(a, b):
    """Return the sum of two pairs."""
    high, low = two_sum(a[0], b[0])
    return _renormalise(high, low + (a[1] + b[1]))


def multiply(a, b):
    """Return the product of two pairs."""
    high, low = two_product(a[0], b[0])
    return _renormalise(high, low + (a[0] * b[1] + a[1] * b[0]))


def divide(a, divisor):
    """Return a pair divided by a double."""
    first = a[0] / divisor
    product = two_product(first, divisor)
    rest = ((a[0] - product[0]) - product[1]) + a[1]
    return _renormalise(first, rest / divisor)


def total(a, axis):
    """Return the sum of a pair along an axis, by halves."""
    high, low = a
    while high.shape[axis] > 1:
        half = high.shape[axis] // 2
        odd = high.shape[axis] - 2 * half
        parts = [
            (high.narrow(axis, start, half), low.narrow(axis, start, half)) for start in (0, half)
        ]
        last = high.narrow(axis, 2 * half, odd), low.narrow(axis, 2 * half, odd)
        high, low = add(*parts)
        high, low = torch.cat((high, last[0]), axis), torch.cat((low, last[1]), axis)
    return high.squeeze(axis), low.squeeze(axis)


def _split(a):
    scaled = a * _SPLITTER
    upper = scaled - (scaled - a)
    return upper, a - upper


def _renormalise(high, low):
    upper = high + low
    return upper, low - (upper - high)

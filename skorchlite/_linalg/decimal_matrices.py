"""Triangular matrices of decimal numbers, in the precision of the current decimal context."""

from decimal import Decimal
from typing import Any

import numpy as np

from .rational import Rationals


def as_decimals(doubles: np.ndarray) -> np.ndarray:
    """Return doubles as decimal numbers, exactly."""
    decimals = np.empty(doubles.shape, dtype=object)
    decimals.ravel()[:] = [Decimal(value) for value in doubles.ravel().tolist()]
    return decimals


def rounded_to_decimals(rationals: Rationals) -> np.ndarray:
    """Return rational numbers as decimal numbers, rounded to the precision of the context."""
    whole = Decimal(rationals.denominator)
    decimals = np.empty(rationals.numerators.size, dtype=object)
    decimals[:] = [Decimal(number) / whole for number in rationals.numerators.ravel().tolist()]
    return decimals.reshape(rationals.numerators.shape)


def decimal_identity(size: int) -> np.ndarray:
    """Return the identity matrix."""
    identity = np.full((size, size), Decimal(0), dtype=object)
    np.fill_diagonal(identity, Decimal(1))
    return identity


def lower_gram(rows: np.ndarray) -> np.ndarray:
    """Return the lower triangle of ``R R^T``.

    R is a lower triangle, of which more columns than rows may precede the diagonal.
    """
    size = len(rows)
    gram, more = np.full((size, size), Decimal(0), dtype=object), rows.shape[1] - size
    for i, row in enumerate(rows):
        stop = i + 1 + more
        gram[i, : i + 1] = rows[: i + 1, :stop] @ row[:stop]
    return gram


def lower_product(triangle: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the product of a lower triangle and a matrix."""
    return np.stack([row[: i + 1] @ rows[: i + 1] for i, row in enumerate(triangle)])


def cholesky(lower: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor of ``A + diag(diagonal)``, from the lower triangle of A."""
    factor = lower + np.diag(diagonal)
    for k in range(len(lower)):
        factor[k:, k] -= factor[k:, :k] @ factor[k, :k] if k else Decimal(0)
        factor[k:, k] /= factor[k, k].sqrt()
    return factor


def lower_inverse(triangle: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower triangle."""
    inverse: Any = np.full(triangle.shape, Decimal(0), dtype=object)
    for k, row in enumerate(triangle):
        inverse[k, k] = 1 / row[k]
        if k:
            inverse[k, :k] = -(row[:k] @ inverse[:k, :k]) / row[k]
    return inverse

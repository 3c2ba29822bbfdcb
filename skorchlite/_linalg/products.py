"""Products of NumPy arrays, by whichever library is faster.

Of few entries a call costs more than what it computes, and NumPy's calls cost least. Of many,
torch's threads take over: NumPy has threads of its own, and idle threads of one library slow those
of another.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from .gram import weighted_gram

Array = NDArray[np.float64]

# Up to which NumPy starts no threads.
_FEW_ENTRIES, _FEW_PRODUCTS = 8_192, 131_072


# Numbers that are not finite are looked for where they matter, and as tensors they warn of nothing.
quietly = np.errstate(all="ignore")


def divided(A: Array, divisor: Array | float) -> Array:
    """Return ``A / divisor`` in memory of torch, in the layout of A.

    MKL rounds by how numbers lie. Memory of torch begins at a multiple of 64 bytes and that of
    NumPy anywhere, so that products with a matrix there would change from fit to fit.
    """
    by_column = A.strides[0] < A.strides[1]
    place = torch.empty(A.shape[::-1] if by_column else A.shape, dtype=torch.float64, device="cpu")
    out = place.numpy()
    return np.divide(A, divisor, out=out.T if by_column else out)


def product(A: Array, x: Array) -> Array:
    """Return ``A @ x``."""
    if A.size <= _FEW_ENTRIES:
        return A @ x
    return (torch.from_numpy(A) @ torch.from_numpy(x)).numpy()


def dot(x: Array, y: Array) -> float:
    """Return the inner product of two vectors."""
    if x.size <= _FEW_ENTRIES:
        return float(x @ y)
    return float(torch.from_numpy(x) @ torch.from_numpy(y))


def weighted_sum(parts: Array, weight: Array) -> float:
    """Return the sum of all parts, weighted along their last axis."""
    return sum(dot(part, weight) for part in parts.reshape(-1, len(weight)))


def norm(x: Array) -> float:
    """Return the norm of a vector."""
    return dot(x, x) ** 0.5


def row_norms(Z: Array) -> Array:
    """Return the norm of each row."""
    return torch.linalg.vector_norm(torch.from_numpy(Z), dim=1).numpy()


def gram(Z: Array, weight: Array) -> Array:
    """Return ``Z^T diag(weight) Z``."""
    if Z.size <= _FEW_ENTRIES and Z.size * Z.shape[1] <= _FEW_PRODUCTS:
        return Z.T @ (Z * weight[:, None])
    return weighted_gram(torch.from_numpy(Z), torch.from_numpy(weight)).numpy()

"""Symmetric positive semidefinite systems that are block tridiagonal."""

import numpy as np
import torch
from numpy.typing import NDArray

from .cholesky import factorised

Array = NDArray[np.float64]


class BlockFactor:
    """The Cholesky factor of a symmetric block tridiagonal matrix.

    Parameters
    ----------
    diagonal : array of shape (m, k, k)
    beside : array of shape (m - 1, k, k)
        Above the diagonal.
    """

    def __init__(self, diagonal: Array, beside: Array):
        self.diagonal, self.beside = diagonal, beside
        self.lower: list[torch.Tensor] = []
        self.across: list[torch.Tensor] = []  # of the factor, transposed
        block = diagonal[0]
        for i in range(len(diagonal)):
            lower = torch.from_numpy(factorised(block))
            self.lower.append(lower)
            if i < len(beside):
                across = torch.from_numpy(np.ascontiguousarray(beside[i]))
                across = torch.linalg.solve_triangular(lower, across, upper=False)
                self.across.append(across)
                block = diagonal[i + 1] - (across.T @ across).numpy()

    def solve(self, right: Array) -> Array:
        """Return the solution for a right side of shape (m, k), refined once."""
        found = self._solve(right)
        left = right - (self.diagonal @ found[:, :, None])[:, :, 0]
        left[:-1] -= (self.beside @ found[1:, :, None])[:, :, 0]
        left[1:] -= (self.beside.transpose(0, 2, 1) @ found[:-1, :, None])[:, :, 0]
        return found + self._solve(left)

    def _solve(self, right: Array) -> Array:
        columns = list(torch.from_numpy(right.copy())[:, :, None])
        for i, lower in enumerate(self.lower):
            if i:
                columns[i] = columns[i] - self.across[i - 1].T @ columns[i - 1]
            columns[i] = torch.linalg.solve_triangular(lower, columns[i], upper=False)
        for i in reversed(range(len(columns))):
            if i + 1 < len(columns):
                columns[i] = columns[i] - self.across[i] @ columns[i + 1]
            columns[i] = torch.linalg.solve_triangular(self.lower[i].T, columns[i], upper=True)
        return torch.stack(columns)[:, :, 0].numpy()


def in_free(free: NDArray[np.bool_], diagonal: Array, beside: Array) -> tuple[Array, Array]:
    """Return the blocks in the coordinates that are free, of shape (m, k); ones for the others."""
    both = free[:, :, None] & free[:, None, :]
    diagonal = np.where(both, diagonal, 0.0) + ~free[:, :, None] * np.eye(free.shape[1])
    beside = np.where(free[:-1, :, None] & free[1:, None, :], beside, 0.0)
    return diagonal, beside

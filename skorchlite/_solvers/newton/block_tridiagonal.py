"""Symmetric positive semidefinite systems that are block tridiagonal."""

import numpy as np
import torch
from numpy.typing import NDArray

from .cholesky import factorised

Array = NDArray[np.float64]

_SIZE = 48  # rows of a block: of smaller ones the time goes into the calls, and several make one


class BlockFactor:
    """The Cholesky factor of a symmetric block tridiagonal matrix.

    Parameters
    ----------
    diagonal : array of shape (m, k, k)
    beside : array of shape (m - 1, k, k)
        Above the diagonal.
    """

    def __init__(self, diagonal: Array, beside: Array):
        self.shape = diagonal.shape[:2]
        self.diagonal, self.beside = merged(diagonal, beside, max(_SIZE // self.shape[1], 1))
        self.lower: list[torch.Tensor] = []
        self.across: list[torch.Tensor] = []  # of the factor, transposed
        block = self.diagonal[0]
        for i in range(len(self.diagonal)):
            lower = torch.from_numpy(factorised(block))
            self.lower.append(lower)
            if i < len(self.beside):
                across = torch.from_numpy(self.beside[i])
                across = torch.linalg.solve_triangular(lower, across, upper=False)
                self.across.append(across)
                block = self.diagonal[i + 1] - (across.T @ across).numpy()

    def solve(self, right: Array) -> Array:
        """Return the solution for a right side of shape (m, k), refined once."""
        (m, k), (n_blocks, size) = self.shape, self.diagonal.shape[:2]
        whole = np.zeros(n_blocks * size)
        whole[: m * k] = right.reshape(-1)
        whole = whole.reshape(n_blocks, size)
        found = self._solve(whole)
        found += self._solve(whole - self._product(found))
        return found.reshape(-1)[: m * k].reshape(m, k)

    def _product(self, x: Array) -> Array:
        found = (self.diagonal @ x[:, :, None])[:, :, 0]
        found[:-1] += (self.beside @ x[1:, :, None])[:, :, 0]
        found[1:] += (self.beside.transpose(0, 2, 1) @ x[:-1, :, None])[:, :, 0]
        return found

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


def merged(diagonal: Array, beside: Array, count: int) -> tuple[Array, Array]:
    """Return the blocks of the same matrix with so many in one; the last is filled up with ones."""
    (m, k), n_blocks = diagonal.shape[:2], -(-len(diagonal) // count)
    whole = np.zeros((n_blocks, count, k, count, k))
    block, place = np.divmod(np.arange(n_blocks * count), count)
    whole[block, place, :, place] = np.eye(k)
    block, place = block[:m], place[:m]
    whole[block, place, :, place] = diagonal
    within, block, place = place[:-1] < count - 1, block[:-1], place[:-1]
    inner, at = block[within], place[within]
    whole[inner, at, :, at + 1] = beside[within]
    whole[inner, at + 1, :, at] = beside[within].transpose(0, 2, 1)
    across = np.zeros((n_blocks - 1, count, k, count, k))
    across[:, -1, :, 0] = beside[~within][: n_blocks - 1]
    size = count * k
    return whole.reshape(n_blocks, size, size), across.reshape(n_blocks - 1, size, size)


def in_free(free: NDArray[np.bool_], diagonal: Array, beside: Array) -> tuple[Array, Array]:
    """Return the blocks in the coordinates that are free, of shape (m, k); ones for the others."""
    both = free[:, :, None] & free[:, None, :]
    diagonal = np.where(both, diagonal, 0.0) + ~free[:, :, None] * np.eye(free.shape[1])
    beside = np.where(free[:-1, :, None] & free[1:, None, :], beside, 0.0)
    return diagonal, beside

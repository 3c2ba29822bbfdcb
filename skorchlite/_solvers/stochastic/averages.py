"""Averages of the points of a stochastic descent."""

import numpy as np
import torch
from torch import Tensor


class Average:
    """The mean of the points, from when ``first`` rows have been seen."""

    def __init__(self, x: Tensor, first: int):
        self.mean, self.first, self.n_points = x.clone(), first, 0

    def add(self, x: Tensor, n_seen: int) -> None:
        """Add a point, up to which ``n_seen`` rows have been seen."""
        self.add_all(x[None], np.array([n_seen]))

    def add_all(self, points: Tensor, n_seen: np.ndarray) -> None:
        """Add points in a row, up to each of which so many rows have been seen."""
        shares = self._shares(n_seen)
        later = np.append(np.cumprod((1 - shares)[::-1])[::-1], 1.0)
        weights = torch.from_numpy(shares * later[1:]).to(points)
        self.mean.mul_(later[0]).add_(torch.tensordot(weights, points, 1))

    def _shares(self, n_seen: np.ndarray) -> np.ndarray:
        """Return the share of each point in the mean up to it, and count the points."""
        counted = n_seen >= self.first
        numbers = self.n_points + np.cumsum(counted)
        self.n_points = int(numbers[-1])
        return counted / np.maximum(numbers, 1)

    def value(self, x: Tensor) -> Tensor:
        """Return the mean, or x where there is none yet."""
        return self.mean if self.n_points else x


class RecentAverage(Average):
    """A mean in which later points count more: with a power of the rows seen up to them.

    Parameters
    ----------
    mean : Tensor
        The mean of the points of earlier chunks.
    n_before : float
        How many rows those had.
    power : float
    """

    def __init__(self, mean: Tensor, n_before: float, power: float):
        super().__init__(mean, 0)
        self.n_before, self.power, self._last = n_before, power, 0

    def _shares(self, n_seen: np.ndarray) -> np.ndarray:
        """Return the share of each point in the mean up to it, and count the points."""
        before = np.append(self._last, n_seen[:-1])
        self.n_points, self._last = self.n_points + len(n_seen), int(n_seen[-1])
        return np.minimum((self.power + 1) * (n_seen - before) / (self.n_before + n_seen), 1.0)

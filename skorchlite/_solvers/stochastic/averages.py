"""Averages of the points of a stochastic descent."""

from torch import Tensor


class Average:
    """The mean of the points, from when ``first`` rows have been seen."""

    def __init__(self, x: Tensor, first: int):
        self.mean, self.first, self.n_points = x.clone(), first, 0

    def add(self, x: Tensor, n_seen: int) -> None:
        """Add a point, up to which ``n_seen`` rows have been seen."""
        if n_seen >= self.first:
            self.n_points += 1
            self.mean.lerp_(x, 1 / self.n_points)

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

    def add(self, x: Tensor, n_seen: int) -> None:
        """Add a point, up to which ``n_seen`` rows of this chunk have been seen."""
        share = (self.power + 1) * (n_seen - self._last) / (self.n_before + n_seen)
        self.mean.lerp_(x, min(share, 1.0))
        self.n_points, self._last = self.n_points + 1, n_seen

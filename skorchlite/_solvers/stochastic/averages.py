"""Averages of the points of a stochastic descent."""

from torch import Tensor


class Average:
    """The mean of the points, once ``first`` samples have been seen."""

    def __init__(self, x: Tensor, first: int):
        self.mean, self.first, self.n_points = x.clone(), first, 0

    def add(self, x: Tensor, n_seen: int) -> None:
        """Take up a point, before which so many samples were seen."""
        if n_seen >= self.first:
            self.n_points += 1
            self.mean.lerp_(x, 1 / self.n_points)

    def value(self, x: Tensor) -> Tensor:
        """Return the mean, or x where there is none yet."""
        return self.mean if self.n_points else x


class RecentAverage(Average):
    """A mean in which a point counts with a power of the number of samples seen before it.

    Parameters
    ----------
    mean : Tensor
        Of the points so far.
    n_before : float
        Samples seen so far.
    power : float
    """

    def __init__(self, mean: Tensor, n_before: float, power: float):
        super().__init__(mean, 0)
        self.n_before, self.power, self._last = n_before, power, 0

    def add(self, x: Tensor, n_seen: int) -> None:
        """Take up a point, before which so many more samples were seen."""
        share = (self.power + 1) * (n_seen - self._last) / (self.n_before + n_seen)
        self.mean.lerp_(x, min(share, 1.0))
        self.n_points, self._last = self.n_points + 1, n_seen

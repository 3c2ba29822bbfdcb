"""When a variance-reduced descent ends: where a bound says so, or where epochs no longer gain."""

from collections.abc import Callable
from math import inf

_GAIN, _FALL = 0.9, 1 - 1e-8  # of optimality, of objective: an epoch that leaves more was idle
_UNDONE = 0.2  # of an epoch without gain: one that was undone, and whose step was too long
_CLOSER, _CLOSEST = 0.3, 1e-3  # of optimality, as it is aimed at where the gap is above tol


class Progress:
    """How many epochs in a row were idle: lowered neither the optimality nor the objective."""

    def __init__(self) -> None:
        self.least, self.lowest, self.idle = inf, inf, 0.0

    def take(self, optimality: float, objective: float, undone: bool) -> None:
        """Take note of where an epoch led to, and of whether it was undone."""
        gained = optimality < _GAIN * self.least or objective < _FALL * self.lowest
        self.idle = 0.0 if gained else self.idle + (_UNDONE if undone else 1)
        self.least, self.lowest = min(self.least, optimality), min(self.lowest, objective)


class GapCheck:
    """Whether the relative gap is within tol, which takes long to compute and is seldom asked for.

    Parameters
    ----------
    gap : callable
        Returns the gap of the present point, NaN where no bound is known.
    tol : float or None
        None for no check.
    """

    def __init__(self, gap: Callable[[], float], tol: float | None):
        self.gap, self.tol = gap, tol
        self._worth_it = tol or 0.0  # the optimality below which the gap is computed

    def met(self, optimality: float) -> bool:
        """Return whether the gap of a point with this optimality is within tol, or unknown."""
        if self.tol is None or not optimality <= self._worth_it:
            return False
        gap = self.gap()
        if not gap > self.tol:
            return True
        self._worth_it = optimality * min(max(self.tol / gap, _CLOSEST), _CLOSER)
        return False

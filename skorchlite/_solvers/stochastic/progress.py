"""When a variance-reduced descent ends: the gap is within tol, or epochs no longer gain."""

from collections.abc import Callable
from math import inf

# An epoch is idle unless it brings the least optimality or the least objective so far below these
# parts of it.
_GAIN, _FALL = 0.9, 1 - 1e-8
_UNDONE = 0.2  # idle epochs that one which is undone counts as: only its step was too long
# Where a gap is above tol, the next one is computed at an optimality that is smaller in proportion,
# within these bounds.
_CLOSER, _CLOSEST = 0.3, 1e-3


class Progress:
    """How many epochs in a row were idle."""

    def __init__(self) -> None:
        self.least, self.lowest, self.idle = inf, inf, 0.0

    def take(self, optimality: float, objective: float, undone: bool) -> None:
        """Record optimality and objective after an epoch, and whether it was undone."""
        gained = optimality < _GAIN * self.least or objective < _FALL * self.lowest
        self.idle = 0.0 if gained else self.idle + (_UNDONE if undone else 1)
        self.least, self.lowest = min(self.least, optimality), min(self.lowest, objective)


class GapCheck:
    """Whether the relative gap is within tol.

    A gap takes long to compute, and is computed only where the optimality promises a small one.

    Parameters
    ----------
    gap : callable
        Returns the gap of the present point, NaN where no bound is known.
    tol : float or None
        None for no check.
    """

    def __init__(self, gap: Callable[[], float], tol: float | None):
        self.gap, self.tol = gap, tol
        self._promising = tol or 0.0  # the optimality up to which the gap is computed

    def met(self, optimality: float) -> bool:
        """Return whether the gap at a point with this optimality is within tol, or unknown."""
        if self.tol is None or not optimality <= self._promising:
            return False
        gap = self.gap()
        if not gap > self.tol:
            return True
        self._promising = optimality * min(max(self.tol / gap, _CLOSEST), _CLOSER)
        return False

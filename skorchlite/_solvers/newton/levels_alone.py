"""Fits of several levels of quantiles, each for itself.

Levels that are close have close solutions, and rows that are above both neighbours of a level, or
below, stay there. So some levels are fitted first, and the others begin between them, on the few
rows that are left. Passes over the rows serve several levels.

References
----------
Portnoy, Koenker (1997), "The Gaussian hare and the Laplacian tortoise", Statistical Science 12(4).
"""

from itertools import pairwise
from math import inf

import numpy as np

from ..base import nobody
from .general_loss import Descent, descend_in_frame, room_of
from .levels import Levels

_TOGETHER = 12  # levels whose passes over the rows are shared
_FIRST = 9  # of more levels, how many are fitted before the others
_FULL = 0.75  # of the room for rows near a kink that a start between neighbours may take


def fit_alone(levels: Levels) -> None:
    """Fit each level, regardless of the others."""
    curves = list[list[float]]()
    for wave in waves(len(levels.value)):
        for i in range(0, len(wave), _TOGETHER):
            curves += _fit(levels, wave[i : i + _TOGETHER])
    levels.curve = [sum(curve[0] for curve in curves), float(levels.value.sum())]
    levels.joint_lower = float(levels.lower.sum())
    levels.judge()


def _fit(levels: Levels, chosen: list[tuple[int, int, int]]) -> list[list[float]]:
    """Fit some levels, each with its solved neighbours, and return their curves."""
    index = [level for level, _, _ in chosen]
    room = room_of(levels.of(index))
    reach = [_begin(levels, *one, room) for one in chosen]
    descents = _descended(levels, index, None if inf in reach else reach)
    missed = [j for j, one in descents.items() if one.status != "converged"]
    if missed and inf not in reach:  # as where many rows are at a kink at once
        levels.u[:, missed] = levels.frame.start
        descents |= _descended(levels, missed, None)
    for j, one in descents.items():
        levels.value[j], levels.lower[j], levels.at_zero[j] = one.curve[-1], one.lower, one.at_zero
        if one.status != "converged":
            levels.status = one.status + "_gap"
    levels.n_iter = max(levels.n_iter, *(one.n_iter for one in descents.values()))
    return [one.curve for one in descents.values()]


def _descended(levels: Levels, index: list[int], reach: list[float] | None) -> dict[int, Descent]:
    """Return the descents of some levels from their points, which move to the ends."""
    control = levels.control.after(0, nobody)
    descents, levels.u[:, index] = descend_in_frame(
        levels.of(index), levels.frame, levels.u[:, index], control, reach
    )
    return dict(zip(index, descents, strict=True))


def _begin(levels: Levels, level: int, below: int, above: int, room: int) -> float:
    """Set the start of a level between its neighbours; return the reach of its first model.

    Infinite where that would be too short for a start that far away.
    """
    if below == above:
        return inf
    quantiles, u = levels.loss.levels, levels.u
    apart = quantiles[above] - quantiles[below]
    difference = u[:, above] - u[:, below]
    u[:, level] = u[:, below] + (quantiles[level] - quantiles[below]) / apart * difference
    if levels.n_rows * apart > _FULL * room:
        return inf
    return float(np.linalg.norm(difference)) or inf


def waves(n: int) -> list[list[tuple[int, int, int]]]:
    """Return in which order to fit levels: in each wave some, each with its solved neighbours.

    A level without such is its own neighbour.
    """
    if n <= _TOGETHER:
        return [[(j, j, j) for j in range(n)]]
    solved = sorted({round(j * (n - 1) / (_FIRST - 1)) for j in range(_FIRST)})
    found = [[(j, j, j) for j in solved]]
    while len(solved) < n:
        between = [(a + b) // 2 for a, b in pairwise(solved)]
        gaps = zip(between, pairwise(solved), strict=True)
        found.append([(j, a, b) for j, (a, b) in gaps if a < j < b])
        solved = sorted({*solved, *between})
    return found

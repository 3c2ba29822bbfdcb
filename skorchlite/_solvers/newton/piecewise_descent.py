"""Descent on a local problem whose loss is a sum of hinges, to its minimum and a bound on that."""

from math import inf

import numpy as np
from numpy.typing import NDArray

from .bounds import AtZero
from .crossover import cross_over
from .interior_point import ENOUGH, InteriorPoint
from .local_problem import LocalProblem, LocalResult
from .narrowed import first_still, minimised_among_few
from .semismooth_newton import minimised_from_piece_to_piece

_NEARLY = 1e-5  # of the objective, divided among the rows: what products sum to by then
_STILLER = 0.25  # of a step that was not small enough


def minimise_in_pieces(
    problem: LocalProblem,
    start: NDArray[np.float64],
    tol: float,
    max_iter: int,
    radius: float = inf,
    rough: bool = False,
) -> LocalResult:
    """Descend until the bound is well within ``tol`` of the objective, or comes no closer.

    Parameters
    ----------
    problem : LocalProblem
    start : array of shape (k,)
    tol : float
    max_iter : int
    radius : float, default=inf
        How far predictions may move; see ``InteriorPoint``.
    rough : bool, default=False
        Whether neither exact zeros nor a bound are wanted, as from a sample of the rows.
    """
    steps = InteriorPoint(problem, start, radius)
    result = steps.result
    if result.value <= problem.at_zero.nothing:
        result.left = max(result.value, 0.0)
        return result
    if not len(start):  # no column varies
        result.left = 0.0
        return result
    quick = problem.loss.smoothness and not steps.form.coefficients
    if quick and minimised_from_piece_to_piece(steps, tol, max_iter):
        return result
    steps.begin()
    if rough:
        problem.at_zero = AtZero.of(problem.at_zero.value)
        steps.approach(tol, max_iter)
        return result
    still = first_still(steps)
    if not still and radius == inf and _ends_early(steps, tol, max_iter):
        return result
    while steps.approach(ENOUGH * tol, max_iter, still):
        if minimised_among_few(steps, tol, max_iter):
            return result
        still *= _STILLER
    cross_over(steps, tol)
    steps.find_bound()
    return result


def _ends_early(steps: InteriorPoint, tol: float, max_iter: int) -> bool:
    """Cross over some steps before the end; return whether that finds the minimum.

    Most often the dual variables show by then which rows are at a kink, and the equations that say
    so lead as close as further steps would. Where some rows are far from all others they show it
    later, and the descent goes on. Which coefficients are zero shows at the end only.
    """
    form, rows = steps.form, steps.form.rows
    if form.coefficients or not (rows and steps.problem.loss.kinked):
        return False
    steps.approach(_NEARLY / len(rows.hinges.weight), max_iter)
    end = rows.end
    cross_over(steps, tol)
    steps.find_bound()
    rows.go_back(end)
    return steps.result.gap <= ENOUGH * tol

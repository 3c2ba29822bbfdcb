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
    while steps.approach(ENOUGH * tol, max_iter, still):
        if minimised_among_few(steps, tol, max_iter):
            return result
        still *= _STILLER
    cross_over(steps, tol)
    steps.find_bound()
    return result

"""Descent among the rows that can still change their piece of a loss with kinks.

Some steps into a descent on many rows, most of them are far from any kink compared with how far the
rest of the way leads. These rows stay on their line, so that one line stands for all of them, and
the descent goes on among the others as on a smaller problem. Lines are below the loss, so that a
lower bound on the smaller problem is one on the whole; a row that crossed a kink shows in the gap.

References
----------
Portnoy, Koenker (1997), "The Gaussian hare and the Laplacian tortoise", Statistical Science 12(4):
the same, of rows that are sorted out by a sample.
"""

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import row_norms
from .crossover import descend
from .interior_point import InteriorPoint
from .local_problem import LocalProblem, LocalResult

Array = NDArray[np.float64]

MANY_ROWS = 16_384  # fewer cost hardly more than the calls
_FAR = 6.0  # times the last step: rows further from a kink are taken to stay on their line
_FEWEST = 10  # rows for each coordinate: fewer have no minimum like that of all
_CROSSED, _ROUNDED = 1e-3, 1e-13  # of the tolerance, or the objective: what other rows may add
_SHARE = 0.1  # of the tolerance: what may be left
_PART = 0.2  # of the rows, if residuals were spread evenly: more are not worth a descent


def first_still(steps: InteriorPoint) -> float:
    """Return the length of a step, root mean square, after which few rows can change their piece.

    Zero where there are few rows, or no kinks.
    """
    problem = steps.problem
    if not problem.loss.kinked or len(problem.model.y) < MANY_ROWS:
        return 0.0
    return _PART * float(_distance(problem, steps.u).mean()) / _FAR


def minimised_among_few(steps: InteriorPoint, tol: float, max_iter: int) -> bool:
    """Take a descent to its end among the rows near a kink; return whether it ends there.

    Parameters
    ----------
    steps : InteriorPoint
        Some steps into its descent.
    tol : float
    max_iter : int
    """
    problem, result = steps.problem, steps.result
    u, reach = result.u, _FAR * steps.moved
    # In coordinates of like spread, predictions of a row of large entries move by more.
    size = row_norms(problem.model.Z) / len(u) ** 0.5
    near = _distance(problem, u) <= reach * np.maximum(size, 1.0)
    n_near = int(near.sum())
    if n_near < _FEWEST * len(u) or 2 * n_near > len(near):
        return False
    few = InteriorPoint(_among(problem, u, near), u, reach)
    few.ceiling = steps.ceiling
    descend(few, tol, max_iter - result.n_iter)
    result.n_iter += few.result.n_iter
    if few.result.at_edge:
        return False
    few.find_bound()
    value = few.result.value
    crossed = problem.value(few.result.u) - value > max(_CROSSED * tol, _ROUNDED) * abs(value)
    if crossed or few.result.left > _SHARE * tol * abs(value):
        return False
    result.curve += few.result.curve
    result.duals = [*_duals_of_all(steps, near, few.result)]
    # Not by the slopes of all rows: their sum has more rounding than the bound of few leaves.
    steps.close(few.result.u)
    result.left = max(result.value - few.result.lower, 0.0)
    return True


def _among(problem: LocalProblem, u: Array, near: NDArray[np.bool_]) -> LocalProblem:
    """Return the problem about u in which the rows that are not near stay on their line."""
    assert problem.hinges is not None
    return LocalProblem(
        problem.model.narrowed(problem.hinges, u, near),
        problem.loss,
        problem.kinks,
        problem.curvature,
        problem.bound,
        problem.at_zero,
    )


def _duals_of_all(steps: InteriorPoint, near: NDArray[np.bool_], few: LocalResult) -> list[Array]:
    """Return the dual variables of all rows: those found for few, and the slopes of the others."""
    problem = steps.problem
    assert problem.hinges is not None
    lines = problem.hinges.slope_of_pieces(problem.residual(few.start))
    found = []
    for duals in few.duals:
        all_duals = lines.copy()
        all_duals[:, near] = duals
        found.append(all_duals)
    return found


def _distance(problem: LocalProblem, u: Array) -> Array:
    """Return how far residuals are from the nearest kink."""
    residual = problem.residual(u)
    return np.minimum.reduce([abs(residual - at) for at in problem.loss.breaks])

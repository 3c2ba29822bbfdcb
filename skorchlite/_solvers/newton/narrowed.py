"""Descent among the rows that can still change their piece of a loss with corners.

Some steps into a descent on many rows most of them are far from any kink, compared with how far the
rest of the way leads. These stay in their line, so that one line stands for all of them, and the
descent goes on among the others as on a smaller problem. Lines are below the loss, so that a bound
from below on the smaller one is a bound on the whole; a row that crossed shows in the gap.

References
----------
Portnoy, Koenker (1997), "The Gaussian hare and the Laplacian tortoise", Statistical Science 12(4):
the same, of rows that are sorted out by a sample.
"""

from typing import Any

import torch
from torch import Tensor

MANY_ROWS = 16_384  # fewer cost hardly more than the calls
_FAR = 6.0  # times the last step: rows further from a kink are taken to stay in their line
_FEWEST = 10  # rows for each coordinate: fewer have no minimum like that of all
_CROSSED, _ROUNDED = 1e-3, 1e-13  # of the tolerance, or the objective: what other rows may add
_SHARE = 0.1  # of the tolerance: what may be left
_PART = 0.2  # of the rows, if residuals were spread evenly: more are not worth a descent


def first_still(steps: Any) -> float:
    """Return the length of a step, root mean square, after which few rows can change their piece.

    Zero where there are few rows, or no corners.
    """
    if not steps.loss.corners or len(steps.model.y) < MANY_ROWS:
        return 0.0
    return _PART * float(_distance(steps, steps.residual_at(steps.x)).mean()) / _FAR


def minimised_among_few(steps: Any, tol: float, max_iter: int) -> bool:
    """Take a descent to its end among the rows near a kink; return whether it ends there.

    Parameters
    ----------
    steps : InteriorPoint
        Some steps into its descent.
    tol : float
    max_iter : int
    """
    x, Z = steps.best[1], steps.model.Z
    residual = steps.residual_at(x)
    # In coordinates of like spread a row of large entries moves by as much more than others.
    size = torch.linalg.vector_norm(Z, dim=1) / len(x) ** 0.5
    near = _distance(steps, residual) <= _FAR * steps.way * size.clamp(min=1)
    (rows,) = near.nonzero(as_tuple=True)
    if len(rows) < _FEWEST * len(x) or 2 * len(rows) > len(near):
        return False
    model, reach = steps.model.narrowed(steps.loss, x, near), _FAR * steps.way
    few = type(steps)(model, steps.loss, steps.corners, steps.curvature, steps.bound, x, reach)
    few.at_zero, few.first_value = steps.at_zero, steps.first_value
    few.descend(tol, max_iter - steps.n_iter)
    steps.n_iter += few.n_iter
    if few.at_edge:
        return False
    few.find_bound()
    value, here = few.best
    crossed = steps.value(here) - value > max(_CROSSED * tol, _ROUNDED) * abs(value)
    if crossed or few.left > _SHARE * tol * abs(value):
        return False
    steps.curve += few.curve
    lines = [torch.where(hinges.of(residual) > 0, hinges.high, hinges.low) for hinges in steps.rows]
    steps.duals = [
        [line.index_copy(0, rows, d) for line, d in zip(lines, each, strict=True)]
        for each in few.duals
    ]
    # Not by the slopes of all rows: their sum has more rounding than the bound of few leaves.
    steps.close(here)
    steps.left = max(steps.best[0] - few.lower, 0.0)
    return True


def _distance(steps: Any, residual: Tensor) -> Tensor:
    """Return how far residuals are from the nearest kink."""
    return torch.stack([(residual - at).abs() for at in steps.loss.breaks]).amin(0)

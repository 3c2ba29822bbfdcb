"""The coordinates that covariances are made in, as a fit leaves them or as rows give them."""

import numpy as np
import torch
from numpy.typing import NDArray

from .._linalg.products import quietly
from .._objective.losses import SquaredError
from .._objective.objective import Objective
from .._objective.penalties import Penalty
from .._objective.whitening import Whitening
from .._solvers.base import Solution
from .._solvers.newton.quadratic_model import SAFETY, quadratic_model
from .._solvers.newton.small_problems import cheap
from .._sources.origin_choice import pilot_origin
from .._sources.row_source import Rows

Array = NDArray[np.float64]

EXACT = 1e-11  # a relative error of a root that is not worth another pass

_EPS = float(np.finfo(np.float64).eps)
_VISIBLE = 1e-11  # a relative error of a sum of squares that is worth a cheap pass
_NEARLY_DEPENDENT = 1e4  # a condition number
_LOST = ("blurred", "cancelled", "diverged")  # of solutions whose sums do not hold the answer


class RankError(ValueError):
    """The columns leave a direction undetermined."""


@quietly
def whitening_of_solution(solution: Solution, n_rows: int | None) -> Whitening | None:
    """Return what a fit of squared error leaves to make covariances of, None where it does not.

    Parameters
    ----------
    solution : Solution
    n_rows : int or None
        How many rows have weight.
    """
    objective, metric, moments = solution.objective, solution.metric, solution.moments
    penalised = objective.penalty.curvature or not objective.penalty.smooth
    if penalised or metric is None or moments is None or solution.values is None:
        return None
    if solution.status in _LOST:
        return None
    if metric.rank < objective.n_features or moments.cross.ndim == 1:
        return None
    t, weight = objective.rows.n_targets, moments.weight
    unit = objective.origin.unit().numpy()
    eps = torch.finfo(solution.dtype or torch.float64).eps
    values, error = _least_values(solution, eps)
    shift = objective.origin.shift.numpy() + unit * moments.mean * objective.fit_intercept
    return Whitening(
        shift=shift,
        root=metric.factor / (unit[t:, None] * weight**0.5),
        weight=weight,
        n_rows=n_rows,
        fit_intercept=bool(objective.fit_intercept),
        error=float(SAFETY * metric.condition * eps),
        squares=2 * weight * values * unit[:t] ** 2,
        squares_error=error,
    )


def _least_values(solution: Solution, eps: float) -> tuple[Array, float]:
    """Return the objective of each target, and how large its relative error may be."""
    objective, t = solution.objective, solution.objective.rows.n_targets
    if solution.measured:
        return solution.values, 0.0
    first = 0.5 * solution.moments.cross.diagonal()[:t] / solution.moments.weight
    error = float((SAFETY * eps * first / np.maximum(solution.values, np.finfo(float).tiny)).max())
    if error <= _VISIBLE or not cheap(objective):
        return solution.values, error
    value, _ = objective.evaluate(solution.v, solution.v_low)
    return value.numpy(), 0.0


def whitening_of_rows(rows: Rows, fit_intercept: bool, data_eps: float) -> Whitening:
    """Return the same from passes over the rows: one where columns are far from dependent.

    Raises
    ------
    RankError
        If the columns are dependent, at the rounding of the data.
    OutOfRangeError
        If a sum is not finite.
    """
    origin = pilot_origin(rows, fit_intercept)
    plain = Objective(rows, SquaredError(), Penalty(0.0, 0.0, False), origin, fit_intercept)
    model = quadratic_model(plain, torch.float64, data_eps)
    objective, metric, moments = model.objective, model.metric, model.quadratic.moments
    if metric.rank < objective.n_features or moments.cross.ndim == 1:
        raise RankError
    root, error = metric.factor, SAFETY * metric.condition * _EPS
    shift, t = objective.origin.shift.numpy() + moments.mean * fit_intercept, rows.n_targets
    if error > EXACT:
        # The products of columns that are nearly orthonormal have all their digits.
        again = objective.quadratic(torch.float64, torch.from_numpy(np.ascontiguousarray(root)))
        cross = torch.from_numpy(again.moments.cross[t:, t:] / again.moments.weight)
        lower, info = torch.linalg.cholesky_ex(cross)
        if info:
            raise RankError
        turned = torch.linalg.solve_triangular(lower, torch.from_numpy(root.T), upper=False)
        root, error = turned.T.numpy(), SAFETY * metric.condition**0.5 * _EPS
    return Whitening(
        shift=shift,
        root=root / moments.weight**0.5,
        weight=moments.weight,
        n_rows=None,
        fit_intercept=bool(fit_intercept),
        error=error,
        dependent=metric.condition > _NEARLY_DEPENDENT,
    )

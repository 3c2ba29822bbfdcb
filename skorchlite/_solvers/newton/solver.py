"""Full-batch Newton descent, for every built-in loss and penalty.

Squared error with a smooth penalty is one quadratic, and has its own road to the last digit; with
corners in the penalty it is minimised on the columns that matter. Other losses take models, on the
columns that matter where these are many.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..base import Report, Solution
from .general_loss import descend_by_models
from .least_squares import descend_quadratic
from .prox_newton import descend_with_corners
from .working_set import descend_on_columns

_MANY_COLUMNS = 1_000  # whose Hessian is made whole at each step


def newton(
    objective: Any,
    start: Tensor | None,
    *,
    tol: float,
    max_iter: int,
    dtype: torch.dtype,
    data_eps: float,
    report: Report,
) -> Solution:
    """Minimise the objective.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
        In coordinates of the objective, None for zero. The intercept is solved for.
    tol : float
        How far the objective may be above its least, relatively; of squared error the coefficients
        too, columns scaled.
    max_iter : int
    dtype : torch.dtype
        Of the blocks in the first pass over a quadratic objective.
    data_eps : float
        Relative rounding of the data itself, which limits the rank that it can have.
    report : Report

    Returns
    -------
    Solution
    """
    start = None if start is None else start[:-1]
    if not objective.loss.quadratic:
        many = objective.n_features > _MANY_COLUMNS and not objective.penalty.smooth
        descend: Any = partial(descend_on_columns, start=start) if many else descend_by_models
        return descend(
            objective, tol=tol, max_iter=max_iter, dtype=dtype, data_eps=data_eps, report=report
        )
    if not objective.penalty.smooth:
        return descend_with_corners(
            objective, start, tol=tol, max_iter=max_iter, dtype=dtype, report=report
        )
    return descend_quadratic(
        objective,
        start,
        tol=tol,
        max_iter=max_iter,
        dtype=dtype,
        data_eps=data_eps,
        report=report,
    )

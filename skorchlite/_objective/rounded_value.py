"""The value of an objective at the coefficients that are returned, once they are rounded."""

import numpy as np
import torch
from torch import Tensor

from .._sources.origin_choice import plain_origin
from .._sources.row_source import Rows
from .objective import Objective


def value_as_returned(objective: Objective, v: Tensor, v_low: Tensor) -> Tensor:
    """Return the value for each target at a point, once it is rounded to coefficients from zero.

    Of columns far from zero, these have fewer digits than coefficients about the mean.
    """
    if objective.origin.scale is not None or objective.basis.derived:
        return objective.evaluate(v, v_low)[0]
    coef, intercept = objective.units.solution(v, v_low)
    # The columns may be some of those of a basis, whose coefficients are penalised in other units.
    penalised = coef * objective.column_penalty.unit.numpy()
    return value_from_zero(objective, objective.rows, coef, intercept, penalised)


def value_from_zero(
    objective: Objective, rows: Rows, coef: np.ndarray, intercept: np.ndarray, penalised: np.ndarray
) -> Tensor:
    """Return the value for each target at coefficients of columns that are measured from zero.

    Parameters
    ----------
    rows : row source
    coef : ndarray of shape (n_targets, n_columns)
    intercept : ndarray of shape (n_targets,)
    penalised : ndarray of shape (n_targets, n_features)
        The coefficients that the penalty is on.
    """
    plain = Objective(rows, objective.loss, objective.penalty, plain_origin(rows, True), True)
    point = torch.from_numpy(np.vstack((coef.T, intercept[None])))
    penalty = objective.penalty.value(torch.from_numpy(penalised.T.copy()))
    return plain.mean_loss(point, rows) + penalty

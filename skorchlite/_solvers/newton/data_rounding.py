"""What the rounding of the data may have made of its columns, which decides their rank."""

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import quietly
from ..._objective.objective import Objective

Array = NDArray[np.float64]

_SAFETY = 4.0  # rounding errors, in units of those of one entry
_EPS = float(np.finfo(np.float64).eps)


@quietly
def rounded_by(objective: Objective, data_eps: float, size: Array | float = 0.0) -> Array:
    """Return how far the rounding of the data may have moved the entries of each column.

    It is relative to the size of an entry and to how far from zero columns are measured. Columns
    that are made from others amplify it; where they do so differently in each row, and it is cheap,
    the rounding of each row is followed.

    Parameters
    ----------
    objective : Objective
    data_eps : float
    size : array of shape (d,), default=0.0
    """
    rounding = objective.basis.rounding
    made = data_eps * rounding.amplification * (size + objective.units.distance())
    found = None if rounding.uniform else objective.units.propagated()
    if found is None:
        return made
    moved, distance = found
    return np.minimum(made, data_eps * moved + _EPS * rounding.n_roundings * (size + distance))


def made_by_rounding(objective: Objective, data_eps: float) -> Array:
    """Return the deviation of each column that the rounding of its entries may have made.

    With a penalty on it, a column of single precision that hardly varies is not taken for constant.
    """
    made = _SAFETY * rounded_by(objective, data_eps)
    unpenalised = objective.penalty.unpenalised(objective.n_features).numpy()
    if unpenalised.all():
        return made
    return np.where(unpenalised, made, _SAFETY * rounded_by(objective, _EPS))


def rounded_part(objective: Objective, data_eps: float, deviation: Array) -> Array:
    """Return the part of each column's deviation that the rounding of its entries may have made.

    A column that depends on others does so only up to the rounding of its entries. That is
    relative to their distance from zero, and not to their deviation, which must be positive. With
    a penalty that curves a coefficient the data does not leave it undetermined: its part is zero.
    """
    if objective.penalty.curves_all:
        return np.zeros_like(deviation)
    moved = rounded_by(objective, data_eps, deviation)
    parts = _SAFETY * objective.n_features**0.5 * moved / deviation
    return np.where(objective.penalty.free(objective.n_features).numpy(), parts, 0.0)


def rounded_part_of_any(objective: Objective, data_eps: float, deviation: Array) -> Array:
    """Return the same for columns that may be constant, whose part is infinite."""
    return np.where(deviation > 0, rounded_part(objective, data_eps, deviation), np.inf)

"""Full-batch Newton descent, for every built-in loss and penalty.

Squared error with a smooth penalty is one quadratic, whose coefficients are refined to the last
digit. With kinks in the penalty it is minimised on a working set of the columns. Other losses are
minimised by local models, on a working set where the columns are many.
"""

from torch import Tensor

from ..._objective.objective import Objective
from ..base import Solution, SolverControl
from .general_loss import descend_by_models
from .least_squares import descend_quadratic
from .log_link import descend_with_log_link
from .prox_newton import descend_with_kinks
from .working_set import descend_on_columns

_MANY_COLUMNS = 1_000  # whose Hessian is made whole at each step


def newton(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    """Minimise the objective.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
        In coordinates of the objective, None for zero. The intercept is solved for.
    control : SolverControl

    Returns
    -------
    Solution
    """
    start = None if start is None else start[:-1]
    if not objective.loss.quadratic:
        descend = descend_with_log_link if objective.loss.log_link else descend_by_models
        many = objective.n_features > _MANY_COLUMNS and not objective.penalty.smooth
        if many:
            return descend_on_columns(objective, start, control, descend)
        return descend(objective, control)
    if not objective.penalty.smooth:
        return descend_with_kinks(objective, start, control)
    return descend_quadratic(objective, start, control)

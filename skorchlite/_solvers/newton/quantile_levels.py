"""Several levels of quantiles, fitted together so that none is above the next.

The objective is the sum over the levels of the mean pinball loss plus the penalty, under the
constraint that predictions of neighbouring levels are in their order. First each level is fitted
alone. Levels that are close have close solutions, and rows that are above both neighbours of a
level, or below, stay there: so some levels are fitted first, and the others begin between them, on
the few rows that are left. Where no levels cross, that is the joint optimum, and the sum of their
bounds is a bound on it. Where some do, those that cross are solved as one problem, with the rows
where they do so as constraints; another pass finds further ones, until there is none.
"""

from dataclasses import replace

from torch import Tensor

from ..._objective.objective import Objective
from ..._objective.piecewise_linear import QuantileLevels
from ..base import Solution, SolverControl
from .levels import Levels, of_levels
from .levels_alone import fit_alone
from .levels_apart import separate
from .unpenalised_columns import Ended, with_unpenalised


def fit_levels(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    """Minimise an objective of one target whose loss is ``QuantileLevels``; see ``newton``.

    The solution has a target for each level.
    """
    loss = objective.loss
    assert isinstance(loss, QuantileLevels)
    if objective.rows.n_targets > 1:
        raise ValueError(
            "A list of quantiles is fitted to one target, and y has "
            f"{objective.rows.n_targets}. Use sklearn.multioutput.MultiOutputRegressor, or give "
            "one quantile."
        )
    if loss.apart == "domain" and objective.basis.derived:
        raise ValueError(
            "non_crossing='domain' is for models that are linear in the columns, and these are "
            "terms made of them. Use non_crossing='rows', with samples of little weight where "
            "quantiles are not to cross besides."
        )

    def whole(solution: Solution) -> Solution:
        return replace(solution, objective=of_levels(solution.objective, loss))

    def monitor(n_iter: int, value: float, optimality: float | None, ended: Ended) -> None:
        control.monitor(n_iter, value, optimality, lambda: whole(ended()))

    watched = replace(control, monitor=monitor)
    return whole(with_unpenalised(objective, None, watched, solve=_descend))


def _descend(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    """Return the solution, whose objective is still that of one target."""
    levels = Levels(objective, control)
    fit_alone(levels)
    if levels.loss.apart:
        separate(levels)
    return levels.solution()

"""Descent on the columns that matter, where a penalty with kinks leaves most coefficients zero.

The minimum over a working set of the columns is the minimum over all when no other gradient exceeds
the kink of the penalty. A loss with kinks has the gradient that its dual variables make: rows at a
kink may have any slope between those beside it, and have the ones that balance.

References
----------
Tibshirani, Bien, Friedman, Hastie, Simon, Taylor, Tibshirani (2012), "Strong rules for discarding
predictors in lasso-type problems", JRSS B 74(2).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..._linalg.products import quietly
from ..._objective.local_model import Model
from ..._objective.objective import Objective
from ..base import Solution, SolverControl, is_near
from ..continuation import continued, monitor_of_whole
from .bounds import Bound, proximal_gain
from .interior_point import MOST_STEPS, InteriorPoint
from .kinks import Kinks
from .local_model import LocalModel
from .local_problem import LocalProblem
from .working_columns import steepness, widened

_ROUGH = 1e-3  # accuracy while columns enter
_VIOLATION = 1e-11  # of a kink, relative to the largest gradient at zero, that is rounding
_TIED = 1e-6  # of the objective: a residual that is at a kink but for rounding
_BLURRED = 1e-6  # of the objective: what dual variables may leave without a warning
_ROOM = 4  # rows at a kink for each column


def descend_on_columns(
    objective: Objective,
    start: Tensor | None,
    control: SolverControl,
    descend: Callable[[Objective, SolverControl], Solution],
) -> Solution:
    """Minimise an objective whose loss is no quadratic and whose penalty has kinks.

    ``max_iter`` is for each working set, which ``descend`` minimises the objective over.
    """
    tol, t = control.gap, objective.rows.n_targets
    mean, deviation, covariance = objective.spread()
    whole = _AllColumns(objective.centred(mean), deviation[t:])
    v = torch.zeros(objective.n_features + 1, t, dtype=torch.float64)
    if start is not None and is_near(start, deviation):
        v[:-1] = start
    index = _entered(v, (covariance.abs() / whole.scale[:, None]).amax(1))
    largest, last, accuracy = 0.0, torch.inf, max(tol, _ROUGH)
    n_iter, curve = 0, list[float]()
    while True:
        so_far = partial(whole.solution, index, n_iter, curve)
        monitor = monitor_of_whole(control.monitor, n_iter, so_far)
        part = descend(whole.objective.over(index), replace(control, tol=accuracy, monitor=monitor))
        solution = so_far(part)
        n_iter, curve, v = solution.n_iter, solution.loss_curve, solution.v
        gradient = whole.gradient(v, index)
        largest = max(largest, float(gradient.abs().max()))
        unbalanced = whole.unbalanced(v, gradient, part.loss_curve[-1])
        curved = whole.against_curvature(v, gradient, part.loss_curve[-1])
        gradient[index] = 0
        steep = torch.from_numpy(steepness(whole.kinks, gradient.numpy()))
        missed = min(whole.missed(v, steep, _VIOLATION * largest) + unbalanced, curved)
        unbalanced = min(unbalanced, curved)
        steep[steep <= max(_VIOLATION, accuracy * (accuracy > tol)) * largest] = 0
        # Roughly solved, working sets may follow each other without end.
        idle = part.loss_curve[-1] >= last * (1 - 0.1 * accuracy)
        settled = not steep.any() or (idle and accuracy > tol)
        last = part.loss_curve[-1]
        # Where the descent stalls, near its minimum, the set still shows which columns are missing.
        usable = part.status in ("converged", "stalled_gap")
        if not usable or (settled and accuracy <= tol):
            blurred = part.status == "converged" and unbalanced > max(tol, _BLURRED)
            status = "stalled_gap" if blurred else part.status
            return replace(solution, optimality=solution.optimality + missed, status=status)
        if settled:
            accuracy = tol
            continue
        # Where the objective does not fall, dual variables are not unique, and two working sets
        # may call for each other. So columns then only enter, of which there are so many.
        kept = index if idle else index[:0]
        index = torch.cat((kept, _entered(v, steep))).unique()


def _entered(v: Tensor, steep: Tensor) -> Tensor:
    """Return the columns that have a coefficient and those that would leave zero by most."""
    order = steep.argsort(descending=True)
    return torch.from_numpy(widened(v.numpy(), order[steep[order] > 0].numpy()))


class _AllColumns:
    """The objective over all columns, of which a working set is a part.

    Parameters
    ----------
    objective : Objective
        With columns measured from their mean.
    deviation : Tensor of shape (n_features,)

    Attributes
    ----------
    scale : Tensor of shape (n_features,)
        The deviation of each column, 1 for a constant one.
    kinks : Kinks
        Of the penalty, for columns in units of their scale.
    slope : Tensor of shape (n_features,)
        Of these kinks.
    """

    def __init__(self, objective: Objective, deviation: Tensor):
        self.objective = objective
        self.scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        bounded = np.full(objective.n_features, objective.penalty.positive)
        self.kinks = Kinks((objective.column_penalty.l1 / self.scale).numpy(), bounded)
        self.slope = torch.from_numpy(self.kinks.slope)

    def solution(self, index: Tensor, n_iter: int, curve: list[float], part: Solution) -> Solution:
        """Return a solution over a part of the columns as one over all, after what went before."""
        v = self._embedded(part.objective, index, part.v)
        last = replace(part, objective=self.objective, v=v, v_low=torch.zeros_like(v))
        return continued(last, n_iter, curve)

    def _embedded(self, part: Objective, index: Tensor, v: Tensor) -> Tensor:
        """Return coefficients and intercept of the part as those of the whole."""
        t = part.rows.n_targets
        moved = part.origin.shift - self.objective.over(index).origin.shift
        whole = v.new_zeros(self.objective.n_features + 1, v.shape[1])
        whole[index] = v[:-1]
        whole[-1] = v[-1] + moved[:t] - (moved[t:] / part.origin.unit()[t:]) @ v[:-1]
        return whole

    def gradient(self, v: Tensor, index: Tensor) -> Tensor:
        """Return the gradient for all columns, scaled, at the minimum v over some of them."""
        objective = self.objective
        if not objective.loss.kinked:
            return objective.evaluate(v)[1][:-1] / self.scale[:, None]
        value, _ = objective.evaluate(v)
        reach = {j: _TIED * float(value[j]) for j in range(v.shape[1])}
        _, models = objective.models(v, reach, _ROOM * (len(index) + 1))
        gradient = torch.stack([self._balanced(models[j][1], index) for j in reach], 1)
        gradient = gradient + objective.column_penalty.curvature[:, None] * v[:-1]
        return gradient / self.scale[:, None]

    @quietly
    def _balanced(self, model: Model, index: Tensor) -> Tensor:
        """Return the gradient of the loss whose slopes balance over some of the columns."""
        if not len(model.y):  # no row at a kink, whose slope could balance the others
            return model.gradient[:-1]
        objective, n_free = self.objective, int(self.objective.fit_intercept)
        free = self.scale.new_zeros(n_free)
        unit = torch.cat((1 / self.scale[index], free + 1))
        columns = torch.cat((index, torch.full((n_free,), objective.n_features)))
        bounded = np.zeros(len(columns), dtype=bool)
        bounded[: len(index)] = self.kinks.bounded[index]
        kinks = Kinks(torch.cat((self.slope[index], free)).numpy(), bounded)
        u = (model.point[columns] / unit).numpy()
        part = LocalModel(
            point=u,
            value=float(model.value),
            gradient=(model.gradient[columns] * unit).numpy(),
            hessian=(model.hessian[columns][:, columns] * torch.outer(unit, unit)).numpy(),
            Z=(model.Z[:, columns] * unit).numpy(),
            y=model.y.numpy(),
            share=model.share.numpy(),
            exact=model.exact,
        )
        curvature = torch.cat((objective.column_penalty.curvature[index], free)) * unit**2
        penalty = curvature.numpy()
        bound = Bound(objective.loss, kinks, penalty, 1.0, whitened=False, n_free=n_free)
        problem = LocalProblem(part, objective.loss, kinks, np.diag(penalty), bound)
        steps = InteriorPoint(problem, u)
        # Rows at kinks have no residual that a start inside could be sized by.
        steps.begin(least=problem.at_zero.value / objective.loss.steepest)
        # Without the end that crosses over: it may change dual variables that balance already.
        steps.approach(0.0, MOST_STEPS)
        slope = torch.from_numpy(steps.form.row_slopes())
        return (model.gradient - model.Z.T @ (model.share * slope))[:-1]

    def unbalanced(self, v: Tensor, gradient: Tensor, value: float) -> float:
        """Return how far dual variables are from those of the minimum v, relatively.

        Where a loss has kinks, they make the gradient, and say which columns are missing. Those
        that are right have the slope of the kink in each coefficient that is not zero.

        Parameters
        ----------
        v : Tensor of shape (n_features + 1, n_targets)
        gradient : Tensor of shape (n_features, n_targets)
            Of columns in units of their scale.
        value : float
            The objective, summed over the targets.
        """
        if not self.objective.loss.kinked:
            return 0.0
        u = v[:-1] * self.scale[:, None]
        off = (self.slope[:, None] * u.abs() + gradient * u).abs().sum()
        return float(off) / value if value else 0.0

    def against_curvature(self, v: Tensor, gradient: Tensor, value: float) -> float:
        """Return what all columns may gain against the curvature of the penalty, relatively.

        Infinite where it has none. The parameters are those of ``unbalanced``.
        """
        curvature = (self.objective.column_penalty.curvature / self.scale**2).numpy()
        if not (curvature > 0).all() or not value:
            return torch.inf
        columns = zip((v[:-1] * self.scale[:, None]).numpy().T, gradient.numpy().T, strict=True)
        return sum(proximal_gain(self.kinks, curvature, u, g) for u, g in columns) / value

    def missed(self, v: Tensor, steep: Tensor, rounding: float) -> float:
        """Return what columns at zero may gain with slopes beyond the kink, relatively.

        The sum of the coefficients, each times its kink, is at most the objective. Without a kink,
        columns gain at most what their slopes gain against the curvature of the penalty; where it
        has none, there is no limit.

        Parameters
        ----------
        v : Tensor of shape (n_features + 1, n_targets)
        steep : Tensor of shape (n_features,)
            By how much slopes are beyond the kink.
        rounding : float
            A slope that is smaller is rounding.
        """
        held = self.slope > 0
        if held.any():
            return float((steep / self.slope)[held].max())
        steep = torch.where(steep > rounding, steep, 0.0)
        if not steep.any():
            return 0.0
        curvature = self.objective.column_penalty.curvature / self.scale**2
        least = float(self.objective.evaluate(v)[0].min())
        if least <= 0 or not (curvature > 0).all():
            return torch.nan
        return 0.5 * float((steep**2 / curvature).sum()) / least

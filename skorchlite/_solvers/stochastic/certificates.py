"""How far a stochastic descent ended from the optimum: a bound that is computed, or none.

What its steps measure is none: the norm of a gradient does not say how far away the minimum is. The
least curvature nearby does, where there is any, else the tangent at the end (see ``bounds``). Where
neither shows that the end is close enough, a small problem is measured against what Newton's steps
find.
"""

from dataclasses import replace
from functools import cached_property
from math import inf, isfinite, nan

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.moments import MANY_COLUMNS
from ..base import SolverControl, nobody
from ..newton.bounds import AtZero, Bound, least_share
from ..newton.kinks import Kinks
from ..newton.preconditioner import Metric
from ..newton.scaled import Scaled
from ..newton.solver import newton
from .svrg import VarianceReduced

_SMALL = 1 << 21  # rows times columns, whose Newton steps take no longer than the epochs before
_NEWTON_STEPS = 200
_REACHES = (1e-2, 1e-4, 1e-6)  # of the mean residual, within which curvature is looked for
_SLOPES_ROUNDING = 1e-14  # of the first gradient
_MET = 64.0  # roundings of the coefficients
_EXPLAINED = 1e-8  # of the objective of the start: what that may be, if all is met
_EPS = torch.finfo(torch.float64).eps


class Certificate:
    """Bounds on what is left to gain.

    Parameters
    ----------
    descent : VarianceReduced
        Whose objective is where its coordinates have it; it is not moved.
    metric : Metric or None
        Of least squares, where the descent has made it: its coordinates are those of the bound.
    control : SolverControl
    """

    def __init__(self, descent: VarianceReduced, metric: Metric | None, control: SolverControl):
        self.objective, self.descent = descent.problem.objective, descent
        self.metric, self.control = metric, control
        self.n_free = int(self.objective.fit_intercept)

    @property
    def first(self) -> Tensor:
        """The objective of the constant model."""
        return self.descent.first_value

    @property
    def possible(self) -> bool:
        """Whether there is a bound: not without convexity or any curvature of many columns."""
        objective = self.objective
        few = objective.n_features <= MANY_COLUMNS
        felt = not objective.penalty.smooth or bool((objective.column_penalty.curvature > 0).all())
        return objective.loss.convex and (few or felt)

    def gap_of_end(self, v: Tensor) -> float:
        """Return the relative gap where the descent is; NaN where there is no bound."""
        near, tol = curved_gap(self.descent), self.control.tol
        enough = near < inf if tol is None else near <= tol
        return near if enough else self.gap(v)

    def gap(self, v: Tensor) -> float:
        """Return the relative gap, closer than the tangent tells where that is above ``tol``.

        NaN where there is no bound. See ``tangent_gap``.
        """
        tol = self.control.tol
        try:
            gap = self.tangent_gap(v) if self.possible else nan
            if tol is not None and gap > tol:
                gap = min(gap, self.newton_gap(v))
        except OutOfRangeError:
            return nan
        return gap

    def tangent_gap(self, v: Tensor) -> float:
        """Return the relative gap that the tangent at v leaves, the largest over the targets."""
        objective, tangents = self.objective, self.descent.problem.tangents
        if self.metric is None:
            objective = self._scaled[0].objective
            v = objective.units.carried(v, self.objective.origin)
        value, gradient = objective.evaluate(v)
        lower = value
        if tangents is not None:
            lower, gradient = objective.evaluate(v, loss=tangents)
        lefts = (value - lower).tolist()
        for j, total in enumerate(value.tolist()):
            lefts[j] += self._left(v[:, j], gradient[:, j], total)
        return self._relative(lefts, value, v)

    def newton_gap(self, v: Tensor) -> float:
        """Return the relative gap to what Newton's descent finds, the largest over the targets.

        That is a descent of its own, which v is measured against and not moved by. Infinite where
        it would take long.
        """
        objective = self.objective
        few_rows = objective.rows.fewer_than(_SMALL // (objective.n_features + 1))
        if not few_rows or objective.n_features > MANY_COLUMNS:
            return inf
        value, _ = objective.evaluate(v)
        return self._relative((value - self._least).tolist(), value, v)

    def _relative(self, lefts: list[float], value: Tensor, v: Tensor) -> float:
        """Return the largest of what is left, relative to the objective of the target."""
        moved, loss = (_EPS * (v[:-1].abs().T @ self._deviation)).tolist(), self.objective.loss
        gaps = []
        for left, total, off, first in zip(
            lefts, value.tolist(), moved, self.first.tolist(), strict=True
        ):
            # Where every row is met, what is left is what rounding of coefficients makes.
            rounding = _MET * loss.change(off, total)
            made = loss.nothing(first)
            nothing = min(rounding, _EXPLAINED * first) if total <= rounding else 0.0
            gaps.append(AtZero(first, max(made, nothing)).relative(left - made, total))
        return max(gaps)

    @property
    def _deviation(self) -> Tensor:
        if self.metric is not None:
            return self.metric.live * self.metric.scale
        return self._scaled[0].deviation[len(self.first) :]

    @cached_property
    def _least(self) -> Tensor:
        """What no objective of a target is below, by Newton's descent."""
        least = [self._least_of(j) for j in range(len(self.first))]
        return torch.tensor(least, dtype=torch.float64)

    def _least_of(self, target: int) -> float:
        objective = self.objective.of_target(target)
        control = replace(self.control, tol=0.0, max_iter=_NEWTON_STEPS, monitor=nobody)
        best = newton(objective, None, control)
        end = best.loss_curve[-1] / objective.units.total(torch.ones(1).double())
        return end * (1 - min(best.optimality, 1.0)) if isfinite(best.optimality) else -inf

    def _left(self, v: Tensor, gradient: Tensor, value: float) -> float:
        """Return how much lower than at v the objective of a target may be, at most."""
        size = self.objective.n_features + self.n_free
        if self.metric is None:
            problem, bound = self._scaled
            unit = problem.unit[:size, 0]
            x = torch.where(unit > 0, v[:size] / unit, 0.0)
            return bound.left(x, unit * gradient[:size], value, lambda: problem.gram[:size, :size])
        along = self.metric.factor.T @ gradient[:-1]
        along = torch.cat((along, gradient[-1:])) if self.n_free else along
        if self.objective.loss.quadratic:  # whose Hessian is one here
            return 0.5 * float(along @ along)
        return self._whitened.left(torch.zeros_like(along), along, value, lambda: along.diag())

    @cached_property
    def _scaled(self) -> tuple[Scaled, Bound]:
        """The problem in scaled columns, and the bound there."""
        problem = Scaled(self.objective, self.control.data_eps)
        return problem, problem.bound()

    @cached_property
    def _whitened(self) -> Bound:
        """The bound in the coordinates of the metric."""
        assert self.metric is not None
        factor = self.metric.factor
        free = factor.new_zeros(self.n_free, self.n_free)
        curvature = factor.T @ (self.objective.column_penalty.curvature[:, None] * factor)
        none = factor.new_zeros(factor.shape[1] + self.n_free)
        return Bound(
            self.objective.loss,
            Kinks(none, none > 0),
            torch.block_diag(curvature, free),
            least_share(self.objective),
            whitened=True,
            n_free=self.n_free,
        )


def curved_gap(descent: VarianceReduced) -> float:
    """Return the relative gap that the least curvature about the last point leaves.

    A convex function that is as curved as h within some distance of a point is least there if
    that is far for its subgradient g, and at most ``g^2 / 2h`` lower. Infinite where it is not.
    """
    problem, snapshot, gaps = descent.problem, descent.snapshot, []
    loss, coordinates = problem.objective.loss, problem.coordinates
    if loss.corners or not loss.convex:
        return inf
    residual = problem.pilot.residual(coordinates.model(snapshot.u))
    for j, value in enumerate(snapshot.value.tolist()):
        slope = float(snapshot.norm[j] + _SLOPES_ROUNDING * descent.first_norm[j])
        r, gap = residual[:, j : j + 1], inf
        for part in _REACHES:
            reach = part * float(r.abs().mean())
            h = problem.pilot.least_near(loss, r, reach, coordinates)
            if slope < 0.5 * h * reach:
                gap = 0.5 * slope**2 / h
                break
        gaps.append(gap / value if value > 0 else 0.0)
    return max(gaps)

"""How far above the optimum a stochastic descent may have ended, where a bound can be computed.

The norm of the gradient alone is no bound, since it does not say how far away the minimum is. The
bound comes from the least curvature near the end or, where the objective is flat there, from the
tangent (see ``newton.bounds``). Where neither is within ``tol``, the end of a small problem is
compared with what Newton's method finds.
"""

from dataclasses import replace
from functools import cached_property
from math import inf, isfinite, nan

import numpy as np
import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._objective.moments import MANY_COLUMNS
from ..base import SolverControl, nobody
from ..newton.bounds import AtZero, Bound, least_share
from ..newton.kinks import no_kinks
from ..newton.preconditioner import Metric
from ..newton.scaled import Scaled
from ..newton.small_problems import newton_is_cheap
from ..newton.solver import newton
from .svrg import VarianceReduced

_NEWTON_STEPS = 200
_REACHES = (1e-2, 1e-4, 1e-6)  # times the mean residual: distances to bound the curvature within
_GRADIENT_ROUNDING = 1e-14  # of the norm of the first gradient
_EXACT = (
    64.0  # times what rounding of the coefficients adds to the objective: then the fit is exact
)
_EXPLAINED = 1e-8  # of the objective of the constant model, which an exact fit may leave at most
_EPS = torch.finfo(torch.float64).eps


class Certificate:
    """Bounds on the gap between the objective and its minimum.

    Parameters
    ----------
    descent : VarianceReduced
        The bounds read where it is, and do not move it.
    metric : Metric or None
        Of least squares, where the descent has one: then the bound is computed in its coordinates.
    control : SolverControl
    """

    def __init__(self, descent: VarianceReduced, metric: Metric | None, control: SolverControl):
        self.objective, self.descent = descent.problem.objective, descent
        self.metric, self.control = metric, control
        self.n_free = int(self.objective.fit_intercept)
        self.separated = False  # whether an optimum that was found is at infinity

    @property
    def first(self) -> Tensor:
        """The objective of the constant model."""
        return self.descent.first_value

    @property
    def possible(self) -> bool:
        """Whether the tangent gives a bound.

        It does not for a loss that may not be convex, or whose value does not say how far the
        minimum may be, nor for many columns without a penalty.
        """
        objective = self.objective
        if objective.loss.log_link:
            return False
        few = objective.n_features <= MANY_COLUMNS
        curved = bool((objective.column_penalty.curvature > 0).all())
        penalised = not objective.penalty.smooth or curved
        return objective.loss.convex and (few or penalised)

    def gap_of_end(self, v: Tensor) -> float:
        """Return the relative gap at v, where the descent is; NaN where no bound is known.

        It may come from the curvature about that point, which is not known of others.
        """
        near, tol = curved_gap(self.descent), self.control.tol
        enough = near < inf if tol is None else near <= tol
        return near if enough else self.gap(v)

    def gap(self, v: Tensor) -> float:
        """Return the relative gap at v, NaN where no bound is known.

        It comes from the tangent or, where that is above ``tol``, from Newton's method if its
        bound is closer.
        """
        tol = self.control.tol
        try:
            gap = self.tangent_gap(v) if self.possible else nan
            if (tol is not None and gap > tol) or self._compares:
                gap = float(np.fmin(gap, self.newton_gap(v)))
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
        gaps = (value - lower).tolist()
        for j, total in enumerate(value.tolist()):
            gaps[j] += self._below(v[:, j], gradient[:, j], total)
        return self._relative(gaps, value, v)

    def newton_gap(self, v: Tensor) -> float:
        """Return the relative gap to what Newton's method finds, the largest over the targets.

        It is a fit of its own that v is only compared with. Infinite where it would take long.
        """
        objective = self.objective
        if not (newton_is_cheap(objective) or self._compares):
            return inf
        value, _ = objective.evaluate(v)
        return self._relative((value - self._least).tolist(), value, v)

    @property
    def _compares(self) -> bool:
        """Whether nothing but Newton's method gives a bound, and it takes a few passes."""
        loss = self.objective.loss
        return loss.log_link and loss.convex and self.objective.n_features <= MANY_COLUMNS

    def _relative(self, gaps: list[float], value: Tensor, v: Tensor) -> float:
        """Return the largest of the targets' gaps, each relative to the objective of its target."""
        loss, found = self.objective.loss, []
        # What rounding of the coefficients does to predictions.
        moved = (_EPS * (v[:-1].abs().T @ self._deviation)).tolist()
        for gap, total, off, first in zip(
            gaps, value.tolist(), moved, self.first.tolist(), strict=True
        ):
            # Where every row is fitted exactly, the objective is what that rounding makes.
            rounding = _EXACT * loss.change(off, total)
            least = loss.nothing(first)
            exact = min(rounding, _EXPLAINED * first) if total <= rounding else 0.0
            found.append(AtZero(first, max(least, exact)).relative(gap - least, total))
        return max(found)

    @property
    def _deviation(self) -> Tensor:
        """The deviation of each column."""
        if self.metric is not None:
            return torch.from_numpy(self.metric.live * self.metric.scale)
        return self._scaled[0].deviation[len(self.first) :]

    @cached_property
    def _least(self) -> Tensor:
        """What the objective of each target is not below, by Newton's method."""
        least = [self._least_of(j) for j in range(len(self.first))]
        return torch.tensor(least, dtype=torch.float64)

    def _least_of(self, target: int) -> float:
        objective = self.objective.of_target(target)
        control = replace(self.control, tol=0.0, max_iter=_NEWTON_STEPS, monitor=nobody)
        best = newton(objective, None, control)
        self.separated |= best.status == "separated"
        end = best.loss_curve[-1] / objective.units.total(torch.ones(1).double())
        return end * (1 - min(best.optimality, 1.0)) if isfinite(best.optimality) else -inf

    def _below(self, v: Tensor, gradient: Tensor, value: float) -> float:
        """Return by how much, at most, the objective of a target may be lower than at v."""
        size = self.objective.n_features + self.n_free
        if self.metric is None:
            problem, bound = self._scaled
            unit = problem.unit[:size, 0]
            x = torch.where(unit > 0, v[:size] / unit, 0.0)
            slope = (unit * gradient[:size]).numpy()
            gram = problem.gram[:size, :size].numpy()
            return bound.left(x.numpy(), slope, value, lambda: gram)
        along = torch.from_numpy(self.metric.factor).T @ gradient[:-1]
        along = torch.cat((along, gradient[-1:])) if self.n_free else along
        if self.objective.loss.quadratic:  # in these coordinates its Hessian is the identity
            return 0.5 * float(along @ along)
        slope = along.numpy()
        return self._whitened.left(0.0 * slope, slope, value, lambda: np.diag(slope))

    @cached_property
    def _scaled(self) -> tuple[Scaled, Bound]:
        """The problem in scaled columns, and the bound there."""
        problem = Scaled(self.objective, self.control.data_eps)
        return problem, problem.bound()

    @cached_property
    def _whitened(self) -> Bound:
        """The bound in the coordinates of the metric."""
        assert self.metric is not None
        factor = torch.from_numpy(self.metric.factor)
        free = factor.new_zeros(self.n_free, self.n_free)
        curvature = factor.T @ (self.objective.column_penalty.curvature[:, None] * factor)
        return Bound(
            self.objective.loss,
            no_kinks(factor.shape[1] + self.n_free),
            torch.block_diag(curvature, free).numpy(),
            least_share(self.objective),
            whitened=True,
            n_free=self.n_free,
        )


def curved_gap(descent: VarianceReduced) -> float:
    """Return the relative gap by the least curvature about the last point; infinite without any.

    Where a convex function has a subgradient g at a point and a curvature of at least h within the
    distance ``2 g / h`` of it, its minimum lies there and is at most ``g^2 / 2h`` lower.
    """
    problem, snapshot, gaps = descent.problem, descent.snapshot, []
    loss, coordinates = problem.objective.loss, problem.coordinates
    if loss.kinked or loss.log_link or not loss.convex:
        return inf
    residual = problem.pilot.residual(coordinates.to_v(snapshot.u))
    for j, value in enumerate(snapshot.value.tolist()):
        slope = float(snapshot.norm[j] + _GRADIENT_ROUNDING * descent.first_norm[j])
        r, gap = residual[:, j : j + 1], inf
        for part in _REACHES:
            reach = part * float(r.abs().mean())
            h = problem.pilot.least_near(loss, r, reach, coordinates)
            if slope < 0.5 * h * reach:
                gap = 0.5 * slope**2 / h
                break
        gaps.append(gap / value if value > 0 else 0.0)
    return max(gaps)

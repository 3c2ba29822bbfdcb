"""Squared error with a penalty that has corners: proximal Newton steps on the columns that matter.

The Gram matrix gives the step, the data the gradient of the next one, so that a step corrects what
rounding left. Of many columns the matrix is made for a working set only: those with a coefficient
and those whose gradients exceed the corner of the penalty by most, until no gradient does.

References
----------
Tibshirani, Bien, Friedman, Hastie, Simon, Taylor, Tibshirani (2012), "Strong rules for discarding
predictors in lasso-type problems", JRSS B 74(2). Massias, Gramfort, Salmon (2018), "Celer: a fast
solver for the lasso with dual extrapolation", ICML.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .corners import Corners, minimise_quadratic
from .quadratic import measure
from .solution import Report, Solution
from .starts import is_near

_NARROW = 256  # up to here the whole Gram matrix costs no more than the passes it saves
_ENTERING = 64  # columns in the first working set, and later at least
_VIOLATION = 1e-9  # of a corner, relative to the largest gradient at zero, that is rounding
_ROUNDING = 1e-13  # of the objective


def descend_with_corners(
    objective: Any,
    start: Tensor | None,
    *,
    tol: float,
    max_iter: int,
    dtype: torch.dtype,
    report: Report,
) -> Solution:
    """Minimise squared error plus a penalty with corners; see ``newton``."""
    descent = _Descent(objective, start, dtype, report)
    return descent.solution(descent.run(tol, max_iter))


class _Descent:
    """Proximal Newton steps on the columns of a working set."""

    def __init__(
        self,
        objective: Any,
        start: Tensor | None,
        dtype: torch.dtype,
        report: Report,
    ):
        self.objective, self.report = objective, report
        self.v = torch.zeros(objective.n_features + 1, objective.rows.n_targets).double()
        self.start = start
        self.n_iter, self.change, self.gap = 0, torch.inf, torch.inf
        self.moments: Any = None
        self.narrow = objective.n_features <= _NARROW
        self.value, self.gradient = self._measure(dtype) if self.narrow else self._correlate()
        self.curve = [objective.total(self.value)]
        # What is left of the first objective is rounding, where hardly anything of y is.
        self.floor = _ROUNDING * self.value

    def run(self, tol: float, max_iter: int) -> str:
        """Step until within ``tol`` of the optimum, relatively; return how it ended."""
        while True:
            if not self.narrow:
                self._choose_columns()
            last = self.change
            self._step()
            if self.n_iter > max_iter:
                return "max_iter"
            self.value, self.gradient = self.objective.evaluate(self.v)
            self.curve[-1] = self.objective.total(self.value)  # measured, where it was the model's
            if (self.value <= self.floor).all():  # nothing of y is left
                self._look_ahead()
                return "converged"
            still = self.curve[-1] >= self.curve[-2] * (1 - _ROUNDING / 10)
            if self.narrow or still or not len(self._violators()):
                self._look_ahead()
                if self.change <= tol or (self.gap <= _ROUNDING and self.change > 0.5 * last):
                    return "converged"

    def solution(self, status: str) -> Solution:
        """Return the record of the descent."""
        return Solution(
            v=self.v,
            v_low=torch.zeros_like(self.v),
            n_iter=self.n_iter,
            loss_curve=list(self.curve),
            optimality=self.gap,
            rank=None,
            change=self.change,
            status=status,
            moments=self.moments,
        )

    def _measure(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Make the Gram matrix of all columns; return value and gradient at the start."""
        quadratic = measure(self.objective, dtype)
        self.moments = moments = quadratic.moments
        self._begin((moments.cross.diagonal() / moments.weight).sqrt())
        self._take(torch.arange(self.objective.n_features), quadratic.hessian)
        w = self.v[:-1]
        value, gradient = quadratic.at(w)
        corner = self.objective.corner @ w.abs()
        return value + corner, torch.cat((gradient, self.v[-1:]))

    def _correlate(self) -> tuple[Tensor, Tensor]:
        """Measure the columns from their mean; return value and gradient at the start."""
        objective, t = self.objective, self.objective.rows.n_targets
        mean, deviation, covariance = objective.spread()
        if objective.fit_intercept:
            objective.move(mean)
        self._begin(deviation)
        scale = deviation[t:]
        self.scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        self.all_corners = _corners(objective, self.scale)
        self.first = (covariance.abs() / self.scale[:, None]).max()
        self.index = torch.arange(0)
        if self.v.any():
            return objective.evaluate(self.v)
        return 0.5 * deviation[:t] ** 2, torch.cat((-covariance, self.v[-1:]))

    def _begin(self, deviation: Tensor) -> None:
        if self.start is not None and is_near(self.start, deviation):
            self.v[:-1] = self.start

    def _violators(self) -> Tensor:
        """Return the columns outside the working set that would leave zero, the steepest first."""
        slope = self.gradient[:-1] / self.scale[:, None]
        slope[self.index] = 0
        columns = [self.all_corners.subgradient(torch.zeros_like(s), s).abs() for s in slope.T]
        excess = torch.stack(columns).amax(0)
        (index,) = (excess > _VIOLATION * self.first).nonzero(as_tuple=True)
        return index[excess[index].argsort(descending=True)]

    def _choose_columns(self) -> None:
        """Add to the columns that have a coefficient those that would leave zero by most."""
        entering = self._violators()
        if len(self.index) and not len(entering):
            return
        (support,) = self.v[:-1].any(1).nonzero(as_tuple=True)
        entering = entering[: max(_ENTERING, len(support))]
        index = torch.cat((support, entering)).unique()
        part = self.objective.over(index)
        self._take(index, part.quadratic(self.objective.double).hessian)

    def _take(self, index: Tensor, hessian: Tensor) -> None:
        """Make a set of columns, whose Hessian is given, the working set."""
        scale = hessian.diagonal().sqrt()
        self.index, self.unit = index, torch.where(scale > 0, scale, torch.ones_like(scale))
        self.hessian = hessian / torch.outer(self.unit, self.unit)
        self.hessian += (scale == 0).double().diag()  # a constant column stays at zero
        self.corners = _corners(self.objective, self.unit, index)

    def _step(self) -> None:
        """Step to the minimum of the quadratic over the working set."""
        step, gain = self._newton_step()
        bent = 0.5 * (step * (self.hessian @ step)).sum(0)
        self.v = self.v.clone()
        self.v[self.index] += step / self.unit[:, None]
        self.v[self.index] *= self.landed  # adding a step leaves rounding where zero is meant
        self.v[-1] -= self.gradient[-1]
        self.n_iter += 1
        self.curve.append(self.objective.total((self.value - gain + bent).clamp(min=0)))
        ended = partial(self.solution, "completed")
        self.report(self.n_iter, self.curve[-1], self.gap, ended)

    def _look_ahead(self) -> None:
        """Measure how far the next step would go, and what it would gain."""
        step, gain = self._newton_step()
        size = (self.v[self.index] * self.unit[:, None]).abs()
        largest = torch.maximum(size, step.abs()).amax(0)
        self.change = float(torch.nan_to_num(step.abs().amax(0) / largest, 0.0).max())
        gain = (gain - self.floor).clamp(min=0)
        self.gap = float(torch.nan_to_num(gain / self.value, 0.0).max())

    def _newton_step(self) -> tuple[Tensor, Tensor]:
        """Return the step in scaled coordinates, and its gain to first order."""
        w = self.v[self.index] * self.unit[:, None]
        slope = self.gradient[self.index] / self.unit[:, None]
        columns = zip(slope.T, w.T, strict=True)
        new = torch.stack(
            [minimise_quadratic(self.hessian, g, self.corners, x) for g, x in columns], 1
        )
        self.landed = new != 0
        change = self.corners.slope @ (new.abs() - w.abs())
        return new - w, (-(slope * (new - w)).sum(0) - change).clamp(min=0)


def _corners(objective: Any, unit: Tensor, index: Tensor | None = None) -> Corners:
    """Return the corners of the penalty for coefficients times ``unit``."""
    slope = objective.corner if index is None else objective.corner[index]
    bounded = torch.full((len(unit),), objective.penalty.positive)
    return Corners(slope / unit, bounded)

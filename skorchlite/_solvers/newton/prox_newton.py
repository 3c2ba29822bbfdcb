"""Squared error with a penalty that has kinks: proximal Newton steps on the columns that matter.

The Gram matrix gives the step, the data the gradient of the next one, so that a step corrects what
rounding left. Of many columns the matrix is made for a working set only: those with a coefficient
and those whose gradients exceed the kink of the penalty by most, until no gradient does.

References
----------
Tibshirani, Bien, Friedman, Hastie, Simon, Taylor, Tibshirani (2012), "Strong rules for discarding
predictors in lasso-type problems", JRSS B 74(2). Massias, Gramfort, Salmon (2018), "Celer: a fast
solver for the lasso with dual extrapolation", ICML.
"""

from functools import partial
from math import inf, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._linalg.products import divided, product, quietly
from ..._objective.moments import Moments, rounding_of_sums
from ..._objective.objective import Objective
from ..base import Solution, SolverControl, is_near
from .active_set import minimise_quadratic
from .bounds import AtZero, Bound
from .cholesky import clear_of_rounding
from .gathered_columns import GatheredColumns
from .kinks import Kinks
from .preconditioner import inverse_factor
from .quadratic_model import SAFETY, measure
from .small_problems import is_near_enough
from .working_columns import steepness, widened

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_NARROW = 256  # columns, up to which their Gram matrix costs no more than the passes it saves
_MEDIUM = 600  # columns, up to which it may cost no more either, if it takes
_FEW_PRODUCTS = 4e8  # products of entries at most
_ENTERING = 0.5  # of the columns that have a coefficient, as many as enter a working set
_VIOLATION = 1e-14  # of a kink, relative to the largest gradient at zero, that is rounding
_ROUNDING = 1e-14  # of the objective
_STEPS = 12  # of all columns at once: more do not find what their matrix has lost
_LEAST = float(np.finfo(np.float64).tiny)
_STEPS_UP = 5  # that do not come lower, before rounding is all that is left


def descend_with_kinks(
    objective: Objective, start: Tensor | None, control: SolverControl
) -> Solution:
    """Minimise squared error plus a penalty with kinks; see ``newton``."""
    descent = _Descent(objective, start, control)
    return descent.solution(descent.run(control.gap, control.max_iter))


class _Descent:
    """Proximal Newton steps on the columns of a working set.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features, n_targets) or None
    control : SolverControl

    Attributes
    ----------
    narrow : bool
        Whether the working set is all columns.
    scale, all_kinks : array of shape (n_features,), Kinks
        The deviation of each column, 1 for a constant one, and the kinks in units of it.
    scale_of_all : array of shape (n_features,) or (n_features + 1,)
        The same, with the 1 of an intercept that is fitted.
    index, unit, hessian, kinks : array, array, array, Kinks
        The columns of the working set, their deviation, and their Hessian and kinks in units of it.
    """

    def __init__(self, objective: Objective, start: Tensor | None, control: SolverControl):
        self.objective, self.monitor = objective, control.monitor
        self.v = np.zeros((objective.n_features + 1, objective.rows.n_targets))
        self.start = start
        self.l1 = objective.column_penalty.l1.numpy()
        self.n_iter, self.change = 0, inf
        self.gap = self.blurred = nan
        self.rate = inf  # by which rounding of the Gram matrix moves the coefficients
        self.best: tuple = ()
        self.moments: Moments | None = None
        self.narrow = _is_narrow(objective)
        self.value, self.gradient = (
            self._measure(control.dtype) if self.narrow else self._correlate()
        )
        self.curve = [self.objective.units.total(self.value)]
        self.at_zero = [AtZero.of(value) for value in self.value.tolist()]
        self.bound = self._bound()

    def run(self, tol: float, max_iter: int) -> str:
        """Step until within ``tol`` of the optimum, relatively; return how it ended."""
        while True:
            near, last = self.n_iter and self._measure_gaps(tol), self.change
            # Far from the optimum no step on the last set is made, beside one on the next.
            entered = not near and self.n_iter < max_iter and self._choose_columns()
            step, gain = self._newton_step()
            # The coefficients come closer for as long as rounding lets them.
            settled = not entered and (self.change <= tol or self.change > 0.5 * last)
            if near and settled:
                return "converged"
            if self.n_iter >= max_iter:
                return self._at_best("max_iter_gap")
            if near and self._choose_columns():
                entered = True
                step, gain = self._newton_step()
            idle = self._without_gain()
            lost = idle > _STEPS_UP or (self.narrow and self.n_iter >= _STEPS)
            if lost or (idle and settled and not entered):
                return self._at_best("stalled_gap")
            first = abs(self.gradient[:-1])
            self._move(step, gain)
            found = self.n_iter == 1 and self._is_found(first, tol)
            ended = partial(self.solution, "completed")
            self.monitor(self.n_iter, self.curve[-1], self.gap, ended)
            if found:
                return "converged"
            self.value, self.gradient = self._evaluate()
            # Measured, where it was the model's.
            self.curve[-1] = self.objective.units.total(self.value)

    def _is_found(self, first: Array, tol: float) -> bool:
        """Return whether the first step has led to the optimum, by the Gram matrix alone.

        It has where rounding of that matrix moves the coefficients by no more than ``tol``, as is
        estimated from its condition. The gradient of the quadratic then bounds the gap.

        Parameters
        ----------
        first : array of shape (n_features, n_targets)
            The size of the gradient at the start.
        tol : float
        """
        size = abs(self.v[:-1] * self.scale[:, None]).max(0)
        if not self.narrow or not size.all():
            return False
        # Of a minimum that is small beside the step without the penalty, less is known.
        change = self.rate * max(1.0, float(((first / self.scale[:, None]).max(0) / size).max()))
        if not is_near_enough(self.objective, change, tol):
            return False
        self.change = change
        return self._measure_gaps(tol)

    def _without_gain(self) -> int:
        """Return how many steps ago the objective fell by more than rounding; keep that point."""
        if not self.best or self.curve[-1] < self.curve[self.best[0]] * (1 - _ROUNDING):
            self.best = self.n_iter, self.v, self.value, self.gradient
        return self.n_iter - self.best[0]

    def _at_best(self, status: str) -> str:
        """Go back to the lowest point if rounding has led away from it; return the status."""
        if self.curve[-1] > self.curve[self.best[0]] * (1 + _ROUNDING):
            _, self.v, self.value, self.gradient = self.best
            self._measure_gaps()
            self._newton_step()
            self.curve.append(self.objective.units.total(self.value))
        return status

    def solution(self, status: str) -> Solution:
        """Return the record of the descent; before the second step there may be no gap yet."""
        return Solution(
            objective=self.objective,
            v=torch.from_numpy(self.v),
            v_low=torch.zeros(self.v.shape, dtype=torch.float64),
            n_iter=self.n_iter,
            loss_curve=list(self.curve),
            optimality=self.gap,
            change=self.change,
            status=status,
            moments=self.moments,
        )

    def _evaluate(self) -> tuple[Array, Array]:
        """Return the value for each target, and the gradient of what is smooth."""
        value, gradient = self.objective.evaluate(torch.from_numpy(self.v))
        return value.numpy(), gradient.numpy()

    def _measure(self, dtype: torch.dtype) -> tuple[Array, Array]:
        """Make the Gram matrix of all columns; return value and gradient at the start."""
        self.objective, quadratic = measure(self.objective, dtype)
        self.moments = moments = quadratic.moments
        self._begin(np.sqrt(moments.cross.diagonal() / moments.weight))
        self._work_on(np.arange(self.objective.n_features), quadratic.hessian)
        _, condition = inverse_factor(self.hessian)
        self.rate = SAFETY * condition * torch.finfo(dtype).eps
        self._scale_by(self.unit)
        value, gradient = quadratic.at(self.v[:-1])
        return value + self.l1 @ abs(self.v[:-1]), np.concatenate((gradient, self.v[-1:]))

    def _correlate(self) -> tuple[Array, Array]:
        """Measure the columns from their mean; return value and gradient at the start."""
        t = self.objective.rows.n_targets
        mean, deviation, covariance = self.objective.spread()
        self.objective = self.objective.centred(mean, deviation)
        self._begin(deviation.numpy())
        scale, slope = deviation[t:].numpy(), covariance.numpy()
        self._scale_by(scale)
        self.first = (abs(slope) / self.scale[:, None]).max()
        self.gathered = GatheredColumns(self.objective)
        self._work_on(np.arange(0), np.zeros((0, 0)))
        if self.v.any():
            return self._evaluate()
        return 0.5 * deviation[:t].numpy() ** 2, np.concatenate((-slope, self.v[-1:]))

    def _begin(self, deviation: Array) -> None:
        """Take the start that was given, where it is near."""
        if self.start is not None and is_near(self.start, torch.from_numpy(deviation)):
            self.v[:-1] = self.start.numpy()

    def _scale_by(self, scale: Array) -> None:
        """Set the unit in which a coefficient has the spread of its column."""
        self.scale = np.where(scale > 0, scale, 1.0)
        fitted = np.ones(int(self.objective.fit_intercept))
        self.scale_of_all = np.concatenate((self.scale, fitted))
        self.all_kinks = self._kinks(self.l1 / self.scale)

    def _kinks(self, slope: Array, n_free: int = 0) -> Kinks[np.ndarray]:
        """Return the kinks of the penalty with these slopes, the last of them of intercepts."""
        bounded = np.full(len(slope), self.objective.penalty.positive)
        bounded[len(slope) - n_free :] = False
        return Kinks(slope, bounded)

    def _bound(self) -> Bound:
        """Return what bounds the gap of a target."""
        objective = self.objective
        n_free = int(objective.fit_intercept)
        nothing = np.zeros(n_free)
        kinks = self._kinks(np.concatenate((self.all_kinks.slope, nothing)), n_free)
        curvature = objective.column_penalty.curvature.numpy() / self.scale**2
        curvature = np.concatenate((curvature, nothing))
        # Of squared error the objective says how far predictions are, root mean square.
        return Bound(objective.loss, kinks, curvature, 1.0, whitened=False, n_free=n_free)

    def _gram(self) -> Array:
        """Return the Hessian of all columns; where it is not made, zeros, which bound nothing."""
        d, n_free = len(self.scale), int(self.objective.fit_intercept)
        gram = np.zeros((d + n_free, d + n_free))
        gram[d:, d:] = 1.0
        if self.narrow:
            gram[:d, :d] = self.hessian
        return gram

    def _violators(self) -> Index:
        """Return the columns outside the working set that would leave zero, the steepest first."""
        gradient = self.gradient[:-1] / self.scale[:, None]
        gradient[self.index] = 0
        excess = steepness(self.all_kinks, gradient)
        (index,) = (excess > _VIOLATION * self.first).nonzero()
        return index[(-excess[index]).argsort(kind="stable")]

    def _choose_columns(self) -> bool:
        """Add to the columns that have a coefficient those that would leave zero by most."""
        if self.narrow or not len(entering := self._violators()):
            return False
        index = widened(self.v, entering, _ENTERING)
        self._work_on(index, self.gathered.hessian(index))
        return True

    def _work_on(self, index: Index, hessian: Array) -> None:
        """Make a set of columns, whose Hessian is given, the working set."""
        scale = hessian.diagonal() ** 0.5
        self.index, self.unit = index, np.where(scale > 0, scale, 1.0)
        self.hessian = divided(hessian / self.unit, self.unit[:, None])
        if not scale.all():
            self.hessian += np.diag(1.0 * (scale == 0))  # a constant column stays at zero
        summed = rounding_of_sums(self.objective.rows.n_rows, torch.float64)
        self.hessian = clear_of_rounding(self.hessian, summed)
        self.kinks = self._kinks(self.l1[index] / self.unit)

    @quietly
    def _move(self, step: Array, gain: Array) -> None:
        """Step to the minimum of the quadratic over the working set."""
        slope = product(self.hessian, step)
        curved = 0.5 * (step * slope).sum(0)
        self.v, self.gradient = self.v.copy(), self.gradient.copy()
        self.v[self.index] += step / self.unit[:, None]
        self.v[self.index] *= self.nonzero  # adding a step leaves rounding where zero is meant
        self.v[-1] -= self.gradient[-1]
        self.value = np.maximum(self.value - gain + curved, 0.0)
        self.gradient[self.index] += self.unit[:, None] * slope
        self.gradient[-1] = 0.0
        self.n_iter += 1
        self.curve.append(self.objective.units.total(self.value))

    @quietly
    def _measure_gaps(self, tol: float = 0.0) -> bool:
        """Measure how far from the optimum the point is; return whether within ``tol``."""
        gaps = [self._gap_of(target) for target in range(len(self.value))]
        self.gap, self.blurred = map(max, zip(*gaps, strict=True))
        return self.gap <= max(tol, self.blurred)

    def _gap_of(self, target: int) -> tuple[float, float]:
        """Return the relative gap of a target, and how large a gap rounding may make."""
        unit = self.scale_of_all
        u, gradient = self.v[: len(unit), target] * unit, self.gradient[: len(unit), target] / unit
        value = float(self.value[target])
        left = self.bound.left(u, gradient, value, self._gram)
        first = self.at_zero[target]
        return first.relative(left, value), first.blurred(self.bound.blurred(u, value), value)

    @quietly
    def _newton_step(self) -> tuple[Array, Array]:
        """Return the step in scaled coordinates, and its gain to first order; note its size."""
        w = self.v[self.index] * self.unit[:, None]
        slope = self.gradient[self.index] / self.unit[:, None]
        if not len(w):
            self.nonzero, self.change = w != 0, 0.0
            return w, np.zeros(w.shape[1])
        columns = zip(slope.T, w.T, strict=True)
        targets = [minimise_quadratic(self.hessian, g, self.kinks, x) for g, x in columns]
        new = np.stack(targets, 1)
        self.nonzero, step = new != 0, new - w
        moved = abs(step).max(0)
        size = np.maximum(np.maximum(abs(w).max(0), moved), _LEAST)
        self.change = float((moved / size).max())
        steeper = self.kinks.slope @ (abs(new) - abs(w))
        return step, np.maximum(-(slope * step).sum(0) - steeper, 0.0)


def _is_narrow(objective: Objective) -> bool:
    """Return whether the Gram matrix of all columns costs less than the passes that it saves."""
    d = objective.n_features
    return d <= _NARROW or (d <= _MEDIUM and objective.rows.fewer_than(int(_FEW_PRODUCTS // d**2)))

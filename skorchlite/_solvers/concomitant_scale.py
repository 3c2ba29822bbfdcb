"""Huber's loss with a scale that is estimated together with the coefficients.

The objective is ``mean (scale / 2 + huber(r) / scale) + alpha R(w)``, where Huber's loss turns from
a parabola to lines at ``ratio * scale``. It is convex in coefficients and scale together. Its least
value over the coefficients is a convex function of the scale alone, whose slope is known from the
residuals at that minimum. So a few fits with a given scale find where the slope is zero, which is
where the mean of ``min(r^2, (ratio scale)^2)`` is ``scale^2``.

References
----------
Huber, Ronchetti (2009), "Robust Statistics", 2nd edition, section 7.7.
Owen (2007), "A robust hybrid of lasso and ridge regression", Contemporary Mathematics 443.
"""

from dataclasses import dataclass, replace
from functools import partial
from math import exp, inf, isfinite, log, sqrt

from torch import Tensor

from .._objective import reductions
from .._objective.loss import Loss
from .._objective.losses import HuberOfScale
from .._objective.objective import Objective
from .._objective.penalties import Penalty
from .base import Solution, Solver, SolverControl, nobody

_FITS = 60  # of which eight to ten are usual
_TIGHT = 1e-13  # the tolerance of fits, for slopes that hold some six digits
_LEAST_GAP = 1e-13  # that is asked for; below, what is left is rounding
_INNER = 1e-2  # of the tolerance: a scale and coefficients that hold half the digits of it
_BEYOND = 1e-6  # of the scale: how far steps go past the zero, to have it between two fits
_DOUBTFUL = 1e-2  # doubt in an excess that says how far is clear of it
_FAR = 3.0  # of the logarithm of the scale: the longest step
_SMALL = 1e-8  # of an excess
_NOTHING = 1e-11  # of the deviation of the targets: a scale that may as well be zero
_SMALLEST = 1e-12  # of that deviation: a mean error that rounding makes
_ROUNDING = 1e-14


def descend_with_scale(
    objective: Objective, start: Tensor | None, control: SolverControl, solve: Solver
) -> Solution:
    """Minimise an objective of one target whose loss is ``HuberOfScale``; see ``newton``.

    Parameters
    ----------
    objective, start, control
        As of a solver.
    solve : Solver
        Of objectives with a given scale.
    """
    if objective.rows.n_targets > 1:
        raise ValueError(
            "epsilon='auto' estimates the scale of one target, and y has "
            f"{objective.rows.n_targets}. Use sklearn.multioutput.MultiOutputRegressor, or give "
            "epsilon."
        )
    search = _Search(objective, control, solve, start)
    deviation = float(objective.spread()[1][0])
    scale: float | None = deviation
    while scale:
        point = search.fit(scale)
        if not point.towards or (point.scale <= _NOTHING * deviation and point.excess < 0):
            return search.without_scale(point.scale, deviation)
        scale = search.next_scale()
    return search.solution() if deviation else search.without_scale(0.0, deviation)


@dataclass(frozen=True)
class _Point:
    """A fit with a given scale.

    Parameters
    ----------
    scale : float
    solution : Solution
    value : float
        Of the objective.
    made : float
        How much lower it may be at this scale.
    square : float
        The mean of ``min(r^2, (ratio scale)^2) / scale^2``, which falls with the scale.
    doubt : float
        How far the square may be off, since the fit may be.
    towards : float
        The scale without excess, were each row to stay on its piece of the loss.
    """

    scale: float
    solution: Solution
    value: float
    made: float
    square: float
    doubt: float
    towards: float

    @property
    def excess(self) -> float:
        """By how much the square is above 1: minus twice the slope of the least value."""
        return self.square - 1

    def gap(self, low: float, high: float) -> float:
        """Return how much lower the objective may be, where the best scale is between two."""
        below = self.scale - low if self.excess <= self.doubt else 0.0
        above = high - self.scale if self.excess >= -self.doubt else 0.0
        return self.made + 0.5 * (abs(self.excess) + self.doubt) * max(below, above, 0.0)


class _Search:
    def __init__(
        self, objective: Objective, control: SolverControl, solve: Solver, start: Tensor | None
    ):
        loss = objective.loss
        assert isinstance(loss, HuberOfScale)
        self.objective, self.loss, self.solve, self.start = objective, loss, solve, start
        self.control, self.points = control, list[_Point]()
        self.low, self.high = 0.0, inf  # the best scale is between them
        self.n_iter, self.curve = 0, list[float]()

    def fit(self, scale: float) -> _Point:
        """Fit with a scale."""
        loss, penalty = self.loss.at(scale), self.objective.penalty.times(scale)
        solution = self._solved(loss, penalty)
        inner = solution.loss_curve[-1]
        value, made = 0.5 * scale + inner / scale, solution.optimality * inner / scale
        clipped, beyond, total = solution.objective.rows.total(
            partial(
                reductions.clipped,
                origin=solution.objective.origin,
                dtype=solution.objective.double,
                loss=loss,
                v=solution.v,
            )
        )
        ratio, square = self.loss.ratio, float(clipped) / total / scale**2
        outside = ratio**2 * float(beyond) / total
        inside = max(square - outside, 0.0)
        towards = scale * sqrt(inside / (1 - outside)) if outside < 1 else 2 * scale
        # Slopes of a loss with a curvature of 1 are off by at most sqrt(2 gap), root mean square.
        doubt = 2 * ratio * sqrt(2 * made / scale) if made >= 0 else inf
        point = _Point(scale, solution, value, made, square, doubt + _ROUNDING * square, towards)
        self._add(point)
        return point

    def _solved(self, loss: Loss, penalty: Penalty) -> Solution:
        given = self.objective
        objective = Objective(given.rows, loss, penalty, given.origin, given.fit_intercept)
        control = replace(self.control.after(self.n_iter, nobody), tol=_TIGHT)
        solution = self.solve(objective, self.start, control)
        self.n_iter += solution.n_iter
        return solution

    def _add(self, point: _Point) -> None:
        self.points.append(point)
        if point.excess > point.doubt:
            self.low = max(self.low, point.scale)
        if point.excess < -point.doubt:
            self.high = min(self.high, point.scale)
        self.high = min(self.high, 2 * point.value)  # half the scale is a part of the objective
        self.curve.append(point.value)
        best = self._best()
        gap = self._gap(best)
        self.control.monitor(len(self.points), best.value, gap, self.solution)

    def _best(self) -> _Point:
        return min(self.points, key=lambda point: point.gap(self.low, self.high) + point.value)

    def _gap(self, point: _Point) -> float:
        return point.gap(self.low, self.high) / point.value

    def next_scale(self) -> float | None:
        """Return the scale to try next; None at the end."""
        best = self._best()
        ended = self._gap(best) <= max(_INNER * self.control.gap, _LEAST_GAP)
        ended &= abs(best.excess) <= max(best.doubt, _SMALL)
        if ended or len(self.points) == _FITS or self.n_iter >= self.control.max_iter:
            return None
        last = self.points[-1]
        scale = self._zero_by_secant() or last.towards
        if self.high - self.low > 4 * _BEYOND * last.scale:  # it is not known from both sides
            beyond = max(_BEYOND, 8 * last.doubt) if last.doubt < _DOUBTFUL else _BEYOND
            scale *= 1 + beyond if scale >= last.scale else 1 - beyond
        if not self.low < scale < self.high:
            # Slopes of the excess that vary much, or its rounding.
            scale = sqrt(self.low * self.high) if self.low else 0.5 * self.high
        tried = any(abs(scale - point.scale) <= _ROUNDING * scale for point in self.points)
        return None if tried else scale

    def _zero_by_secant(self) -> float | None:
        """Return where the excess of the last two fits leads; None where it says nothing."""
        if len(self.points) < 2:
            return None
        before, last = self.points[-2:]
        step = log(last.scale / before.scale)
        ends = log(before.square), log(last.square)
        if step * (ends[1] - ends[0]) >= 0:
            return None
        way = -ends[1] * step / (ends[1] - ends[0])
        return last.scale * exp(min(max(way, -_FAR), _FAR))

    def solution(self) -> Solution:
        """Return the best fit, with how far the objective may be above its least."""
        best = self._best()
        return self._ended(best.solution, best.scale, self._gap(best))

    def without_scale(self, high: float, deviation: float) -> Solution:
        """Return the least absolute errors, which are the limit as the scale goes to zero.

        Almost half of the rows are fitted exactly then. The best scale may be up to ``high``, and
        errors that are nothing beside the deviation of the targets are rounding.
        """
        solution = self._solved(self.loss.at_zero, self.objective.penalty)
        value, ratio = solution.loss_curve[-1], self.loss.ratio
        self.curve.append(value)
        size = value if value > _SMALLEST * deviation else deviation
        below = 0.5 * (ratio**2 - 1) * high / size if high else 0.0
        return self._ended(solution, 0.0, solution.optimality + below)

    def _ended(self, solution: Solution, scale: float, gap: float) -> Solution:
        status = "converged" if gap <= max(self.control.gap, _LEAST_GAP) else "stalled_gap"
        if status != "converged" and self.n_iter >= self.control.max_iter:
            status = "max_iter_gap"
        if not isfinite(gap):
            status = solution.status
        return replace(
            solution,
            n_iter=self.n_iter,
            loss_curve=self.curve,
            optimality=gap,
            status=status,
            scale=scale,
        )

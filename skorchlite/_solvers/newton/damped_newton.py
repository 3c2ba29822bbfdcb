"""Damped Newton steps on a local problem whose loss has a curvature everywhere.

Where hardly a row is within the round part of the loss, the descent begins with a wider one. Kinks
of the penalty are left to the quadratic model of each step, as long as a few steps are enough. Such
a model is as hard to minimise as the whole problem is by interior point steps, which take over
then.

References
----------
Lee, Sun, Saunders (2014), "Proximal Newton-type methods for minimizing composite functions", SIAM
Journal on Optimization 24(3).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import dot, gram, norm, product
from .active_set import minimise_quadratic
from .cholesky import solve_positive
from .hinges import Hinges, hinges_of
from .local_problem import LocalProblem, LocalResult
from .piecewise_descent import minimise_in_pieces

Array = NDArray[np.float64]

_SHRINK = 0.1  # of the width of the loss, from one stage to the next
_STEPS = 100  # in a stage
_FEW_STEPS = 10  # where the penalty has kinks
_LOST = 10.0  # of the objective: a quadratic model that gains as much is wrong
_SLACK = 1e-3  # what a stage but the last may leave to gain, relative to the objective
_DAMPING = 1e-3  # relative to the mean curvature, where few rows have any
_FEW = 10  # rows with curvature for each coordinate
_GENTLE = 1e-12  # damping otherwise
_FLAT = 0.1  # slope at which a line search ends, relative to that at its start
_LONGEST = 1e9  # times the Newton step
_TRIALS = 40
_WIDE = 10.0  # times as wide as its round part, a loss begins with wider ones
_ROUNDING = 1e-14  # of the objective


def minimise_round(problem: LocalProblem, start: Array, tol: float, max_iter: int) -> LocalResult:
    """Descend until rounding is all that is left to gain; the last steps cost little.

    Parameters
    ----------
    problem : LocalProblem
        Its loss is ``widened`` by a factor.
    start : array of shape (k,)
    tol : float
    max_iter : int
    """
    descent = DampedNewton(problem, start)
    result, has_rows = descent.result, len(problem.model.y) > 0
    if descent.smooth:
        descent.run(_STEPS, max_iter)
        return result
    if result.value <= _WIDE * problem.loss.curved_to**2 or not has_rows:
        descent.run(_FEW_STEPS, max_iter)
    if result.gap > tol and has_rows:
        _go_on_in_pieces(result, tol, max_iter)
    return result


def _go_on_in_pieces(result: LocalResult, tol: float, max_iter: int) -> None:
    """Take interior point steps from the start, and keep the better end."""
    other = minimise_in_pieces(result.problem, result.start, tol, max_iter - result.n_iter)
    result.n_iter += other.n_iter
    result.curve += [min(value, result.value) for value in other.curve]
    if other.value <= result.value:
        result.u, result.value, result.left = other.u, other.value, other.left
    else:
        result.left = min(result.left, result.value - other.lower)


@dataclass
class Expansion:
    """The objective to second order about a point.

    Parameters
    ----------
    value : float
    gradient : array of shape (k,)
        Without the kinks of the penalty.
    hessian : array of shape (k, k)
    subgradient : array of shape (k,)
        Of least norm.
    mean_curvature : float
        The weighted mean of the curvature that the loss has in each row.
    """

    value: float
    gradient: Array
    hessian: Array
    subgradient: Array
    mean_curvature: float


class DampedNewton:
    """Newton steps with a line search, of a loss in several widths.

    Parameters
    ----------
    problem : LocalProblem
    start : array of shape (k,)
    """

    def __init__(self, problem: LocalProblem, start: Array):
        self.problem, self.u = problem, start
        self.smooth = not problem.kinks.rigid.any()
        self.result = LocalResult(problem, start, problem.value(start))

    def run(self, n_steps: int, max_iter: int) -> None:
        """Take as many steps at most with each width of the loss, and bound what is left then."""
        loss, result = self.problem.loss, self.result
        times = result.value / loss.curved_to / loss.curved_to
        while times > _WIDE:
            wider = hinges_of(loss.widened(times), self.problem.model.share)
            self._stage(wider, _SLACK, n_steps, max_iter)
            times = max(_SHRINK * times, 1.0)
        hinges = self.problem.hinges
        self._stage(hinges, 0.0, n_steps, max_iter)
        about = self._expansion(hinges)
        self._settle(about)
        gradient = about.gradient + product(about.hessian, result.u - self.u)
        result.left = self.problem.bound.left(result.u, gradient, result.value, self.problem.gram)

    def _stage(self, hinges: Hinges | None, slack: float, n_steps: int, max_iter: int) -> None:
        """Take Newton steps on a loss until they gain no more than that part of it."""
        for _ in range(n_steps):
            about = self._expansion(hinges)
            target, gain = self._newton_step(about)
            if (slack and gain < slack * about.value) or self.result.n_iter >= max_iter:
                break
            if not self.smooth and gain > _LOST * about.value:  # no loss is below zero
                break
            length = self._move(hinges, target, gain)
            if not length:  # the gain was made of rounding, and would be again
                break
            if gain <= _ROUNDING**1.5 * about.value:  # no step after this one sees a gain
                break

    def _move(self, hinges: Hinges | None, target: Array, gain: float) -> float:
        """Go as far towards the target as the objective falls, and return the part of the way."""
        step, result = target - self.u, self.result
        noise = gain <= _ROUNDING * abs(result.value)
        length = 1.0 if noise else self._search_line(hinges, step, gain)
        u = self.u + length * step if length != 1 else target  # whose zeros are exact
        self.u = self.problem.feasible(u)
        result.n_iter += 1
        self._keep(self.u)
        result.curve.append(result.value)
        return length

    def _keep(self, u: Array) -> None:
        # Of values that differ by rounding the later is the better: it has the smaller gradient,
        # and its zeros are exact.
        result, problem = self.result, self.problem
        size = abs(result.value) + problem.penalty_summands(u)
        result.keep(u, _ROUNDING * size + problem.at_zero.nothing)

    def _settle(self, about: Expansion) -> None:
        """Send coefficients to zero that a proximal step from the best point would."""
        u = self.result.u
        step = 1 / np.maximum(about.hessian.diagonal(), np.finfo(np.float64).tiny)
        gradient = about.gradient + product(about.hessian, u - self.u)
        landed = self.problem.kinks.prox(u - gradient * step, step)
        settled = np.where(landed == 0, 0.0, u)
        if (settled != u).any():
            self._keep(settled)

    def _expansion(self, hinges: Hinges | None) -> Expansion:
        """Return the objective to second order about the present point."""
        problem, model = self.problem, self.problem.model
        gradient = problem.gradient(self.u, hinges)
        curvature = model.share
        if hinges:
            curvature = curvature * hinges.curvature_in_form(problem.residual(self.u))
        return Expansion(
            value=problem.value(self.u, hinges),
            gradient=gradient,
            hessian=gram(model.Z, curvature) + problem.quadratic,
            subgradient=problem.kinks.subgradient(self.u, gradient),
            mean_curvature=float(curvature.sum()),
        )

    def _newton_step(self, about: Expansion) -> tuple[Array, float]:
        """Return the minimum of the quadratic model, and what going there is to gain."""
        hessian, kinks = self._damped(about), self.problem.kinks
        if self.smooth:
            step, _ = solve_positive(hessian, -about.gradient)
            return self.u + step, float(-(about.gradient @ step))
        target = minimise_quadratic(hessian, about.gradient, kinks, self.u)
        change = kinks.value(target) - kinks.value(self.u)
        return target, float(-(about.gradient @ (target - self.u)) - change)

    def _damped(self, about: Expansion) -> Array:
        """Return the Hessian with a shift for directions in which hardly a row has curvature.

        The shift is a part of the curvature that all kept rows would have, so that directions in
        which all of them hardly differ are damped no more than others. It is proportional to the
        gradient.
        """
        diagonal = about.hessian.diagonal()
        hessian = about.hessian + np.diag(_GENTLE * diagonal)
        if about.mean_curvature < _FEW * _DAMPING and len(self.problem.model.y):
            residual = float(abs(self.problem.residual(self.u)).mean())
            if residual:
                shift = norm(about.subgradient) / residual
                hessian = hessian + shift * self.problem.gram()
        flat = hessian.diagonal() <= 0
        return hessian + np.diag(1.0 * flat) if flat.any() else hessian

    def _search_line(self, hinges: Hinges | None, step: Array, gain: float) -> float:
        """Return how far to go along a step: to where the objective no longer falls.

        With kinks a step ends at its end at the latest, where coefficients are exactly zero.
        """
        problem, model, u = self.problem, self.problem.model, self.u
        residual, change = problem.residual(u), -product(model.Z, step)
        weighted = model.share * change
        curvature = dot(step, product(problem.quadratic, step))
        start = float(problem.gradient_of_rest(u) @ step)

        def slope(length: float) -> float:
            """Return the derivative of the objective along the step."""
            there = residual + length * change
            rows = dot(weighted, hinges.slope_in_form(there)) if hinges else 0.0
            kinks = float((problem.kinks.slope * np.sign(u + length * step)) @ step)
            return rows + curvature * length + kinks + start

        return flat_point(slope, -gain, beyond=self.smooth)


def flat_point(slope: Callable[[float], float], at_zero: float, beyond: bool) -> float:
    """Return a length at which the slope along a line is next to zero, or the last one below it.

    The slope never falls, so that its zero lies between a length at which it is negative and one
    at which it is not. It is found by false position, kept away from the ends.

    Parameters
    ----------
    slope : callable
        Of a length.
    at_zero : float
        The slope at length 0, which is negative.
    beyond : bool
        Whether the length may be more than 1.
    """
    flat = -_FLAT * at_zero
    low, high = (0.0, at_zero), (1.0, slope(1.0))
    while beyond and high[1] < -flat and high[0] < _LONGEST:
        low, high = high, (3 * high[0], slope(3 * high[0]))
    for _ in range(_TRIALS):
        if abs(high[1]) <= flat or high[1] <= 0:
            return high[0]
        part = min(max(low[1] / (low[1] - high[1]), 0.05), 0.95)
        length = low[0] + (high[0] - low[0]) * part
        here = (length, slope(length))
        if abs(here[1]) <= flat:
            return length
        low, high = (here, high) if here[1] < 0 else (low, here)
    return low[0]

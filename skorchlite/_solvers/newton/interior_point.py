"""Primal-dual interior point steps, for losses and penalties that are hinges.

A step solves one linear system in the coefficients. Some twenty steps are enough for any data: ties
between rows, and columns that depend on each other, do not add to their number, as they do where a
descent goes from kink to kink.

References
----------
Mehrotra (1992), "On the implementation of a primal-dual interior point method", SIAM Journal on
Optimization 2(4). Portnoy, Koenker (1997), "The Gaussian hare and the Laplacian tortoise",
Statistical Science 12(4). Aravkin, Burke, Pillonetto (2013), "Sparse/robust estimation and Kalman
smoothing with nonsmooth log-concave densities", JMLR 14.
"""

from math import inf

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import norm
from .cholesky import factorised
from .dual_form import DualForm
from .local_problem import LocalProblem, LocalResult, root_mean_square

Array = NDArray[np.float64]

ENOUGH = 1e-4  # of what tol allows: coefficients are to be closer than the objective asks for
MOST_STEPS = 100
_IDLE = 6  # steps that gain less than a tenth
_GAIN = 1e-3  # of the objective: a step that gains as much is not idle
_TO_EDGE = 0.995  # part of the way to the boundary
_OFF = 0.1  # of a gradient: a step that misses its own by more has lost its digits
_LIGHT = 1e-4  # of the heaviest row: rows as light as this may be lost beside it
_SMALL = 1e-14  # of the slopes that make it up: a gradient that may be rounding
_ROUNDING = 1e-15  # of the objective: products that sum to less are rounding
_LOST = 1e3  # radii, beyond which the model has no minimum


class InteriorPoint:
    """Predictor-corrector steps on a local problem.

    Parameters
    ----------
    problem : LocalProblem
    start : array of shape (k,)
    radius : float, default=inf
        How far predictions may move, root mean square: rows that are not kept leave their piece of
        the loss further on, and without them the model may have no minimum.

    Attributes
    ----------
    u : array of shape (k,)
        The present point, which is not always the best one.
    ceiling : float
        A value of the objective, and not only of the model, that its minimum does not exceed.
    margin : float
        What sizes of residuals were at the start.
    moved : float
        How far the last step moved predictions, root mean square.
    """

    def __init__(self, problem: LocalProblem, start: Array, radius: float = inf):
        self.problem, self.form, self.radius = problem, DualForm(problem), radius
        value = problem.value(start)
        if problem.model.exact and problem.at_zero.value <= value:
            start, value = np.zeros_like(start), problem.at_zero.value
        self.result = LocalResult(problem, start, value)
        self.u, self.ceiling = start, value
        self.first_residual = problem.residual(start)
        self.margin = self.moved = 0.0
        share = problem.model.share
        self._uneven = bool(len(share)) and share.min() < _LIGHT * share.max()
        self._by_rows = False  # whether matrices are factorised by their rows
        self._most = inf  # what the gradient may be after a step

    def begin(self, least: float = 0.0) -> None:
        """Set the dual variables for the present point, with residuals of at least some size."""
        self.margin = self.form.begin(self.u, self.result.value, least)

    def approach(self, enough: float, max_iter: int, still: float = 0.0) -> bool:
        """Step until the products sum to enough of the objective, or get no smaller.

        Return True where a step moves predictions by less than ``still`` before that.
        """
        form, result = self.form, self.result
        least, flattest, idle, lowest = inf, inf, 0, inf
        enough = max(enough, _ROUNDING)
        while result.n_iter < min(MOST_STEPS, max_iter):
            products, gradient = form.products(), form.gradient(self.u)
            size = norm(gradient)
            # Rows of very different weights: the matrix of a step has lost the light ones.
            lost = size > self._most and size > _SMALL * form.size_of_slopes()
            self._by_rows |= lost and self._uneven
            lower = result.value < lowest - _GAIN * abs(result.value)
            gains = lower or products < 0.9 * least or size < 0.9 * flattest
            idle = 0 if gains else idle + 1
            least, flattest, lowest = min(least, products), min(flattest, size), result.value
            done = self._is_explained() or products <= enough * abs(result.value)
            if done or idle >= _IDLE or self._is_lost():
                break
            self._step(products, gradient)
            result.n_iter += 1
            self.keep(self.u)
            result.curve.append(result.value)
            if self.moved < still:
                return True
        return False

    def keep(self, u: Array, worth: float = 0.0) -> bool:
        """Keep a point that is not higher than the best one; return whether it was kept.

        Parameters
        ----------
        u : array of shape (k,)
            What is negative in it and may not be becomes zero.
        worth : float, default=0.0
            By what part of the objective it may be higher.
        """
        allowed = worth * abs(self.result.value)
        allowed += self.problem.at_zero.nothing if worth else 0.0
        return self.result.keep(self.problem.feasible(u), allowed)

    def close(self, u: Array) -> None:
        """Keep the end of the descent, or as much of the way there as the radius allows."""
        result = self.result
        moved = self.problem.distance(u, result.start)
        if moved > self.radius:
            result.at_edge = True
            u = result.start + self.radius / moved * (u - result.start)
            result.value, result.u = self.ceiling, result.start
        self.u = u
        self.keep(u)

    def find_bound(self) -> None:
        """Bound what is left to gain, by whichever dual variables do so best."""
        result = self.result
        # The lines of rows that are not kept are below them, except at the start.
        ceiling = result.value if self.problem.model.exact else self.ceiling
        result.left = result.value  # neither losses nor penalties are negative
        for duals in reversed(result.duals):  # the last are the best most often
            result.left = min(result.left, self.form.left(result.u, ceiling, duals))
            if result.left <= _ROUNDING * result.value:
                return

    def _is_explained(self) -> bool:
        """Return whether what is left of the objective is rounding."""
        return self.form.rows is not None and self.result.value <= self.problem.at_zero.nothing

    def _is_lost(self) -> bool:
        """Return whether the point is too far away for a model that has a minimum."""
        if self.radius == inf:
            return False
        moved = root_mean_square(self.problem.residual(self.u) - self.first_residual)
        return moved > _LOST * self.radius

    def _step(self, products: float, gradient: Array) -> None:
        """Take a step. A predicted one says how far to aim, and what to correct."""
        form, by_rows = self.form, self._by_rows
        form.linearise(self.u)
        lower = form.factor_by_rows() if by_rows else factorised(form.matrix())
        *_, longest = form.solve(lower, gradient)
        length = min(1.0, 1 / longest) if longest > 0 else 1.0
        # To first order a step towards zero takes its length from the sum.
        after = max((1 - length) * products + length**2 * form.second_order(), 0.0)
        target = (after / products) ** 3 * products / form.n_products
        form.aim_at(target, length)
        step, change, longest = form.solve(lower, gradient, 1 + by_rows)
        length = min(1.0, _TO_EDGE / longest) if longest > 0 else 1.0
        self._most = (1 - length + _OFF) * norm(gradient)
        self.u, self.moved = self.u + length * step, length * root_mean_square(change)
        form.move(length)

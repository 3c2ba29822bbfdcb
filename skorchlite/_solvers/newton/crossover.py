"""From interior point steps to their end: exact zeros, and rows that are exactly at a kink.

Interior point steps come ever closer to zeros and kinks without reaching them. The dual variables
show which coefficients are zero and which rows are at a kink; the equations that say so have an
exact solution. It is kept where the objective is no higher.

References
----------
Andersen, Ye (1996), "Combining interior-point and pivoting algorithms for linear programming",
Management Science 42(12).
"""

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import gram, product
from .cholesky import factorised, solve_factorised
from .interior_point import ENOUGH, MOST_STEPS, InteriorPoint
from .kinks import worth_of_zeros
from .local_problem import LocalProblem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

_GENTLE = 1e-12  # of a diagonal: directions in which columns differ by less are not balanced
_CROSSINGS = 3  # steps on the pieces that the descent ended at
_SMALLEST = 1e-12  # of what sizes are in general: where none is larger, all are zero
_CLEAR = 1e-3  # of a kink: what a slope is inside it by where a coefficient is surely zero
_INSIDE = (1e-3, 0.1, 0.5)  # parts of a kink: rounding can hardly make a slope be inside the last


def descend(
    steps: InteriorPoint, tol: float, max_iter: int = MOST_STEPS, anew: bool = True
) -> None:
    """Take interior point steps, and cross over to where they lead.

    Parameters
    ----------
    steps : InteriorPoint
    tol : float
    max_iter : int
    anew : bool, default=True
        Whether to descend again, if need be, without coefficients that turn out to be zero.
    """
    steps.begin()
    steps.approach(ENOUGH * tol, max_iter)
    cross_over(steps, tol, anew)


def cross_over(steps: InteriorPoint, tol: float, anew: bool = True) -> None:
    """Move the best point to the end that the steps lead to, with exact zeros if that is free.

    The dual variables of several ends are kept in the result, for a bound.
    """
    form, result = steps.form, steps.result
    steps.close(steps.u)
    result.duals = [form.duals]
    if result.at_edge:
        return
    CrossOver(steps, tol).run(anew)
    if steps.problem.loss.smoothness and form.coefficients:
        _settle(steps, tol)
    result.duals += [form.duals, form.duals_at(result.u)]


def _settle(steps: InteriorPoint, tol: float) -> None:
    """Send coefficients to zero whose slope is well inside the kink, if that is free.

    Where targets are huge beside the penalty, the descent ends long before the penalty matters.
    """
    u = steps.result.u
    gradient = steps.form.smooth_gradient(u, steps.form.duals_at(u))
    for part in _INSIDE:
        inside = steps.problem.kinks.inside(gradient, part) & (u != 0)
        settled = np.where(inside, 0.0, u)
        if not inside.any() or steps.keep(settled, worth=worth_of_zeros(tol)):
            return


class CrossOver:
    """What follows interior point steps.

    Parameters
    ----------
    steps : InteriorPoint
        At its end; its best point moves on.
    tol : float
        Of the objective.
    """

    def __init__(self, steps: InteriorPoint, tol: float):
        self.steps, self.tol, self.worth = steps, tol, worth_of_zeros(tol)
        self.problem, self.form, self.result = steps.problem, steps.form, steps.result
        self.ends = [duals.end for duals in self.form.everything]
        self.zero = self._clear_zeros()

    def run(self, anew: bool) -> None:
        """Move the best point on, by the first way that leads no higher.

        Parameters
        ----------
        anew : bool
            Whether the last way may be to descend again without coefficients that are surely zero.
        """
        # By the dual variables, by where rows are, or with zeros for what is small alone.
        for zero, by_residual in ((self.zero, False), (self.zero, True), (None, False)):
            if zero is None and self._has_zeros(anew):
                return
            for duals, end in zip(self.form.everything, self.ends, strict=True):
                duals.go_back(end)
            if self.steps.keep(self._crossed(zero, by_residual), worth=self.worth):
                return

    def _clear_zeros(self) -> Mask:
        """Return which coefficients are surely zero: their slope is well inside the kink."""
        zero = np.zeros(len(self.steps.u), dtype=bool)
        for index, duals in self.form.coefficients:
            slope = self.problem.kinks.slope[index] / duals.hinges.weight
            zero[index] = (slope > 0) & (duals.room.min(0)[0] > _CLEAR * slope)
        return zero

    def _crossed(self, zero: Mask | None, by_residual: bool) -> Array:
        """Return the end that the pieces of the hinges determine, with zeros and rows at kinks.

        Equations for these are solved by the method of multipliers, which are the dual variables.

        Parameters
        ----------
        zero : array of shape (k,), bool, or None
            Which coefficients are zero, besides those that are small.
        by_residual : bool
            Whether the residuals, and not the dual variables, say in which piece smooth hinges are.
        """
        form, problem, smallest = self.form, self.problem, _SMALLEST * self.steps.margin
        u, rows = self._with_zeros(zero, smallest), form.rows
        self.steps.keep(u, worth=self.worth)
        if rows:
            rows.settle(max(float(abs(problem.residual(u)).mean()), smallest))
        (free,) = problem.kinks.free(u).nonzero()
        for _ in range(_CROSSINGS):
            if rows:
                residual = problem.residual(u)
                if by_residual and rows.hinges.smooth:
                    rows.take_pieces_of(residual)
                rows.aim(residual)
            lower = factorised(form.matrix()[np.ix_(free, free)])
            right = form.right_side(form.gradient(u))
            step = np.zeros_like(u)
            step[free] = solve_factorised(lower, right[free])
            u = u + step
            if rows:
                rows.follow(-product(problem.model.Z, step))
        if problem.loss.kinked and len(free):
            self._balance(u, free)
        return u

    def _with_zeros(self, zero: Mask | None, smallest: float) -> Array:
        """Return the end of the steps with zero for coefficients that are small or given."""
        u = self.steps.u.copy()
        for index, duals in self.form.coefficients:
            duals.settle(max(float(abs(u[index]).max()), smallest))
            inside = duals.theta[0] > 0
            inside = inside if zero is None else inside | zero[index]
            u[index] = np.where(inside, 0.0, u[index])
        return u

    def _balance(self, u: Array, free: Index) -> None:
        """Let the rows at kinks take up what is left of the gradient in free coordinates.

        Where columns nearly depend on each other they cannot take up all of it. The rest is left on
        the side where the penalty holds it, so that nothing is to be gained however far one goes.
        """
        form, model, rows = self.form, self.problem.model, self.form.rows
        if not rows:
            return
        hinge, held = (rows.theta > 0).nonzero()
        Z = model.Z[np.ix_(held, free)]
        matrix = gram(Z, model.share[held])
        lower = factorised(matrix + np.diag(_GENTLE * matrix.diagonal()))
        outward = self.problem.kinks.outward(self.result.u)[free]
        aim = np.zeros_like(u[free])
        for i in range(2 * _CROSSINGS):
            excess = form.gradient(u)[free] - aim
            rows.turn(hinge, held, product(Z, solve_factorised(lower, excess)))
            if i >= _CROSSINGS - 1:
                short = float((-form.gradient(u)[free] * outward).max())
                if short <= 0:  # the penalty holds all of it
                    return
                aim = aim + 2 * short * outward

    def _has_zeros(self, anew: bool) -> bool:
        """Return whether what is surely zero is zero, if need be after a descent without it."""
        if not self.result.u[self.zero].any():
            return bool(self.zero.any())
        return anew and self._descended_anew()

    def _descended_anew(self) -> bool:
        """Descend without coefficients that are surely zero; return whether that is no higher."""
        (index,) = (~self.zero).nonzero()
        u = np.zeros_like(self.steps.u)
        if len(index):
            again = InteriorPoint(self._problem_over(index), self.result.start[index])
            descend(again, self.tol, anew=False)
            self.result.n_iter += again.result.n_iter
            u[index] = again.result.u
        return self.steps.keep(u, worth=self.worth)

    def _problem_over(self, index: Index) -> LocalProblem:
        """Return the problem with zero for the coefficients that are not in the index."""
        problem = self.problem
        return LocalProblem(
            problem.model.over(index),
            problem.loss,
            problem.kinks.over(index),
            problem.curvature[np.ix_(index, index)],
            problem.bound,
        )

"""A local problem whose loss and penalty are written as hinges, each with a dual variable.

A loss that is linear or quadratic in pieces is a sum of hinges in the residual, and a hinge is a
maximum over a dual variable in an interval:

    hinge(t) = max over low <= d <= high of  d t - width / 2 d^2

So are ``c |u|`` and ``u >= 0`` in a coefficient. Whatever the dual variables are, the minimum over
u of what is left is a lower bound on the minimum of the problem: each point comes with a gap that
is computed and not estimated.
"""

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import dot, gram, product
from ..._objective.loss import Hinge
from .cholesky import factor_of_rows, solve_factorised
from .dual_variables import DualVariables
from .hinges import Hinges
from .kinks import Kinks
from .local_problem import LocalProblem

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class DualForm:
    """The hinges of a local problem, and the linear system of a step.

    Parameters
    ----------
    problem : LocalProblem

    Attributes
    ----------
    rows : DualVariables or None
        Of the loss, in the residuals of the rows that are kept.
    coefficients : list of (array of int, DualVariables)
        Of the kinks of the penalty, in the coefficients of these indices.
    everything : list of DualVariables
        Both.
    """

    def __init__(self, problem: LocalProblem):
        self.problem, model = problem, problem.model
        self.rows = DualVariables(problem.hinges) if problem.hinges else None
        total = float(model.share.sum()) or 1.0
        weight = total / max(len(model.y), len(model.point), 1)
        self.coefficients = penalty_hinges(problem.kinks, weight)
        # Over coefficients that are not negative, the l1 norm is linear.
        self.line = np.where(problem.kinks.bounded, problem.kinks.slope, 0.0)
        of_penalty = [duals for _, duals in self.coefficients]
        self.everything = [self.rows, *of_penalty] if self.rows else of_penalty
        self.n_products = sum(duals.n_products for duals in self.everything)

    @property
    def duals(self) -> Array | None:
        """The dual variables of the rows."""
        return self.rows.d if self.rows else None

    def duals_at(self, u: Array) -> Array | None:
        """Return the dual variables that u determines; of hinges with a kink, the present ones."""
        return self.rows.slopes_at(self.problem.residual(u)) if self.rows else None

    def row_slopes(self) -> Array:
        """Return the slope of the loss in the residual of each row that is kept."""
        return self.rows.hinges.along(self.rows.d) if self.rows else self.problem.model.y

    def size_of_slopes(self) -> float:
        """Return the weighted sum of the sizes of all slopes, which make up the gradient."""
        of_rows = dot(self.problem.model.share, abs(self.row_slopes()))
        return of_rows + sum(
            dot(duals.hinges.weight, abs(duals.hinges.along(duals.d)))
            for _, duals in self.coefficients
        )

    def begin(self, u: Array, value: float, least: float = 0.0) -> float:
        """Set all dual variables for a start at u; return what sizes of residuals are there.

        Parameters
        ----------
        u : array of shape (k,)
        value : float
            The objective there.
        least : float, default=0.0
            A size that residuals are taken to have where theirs is smaller.
        """
        problem, residual = self.problem, self.problem.residual(u)
        total = float(problem.model.share.sum())
        if total:
            margin = max(dot(problem.model.share, abs(residual)) / total, least)
            steep = problem.loss.largest_slope(value)
        else:
            steep = float(abs(problem.gradient_of_rest(u)).max())
            margin = steep / float(problem.quadratic.diagonal().max())
        if self.rows:
            self.rows.begin(residual, margin, steep)
        for index, duals in self.coefficients:
            weight = float(duals.hinges.weight[0])
            duals.begin(u[index], margin, steep / weight, self.line[index] / weight)
        return margin

    def products(self) -> float:
        """Return the sum of all products that vanish at the minimum."""
        return sum(duals.products() for duals in self.everything)

    def second_order(self) -> float:
        """Return the second-order part of that sum after the whole step."""
        return sum(duals.second_order() for duals in self.everything)

    def gradient(self, u: Array) -> Array:
        """Return the gradient in u, with the dual variables as they are."""
        gradient = self.smooth_gradient(u, self.duals)
        if self.coefficients:
            gradient = gradient + self.line
        for index, duals in self.coefficients:
            hinges = duals.hinges
            gradient[index] += hinges.along(hinges.weight * duals.d)
        return gradient

    def smooth_gradient(self, u: Array, duals: Array | None) -> Array:
        """Return the gradient in u without the kinks of the penalty, for given dual variables."""
        model, rest = self.problem.model, self.problem.gradient_of_rest(u)
        if not self.rows or duals is None:
            return rest
        return rest - product(model.Z.T, model.share * self.rows.hinges.along(duals))

    def linearise(self, u: Array) -> None:
        """Write the steps of all dual variables as linear in that of u; see ``DualVariables``."""
        if self.rows:
            self.rows.linearise(self.problem.residual(u))
        for index, duals in self.coefficients:
            duals.linearise(u[index])

    def aim_at(self, target: float, again: float) -> None:
        """Aim at products that are not zero."""
        for duals in self.everything:
            duals.aim_at(target, again)

    def matrix(self) -> Array:
        """Return the matrix of the system for a step of u."""
        model, matrix = self.problem.model, self.problem.quadratic
        if self.rows:
            matrix = matrix + gram(model.Z, model.share * self.rows.theta_of_rows())
        else:
            matrix = matrix.copy()
        for index, duals in self.coefficients:
            matrix[index, index] += duals.hinges.weight * duals.theta[0]
        return matrix

    def factor_by_rows(self) -> Array:
        """Return the Cholesky factor of that matrix, without making it: see ``factor_of_rows``."""
        model, parts = self.problem.model, []
        of_coefficients = np.zeros(len(model.point))
        for index, duals in self.coefficients:
            of_coefficients[index] += duals.hinges.weight * duals.theta[0]
        if self.problem.quadratic.any():
            values, vectors = np.linalg.eigh(self.problem.quadratic)
            parts.append(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)
        if self.rows:
            parts.append(np.sqrt(model.share * self.rows.theta_of_rows())[:, None] * model.Z)
        return factor_of_rows(np.concatenate([*parts, np.diag(np.sqrt(of_coefficients))]))

    def right_side(self, gradient: Array, change: Array | float = 0.0) -> Array:
        """Return the right side of that system, without the hinges of the penalty.

        Parameters
        ----------
        gradient : array of shape (k,)
        change : array of shape (m,), default=0.0
            Of the residuals, by a part of the step that is made already.
        """
        model = self.problem.model
        if not self.rows:
            return -gradient
        slope = self.rows.hinges.along(self.rows.change_of_d(change))
        return product(model.Z.T, model.share * slope) - gradient

    def _left_after(self, step: Array, change: Array, gradient: Array) -> Array:
        """Return the right side that is left after a part of the step."""
        left = self.right_side(gradient, change) - product(self.problem.quadratic, step)
        for index, duals in self.coefficients:
            hinges = duals.hinges
            left[index] -= hinges.along(hinges.weight * duals.change_of_d(step[index]))
        return left

    def solve(self, lower: Array, gradient: Array, n_solved: int = 1) -> tuple[Array, Array, float]:
        """Set the steps of the dual variables from the Cholesky factor of the matrix.

        Parameters
        ----------
        lower : array of shape (k, k)
        gradient : array of shape (k,)
        n_solved : int, default=1
            How often the system is solved, each time for what is left. The changes of the residuals
            add up, so that those of later times keep digits that a step does not hold.

        Returns
        -------
        tuple
            The step of u, the change of the residuals, and 1 / the longest part of the step.
        """
        step, change = np.zeros_like(gradient), np.zeros_like(self.problem.model.y)
        for _ in range(n_solved):
            more = solve_factorised(lower, self._left_after(step, change, gradient))
            step, change = step + more, change - product(self.problem.model.Z, more)
        longest = [self.rows.step(change)] if self.rows else []
        longest += [duals.step(step[index]) for index, duals in self.coefficients]
        return step, change, max(longest)

    def move(self, length: float) -> None:
        """Go a part of the step with all dual variables."""
        for duals in self.everything:
            duals.move(length)

    def left(self, u: Array, ceiling: float, duals: Array | None) -> float:
        """Return how much lower than at u the minimum may be, by given dual variables.

        Parameters
        ----------
        u : array of shape (k,)
        ceiling : float
            A value of the objective, and not only of the model, that its minimum does not exceed.
        duals : array of shape (h, m), or None
            Of the rows.
        """
        problem, excess = self.problem, 0.0
        if self.rows and duals is not None:
            excess = self.rows.hinges.excess(problem.residual(u), duals)
        gradient = self.smooth_gradient(u, duals)
        return excess + problem.bound.left(u, gradient, ceiling, problem.gram)


def lower_bound(problem: LocalProblem, u: Array, duals: list[Array | None]) -> float:
    """Return the best lower bound on a problem that some sets of dual variables give at u."""
    form, value = DualForm(problem), problem.value(u)
    return value - min((form.left(u, value, each) for each in duals), default=value)


def penalty_hinges(kinks: Kinks[np.ndarray], weight: float) -> list[tuple[Index, DualVariables]]:
    """Return the kinks as hinges, each of the weight given, with the indices that they are at."""
    if not kinks.rigid.any():
        return []
    (kinked,) = ((kinks.slope > 0) & ~kinks.bounded).nonzero()
    (bounded,) = kinks.bounded.nonzero()
    weights, jump = np.full(len(kinks.slope), weight), kinks.slope[None, kinked] / weight
    parts = (
        (kinked, Hinges([Hinge()], weights[kinked], -jump, jump)),
        (bounded, Hinges([Hinge(sign=-1.0)], weights[bounded])),
    )
    return [(index, DualVariables(hinges)) for index, hinges in parts if len(index)]

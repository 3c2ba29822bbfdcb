"""A local problem whose loss and penalty are written as hinges, each with a dual variable.

A loss that is linear or quadratic in pieces is a sum of hinges in the residual, and a hinge is a
maximum over a dual variable in an interval:

    hinge(t) = max over low <= d <= high of  d t - width / 2 d^2

So are ``c |u|`` and ``u >= 0`` in a coefficient. Whatever the dual variables are, the minimum over
u of what is left is a lower bound on the minimum of the problem: each point comes with a gap that
is computed and not estimated.
"""

from collections.abc import Iterator
from functools import reduce
from operator import add

import torch
from torch import Tensor

from ..._linalg.gram import weighted_gram
from ..._objective.loss import Hinge
from .hinges import Hinges, hinges_of
from .kinks import Kinks
from .local_problem import LocalProblem


class DualForm:
    """The hinges of a local problem, and the linear system of a step.

    Parameters
    ----------
    problem : LocalProblem
        Its loss is a sum of hinges, or has no rows that are kept.

    Attributes
    ----------
    rows : list of Hinges
        Of the loss, in the residuals of the rows that are kept.
    coefficients : list of (Tensor, Hinges)
        Of the kinks of the penalty, in the coefficients of these indices.
    everything : list of Hinges
        Both.
    """

    def __init__(self, problem: LocalProblem):
        self.problem, model = problem, problem.model
        hinges = problem.loss.hinges or problem.loss.round_hinges
        self.rows = [hinges_of(hinge, model.share) for hinge in hinges if len(model.y)]
        total = float(model.share.sum()) or 1.0
        weight = total / max(len(model.y), len(model.point), 1)
        self.coefficients = _penalty_hinges(problem.kinks, weight)
        # Over coefficients that are not negative, the l1 norm is linear.
        self.line = torch.where(problem.kinks.bounded, problem.kinks.slope, 0.0)
        self.everything = [*self.rows, *(hinges for _, hinges in self.coefficients)]
        self.n_products = sum(hinges.n_products for hinges in self.everything)

    @property
    def duals(self) -> list[Tensor]:
        """The dual variables of the rows."""
        return [hinges.d for hinges in self.rows]

    def duals_at(self, u: Tensor) -> list[Tensor]:
        """Return the dual variables that u determines; of hinges with a kink, the present ones."""
        residual = self.problem.residual(u)
        return [hinges.slope(residual) if hinges.smooth else hinges.d for hinges in self.rows]

    def row_slopes(self) -> Tensor:
        """Return the slope of the loss in the residual of each row that is kept."""
        return torch.stack([hinges.sign * hinges.d for hinges in self.rows]).sum(0)

    def begin(self, u: Tensor, value: float, least: float = 0.0) -> float:
        """Set all dual variables for a start at u; return what sizes of residuals are there.

        Parameters
        ----------
        u : Tensor of shape (k,)
        value : float
            The objective there.
        least : float, default=0.0
            A size that residuals are taken to have where theirs is smaller.
        """
        problem, residual = self.problem, self.problem.residual(u)
        total = float(problem.model.share.sum())
        if total:
            margin = max(float(problem.model.share @ residual.abs()) / total, least)
            steep = problem.loss.largest_slope(value)
        else:
            steep = float(problem.gradient_of_rest(u).abs().max())
            margin = steep / float(problem.quadratic.diagonal().max())
        for hinges in self.rows:
            hinges.begin(residual, margin, steep)
        for index, hinges in self.coefficients:
            weight = float(hinges.weight[0])
            hinges.begin(u[index], margin, steep / weight, self.line[index] / weight)
        return margin

    def products(self, length: float = 0.0) -> float:
        """Return the sum of all products that vanish at the minimum, after a part of the step."""
        return sum(hinges.products(length) for hinges in self.everything)

    def gradient(self, u: Tensor) -> Tensor:
        """Return the gradient in u, with the dual variables as they are."""
        gradient = self.smooth_gradient(u, self.duals)
        if self.problem.has_bounds:
            gradient = gradient + self.line
        for index, hinges in self.coefficients:
            gradient[index] += hinges.sign * hinges.weight * hinges.d
        return gradient

    def smooth_gradient(self, u: Tensor, duals: list[Tensor]) -> Tensor:
        """Return the gradient in u without the kinks of the penalty, for given dual variables."""
        model = self.problem.model
        if not self.rows:
            return self.problem.gradient_of_rest(u).clone()
        slope = _added(hinges.signed(d) for hinges, d in zip(self.rows, duals, strict=True))
        return self.problem.gradient_of_rest(u) - model.Z.T @ (model.share * slope)

    def linearise(self, u: Tensor, target: float, again: float) -> None:
        """Write the steps of all dual variables as linear in that of u; see ``Hinges``."""
        residual = self.problem.residual(u)
        for hinges in self.rows:
            hinges.linearise(residual, target, again)
        for index, hinges in self.coefficients:
            hinges.linearise(u[index], target, again)

    def matrix(self) -> Tensor:
        """Return the matrix of the system for a step of u."""
        model, matrix = self.problem.model, self.problem.quadratic
        if self.rows:
            theta = _added(hinges.theta for hinges in self.rows)
            matrix = matrix + weighted_gram(model.Z, model.share * theta)
        else:
            matrix = matrix.clone()
        for index, hinges in self.coefficients:
            matrix[index, index] += hinges.weight * hinges.theta
        return matrix

    def right_side(self, gradient: Tensor) -> Tensor:
        """Return the right side of that system, without the hinges of the penalty."""
        model = self.problem.model
        if not self.rows:
            return -gradient
        slope = _added(hinges.signed(hinges.theta * hinges.rest) for hinges in self.rows)
        return model.Z.T @ (model.share * slope) - gradient

    def solve(self, lower: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, float]:
        """Set the steps of the dual variables from the Cholesky factor of the matrix.

        Returns
        -------
        tuple
            The step of u, the change of the residuals, and 1 / the longest part of the step.
        """
        right = self.right_side(gradient)
        for index, hinges in self.coefficients:
            right[index] -= hinges.sign * hinges.weight * hinges.theta * hinges.rest
        step = torch.cholesky_solve(right[:, None], lower)[:, 0]
        change = -(self.problem.model.Z @ step)
        longest = [hinges.step(change) for hinges in self.rows]
        longest += [hinges.step(step[index]) for index, hinges in self.coefficients]
        return step, change, max(longest)

    def move(self, length: float) -> None:
        """Go a part of the step with all dual variables."""
        for hinges in self.everything:
            hinges.move(length)

    def left(self, u: Tensor, ceiling: float, duals: list[Tensor]) -> float:
        """Return how much lower than at u the minimum may be, by given dual variables.

        Parameters
        ----------
        u : Tensor of shape (k,)
        ceiling : float
            A value of the objective, and not only of the model, that its minimum does not exceed.
        duals : list of Tensor
        """
        residual = self.problem.residual(u)
        pairs = zip(self.rows, duals, strict=True)
        excess = sum(hinges.excess(residual, d) for hinges, d in pairs)
        gradient, problem = self.smooth_gradient(u, duals), self.problem
        return excess + problem.bound.left(u, gradient, ceiling, problem.gram)


def _added(parts: Iterator[Tensor]) -> Tensor:
    """Return the sum of tensors, of which there is one at least."""
    return reduce(add, parts)


def lower_bound(problem: LocalProblem, u: Tensor, duals: list[list[Tensor]]) -> float:
    """Return the best lower bound on a problem that some sets of dual variables give at u."""
    form, value = DualForm(problem), problem.value(u)
    return value - min((form.left(u, value, each) for each in duals), default=value)


def _penalty_hinges(kinks: Kinks, weight: float) -> list[tuple[Tensor, Hinges]]:
    """Return the kinks as hinges, each of the weight given, with the indices that they are at."""
    (kinked,) = ((kinks.slope > 0) & ~kinks.bounded).nonzero(as_tuple=True)
    (bounded,) = kinks.bounded.nonzero(as_tuple=True)
    weights, jump = torch.full_like(kinks.slope, weight), kinks.slope[kinked] / weight
    parts = (
        (kinked, Hinges(Hinge(), weights[kinked], -jump, jump)),
        (bounded, Hinges(Hinge(sign=-1.0), weights[bounded])),
    )
    return [(index, hinges) for index, hinges in parts if len(index)]

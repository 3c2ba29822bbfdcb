"""From the inside to the end: exact zeros, and the pieces that interior point steps point at.

Interior point steps come ever closer to zeros and kinks without reaching them. Which coefficients
are zero, and which rows are at a kink, the dual variables tell; equations for these have an exact
solution. It is kept where the objective is no higher.

References
----------
Andersen, Ye (1996), "Combining interior-point and pivoting algorithms for linear programming",
Management Science 42(12).
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..._linalg.gram import weighted_gram
from .kinks import Corners, factorised, worth_of_zeros

_GENTLE = 1e-12  # of a diagonal: directions in which columns differ by less are not balanced
_CROSSINGS = 3  # steps on the pieces that the descent ended at
_SMALLEST = 1e-12  # of what sizes are in general: where none is larger, all are zero
_CLEAR = 1e-3  # of a corner: what a slope is inside it by where a coefficient is surely zero


class CrossOver:
    """What follows interior point steps.

    Parameters
    ----------
    steps : InteriorPoint
        At its end; its best point moves on.
    tol : float
        Of the objective.
    """

    def __init__(self, steps: Any, tol: float):
        self.steps, self.tol, self.worth = steps, tol, worth_of_zeros(tol)
        self.everything = [*steps.rows, *(hinges for _, hinges in steps.coefficients)]
        self.ends = [(hinges.d, hinges.p, hinges.q) for hinges in self.everything]
        self.zero = self._clear_zeros()

    def run(self, anew: bool) -> None:
        """Move the best point on, by whichever way leads no higher.

        Parameters
        ----------
        anew : bool
            Whether to descend again without coefficients that are surely zero, as the last way.
        """
        steps = self.steps
        # By the dual variables, by where rows are, or with zeros for what is small alone.
        for zero, by_form in ((self.zero, False), (self.zero, True), (None, False)):
            if zero is None and self._has_zeros(anew):
                return
            for hinges, end in zip(self.everything, self.ends, strict=True):
                hinges.d, hinges.p, hinges.q = end
            if steps.keep(self._crossed(zero, by_form), worth=self.worth):
                return

    def _clear_zeros(self) -> Tensor:
        """Return which coefficients are surely zero: their slope is well inside the corner."""
        zero = torch.zeros_like(self.steps.x, dtype=torch.bool)
        for index, hinges in self.steps.coefficients:
            slope = self.steps.corners.slope[index] / hinges.weight
            zero[index] = (slope > 0) & (torch.minimum(hinges.p, hinges.q) > _CLEAR * slope)
        return zero

    def _crossed(self, zero: Tensor | None, by_form: bool) -> Tensor:
        """Return the end of the descent: of its pieces, zeros and kinks that rows are at.

        Equations for these are solved by the method of multipliers, which are the dual variables.
        """
        steps = self.steps
        x, smallest = steps.x.clone(), _SMALLEST * steps.margin
        for index, hinges in steps.coefficients:
            hinges.settle(max(float(x[index].abs().max()), smallest))
            inside = hinges.theta > 0
            inside = inside if zero is None else inside | zero[index]
            x[index] = torch.where(inside, 0.0, x[index])
        steps.keep(x, worth=self.worth)
        residual = steps.residual_at(x)
        for hinges in steps.rows:
            hinges.settle(max(float(residual.abs().mean()), smallest))
        (free,) = steps.corners.free(x).nonzero(as_tuple=True)
        for _ in range(_CROSSINGS):
            residual = steps.residual_at(x)
            for hinges in steps.rows:
                if by_form and hinges.bends:
                    hinges.bend_at(residual)
                    hinges.d = hinges.steepest(residual)
                hinges.aim(residual)
            lower = factorised(steps.matrix()[free][:, free])
            right = steps.right(steps.pull_at(x))
            step = torch.zeros_like(x)
            step[free] = torch.cholesky_solve(right[free, None], lower)[:, 0]
            x, change = x + step, -(steps.model.Z @ step)
            for hinges in steps.rows:
                hinges.follow(change)
        if steps.loss.corners and len(free):
            self._balance(x, free)
        return x

    def _balance(self, x: Tensor, free: Tensor) -> None:
        """Have the rows at kinks take up what is left of the gradient in free coordinates.

        Where columns nearly depend on each other they cannot take up all of it. Then it is left on
        the side where the penalty holds it, so that nothing is to be gained however far one goes.
        """
        steps = self.steps
        held = [(hinges.theta > 0).nonzero(as_tuple=True)[0] for hinges in steps.rows]
        index, sizes = torch.cat(held), [len(rows) for rows in held]
        Z = steps.model.Z[index][:, free]
        gram = weighted_gram(Z, steps.model.share[index])
        lower = factorised(gram + (_GENTLE * gram.diagonal()).diag())
        aim, outward = torch.zeros_like(x[free]), steps.corners.outward(steps.best[1])[free]
        for i in range(2 * _CROSSINGS):
            pull = steps.pull_at(x)[free] - aim
            turn = Z @ torch.cholesky_solve(pull[:, None], lower)[:, 0]
            for hinges, rows, part in zip(steps.rows, held, turn.split(sizes), strict=True):
                hinges.turn(rows, part)
            if i >= _CROSSINGS - 1:
                short = float((-steps.pull_at(x)[free] * outward).max())
                aim = aim + 2 * max(short, 0.0) * outward

    def _has_zeros(self, anew: bool) -> bool:
        """Return whether what is surely zero is zero, if need be after a descent without it."""
        if not self.steps.best[1][self.zero].any():
            return bool(self.zero.any())
        return anew and self._descended_anew()

    def _descended_anew(self) -> bool:
        """Descend without coefficients that are surely zero; return whether that is no higher."""
        steps = self.steps
        (index,) = (~self.zero).nonzero(as_tuple=True)
        if not len(index):
            return steps.keep(torch.zeros_like(steps.x), worth=self.worth)
        model, corners = steps.model, steps.corners
        value, gradient = model.far(torch.where(self.zero, 0.0, model.point))
        part = replace(
            model,
            point=model.point[index],
            value=value,
            gradient=gradient[index],
            hessian=model.hessian[index][:, index],
            Z=model.Z[:, index],
        )
        again = type(steps)(
            part,
            steps.loss,
            Corners(corners.slope[index], corners.bounded[index]),
            steps.curvature[index][:, index],
            steps.bound,
            steps.start[index],
        )
        again.descend(self.tol, anew=False)
        steps.n_iter += again.n_iter
        x = torch.zeros_like(steps.x)
        x[index] = again.best[1]
        return steps.keep(x, worth=self.worth)

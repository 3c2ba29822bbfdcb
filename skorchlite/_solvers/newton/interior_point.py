"""Interior point steps, for losses and penalties that are linear or quadratic in pieces.

Such a loss is a sum of hinges in the residual, and a hinge is a maximum over a dual variable that
an interval holds:

    hinge(t) = max over low <= d <= high of  d t - bend / 2 d^2

So are ``c |x|`` and ``x >= 0`` in a coefficient. Whatever the dual variables are, the minimum over
x of what is left is a bound from below, so that a point comes with a gap that is computed and no
guess. A step solves one system in the coefficients. Some twenty are enough whatever the data: their
number does not depend on ties between rows or on columns that depend on each other, which descent
from kink to kink suffers from.

References
----------
Mehrotra (1992), "On the implementation of a primal-dual interior point method", SIAM Journal on
Optimization 2(4). Portnoy, Koenker (1997), "The Gaussian hare and the Laplacian tortoise",
Statistical Science 12(4). Aravkin, Burke, Pillonetto (2013), "Sparse/robust estimation and Kalman
smoothing with nonsmooth log-concave densities", JMLR 14.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..._linalg.gram import weighted_gram
from ..._objective.local_model import Model
from ..._objective.loss import Hinge, Loss
from ..._objective.losses import SquaredError
from .bounds import AtZero, Bound
from .crossover import CrossOver
from .hinges import Hinges, hinges_of
from .kinks import Corners, factorised, worth_of_zeros
from .narrowed import first_still, minimised_among_few

_STEPS = 100
_IDLE = 6  # steps that gain less than a tenth
_GAIN = 1e-3  # of the objective: a step that gains as much is not idle
_TO_EDGE = 0.995  # part of the way to the boundary
_ENOUGH = 1e-4  # of what tol allows: coefficients are to be closer than the objective asks for
_ROUNDING = 1e-15  # of the objective: products that sum to less are rounding
_LOST = 1e3  # radii, beyond which the model has no minimum
_STILLER = 0.25  # of a step that was not small enough
_INSIDE = (1e-3, 0.1, 0.5)  # parts of a corner, the last of which rounding hardly leaves in doubt
_GUESSES = 12  # of the pieces of a smooth loss
_ROUNDED = 1e-14  # of the objective: a guess that is higher by more does not descend
_STILL = 1e-9  # of the largest coordinate: after such a step the next leaves rounding alone


class InteriorPoint:
    """Descend on a model with hinges.

    Parameters
    ----------
    model : Model
    loss : object
        In pieces.
    corners : Corners
        Of the penalty.
    curvature : Tensor of shape (k, k)
        Of the penalty.
    bound : Bound
    x : Tensor of shape (k,)
        Where to start.
    radius : float, default=inf
        How far predictions may move, root mean square: rows that are not kept leave their piece of
        the loss further on, and without them the model may have no minimum.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        corners: Corners,
        curvature: Tensor,
        bound: Bound,
        x: Tensor,
        radius: float = torch.inf,
    ):
        self.model, self.loss, self.corners, self.bound = model, loss, corners, bound
        self.last: tuple[Any, Tensor] = None, model.y
        self.curvature, self.quadratic = curvature, model.hessian + curvature
        hinges = loss.hinges or loss.round_hinges
        self.rows = [hinges_of(hinge, model.share) for hinge in hinges if len(model.y)]
        self._corner_hinges(float(model.share.sum()) or 1.0)
        first = self.value(torch.zeros_like(x))
        self.at_zero = AtZero(first, loss.nothing(max(first, 0.0)))
        self.first_value = self.value(x)
        if model.exact and first <= self.first_value:
            x, self.first_value = torch.zeros_like(x), first
        self.start, self.x, self.radius, self.at_edge = x, x, radius, False
        self.first_raw = self._raw_at(x)
        self.best, self.left = (self.first_value, x), torch.inf
        self.curve: list[float] = []
        self.duals: list[list[Tensor]] = []
        self.n_iter = 0

    def _corner_hinges(self, total: float) -> None:
        """Write the penalty as hinges, each of which weighs as much as a row."""
        slope, bounded = self.corners.slope, self.corners.bounded
        (kinked,) = ((slope > 0) & ~bounded).nonzero(as_tuple=True)
        (held,) = bounded.nonzero(as_tuple=True)
        self.held = len(held) > 0
        share = total / max(len(self.model.y), len(slope), 1)
        weight = torch.full_like(slope, share)
        jump = slope[kinked] / share
        self.coefficients = [
            (index, hinges)
            for index, hinges in (
                (kinked, Hinges(Hinge(), weight[kinked], -jump, jump)),
                (held, Hinges(Hinge(sign=-1.0), weight[held])),
            )
            if len(index)
        ]
        self.line = torch.where(bounded, slope, 0.0)

    @property
    def lower(self) -> float:
        """A bound from below on the model."""
        return self.best[0] - self.left

    def lower_by(self, duals: list[list[Tensor]]) -> float:
        """Return the best bound from below on the model that some dual variables of it give."""
        value, x = self.first_value, self.start
        return value - min((self._left(value, x, each) for each in duals), default=value)

    @property
    def gap(self) -> float:
        """What is left to gain at most, relative to the objective."""
        return self.at_zero.relative(self.left, self.best[0])

    @property
    def blurred(self) -> float:
        """What of the gap may be made of rounding errors."""
        value, x = self.best
        blurred = self.at_zero.relative(self.bound.blurred(x, value), value)
        return blurred + self.at_zero.rounded(value)

    def value(self, x: Tensor) -> float:
        """Return the objective at x."""
        losses = self.loss.value(self.model.y, self._raw_at(x))
        penalty = 0.5 * (x @ (self.curvature @ x)) + self.corners.value(x)
        return float(self.model.share @ losses + self.model.far(x)[0] + penalty)

    def minimise(self, tol: float, max_iter: int, rough: bool = False) -> None:
        """Step until the bound is well within ``tol`` of the objective, or comes no closer.

        Parameters
        ----------
        tol : float
        max_iter : int
        rough : bool, default=False
            Whether neither zeros nor a bound are asked for, of the first descent on a sample.
        """
        if self.best[0] <= self.at_zero.nothing:
            self.left = max(self.best[0], 0.0)
            return
        if not len(self.x):  # no column varies
            self.left = 0.0
            return
        if self.loss.smoothness and not self.coefficients and self._guessed(tol, max_iter):
            return
        self._begin()
        if rough:
            self.at_zero = AtZero.of(self.at_zero.value)
            self._approach(tol, max_iter)
            return
        still = first_still(self)
        while self._approach(_ENOUGH * tol, max_iter, still):
            if minimised_among_few(self, tol, max_iter):
                return
            still *= _STILLER
        self._end(tol, anew=True)
        self.find_bound()

    def _guessed(self, tol: float, max_iter: int) -> bool:
        """Take Newton steps from piece to piece; return whether they led to the minimum.

        Where each guess of the pieces is lower than the last, a few are enough, at a third of the
        cost of interior point steps.
        """
        start = self.x
        while self.n_iter < min(_GUESSES, max_iter):
            residual, duals = self.residual_at(self.x), self._duals_of(self.x)
            for hinges in self.rows:
                hinges.bend_at(residual)
            lower = factorised(self.matrix())
            step = torch.cholesky_solve(-self._slope(self.x, duals)[:, None], lower)[:, 0]
            before, self.x, self.n_iter = self.x, self.x + step, self.n_iter + 1
            value = self.value(self.x)
            if value > self.best[0] * (1 + _ROUNDED):
                break
            self.best = value, self.x
            self.curve.append(value)
            if float(step.abs().max()) <= _STILL * float(before.abs().max()):
                self.duals = [self._duals_of(self.x)]
                self.find_bound()
                if self.gap <= max(tol, self.blurred):
                    return True
                break
        self.x = start
        return False

    def slopes(self) -> Tensor:
        """Return the slope of the loss in each row that is kept, as the descent ended."""
        return torch.stack([hinges.sign * hinges.d for hinges in self.rows]).sum(0)

    def descend(self, tol: float, max_iter: int = _STEPS, anew: bool = True) -> None:
        """Step like ``minimise``, without a bound.

        Parameters
        ----------
        tol : float
        max_iter : int
        anew : bool, default=True
            Whether it may be done again without coefficients that turn out to be zero.
        """
        self._begin()
        self._approach(_ENOUGH * tol, max_iter)
        self._end(tol, anew)

    def _approach(self, enough: float, max_iter: int, still: float = 0.0) -> bool:
        """Step until the products sum to enough of the objective, or get no smaller.

        Return True where a step moves predictions by less than ``still`` before that.
        """
        everything = [*self.rows, *(hinges for _, hinges in self.coefficients)]
        count = sum(hinges.count for hinges in everything)
        least, flattest, idle, lowest = torch.inf, torch.inf, 0, torch.inf
        enough = max(enough, _ROUNDING)
        while self.n_iter < min(_STEPS, max_iter):
            left = sum(hinges.products() for hinges in everything)
            pull = self.pull_at(self.x)
            slope = float(torch.linalg.vector_norm(pull))
            lower = self.best[0] < lowest - _GAIN * abs(self.best[0])
            gains = lower or left < 0.9 * least or slope < 0.9 * flattest
            idle = 0 if gains else idle + 1
            least, flattest, lowest = min(least, left), min(flattest, slope), self.best[0]
            lost = root_mean_square(self._raw_at(self.x) - self.first_raw) > _LOST * self.radius
            explained = bool(self.rows) and self.best[0] <= self.at_zero.nothing
            done = explained or left <= enough * abs(self.best[0])
            if done or idle >= _IDLE or lost:
                break
            self._step(everything, left, count, pull)
            self.n_iter += 1
            self.keep(self.x)
            self.curve.append(self.best[0])
            if self.way < still:
                return True
        return False

    @property
    def moved(self) -> float:
        """How far predictions moved, root mean square."""
        return self._way_to(self.best[1])

    def keep(self, x: Tensor, worth: float = 0.0) -> bool:
        """Take a point that is not higher, or not by more than it is worth; return whether so."""
        x = torch.where(self.corners.bounded, x.clamp(min=0), x) if self.held else x
        value = self.value(x)
        if value <= self.best[0] + worth * abs(self.best[0]) + (
            self.at_zero.nothing if worth else 0.0
        ):
            self.best = value, x
            return True
        return False

    def _end(self, tol: float, anew: bool) -> None:
        """Keep the point that the descent leads to, with exact zeros if it can be."""
        self.close(self.x)
        self.duals = [[hinges.d for hinges in self.rows]]
        if not self.at_edge:
            CrossOver(self, tol).run(anew)
            if self.loss.smoothness and self.coefficients:
                self._settle(tol)
            self.duals += [[hinges.d for hinges in self.rows], self._duals_of(self.best[1])]

    def _settle(self, tol: float) -> None:
        """Send coefficients to zero whose slope is well inside the corner, if that is free.

        Where targets are huge beside the penalty the descent has long ended when it is felt.
        """
        x = self.best[1]
        slope = self._slope(x, self._duals_of(x))
        for part in _INSIDE:
            inside = self.corners.inside(slope, part) & (x != 0)
            settled = torch.where(inside, 0.0, x)
            if not inside.any() or self.keep(settled, worth=worth_of_zeros(tol)):
                return

    def close(self, x: Tensor) -> None:
        """Keep the end of the descent, or as much of the way there as the radius allows."""
        moved = self._way_to(x)
        if moved > self.radius:
            self.at_edge = True
            x = self.start + self.radius / moved * (x - self.start)
            self.best = self.first_value, self.start
        self.x = x
        self.keep(x)

    def find_bound(self) -> None:
        """Bound what is left to gain, by whichever dual variables do so best."""
        value, x = self.best
        bounds = (self._left(value, x, duals) for duals in self.duals)
        self.left = min(value, *bounds)  # neither losses nor penalties are below zero

    def _left(self, value: float, x: Tensor, duals: list[Tensor]) -> float:
        # The lines of rows that are not kept are below them, but for at the start.
        value = value if self.model.exact else self.first_value
        residual = self.residual_at(x)
        pairs = zip(self.rows, duals, strict=True)
        excess = sum(hinges.excess(residual, d) for hinges, d in pairs)
        return excess + self.bound.left(x, self._slope(x, duals), value, self.gram)

    def _duals_of(self, x: Tensor) -> list[Tensor]:
        """Return the dual variables that belong to x, where hinges bend."""
        residual = self.residual_at(x)
        return [hinges.steepest(residual) if hinges.bends else hinges.d for hinges in self.rows]

    @cached_property
    def first_gradient(self) -> Tensor:
        """The gradient at the start, without the corners of the penalty."""
        return self._slope(self.start, self._duals_of(self.start))

    def gram(self) -> Tensor:
        """Return the products of the columns over the rows that are kept."""
        return weighted_gram(self.model.Z, self.model.share) + self.quadratic

    def _begin(self) -> None:
        residual, total = self.residual_at(self.x), float(self.model.share.sum())
        if total:
            margin = float(self.model.share @ residual.abs()) / total
            steep = self.loss.largest_slope(self.best[0])
        else:
            steep = float(self._far(self.x).abs().max())
            margin = steep / float(self.quadratic.diagonal().max())
        for hinges in self.rows:
            hinges.begin(residual, margin, steep)
        for index, hinges in self.coefficients:
            weight = float(hinges.weight[0])
            hinges.begin(self.x[index], margin, steep / weight, self.line[index] / weight)
        self.margin = margin  # what sizes are in these coordinates

    def residual_at(self, x: Tensor) -> Tensor:
        """Return the residuals of the rows that are kept."""
        return self.model.y - self._raw_at(x)

    def _raw_at(self, x: Tensor) -> Tensor:
        """Return their raw predictions; a step asks more than once for those of its end."""
        if self.last[0] is not x:
            self.last = x, self.model.Z @ x
        return self.last[1]

    def _way_to(self, x: Tensor) -> float:
        """Return how far predictions are from those at the start, root mean square."""
        return root_mean_square(self.model.Z @ (x - self.start))

    def _step(self, everything: list[Hinges], left: float, count: float, pull: Tensor) -> None:
        """Take a step: the predicted one says how far to aim and what to correct."""
        residual = self.residual_at(self.x)
        self._linearise(residual, 0.0, 0.0)
        lower = factorised(self.matrix())
        longest = self._solve(lower, pull)
        length = min(1.0, 1 / longest) if longest > 0 else 1.0
        after = sum(hinges.products(length) for hinges in everything)
        self._linearise(residual, (after / left) ** 3 * left / count, length)
        longest = self._solve(lower, pull)
        length = min(1.0, _TO_EDGE / longest) if longest > 0 else 1.0
        self.x, self.way = self.x + length * self.to_x, length * self.moves
        for hinges in everything:
            hinges.move(length)

    def _linearise(self, residual: Tensor, target: float, again: float) -> None:
        for hinges in self.rows:
            hinges.linearise(residual, target, again)
        for index, hinges in self.coefficients:
            hinges.linearise(self.x[index], target, again)

    def pull_at(self, x: Tensor) -> Tensor:
        """Return the gradient in x, the dual variables given."""
        gradient = self._slope(x, [hinges.d for hinges in self.rows]) + self.line
        for index, hinges in self.coefficients:
            gradient[index] += hinges.sign * hinges.weight * hinges.d
        return gradient

    def _slope(self, x: Tensor, duals: list[Tensor]) -> Tensor:
        """Return the gradient without the corners of the penalty."""
        slope = sum(hinges.sign * d for hinges, d in zip(self.rows, duals, strict=True))
        return self._far(x) - self.model.Z.T @ (self.model.share * slope)

    def _far(self, x: Tensor) -> Tensor:
        """Return the gradient of what is no hinge."""
        return self.model.far(x)[1] + self.curvature @ x

    def matrix(self) -> Tensor:
        theta = sum(hinges.theta for hinges in self.rows)
        matrix = self.quadratic + weighted_gram(self.model.Z, self.model.share * theta)
        for index, hinges in self.coefficients:
            matrix[index, index] += hinges.weight * hinges.theta
        return matrix

    def right(self, pull: Tensor) -> Tensor:
        """Return the right side of the system for a step, but for the penalty's part."""
        turn = sum(hinges.sign * hinges.theta * hinges.rest for hinges in self.rows)
        return self.model.Z.T @ (self.model.share * turn) - pull

    def _solve(self, lower: Tensor, pull: Tensor) -> float:
        """Set the step; return 1 / how far it may go."""
        right = self.right(pull)
        for index, hinges in self.coefficients:
            right[index] -= hinges.sign * hinges.weight * hinges.theta * hinges.rest
        self.to_x = torch.cholesky_solve(right[:, None], lower)[:, 0]
        change = -(self.model.Z @ self.to_x)
        self.moves = root_mean_square(change)
        steps = [hinges.step(change) for hinges in self.rows]
        steps += [hinges.step(self.to_x[index]) for index, hinges in self.coefficients]
        return max(steps)


def quadratic_minimum(hessian: Tensor, slope: Tensor, corners: Corners, x: Tensor) -> Tensor:
    """Return the minimum of ``slope.(u - x) + 1/2 (u - x).hessian.(u - x) + corners(u)`` over u.

    Parameters
    ----------
    hessian : Tensor of shape (k, k)
    slope : Tensor of shape (k,)
    corners : Corners
    x : Tensor of shape (k,)
    """
    nothing = x.new_zeros(0)
    model = Model(
        point=x,
        value=x.new_zeros(()),
        gradient=slope,
        hessian=hessian,
        Z=x.new_zeros(0, len(x)),
        y=nothing,
        share=nothing,
        exact=True,
    )
    none = torch.zeros_like(hessian)
    bound = Bound(SquaredError(), corners, none, 1.0, whitened=False, n_free=0)
    descent = InteriorPoint(model, SquaredError(), corners, none, bound, x)
    descent.descend(0.0)
    return descent.best[1]


def root_mean_square(x: Tensor) -> float:
    """Return the root of the mean of squares; 0 where there are none."""
    return float(torch.linalg.vector_norm(x)) / max(len(x), 1) ** 0.5

"""Interior point steps, for losses and penalties that are linear or quadratic in pieces.

But for a line, such a loss is a sum of hinges in the residual, and a hinge is a maximum over a
dual variable that an interval holds:

    hinge(t) = max over 0 <= d <= jump of  d t - bend / 2 d^2

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

from .._losses import Hinge, SquaredError
from .._models import Model
from .bounds import Bound, relative
from .corners import Corners, factorised

_STEPS = 100
_IDLE = 6  # steps that gain less than a tenth
_TO_EDGE = 0.995  # part of the way to the boundary
_ENOUGH = 1e-4  # of what tol allows: coefficients are to be closer than the objective asks for
_ROUNDING = 1e-15  # of the objective
_CROSSINGS = 3
_STIFF = 1e6  # relative to the curvature of squared error
_NOTHING = 1e-14  # of the objective at zero, below which there is nothing left to explain
_LOST = 1e3  # radii
_ZEROS = 1e-13  # of the objective, which may be lost for coefficients that are exactly zero


class Hinges:
    """Weighted hinges in ``t = sign * form - at``, with their dual variables.

    Inside the interval ``t - bend * d = u - v``, where u is zero unless d is at its upper end and v
    is zero unless d is at its lower one. The steps keep ``p = d - low``, ``q = high - d``, u and v
    above zero while the products ``u q`` and ``v p`` shrink.

    Parameters
    ----------
    hinge : Hinge
    weight : Tensor of shape (m,)
    low, high : Tensor of shape (m,), default=None
        In place of those of the hinge, for each.
    """

    def __init__(
        self,
        hinge: Hinge,
        weight: Tensor,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ):
        self.sign, self.at, self.bend, self.weight = hinge.sign, hinge.at, hinge.bend, weight
        self.low = torch.full_like(weight, hinge.low) if low is None else low
        self.high = torch.full_like(weight, hinge.high) if high is None else high
        self.capped = bool(torch.isfinite(self.high).all())
        self.d = self.p = self.q = self.u = self.v = torch.zeros_like(weight)
        self.to_d = self.to_u = self.to_v = torch.zeros_like(weight)
        self.count = float(weight.sum()) * (1 + self.capped)

    def of(self, form: Tensor) -> Tensor:
        """Return t."""
        return self.sign * form - self.at

    def begin(self, form: Tensor, margin: float, steep: float) -> None:
        """Begin where the products are at least ``margin * steep``.

        Parameters
        ----------
        form : Tensor of shape (m,)
        margin : float
            In units of t, by which u and v exceed what they have to be.
        steep : float
            In units of d, at which it begins where there is no upper end.
        """
        t = self.of(form)
        if self.capped:
            width = self.high - self.low
            d = t / self.bend if self.bend else 0.5 * (self.low + self.high)
            self.d = torch.minimum(
                torch.maximum(d, self.low + 0.1 * width), self.high - 0.1 * width
            )
        else:
            d = (t / self.bend).clamp(min=0) if self.bend else torch.zeros_like(t)
            self.d = self.low + d + steep
        self.p, self.q = self.d - self.low, self.high - self.d
        rest = t - self.bend * self.d
        away = margin * steep / (0.5 * width) if self.capped else margin
        self.u, self.v = rest.clamp(min=0) + away, (-rest).clamp(min=0) + away

    def products(self, length: float = 0.0) -> float:
        """Return the sum of what vanishes at the optimum, after a part of the step."""
        if not length:
            products = self.v * self.p + (self.u * self.q if self.capped else 0.0)
        else:
            products = (self.v + length * self.to_v) * (self.p + length * self.to_d)
            if self.capped:
                upper = (self.u + length * self.to_u) * (self.q - length * self.to_d)
                products = products + upper
        return float(self.weight @ products)

    def linearise(self, form: Tensor, target: float, again: float) -> None:
        """Write the step of d as ``theta * (sign * change of the form + rest)``.

        Parameters
        ----------
        form : Tensor of shape (m,)
        target : float
            Of the products.
        again : float
            The part of what the last step would leave of them that is to be made up for.
        """
        self.goal_v: Any = target
        self.goal_u: Any = target
        if again:
            self.goal_v = target - again * self.to_v * self.to_d
            self.goal_u = target + again * self.to_u * self.to_d if self.capped else target
        inverse = self.v / self.p + self.bend
        self.rest = self.of(form) - self.bend * self.d + self.goal_v / self.p
        if self.capped:
            inverse = inverse + self.u / self.q
            self.rest = self.rest - self.goal_u / self.q
        self.theta = 1 / inverse

    def step(self, change: Tensor) -> float:
        """Set the step that belongs to a change of the form; return 1 / how far it may go."""
        self.to_d = self.theta * (self.sign * change + self.rest)
        self.to_v = (self.goal_v - self.v * self.to_d) / self.p - self.v
        ratios = [-self.to_d / self.p, -self.to_v / self.v]
        if self.capped:
            self.to_u = (self.goal_u + self.u * self.to_d) / self.q - self.u
            ratios += [self.to_d / self.q, -self.to_u / self.u]
        return float(torch.cat(ratios).max())

    def move(self, length: float) -> None:
        """Go a part of the step."""
        step = length * self.to_d
        self.d, self.p, self.q = self.d + step, self.p + step, self.q - step
        self.v = self.v + length * self.to_v
        if self.capped:
            self.u = self.u + length * self.to_u

    def settle(self, size: float) -> None:
        """Send d to the end of its interval where it is not inside, and hold it there.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        """
        inside = self.inside(size)
        self.d = torch.where(inside, self.d, torch.where(self.p > self.q, self.high, self.low))
        self.theta = torch.where(inside, 1 / self.bend if self.bend else _STIFF, 0.0)

    def aim(self, form: Tensor) -> None:
        """Let the next step make t what d asks for, where d is inside."""
        self.rest = self.of(form) - self.bend * self.d

    def follow(self, change: Tensor) -> None:
        """Take the step of d that belongs to a change of the form."""
        d = self.d + self.theta * (self.sign * change + self.rest)
        self.d = torch.minimum(torch.maximum(d, self.low), self.high)

    def excess(self, form: Tensor, d: Tensor) -> float:
        """Return by how much the hinges exceed ``d t - bend / 2 d^2``, which is never negative."""
        t = self.of(form)
        if self.bend:
            best = self.steepest(form)
            return float(self.weight @ ((best - d) * (t - 0.5 * self.bend * (best + d))))
        above = (self.high - d) * t if self.capped else torch.zeros_like(t)
        return float(self.weight @ torch.where(t > 0, above, (self.low - d) * t))

    def steepest(self, form: Tensor) -> Tensor:
        """Return the d of hinges that bend."""
        return torch.minimum(torch.maximum(self.of(form) / self.bend, self.low), self.high)

    def inside(self, size: float) -> Tensor:
        """Return which dual variables are inside their interval rather than at an end.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        """
        if not self.capped:
            return self.p * size > self.v * float(self.p.max())
        width = self.high - self.low
        return (self.p * size > self.v * width) & (self.q * size > self.u * width)


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
        loss: Any,
        corners: Corners,
        curvature: Tensor,
        bound: Bound,
        x: Tensor,
        radius: float = torch.inf,
    ):
        self.model, self.loss, self.corners, self.bound = model, loss, corners, bound
        self.curvature, self.quadratic = curvature, model.hessian + curvature
        self.rows = [Hinges(hinge, model.share) for hinge in loss.hinges]
        self._corner_hinges(float(model.share.sum()) or 1.0)
        self.start, self.x, self.radius, self.at_edge = x, x, radius, False
        self.nothing = _NOTHING * self.value(torch.zeros_like(x))
        self.first_value = self.value(x)
        self.best, self.left = (self.first_value, x), torch.inf
        self.curve: list[float] = []
        self.n_iter = 0

    def _corner_hinges(self, total: float) -> None:
        """Write the penalty as hinges, each of which weighs as much as a row."""
        slope, bounded = self.corners.slope, self.corners.bounded
        (kinked,) = ((slope > 0) & ~bounded).nonzero(as_tuple=True)
        (held,) = bounded.nonzero(as_tuple=True)
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

    @property
    def gap(self) -> float:
        """What is left to gain at most, relative to the objective."""
        return relative(self.left, self.best[0], self.nothing)

    @property
    def blurred(self) -> float:
        """What of the gap may be made of rounding errors."""
        return relative(self.bound.blurred(self.best[1], self.best[0]), self.best[0], 0.0)

    def value(self, x: Tensor) -> float:
        """Return the objective at x."""
        losses = self.loss.value(self.model.y, self.model.Z @ x)
        penalty = 0.5 * (x @ (self.curvature @ x)) + self.corners.value(x)
        return float(self.model.share @ losses + self.model.far(x)[0] + penalty)

    def minimise(self, tol: float, max_iter: int) -> None:
        """Step until the bound is well within ``tol`` of the objective, or comes no closer."""
        if self.best[0] <= self.nothing:
            self.left = max(self.best[0], 0.0)
            return
        self.descend(tol, max_iter)
        self._find_bound()

    def slopes(self) -> Tensor:
        """Return the slope of the loss in each row that is kept, as the descent ended."""
        return torch.stack([hinges.sign * hinges.d for hinges in self.rows]).sum(0)

    def descend(self, tol: float, max_iter: int = _STEPS) -> None:
        """Step like ``minimise``, without a bound."""
        self._begin()
        everything = [*self.rows, *(hinges for _, hinges in self.coefficients)]
        count = sum(hinges.count for hinges in everything)
        least, flattest, idle = torch.inf, torch.inf, 0
        enough = max(_ENOUGH * tol, _ROUNDING)
        while self.n_iter < min(_STEPS, max_iter):
            left = sum(hinges.products() for hinges in everything)
            pull = self._pull_at(self.x)
            slope = float(torch.linalg.vector_norm(pull))
            idle = idle + 1 if left > 0.9 * least and slope > 0.9 * flattest else 0
            least, flattest = min(least, left), min(flattest, slope)
            lost = root_mean_square(self.model.Z @ (self.x - self.start)) > _LOST * self.radius
            done = left <= enough * abs(self.best[0]) or self.best[0] == 0.0
            if done or idle >= _IDLE or lost:
                break
            self._step(everything, left, count, pull)
            self.n_iter += 1
            self._keep(self.x)
            self.curve.append(self.best[0])
        self._end()

    @property
    def moved(self) -> float:
        """How far predictions moved, root mean square."""
        return root_mean_square(self.model.Z @ (self.best[1] - self.start))

    def _keep(self, x: Tensor, worth: float = 0.0) -> None:
        value = self.value(x)
        if value <= self.best[0] + worth * abs(self.best[0]) + (self.nothing if worth else 0.0):
            self.best = value, x

    def _end(self) -> None:
        """Keep the point that the descent leads to, with exact zeros if it can be."""
        moved = root_mean_square(self.model.Z @ (self.x - self.start))
        if moved > self.radius:
            self.at_edge = True
            self.x = self.start + self.radius / moved * (self.x - self.start)
            self.best = self.value(self.start), self.start
        x = torch.where(self.corners.bounded, self.x.clamp(min=0), self.x)
        self._keep(x)
        self.duals = [[hinges.d for hinges in self.rows]]
        if not self.at_edge:
            self._keep(self._crossed_over(), worth=_ZEROS)
            self.duals += [[hinges.d for hinges in self.rows], self._duals_of(self.best[1])]

    def _crossed_over(self) -> Tensor:
        """Return the end of the descent: of its pieces, zeros and kinks that rows are at.

        Equations for these are solved by the method of multipliers, which are the dual variables.
        """
        x = self.x.clone()
        for index, hinges in self.coefficients:
            hinges.settle(float(x.abs().max()))
            x[index] = torch.where(hinges.theta > 0, 0.0, x[index])
        for hinges in self.rows:
            hinges.settle(float(self.residual_at(x).abs().mean()))
        (free,) = self.corners.free(x).nonzero(as_tuple=True)
        lower = factorised(self._matrix()[free][:, free])
        for _ in range(_CROSSINGS):
            residual = self.residual_at(x)
            for hinges in self.rows:
                hinges.aim(residual)
            right = self._right(self._pull_at(x))
            step = torch.zeros_like(x)
            step[free] = torch.cholesky_solve(right[free, None], lower)[:, 0]
            x, change = x + step, -(self.model.Z @ step)
            for hinges in self.rows:
                hinges.follow(change)
        return torch.where(self.corners.bounded, x.clamp(min=0), x)

    def _find_bound(self) -> None:
        """Bound what is left to gain, by whichever dual variables do so best."""
        value, x = self.best
        self.left = min(self._left(value, x, duals) for duals in self.duals)

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
        return [hinges.steepest(residual) if hinges.bend else hinges.d for hinges in self.rows]

    @cached_property
    def first_gradient(self) -> Tensor:
        """The gradient at the start, without the corners of the penalty."""
        return self._slope(self.start, self._duals_of(self.start))

    def gram(self) -> Tensor:
        """Return the products of the columns over the rows that are kept."""
        return self.model.Z.T @ (self.model.Z * self.model.share[:, None]) + self.quadratic

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
            hinges.begin(self.x[index], margin, steep / float(hinges.weight[0]))

    def residual_at(self, x: Tensor) -> Tensor:
        """Return the residuals of the rows that are kept."""
        return self.model.y - self.model.Z @ x

    def _step(self, everything: list[Hinges], left: float, count: float, pull: Tensor) -> None:
        """Take a step: the predicted one says how far to aim and what to correct."""
        residual = self.residual_at(self.x)
        self._linearise(residual, 0.0, 0.0)
        lower = factorised(self._matrix())
        longest = self._solve(lower, pull)
        length = min(1.0, 1 / longest) if longest > 0 else 1.0
        after = sum(hinges.products(length) for hinges in everything)
        self._linearise(residual, (after / left) ** 3 * left / count, length)
        longest = self._solve(lower, pull)
        length = min(1.0, _TO_EDGE / longest) if longest > 0 else 1.0
        self.x = self.x + length * self.to_x
        for hinges in everything:
            hinges.move(length)

    def _linearise(self, residual: Tensor, target: float, again: float) -> None:
        for hinges in self.rows:
            hinges.linearise(residual, target, again)
        for index, hinges in self.coefficients:
            hinges.linearise(self.x[index], target, again)

    def _pull_at(self, x: Tensor) -> Tensor:
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

    def _matrix(self) -> Tensor:
        theta = sum(hinges.theta for hinges in self.rows)
        Z, theta = self.model.Z, self.model.share * theta
        matrix = self.quadratic + Z.T @ (Z * theta[:, None])
        for index, hinges in self.coefficients:
            matrix[index, index] += hinges.weight * hinges.theta
        return matrix

    def _right(self, pull: Tensor) -> Tensor:
        """Return the right side of the system for a step, but for the penalty's part."""
        turn = sum(hinges.sign * hinges.theta * hinges.rest for hinges in self.rows)
        return self.model.Z.T @ (self.model.share * turn) - pull

    def _solve(self, lower: Tensor, pull: Tensor) -> float:
        """Set the step; return 1 / how far it may go."""
        right = self._right(pull)
        for index, hinges in self.coefficients:
            right[index] -= hinges.sign * hinges.weight * hinges.theta * hinges.rest
        self.to_x = torch.cholesky_solve(right[:, None], lower)[:, 0]
        change = -(self.model.Z @ self.to_x)
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

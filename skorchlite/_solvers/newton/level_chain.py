"""Levels of quantiles, of which neighbours must not cross: their joint problem.

Each level has a local problem of its own; ``Separation`` has what keeps two neighbours apart. The
constraints are linear in the difference of the two. Their multipliers are dual variables like those
of rows, and with them the bound is one on the joint problem.

References
----------
He (1997), "Quantile curves without crossing", The American Statistician 51(2). Bondell, Reich, Wang
(2010), "Noncrossing quantile regression curve estimation", Biometrika 97(4).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import norm, product
from .block_tridiagonal import BlockFactor, in_free
from .chain_form import ChainForm
from .local_problem import LocalProblem
from .separation import Separation, moved_apart

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEPS = 100
_IDLE = 8  # steps that gain less than a tenth
_TO_EDGE = 0.995  # part of the way to the boundary
_ROUNDING = 1e-15  # of the objective: products that sum to less are rounding
_ROUNDED = 4 * float(np.finfo(np.float64).eps)  # of what sums up to a force
_CROSSINGS = 4  # steps on the pieces that the descent ended at
_MARGIN = 1e-3  # of the objective
_WORTH = 1e-13  # of the objective, which exact zeros and rows at kinks may cost
_SMALLEST = 1e-12  # of what sizes are in general: where none is larger, all are zero
_GENTLE = 1e-12  # of a diagonal: directions in which columns differ by less are not balanced


@dataclass(frozen=True)
class ChainResult:
    """Where a descent on a chain ended.

    Parameters
    ----------
    u : array of shape (m, k)
    values : array of shape (m,)
        Of the problems there.
    lower : float
        A lower bound on their least sum without crossings.
    multipliers : list of array
        Of the constraints of each pair.
    """

    u: Array
    values: Array
    lower: float
    multipliers: list[Array]

    @property
    def value(self) -> float:
        """The sum of the problems."""
        return float(self.values.sum())


class Chain:
    """The joint problem of neighbouring levels, and interior point steps on it.

    Parameters
    ----------
    problems : list of LocalProblem
    separations : list of Separation
        One less.
    start : array of shape (m, k)
    free : bool
        Whether the last coordinate is an intercept, by which levels can be moved apart.
    ceiling : float
        A value of the objective, and not only of the problems, that its least does not exceed.
    steep : float
        What a constraint costs, for each unit that it is short of: more than all levels can gain
        by it. Without an intercept constraints may leave no room between them, and then their
        multipliers have no other bound. Infinite with one.
    """

    def __init__(
        self,
        problems: list[LocalProblem],
        separations: list[Separation],
        start: Array,
        free: bool,
        ceiling: float,
        steep: float,
    ):
        self.problems, self.separations, self.free = problems, separations, free
        self.ceiling, self.steep = ceiling, steep
        self.form = ChainForm(problems, separations, steep)
        self.k, self.n_iter = self.form.k, 0
        self.x = np.zeros((self.form.m, self.form.width))
        self.x[:, : self.k] = start
        # Where all residuals may be zero, they are taken to have a size.
        self.margin = self.form.begin(self.x, _MARGIN * ceiling / len(problems))

    @property
    def u(self) -> Array:
        """The points of the levels."""
        return np.ascontiguousarray(self.x[:, : self.k])

    def approach(self, enough: float, max_iter: int) -> None:
        """Step until the products sum to enough of the objective, or get no smaller."""
        form, least, flattest, idle = self.form, np.inf, np.inf, 0
        while self.n_iter < min(_STEPS, max_iter):
            products = sum(duals.products() for duals in form.everything)
            gradient = form.gradient(self.x)
            size = norm(gradient.ravel())
            idle = 0 if products < 0.9 * least or size < 0.9 * flattest else idle + 1
            least, flattest = min(least, products), min(flattest, size)
            value = abs(float(form.values(self.u).sum()))
            if products <= max(enough, _ROUNDING) * value or idle >= _IDLE:
                return
            self._step(products, gradient)
            self.n_iter += 1

    def _step(self, products: float, gradient: Array) -> None:
        """Take a step. A predicted one says how far to aim, and what to correct."""
        form = self.form
        form.linearise(self.x)
        factor = BlockFactor(*form.matrix())
        _, longest = form.solve(factor, gradient)
        length = min(1.0, 1 / longest) if longest > 0 else 1.0
        after = (1 - length) * products
        after += length**2 * sum(duals.second_order() for duals in form.everything)
        target = (max(after, 0.0) / products) ** 3 * products / form.n_products
        for duals in form.everything:
            duals.aim_at(target, length)
        step, longest = form.solve(factor, gradient)
        length = min(1.0, _TO_EDGE / longest) if longest > 0 else 1.0
        self.x = self.x + length * step
        for duals in form.everything:
            duals.move(length)

    # --- the end -------------------------------------------------------------------------

    @property
    def smooth(self) -> bool:
        """Whether no rows are left that may be at a kink."""
        return self.form.rows is None

    def rough_end(self) -> ChainResult:
        """Return where the steps ended."""
        return self._result(self.u)

    def ended(self) -> ChainResult:
        """Return the best end that the steps lead to, with a bound."""
        ends = [duals.end for duals in self.form.everything]
        self._polish()
        plain = self._result(self.u)
        self._go_back(ends)
        crossed = self._result(self._crossed())
        self._go_back(ends)
        lower = max(plain.lower, crossed.lower)
        worth = _WORTH * abs(plain.value)
        best = crossed if self.cost(crossed) <= self.cost(plain) + worth else plain
        return ChainResult(best.u, best.values, lower, plain.multipliers)

    def _go_back(self, ends: list[tuple[Array, Array]]) -> None:
        for duals, end in zip(self.form.everything, ends, strict=True):
            duals.go_back(end)

    def cost(self, point: ChainResult) -> float:
        """Return the sum at a point, and what constraints cost that it is short of."""
        if self.free:  # it is short of none
            return point.value
        return point.value + self.steep * float(np.maximum(-self.form.least(point.u), 0.0).sum())

    def _result(self, u: Array) -> ChainResult:
        """Return a point, moved apart if need be, with the bound of the dual variables."""
        u, walls = self.apart(u), self.form.walls
        values, left = self.form.values(u), self._left(u)
        multipliers = walls.hinges.weight * walls.d[0]
        parts = [multipliers[place] for place in self.form.wall_places]
        return ChainResult(u, values, float(values.sum()) - left, parts)

    def apart(self, u: Array) -> Array:
        """Return a point at which levels do not cross, as far as intercepts can move them."""
        u = np.stack([p.feasible(part) for p, part in zip(self.problems, u, strict=True)])
        if self.free:
            u[:, -1] += moved_apart(np.maximum(-self.form.least(u), 0.0))
        return u

    def _left(self, u: Array) -> float:
        """Return how much lower the least sum without crossings may be, by the dual variables."""
        form, left = self.form, 0.0
        gradient, walls = form.smooth_gradient(u), form.walls
        for i, (one, place) in enumerate(zip(self.separations, form.wall_places, strict=True)):
            multipliers = one.bounding((walls.hinges.weight * walls.d[0])[place])
            pull = product(one.A.T, multipliers)
            gradient[i + 1] -= pull
            gradient[i] += pull
            left += float(pull @ (u[i + 1] - u[i]))
            size = product(abs(one.A).T, multipliers)
            left += _ROUNDED * float(size @ (abs(u[i]) + abs(u[i + 1])))
        if form.rows:
            left += form.rows.hinges.excess(form.residual(u), form.rows.d)
        ceiling = max(self.ceiling, float(form.values(u).sum()))
        for problem, part, slope in zip(self.problems, u, gradient, strict=True):
            left += problem.bound.left(part, slope, ceiling, problem.gram)
        return left

    def _crossed(self) -> Array:
        """Return the end that the pieces determine, with zeros and rows at kinks; see crossover."""
        form, smallest, x = self.form, _SMALLEST * self.margin, self.x.copy()
        flat = x.reshape(-1)
        for index, duals in form.coefficients:
            duals.settle(max(float(abs(flat[index]).max()), smallest))
            flat[index] = np.where(duals.theta[0] > 0, 0.0, flat[index])
        if form.rows:
            size = float(abs(form.residual(np.ascontiguousarray(x[:, : self.k]))).mean())
            form.rows.settle(max(size, smallest))
        size = float(abs(form.walls_at(x)).mean())
        form.walls.settle(max(size, smallest), float(form.walls.d.max()))
        for _, duals in form.coefficients:  # they are held by being left out
            duals.theta, duals.rest = np.zeros_like(duals.d), np.zeros_like(duals.d)
        free = form.kinks.free(flat).reshape(x.shape)
        factor = BlockFactor(*in_free(free, *form.matrix()))
        for _ in range(_CROSSINGS):
            if form.rows:
                form.rows.aim(form.residual(np.ascontiguousarray(x[:, : self.k])))
            form.walls.aim(form.walls_at(x))
            step = factor.solve(np.where(free, form.right_side(form.gradient(x)), 0.0))
            x = x + step
            for duals, change in form.change(step):
                duals.follow(change)
        for duals in form.everything:
            duals.theta = 1.0 * (duals.theta > 0)
        self._balance(x, free)
        return np.ascontiguousarray(x[:, : self.k])

    def _polish(self) -> None:
        """Let dual variables take up the gradient that rounding has left, where they have room."""
        for duals in self.form.everything:
            duals.theta = duals.room.prod(0)
        self._balance(self.x, np.ones(self.x.shape, dtype=bool))

    def _balance(self, x: Array, free: Mask) -> None:
        """Let dual variables take up what is left of the gradient, each in proportion to theta."""
        form = self.form
        diagonal, beside = in_free(free, *form.matrix(hinges_only=True))
        factor = BlockFactor(diagonal * (1 + _GENTLE * np.eye(diagonal.shape[1])), beside)
        for _ in range(_CROSSINGS):
            step = factor.solve(np.where(free, -form.gradient(x), 0.0))
            for duals, change in form.change(step):
                duals.rest = np.zeros_like(duals.d)
                duals.follow(change)

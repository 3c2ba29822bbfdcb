"""The least objective of a problem: the best of some solvers, and a bound below it."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np

from tests.support.solvers_of_peers import CURVATURES, FORMULAS, LINES, SLOPES

from .orthonormal import WIDE
from .programs import (
    Coordinates,
    Point,
    Solver,
    column_coordinates,
    smooth_coordinates,
    triangular_coordinates,
)


@dataclass
class Reference:
    """The best that was found.

    Parameters
    ----------
    point : Point
    lower : float
        What no objective is below.
    constant : float
        The objective of the best constant.
    rank : int
        The number of directions of the columns that were told apart, in orthonormal coordinates.
    slopes : ndarray of shape (n,) or None
        Those of the rows that give the bound.
    """

    point: Point
    lower: float
    constant: float
    rank: int
    slopes: np.ndarray | None

    @property
    def value(self):
        """The objective of the point."""
        return self.point.value


FAR = WIDE("1e2000")  # in place of infinity, so that zero times it is zero
SEEN = 1e3
SURE = 1e-9  # a relative gap between the best point and the bound that ends the search


def reference(problem):
    """Return the best that is found for a problem."""
    smooth = not (problem.l1 or problem.positive)
    coordinates = smooth_coordinates(problem) if smooth else column_coordinates(problem)
    return Search(problem, coordinates).best()


class Search:
    """The best point so far, and the slopes of rows, which give bounds."""

    def __init__(self, problem, coordinates):
        self.problem = problem
        self.solver = solver = Solver(problem, coordinates)
        u = best_constant(problem, solver)
        self.v, self.point = solver.whole(u), solver.at(u)
        self.constant, self.lower, self.slopes = self.point.value, 0.0, []  # no loss is negative
        self.sizes, self.best_slopes = np.abs(self.v), None

    def best(self):
        """Return the reference."""
        tried = chain(without_columns(self.solver), starts(self))
        while not self.sure and (start := next(tried, None)):
            self.learn(*start)
        for _ in range(2):
            if not self.sure:
                self.learn(*self.about())
        rank = len(self.v) - self.solver.first
        return Reference(self.point, self.lower, self.constant, rank, self.best_slopes)

    @cached_property
    def triangular(self):
        """The columns as a product, for those that nearly depend on each other."""
        return triangular_coordinates(self.problem, self.solver.coordinates)

    @property
    def sure(self):
        """Whether the bound is as close as is asked for."""
        room = SURE * max(self.point.value, 1e-12 * self.constant)
        return self.point.value - self.lower <= room

    def about(self):
        """Return what the solver finds about the best point, where all numbers are near 1."""
        value = max(self.point.value, 1e-12 * self.constant, 1e-300)
        quadratic = self.solver.factor == self.solver.unit**2
        unit = value**0.5 if quadratic else value
        kinks = self.problem.l1 or self.problem.positive
        coordinates = self.triangular if kinks else self.solver.coordinates
        near = Solver(self.problem, coordinates, around=self.v, unit=unit)
        return near, *near.solve()

    def reach(self):
        """Return how large the numbers of a better point may be.

        A penalty with kinks is no more than the objective of the constant; and we take it that
        no number is a thousand times what points so far have, the constant aside, which has none.
        """
        l1, seen = self.solver.coordinates.l1, SEEN * self.sizes[self.solver.first :]
        largest = seen.max(initial=0)
        seen = np.maximum(seen, largest / SEEN) if largest else FAR
        return np.minimum(seen, np.where(l1 > 0, self.constant / np.where(l1 > 0, l1, 1), FAR))

    def learn(self, solver, u, p):
        """Take a point and slopes into account."""
        point = solver.at(u)
        if not np.isfinite(point.value):
            return
        v = solver.whole(u)
        self.sizes = np.maximum(self.sizes, np.abs(v))
        if point.value < self.point.value:
            self.v, self.point = v, point
        found = [q for q in (p, slopes_at(self.problem, self.point.r)) if q is not None]
        self.slopes += [q for q in found if np.isfinite(q).all()]
        # Of all anew, since the sizes may have grown.
        self.lower, self.best_slopes = 0.0, None
        for q in self.slopes:
            lower, feasible = bound(self.solver, q, self.reach())
            if lower > self.lower:
                self.lower, self.best_slopes = float(lower), feasible


def without_columns(solver):
    """Yield the best intercept alone, which a strong penalty with kinks leaves."""
    problem, c = solver.problem, solver.coordinates
    if not (problem.l1 and problem.fit_intercept):
        return
    none = Coordinates(c.B[:, :0], None, c.l1[:0], c.H[:0, :0])
    alone = Solver(replace(problem, l1=0.0, l2=0.0, positive=False), none)
    u, p = alone.solve()
    if problem.loss in SLOPES:
        u = newton(alone, u)
    yield solver, np.append(u, np.zeros(c.B.shape[1])), p


def starts(search):
    """Yield solvers, points of theirs and the slopes of rows, better and better."""
    problem, solver = search.problem, search.solver
    several = log_cosh_starts if problem.loss == "log_cosh" else plain_starts
    yield from several(problem, solver)
    if problem.l1 or problem.positive:
        triangular = Solver(problem, search.triangular)
        yield triangular, *triangular.solve()


def plain_starts(problem, solver):
    """Yield points by Clarabel, with outliers nearer and where they are, by HiGHS and by Newton."""
    u, p = solver.solve()
    yield solver, u, p
    if problem.loss in SLOPES:
        yield solver, newton(solver, u), None
    whole = Solver(problem, solver.coordinates, clip=False)
    if not np.array_equal(whole.y, solver.y):
        u, p = whole.solve()
        yield whole, u, p
        if problem.loss in SLOPES:
            yield whole, newton(whole, u), None
    if problem.loss in LINES and not problem.l2:
        yield whole, *whole.solve_linear()
    yield whole, *whole.solve(equilibrate_enable=False)


def log_cosh_starts(problem, solver):
    """Yield points by exponential cones or, in units where these fail, by what it is near to."""
    fair = 1e-2 < solver.unit < 1e3
    if fair:
        u, p = solver.solve()
        yield solver, u, p
        yield solver, newton(solver, u), None
    for near in ("squared_error", "absolute_error"):
        for clip in (True, False):
            u = Solver(replace(problem, loss=near), solver.coordinates, clip).solve()[0]
            yield solver, newton(solver, u), None
    if not fair:
        yield solver, *solver.solve()


def newton(solver, u):
    """Return where Newton's steps lead from a point, on what is not zero, for a smooth loss."""
    problem, unit = solver.problem, float(solver.unit)
    of_loss = problem.epsilon, problem.quantile
    times = unit / float(solver.factor)  # of a slope
    l1, H = solver._penalty()
    kinks = np.arange(len(u)) >= solver.first
    kinks &= bool(problem.l1 or problem.positive)
    size = np.abs(u[kinks]).max(initial=0)
    free = ~kinks | (np.abs(u) > 1e-7 * size)
    if problem.positive:
        free &= ~kinks | (u > 0)
    u = np.where(free, u, 0.0)
    B, signs, H = solver.B[:, free], np.sign(u[free]) * l1[free], H[np.ix_(free, free)]
    held = kinks[free]

    def value(x):
        r = (solver.y - B @ x) * unit
        total = solver.s @ FORMULAS[problem.loss](r, *of_loss) / float(solver.factor)
        return total + signs @ x + x @ H @ x / 2

    x = u[free]
    best = value(x)
    for _ in range(30):
        r = (solver.y - B @ x) * unit
        slope = -B.T @ (solver.s * SLOPES[problem.loss](r, *of_loss)) * times + signs + H @ x
        curve = CURVATURES[problem.loss](r, *of_loss) * unit * times
        C = (B.T * (solver.s * curve)) @ B + H
        step = np.linalg.lstsq(C, -slope, rcond=1e-15)[0]
        t = 1.0
        while t > 1e-6:
            trial = x + t * step
            flipped = held & (np.sign(trial) != np.sign(x))
            if not flipped.any() and value(trial) <= best:
                break
            t /= 2
        else:
            break
        gained = best - value(trial)
        x, best = trial, value(trial)
        if gained <= 1e-17 * abs(best):
            break
    u = u.copy()
    u[free] = x
    return u


def best_constant(problem, solver):
    """Return the constant of least loss among a few, for a scale to measure by."""
    u = np.zeros(solver.B.shape[1], WIDE)
    if not problem.fit_intercept:
        return u
    order = np.argsort(problem.y)
    share = np.cumsum(problem.s[order])
    at = problem.quantile if problem.loss == "quantile" else 0.5
    middle = problem.y[order][int(np.searchsorted(share, at).clip(0, len(share) - 1))]

    def constant(b):
        return np.append((b - solver.origin[0]) / solver.unit, u[1:])

    guesses = [constant(b) for b in (problem.s @ problem.y, middle)]
    return min(guesses, key=lambda u: solver.at(u).value)


def slopes_at(problem, r):
    """Return the slopes of the rows at residuals, where the loss has one."""
    if problem.loss not in SLOPES:
        return None
    return problem.s * SLOPES[problem.loss](r, WIDE(problem.epsilon), WIDE(problem.quantile))


def bound(solver, p, reach):
    """Return what the objective is not below for points within reach, and the slopes that say so.

    Slopes ``p`` of the rows give ``p'y - sum s loss*(p / s) - R*(B'p)``, made to fit before: to
    the range of slopes, of sum zero, and square to what the penalty leaves alone.
    """
    problem, c = solver.problem, solver.coordinates
    s, p = problem.s, np.asarray(p, WIDE)
    low, high = {
        "absolute_error": (-1, 1),
        "huber": (-problem.epsilon, problem.epsilon),
        "quantile": (problem.quantile - 1, problem.quantile),
        "epsilon_insensitive": (-1, 1),
        "log_cosh": (-1, 1),
    }.get(problem.loss, (-np.inf, np.inf))
    p = s * np.clip(p / s, low, high)
    if problem.fit_intercept:
        p = p - s * p.sum()
    if not (problem.l1 or problem.l2 or problem.positive) and c.B.shape[1]:
        for _ in range(2):  # B is orthonormal for the weights
            p = p - s * (c.B @ (c.B.T @ p))
    q = p / s
    past = max(float((q / high).max()) if high else 0, float((q / low).max()) if low else 0, 1.0)
    q, p = q / WIDE(past), p / WIDE(past)
    lost = lost_to_penalty(problem, c, c.B.T @ p, reach)
    return p @ problem.y - s @ conjugate(problem, q) - lost, p


def lost_to_penalty(problem, c, g, reach):
    """Return the most of ``g'u - penalty`` for u within reach."""
    if problem.l1 or problem.positive:
        over = np.maximum(g - c.l1 if problem.positive else np.abs(g) - c.l1, 0)
        lost = over * reach
        if problem.l2:
            lost = np.minimum(lost, over**2 / (2 * np.diag(c.H)))
        return lost.sum()
    if not problem.l2:
        return np.abs(g) @ reach
    curve, along = np.linalg.eigh(c.H.astype(float))
    over = along.T.astype(WIDE) @ g
    curved = over**2 / (2 * np.maximum(curve, 1e-300))
    return np.minimum(curved, np.abs(over) * (np.abs(along.T) @ reach)).sum()


def conjugate(problem, q):
    """Return the conjugate of the loss at slopes in its range."""
    epsilon = WIDE(problem.epsilon)
    if problem.loss in ("squared_error", "huber"):
        return q**2 / 2
    if problem.loss == "expectile":
        quantile = WIDE(problem.quantile)
        return q**2 / (4 * np.where(q > 0, quantile, 1 - quantile))
    if problem.loss == "epsilon_insensitive":
        return epsilon * np.abs(q)
    if problem.loss == "squared_epsilon_insensitive":
        return q**2 / 4 + epsilon * np.abs(q)
    if problem.loss == "log_cosh":
        q = np.clip(np.abs(q), 0, 1)
        last = np.where(q < 1, q, 0)
        return ((1 + q) * np.log1p(q) + (1 - q) * np.log1p(-last)) / 2
    return np.zeros_like(q)

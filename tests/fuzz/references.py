"""The least objective of a problem: the best of some solvers, and a bound below it."""

from dataclasses import dataclass

import numpy as np

from ..solvers_of_peers import CURVATURES, FORMULAS, SLOPES
from .orthonormal import WIDE
from .programs import Solver, column_coordinates, smooth_coordinates


@dataclass
class Reference:
    """A point, its objective and a lower bound of all objectives.

    Parameters
    ----------
    coef, intercept : extended precision
    value : float
        Of the coefficients as they are.
    lower : float
        By weak duality.
    constant : float
        The objective of the best constant.
    """

    coef: np.ndarray
    intercept: float
    value: float
    lower: float
    constant: float

    @property
    def sure(self):
        """Whether the two are close enough to judge small excesses by."""
        return self.value - self.lower <= 1e-9 * max(abs(self.value), 1e-300)


def reference(problem):
    """Return the best that is found for a problem."""
    smooth = not (problem.l1 or problem.positive)
    coordinates = smooth_coordinates(problem) if smooth else column_coordinates(problem)
    solver = Solver(problem, coordinates)
    d = problem.A.shape[1]
    nothing = np.zeros(d, WIDE)
    b = best_constant(problem)
    found = [(problem.value(nothing, b), nothing, b)]
    slopes = []
    for coef, intercept, p in starts(problem, solver):
        # As coefficients that an estimator can hold.
        coef, intercept = coef.astype(float), float(intercept)
        found.append((problem.value(coef, intercept), coef, intercept))
        slopes.append(p)
    found = [point for point in found if np.isfinite(point[0])]
    value, coef, intercept = min(found, key=lambda point: point[0])
    slopes.append(slopes_at(problem, coef, intercept))
    lower = max(
        (bound(problem, solver, p, coef) for p in slopes if p is not None and np.isfinite(p).all()),
        default=-np.inf,
    )
    return Reference(coef, intercept, value, float(lower), found[0][0])


def starts(problem, solver):
    """Yield points and the slopes of their rows."""
    if problem.loss == "log_cosh":
        yield from log_cosh_starts(problem, solver)
        return
    u, p = solver.solve()
    yield *solver.answer(u), p
    if problem.loss in SLOPES:
        u = newton(solver, u)
        yield *solver.answer(u), None


def log_cosh_starts(problem, solver):
    """Yield points by exponential cones or, in units where these fail, by what it is near to."""
    if 1e-2 < solver.unit < 1e3:
        u, p = solver.solve()
        yield *solver.answer(u), p
    else:
        problem.loss = "squared_error" if solver.unit < 1 else "absolute_error"
        other = Solver(problem, solver.coordinates)
        problem.loss = "log_cosh"
        u = other.solve()[0]
        yield *solver.answer(u), None
    yield *solver.answer(newton(solver, u)), None


def newton(solver, u):
    """Return where Newton's steps lead from a point, on what is not zero, for a smooth loss."""
    problem, unit = solver.problem, float(solver.unit)
    epsilon = problem.epsilon
    times = unit / float(solver.factor)  # of a slope
    l1, H = solver._penalty()
    corners = np.arange(len(u)) >= solver.first
    corners &= bool(problem.l1 or problem.positive)
    size = np.abs(u[corners]).max(initial=0)
    free = ~corners | (np.abs(u) > 1e-7 * size)
    if problem.positive:
        free &= ~corners | (u > 0)
    u = np.where(free, u, 0.0)
    B, signs, H = solver.B[:, free], np.sign(u[free]) * l1[free], H[np.ix_(free, free)]
    held = corners[free]

    def value(x):
        r = (solver.y - B @ x) * unit
        total = solver.s @ FORMULAS[problem.loss](r, epsilon, 0.5) / float(solver.factor)
        return total + signs @ x + x @ H @ x / 2

    x = u[free]
    best = value(x)
    for _ in range(30):
        r = (solver.y - B @ x) * unit
        slope = -B.T @ (solver.s * SLOPES[problem.loss](r, epsilon)) * times + signs + H @ x
        curve = CURVATURES[problem.loss](r, epsilon) * unit * times
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


def best_constant(problem):
    """Return the intercept of least loss among a few, for a scale to measure by."""
    if not problem.fit_intercept:
        return WIDE(0)
    order = np.argsort(problem.y)
    share = np.cumsum(problem.s[order])
    y = problem.y[order]
    at = {"quantile": problem.quantile}.get(problem.loss, 0.5)
    guesses = [problem.s @ problem.y, y[int(np.searchsorted(share, at).clip(0, len(y) - 1))]]
    nothing = np.zeros(problem.A.shape[1])
    return min(guesses, key=lambda b: problem.value(nothing, b))


def slopes_at(problem, coef, intercept):
    """Return the slopes of the rows at a point, where the loss has one."""
    if problem.loss not in SLOPES:
        return None
    r = problem.residual(coef, intercept)
    return problem.s * SLOPES[problem.loss](r, WIDE(problem.epsilon))


def bound(problem, solver, p, coef):
    """Return what the objective is not below, for coefficients of up to ten times those given.

    Slopes ``p`` of the rows give ``p'y - sum s loss*(p / s) - R*(A'p)``, made to fit before: to
    the range of slopes, of sum zero, and square to what the penalty leaves alone.
    """
    p = np.asarray(p, WIDE)
    low, high = {
        "absolute_error": (-1, 1),
        "huber": (-problem.epsilon, problem.epsilon),
        "quantile": (problem.quantile - 1, problem.quantile),
        "epsilon_insensitive": (-1, 1),
        "log_cosh": (-1, 1),
    }.get(problem.loss, (-np.inf, np.inf))
    s = problem.s
    p = s * np.clip(p / s, low, high)
    d = solver.coordinates.B.shape[1]
    if problem.fit_intercept:
        p = p - s * p.sum()
    if not (problem.l1 or problem.l2 or problem.positive) and d:
        B = solver.coordinates.B  # orthonormal for the weights
        for _ in range(2):
            p = p - s * (B @ (B.T @ p))
    q = p / s
    past = max(float((q / high).max()) if high else 0, float((q / low).max()) if low else 0, 1.0)
    q, p = q / WIDE(past), p / WIDE(past)
    g = problem.centred.T @ p
    if problem.l1 or problem.positive:
        over = g - problem.l1 if problem.positive else np.abs(g) - problem.l1
    else:
        over = np.abs(g)
    over = np.maximum(over, 0)
    if problem.l2:
        lost = (np.square(over) / (2 * WIDE(problem.l2))).sum()
    elif problem.l1 or problem.positive:
        reach = 10 * np.abs(coef) + np.abs(coef * problem.size).max(initial=0) / problem.size
        lost = (over * reach).sum()
    else:
        lost = WIDE(0)
    return p @ problem.y - s @ conjugate(problem, q) - lost


def conjugate(problem, q):
    """Return the conjugate of the loss at slopes in its range."""
    epsilon = WIDE(problem.epsilon)
    if problem.loss in ("squared_error", "huber"):
        return q**2 / 2
    if problem.loss == "epsilon_insensitive":
        return epsilon * np.abs(q)
    if problem.loss == "squared_epsilon_insensitive":
        return q**2 / 4 + epsilon * np.abs(q)
    if problem.loss == "log_cosh":
        a, b = np.clip(1 + q, 0, 2), np.clip(1 - q, 0, 2)
        return (a * np.log(np.where(a > 0, a, 1)) + b * np.log(np.where(b > 0, b, 1))) / 2
    return np.zeros_like(q)

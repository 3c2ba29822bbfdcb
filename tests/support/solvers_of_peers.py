"""Optima of the penalised and robust problems, by solvers other than the package's.

Each takes a ``Problem`` and works in its standardised columns, so that no digits are lost to
offsets and units. The penalty is scaled so that it is still that of the raw columns.
"""

import warnings
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import scipy.optimize

from skorchlite import TorchSGDRegressor
from tests.support.oracles import badly_scaled_problem

# The losses of r = y - prediction, written out from their definitions.
FORMULAS = {
    "squared_error": lambda r, epsilon, quantile: r**2 / 2,
    "absolute_error": lambda r, epsilon, quantile: abs(r),
    "huber": lambda r, epsilon, quantile: np.where(
        abs(r) <= epsilon, r**2 / 2, epsilon * (abs(r) - epsilon / 2)
    ),
    "quantile": lambda r, epsilon, quantile: np.where(r > 0, quantile * r, (quantile - 1) * r),
    "expectile": lambda r, epsilon, quantile: np.where(r > 0, quantile, 1 - quantile) * r**2,
    "epsilon_insensitive": lambda r, epsilon, quantile: np.maximum(abs(r) - epsilon, 0),
    "squared_epsilon_insensitive": lambda r, epsilon, quantile: (
        np.maximum(abs(r) - epsilon, 0) ** 2
    ),
    # cosh r = 1 + 2 sinh(r / 2)^2 keeps the digits of a small r.
    "log_cosh": lambda r, epsilon, quantile: np.where(
        abs(r) < 1,
        np.log1p(2 * np.sinh(np.clip(r, -1, 1) / 2) ** 2),
        np.logaddexp(r, -r) - np.log(r.dtype.type(2)),
    ),
}
# Derivatives in r, where there is one everywhere.
SLOPES = {
    "squared_error": lambda r, epsilon, quantile: r,
    "huber": lambda r, epsilon, quantile: np.clip(r, -epsilon, epsilon),
    "expectile": lambda r, epsilon, quantile: 2 * np.where(r > 0, quantile, 1 - quantile) * r,
    "squared_epsilon_insensitive": lambda r, epsilon, quantile: (
        2 * (r - np.clip(r, -epsilon, epsilon))
    ),
    "log_cosh": lambda r, epsilon, quantile: np.tanh(r),
}
CURVATURES = {
    "squared_error": lambda r, epsilon, quantile: np.ones_like(r),
    "huber": lambda r, epsilon, quantile: (abs(r) <= epsilon) * 1.0,
    "expectile": lambda r, epsilon, quantile: 2 * np.where(r > 0, quantile, 1 - quantile),
    "squared_epsilon_insensitive": lambda r, epsilon, quantile: (abs(r) >= epsilon) * 2.0,
    "log_cosh": lambda r, epsilon, quantile: 1 - np.tanh(r) ** 2,
}
# The piecewise linear losses: half the width of their flat middle, and the slopes beside it.
LINES = {
    "absolute_error": lambda epsilon, quantile: (0.0, -1.0, 1.0),
    "quantile": lambda epsilon, quantile: (0.0, quantile - 1, quantile),
    "epsilon_insensitive": lambda epsilon, quantile: (epsilon, -1.0, 1.0),
}
# How much of alpha is on ||w||_1 and on 1/2 ||w||^2.
PARTS_OF_ALPHA = {
    None: lambda l1_ratio: (0.0, 0.0),
    "l2": lambda l1_ratio: (0.0, 1.0),
    "l1": lambda l1_ratio: (1.0, 0.0),
    "elasticnet": lambda l1_ratio: (l1_ratio, 1 - l1_ratio),
}


@dataclass
class Problem:
    """Data of one target and the parameters of the estimator that is to fit it."""

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    loss: str = "squared_error"
    penalty: str | None = None
    alpha: float = 1e-4
    l1_ratio: float = 0.15
    epsilon: float = 0.1
    quantile: float = 0.5
    positive: bool = False
    fit_intercept: bool = True
    more: dict = field(default_factory=dict)  # parameters that do not change the optimum

    def fit(self):
        names = set(vars(self)) - {"X", "y", "sample_weight", "more"} - self._idle
        parameters = {name: getattr(self, name) for name in names}
        estimator = TorchSGDRegressor(**parameters, **self.more)
        return estimator.fit(self.X, self.y, self.sample_weight)

    @property
    def _idle(self):
        """The parameters that have no effect, of which the estimator would warn."""
        used = {
            "alpha": self.penalty is not None,
            "l1_ratio": self.penalty == "elasticnet",
            "epsilon": self.loss in ("huber", "epsilon_insensitive", "squared_epsilon_insensitive"),
            "quantile": self.loss in ("quantile", "expectile"),
        }
        return {name for name, has_effect in used.items() if not has_effect}

    def value(self, coef, intercept=0.0):
        """Return the objective, in extended precision."""
        wide = np.longdouble
        r = self.y.astype(wide) - self.X.astype(wide) @ np.asarray(coef, wide) - wide(intercept)
        losses = FORMULAS[self.loss](r, self.epsilon, self.quantile)
        l1, l2 = self.strengths
        penalty = l1 * np.abs(coef).sum() + l2 / 2 * np.square(coef).sum()
        return float(self.normalised_weight.astype(wide) @ losses + penalty)

    @property
    def normalised_weight(self):
        """The sample weights divided by their sum."""
        s = np.ones(len(self.y)) if self.sample_weight is None else self.sample_weight
        return s / s.sum()

    @property
    def strengths(self):
        """The factors of ||w||_1 and of 1/2 ||w||^2 in the objective."""
        return np.multiply(PARTS_OF_ALPHA[self.penalty](self.l1_ratio), self.alpha)

    @property
    def standardised(self):
        """The standardised columns, the means of the columns and their standard deviations."""
        X = self.X.astype(np.longdouble)
        mean = self.normalised_weight @ X if self.fit_intercept else np.zeros(X.shape[1])
        size = np.sqrt(self.normalised_weight @ (X - mean) ** 2)
        size[size <= 1e-15 * np.abs(X).max(axis=0)] = 1
        return ((X - mean) / size).astype(float), mean, size.astype(float)

    def optimum(self):
        if self.loss in SLOPES:
            return split_descent(self)
        return interior_point(self) if self.strengths[1] else linear_program(self)


@dataclass
class Optimum:
    """The best point that a solver found, and a bound on its distance from the least objective."""

    coef: np.ndarray
    intercept: float
    value: float
    gap: float


def _optimum(problem, u, c, gap):
    _, mean, size = problem.standardised
    coef = u / size
    intercept = float(c - mean @ coef) if problem.fit_intercept else 0.0
    return Optimum(coef, intercept, problem.value(coef, intercept), gap)


def linear_program(problem):
    """Solve a piecewise linear loss with or without "l1" by HiGHS.

    The equations are y = Z u + c + e + p - m, in which e is within the flat middle of the loss, and
    p and m, which are not negative, are the parts of the residuals that cost something.
    """
    z, _, size = problem.standardised
    n, d = z.shape
    flat, left, right = LINES[problem.loss](problem.epsilon, problem.quantile)
    l1, l2 = problem.strengths
    assert not l2
    eye, zero, one = np.eye(n), np.zeros(n), np.ones(n)
    s = problem.normalised_weight * n
    parts = [  # block of the equations, cost, lowest, highest
        (z, l1 * n / size, np.zeros(d), np.full(d, np.inf)),
        (-z, l1 * n / size, np.zeros(d), np.full(d, 0.0 if problem.positive else np.inf)),
        (one[:, None], [0.0], *([[-np.inf], [np.inf]] if problem.fit_intercept else [[0], [0]])),
        (eye, zero, -flat * one, flat * one),
        (eye, right * s, zero, np.inf * one),
        (-eye, -left * s, zero, np.inf * one),
    ]
    blocks, costs, low, high = zip(*parts, strict=True)
    result = scipy.optimize.linprog(
        np.concatenate(costs),
        A_eq=np.hstack(blocks),
        b_eq=problem.y,
        bounds=np.column_stack([np.concatenate(low), np.concatenate(high)]),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert result.success, result.message
    # A lower bound by weak duality: the marginals are the dual variables of equations and bounds.
    lower = result.eqlin.marginals @ problem.y
    lower += sum(
        marginals @ np.where(np.isfinite(bound), bound, 0)
        for marginals, bound in (
            (result.lower.marginals, np.concatenate(low)),
            (result.upper.marginals, np.concatenate(high)),
        )
    )
    u, c = result.x[:d] - result.x[d : 2 * d], result.x[2 * d]
    found = _optimum(problem, u, c, 0.0)
    found.gap = abs(found.value - lower / n)
    return found


def split_descent(problem):
    """Minimise a smooth loss by L-BFGS-B over u = p - m, in which p and m are not negative.

    L-BFGS-B stops where rounding hides that the objective falls. Newton steps on the coefficients
    that are not zero then bring the gradient down to rounding too.
    """
    z, _, spread = problem.standardised
    l1, l2 = problem.strengths
    size = np.sqrt(spread**2 + l2)  # the root of the curvature, which scales all columns alike
    d, last = len(size), np.zeros(int(problem.fit_intercept))
    A = np.hstack((z * spread / size, np.ones((len(z), len(last)))))
    l1, l2 = np.append(l1 / size, last), np.append(l2 / size**2, last)
    signed = np.append(np.full(d, problem.positive), last > 0)
    s = problem.normalised_weight

    def smooth(u):
        r = problem.y - A @ u
        value = s @ FORMULAS[problem.loss](r, problem.epsilon, problem.quantile)
        slope = -A.T @ (s * SLOPES[problem.loss](r, problem.epsilon, problem.quantile))
        return value + l2 @ u**2 / 2, slope + l2 * u

    def split(x):
        value, slope = smooth(x[: len(l1)] - x[len(l1) :])
        return value + np.tile(l1, 2) @ x, np.append(l1 + slope, l1 - slope)

    def steepest(u):
        """Return the subgradient of least norm."""
        slope = smooth(u)[1]
        low, high = np.where(signed, -np.inf, slope - l1), slope + l1
        return np.where(u > 0, high, np.where(u < 0, low, np.clip(0, low, high)))

    x = np.zeros(2 * len(l1))
    bounds = [(0, None)] * len(l1) + [(0, 0) if bound else (0, None) for bound in signed]
    options = {"ftol": 0, "gtol": 0, "maxiter": 5000, "maxfun": 20000, "maxcor": 30}
    for _ in range(3):  # each run starts without the curvature that the one before estimated
        x = scipy.optimize.minimize(
            split, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        ).x
    u = x[: len(l1)] - x[len(l1) :]
    for _ in range(30):
        slope = steepest(u)
        free = (u != 0) | (slope != 0)
        curvature = CURVATURES[problem.loss](problem.y - A @ u, problem.epsilon, problem.quantile)
        H = ((A.T * (s * curvature)) @ A + np.diag(l2))[np.ix_(free, free)]
        trial = u.copy()
        trial[free] -= np.linalg.lstsq(H, slope[free], rcond=1e-13)[0]
        trial[(trial * u < 0) & (l1 > 0) | (trial < 0) & signed] = 0.0
        if np.abs(steepest(trial)).sum() > np.abs(slope).sum():
            break
        u = trial
    # By convexity, no point that is as near to u as zero has a value that is lower by more.
    gap = np.abs(steepest(u)).sum() * np.abs(u).max()
    return _optimum(problem, u[:d] * spread / size, u[d:].sum(), gap)


def interior_point(problem):
    """Minimise a piecewise quadratic or piecewise linear loss by Mehrotra's predictor-corrector.

    The loss of r is the least value of k/2 v^2 + t, over all v and over all t that are not below
    any of the lines at r - v.
    """
    z, _, size = problem.standardised
    n, d = z.shape
    l1, l2 = problem.strengths
    epsilon = problem.epsilon
    curvature, limit, lines = {
        "huber": (1, np.inf, [(epsilon, 0.0), (-epsilon, 0.0)]),
        "squared_epsilon_insensitive": (2, epsilon, []),
    }.get(problem.loss, (0, np.inf, None))
    if lines is None:
        flat, left, right = LINES[problem.loss](epsilon, problem.quantile)
        lines = [(right, -right * flat), (left, left * flat), (0.0, 0.0)]
    tall = (d, int(problem.fit_intercept), n if curvature else 0, n if lines else 0, d if l1 else 0)
    edge = np.cumsum((0, *tall))
    u, c, v, t, tau = (slice(a, b) for a, b in pairwise(edge))
    s = problem.normalised_weight * n
    P, q = np.zeros(edge[-1]), np.zeros(edge[-1])
    P[u], P[v], q[t], q[tau] = n * l2 / size**2, curvature * s[: tall[2]], s[: tall[3]], n * l1
    if l1:
        q[tau] /= size
    residual = np.zeros((n, edge[-1]))  # y plus this times x is r - v
    residual[:, u], residual[:, c] = -z, -1
    if curvature:
        residual[:, v] = -np.eye(n)
    G, h = [], []

    def at_most(rows, bound):
        G.append(rows)
        h.append(np.broadcast_to(bound, len(rows)))

    for slope, offset in lines:
        rows = slope * residual
        rows[:, t] = -np.eye(n)
        at_most(rows, -offset - slope * problem.y)
    if np.isfinite(limit):
        at_most(residual, limit - problem.y)
        at_most(-residual, limit + problem.y)
    for sign in (1, -1) if l1 else ():
        rows = np.zeros((d, edge[-1]))
        rows[:, u], rows[:, tau] = sign * np.eye(d), -np.eye(d)
        at_most(rows, 0.0)
    if problem.positive:
        rows = np.zeros((d, edge[-1]))
        rows[:, u] = -np.eye(d)
        at_most(rows, 0.0)
    x, gap = _mehrotra(P, q, np.vstack(G), np.concatenate(h))
    return _optimum(problem, x[u], x[c].sum(), gap / n)


def _mehrotra(P, q, G, h):
    """Return the x of least 1/2 x P x + q x for which G x <= h, and its gap; P is a diagonal."""
    x, s, z = np.zeros(len(q)), np.maximum(h, 1.0), np.ones(len(h))
    best = x, np.inf

    def step(x, s, z, centre):
        H = np.diag(P) + (G.T * (z / s)) @ G
        primal = G @ x + s - h
        dx = np.linalg.solve(H, -(P * x + q + G.T @ z) - G.T @ ((z * primal - centre) / s))
        ds = -primal - G @ dx
        return dx, ds, (-centre - z * ds) / s

    def longest(value, change):
        falling = change < 0
        return min(1.0, (value[falling] / -change[falling]).min(initial=np.inf))

    for _ in range(100):
        dual, primal = P * x + q + G.T @ z, G @ x + s - h
        gap = s @ z + abs(dual @ x) + abs(primal @ z)
        best = min(best, (x, gap), key=lambda found: found[1])
        if gap < 1e-13 * (1 + abs(q @ x)):
            break
        try:
            _, ds, dz = step(x, s, z, s * z)
        except np.linalg.LinAlgError:  # rounding of the products allows no further step
            break
        a, mean = min(longest(s, ds), longest(z, dz)), s @ z / len(s)
        centring = ((s + a * ds) @ (z + a * dz) / len(s) / mean) ** 3
        dx, ds, dz = step(x, s, z, s * z + ds * dz - centring * mean)
        a = 0.99 * min(longest(s, ds), longest(z, dz))
        x, s, z = x + a * dx, s + a * ds, z + a * dz
    return best


def fit_peer(estimator, X, y, sample_weight=None):
    """Fit an estimator of another library, without its warnings."""
    weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y, **weighted)


def heavy_tailed_problem(
    seed=3, n_samples=60, n_features=5, *, offset=1e3, decades=2.0, weighted=False, **parameters
):
    """Raw columns with offsets, and a target with noise as large as its signal and outliers."""
    X, y = badly_scaled_problem(
        seed, n_samples, n_features, offset=offset, decades=decades, noise=1.0
    )
    y[::9] += 15.0
    rng = np.random.default_rng(seed + 100)
    sample_weight = rng.uniform(0.1, 3.0, n_samples) if weighted else None
    return Problem(X, y, sample_weight, **parameters)

"""A problem as a conic program in well conditioned coordinates, and Clarabel's answer to it."""

from dataclasses import dataclass
from functools import cached_property

import clarabel
import numpy as np
import scipy.sparse as sp

from ..solvers_of_peers import LINES
from .orthonormal import WIDE, orthonormal

BOUNDED = ("absolute_error", "huber", "quantile", "epsilon_insensitive", "log_cosh")
FAR = 1e4  # units of y


@dataclass
class Coordinates:
    """How the coefficients are those of a program: ``coef = transform @ u[first:]``."""

    B: np.ndarray  # of the centred columns, without the intercept
    transform: np.ndarray
    l1: np.ndarray
    H: np.ndarray


def usable(problem):
    """Return the centred columns, scaled, without what rounding may have made of them."""
    Z = np.where(problem.live, problem.centred / problem.size, 0)
    root = np.sqrt(problem.s)[:, None]
    found = orthonormal(root * Z, problem.cutoff)
    if found.transform.shape[1] == min(Z.shape[1], len(Z)):
        return Z, found
    return (found.basis @ (found.basis.T @ (root * Z))) / root, found


def smooth_coordinates(problem):
    """Return orthonormal coordinates, for a penalty without corners."""
    Z, found = usable(problem)
    root = np.sqrt(problem.s)[:, None]
    d, l2 = Z.shape[1], np.sqrt(WIDE(problem.l2)) / problem.size
    if problem.l2:
        found = orthonormal(np.vstack((root * Z, np.diag(l2))), np.zeros(d))
    B = Z @ found.transform
    transform = found.transform / problem.size[:, None]
    tail = np.sqrt(WIDE(problem.l2)) * transform
    return Coordinates(B, transform, np.zeros(B.shape[1]), tail.T @ tail)


def column_coordinates(problem):
    """Return the columns scaled, for a penalty with corners and for signs."""
    Z, _ = usable(problem)
    size = problem.size
    d = len(size)
    l1, l2 = WIDE(problem.l1) / size, WIDE(problem.l2) / size**2
    return Coordinates(Z, np.diag(1 / size), l1 * np.ones(d), np.diag(l2))


class Solver:
    """Clarabel on a problem in some coordinates."""

    def __init__(self, problem, coordinates):
        self.problem, self.coordinates = problem, coordinates
        y = problem.y
        self.shift = _median(y) if problem.fit_intercept else WIDE(0)
        r = np.abs(y - self.shift)
        self.unit = _unit(r, problem.s)
        if problem.loss in BOUNDED:  # further out a row has the same slope
            y = np.clip(y, self.shift - FAR * self.unit, self.shift + FAR * self.unit)
        self.first = int(problem.fit_intercept)
        ones = np.ones((len(y), self.first), WIDE)
        self.B = np.hstack((ones, coordinates.B)).astype(float)
        self.y = ((y - self.shift) / self.unit).astype(float)
        self.s = problem.s.astype(float)

    def solve(self, **settings):
        """Return the point that solves the program, and the slopes of the rows there."""
        parts = self._exponential() if self.problem.loss == "log_cosh" else self._quadratic()
        x, z = _clarabel(*parts, **settings)
        k = self.B.shape[1]
        u = x[:k]
        return u, -z[: len(self.y)] * self.scale

    def answer(self, u):
        """Return the coefficients and the intercept of a point of the program."""
        u = np.asarray(u, WIDE) * self.unit
        coef = self.coordinates.transform @ u[self.first :]
        start = u[0] + self.shift if self.first else WIDE(0)
        return coef, start - self.problem.mean @ coef

    @cached_property
    def scale(self):
        """What the objective of the program is to be multiplied by, over the unit of y."""
        return float(self.factor / self.unit)

    @cached_property
    def factor(self):
        """The unit of the objective."""
        if self.problem.loss == "log_cosh":
            return self.unit * min(self.unit, 1)
        quadratic = self.problem.loss in ("squared_error", "huber", "squared_epsilon_insensitive")
        return self.unit**2 if quadratic else self.unit

    def _penalty(self):
        """Return l1, H of all of u in units of the program."""
        c = self.coordinates
        l1 = np.append(np.zeros(self.first), c.l1 * self.unit / self.factor).astype(float)
        H = np.zeros((len(l1), len(l1)))
        H[self.first :, self.first :] = c.H * self.unit**2 / self.factor
        return l1, H

    def _quadratic(self):
        """Return P, q, A, b and cones, for losses of linear and quadratic pieces."""
        problem, (n, k) = self.problem, self.B.shape
        curvature, flat, left, right = pieces(problem.loss, problem.epsilon, problem.quantile)
        if problem.loss == "huber":
            left, right = left / self.unit, right / self.unit
        flat = float(flat / self.unit)
        l1, H = self._penalty()
        eye = sp.identity(n, format="csc")
        blocks, costs, curves, lows = [sp.csc_matrix(self.B)], [np.zeros(k)], [H], []
        at = k
        if curvature:
            blocks.append(eye)
            costs.append(np.zeros(n))
            curves.append(sp.diags(curvature * self.s))
            at += n
        if right is not None:
            blocks += [eye, -eye]
            costs += [float(right) * self.s, float(-left) * self.s]
            curves.append(sp.csc_matrix((2 * n, 2 * n)))
            lows.append((at, 2 * n, -1.0, 0.0))
            at += 2 * n
        if flat:
            blocks.append(eye)
            costs.append(np.zeros(n))
            curves.append(sp.csc_matrix((n, n)))
            lows += [(at, n, -1.0, flat), (at, n, 1.0, flat)]
            at += n
        return self._with_penalty(blocks, costs, curves, lows, 0.0, l1, at)

    def _exponential(self):
        """Return the same for log cosh: of r, e^(r - t) + e^(-r - t) <= 2."""
        n, k = self.B.shape
        S, times = float(self.unit), float(self.unit / self.factor)
        eye, zero = sp.identity(n, format="csc"), sp.csc_matrix((n, n))
        l1, H = self._penalty()
        blocks, costs = (
            [sp.csc_matrix(self.B), eye, zero],
            [np.zeros(k), np.zeros(n), self.s * times],
        )
        blocks += [zero, zero]
        costs += [np.zeros(n), np.zeros(n)]
        curves = [H, sp.csc_matrix((4 * n, 4 * n))]
        return self._with_penalty(blocks, costs, curves, [], S, l1, k + 4 * n)

    def _with_penalty(self, blocks, costs, curves, lows, rounded, l1, at):
        n, k = self.B.shape
        A, b = [sp.hstack(blocks, format="csc")], [self.y]
        cones = [clarabel.ZeroConeT(n)]
        rows = []
        problem = self.problem
        corners = problem.l1 > 0 and not problem.positive
        if problem.l1 > 0 and problem.positive:
            costs[0][:k] += l1
        if corners:
            costs.append(l1[self.first :])
            d = k - self.first
            curves.append(sp.csc_matrix((d, d)))
            A[0] = sp.hstack((A[0], sp.csc_matrix((n, d))), format="csc")
            for sign in (1, -1):
                row = sp.lil_matrix((d, at + d))
                row[np.arange(d), np.arange(self.first, k)] = sign
                row[np.arange(d), at + np.arange(d)] = -1
                rows.append((row, np.zeros(d)))
            at += d
        if problem.positive:
            lows.append((self.first, k - self.first, -1.0, 0.0))
        for start, count, sign, bound in lows:
            row = sp.coo_matrix(
                (np.full(count, sign), (np.arange(count), start + np.arange(count))),
                shape=(count, at),
            )
            rows.append((row, np.full(count, bound)))
        m = 0
        for row, bound in rows:
            A.append(row)
            b.append(bound)
            m += len(bound)
        if m:
            cones.append(clarabel.NonnegativeConeT(m))
        if rounded:
            A += self._cosh_rows(rounded, at)
            b += [np.tile([0.0, 1.0, 0.0], 2 * n), np.full(n, 2.0)]
            cones += [clarabel.ExponentialConeT()] * (2 * n) + [clarabel.NonnegativeConeT(n)]
        P = sp.triu(sp.block_diag(curves), format="csc")
        return P, np.concatenate(costs), sp.vstack(A, format="csc"), np.concatenate(b), cones

    def _cosh_rows(self, unit, width):
        """Return the rows of the cones (unit (+-r - t), 1, a) and of a + b <= 2."""
        n, k = self.B.shape
        r, t, a, b = k, k + n, k + 2 * n, k + 3 * n
        rows, columns, values = [], [], []
        for sign, end, offset in ((1, a, 0), (-1, b, 3 * n)):
            i = np.arange(n)
            for row, column, value in (
                (3 * i + offset, r + i, -sign * unit),
                (3 * i + offset, t + i, unit),
                (3 * i + 2 + offset, end + i, -1.0),
            ):
                rows.append(row)
                columns.append(column)
                values.append(np.full(n, value))
        i = np.arange(n)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        exponents = sp.coo_matrix(entries, shape=(6 * n, width))
        both = (np.ones(2 * n), (np.tile(i, 2), np.concatenate((a + i, b + i))))
        return [exponents, sp.coo_matrix(both, shape=(n, width))]


def pieces(loss, epsilon, quantile):
    """Return curvature, half width of the flat middle, and slopes at the far left and right."""
    if loss == "squared_error":
        return 1.0, 0.0, None, None
    if loss == "squared_epsilon_insensitive":
        return 2.0, epsilon, None, None
    if loss == "huber":
        return 1.0, 0.0, -epsilon, epsilon
    flat, left, right = LINES[loss](epsilon, quantile)
    return 0.0, flat, left, right


def _median(y):
    return np.sort(y)[len(y) // 2] if len(y) else WIDE(0)


def _unit(r, s):
    """Return the weighted median of what is not zero, or 1."""
    kept = r > 0
    if not kept.any():
        return WIDE(1)
    order = np.argsort(r[kept])
    below = np.cumsum(s[kept][order])
    return r[kept][order][int(np.searchsorted(below, below[-1] / 2).clip(0, kept.sum() - 1))]


def _clarabel(P, q, A, b, cones, tol=1e-12, max_iter=100):
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.max_iter = max_iter
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tol
    found = clarabel.DefaultSolver(P, q, A, b, cones, settings).solve()
    return np.array(found.x), np.array(found.z)

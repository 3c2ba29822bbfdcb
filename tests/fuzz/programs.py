"""A problem as a conic program in well conditioned coordinates, and Clarabel's answer to it."""

from dataclasses import dataclass, replace
from functools import cached_property

import clarabel
import mpmath
import numpy as np
import scipy.optimize
import scipy.sparse as sp

from tests.support.solvers_of_peers import LINES

from .orthonormal import BITS, WIDE, exactly, orthonormal, rounded
from .polynomials import terms
from .problems import GREY

BOUNDED = {  # losses with straight ends, and where these begin
    "absolute_error": lambda problem: 0,
    "huber": lambda problem: problem.epsilon,
    "quantile": lambda problem: 0,
    "epsilon_insensitive": lambda problem: problem.epsilon,
    "log_cosh": lambda problem: 1,
}
QUADRATIC = "squared_error", "huber", "expectile", "squared_epsilon_insensitive"  # somewhere
FAR = 1e4  # units of y


@dataclass
class Coordinates:
    """How predictions and the penalty are those of a program.

    Parameters
    ----------
    B : ndarray of shape (n, k)
        What u is multiplied by, without the intercept.
    transform : ndarray of shape (d, k) or None
        What makes coefficients of u; None where that is not needed.
    l1, H
        The penalty is ``sum l1 |u| + 1/2 u'Hu``.
    exact : bool
        Whether B is what it stands for, to much more than 53 bits.
    triangle : tuple of ndarray or None
        A matrix of orthogonal columns and a triangular one, whose product B is.
    made : tuple of ndarray or None
        Where there is no transform: what makes coefficients of other terms, which span the same,
        and how far the rounding of the data moves each of these in each row.
    """

    B: np.ndarray
    transform: np.ndarray | None
    l1: np.ndarray
    H: np.ndarray
    exact: bool = True
    triangle: tuple | None = None
    made: tuple | None = None


SMALL_MARGIN = 1e-8  # below which 64 bits are too few
WORK = 60_000  # products of mpmath that a draw is worth


def smooth_coordinates(problem):
    """Return orthonormal coordinates, for a penalty without kinks."""
    if problem.polynomial is not None:
        return polynomial_coordinates(problem)
    root, Z = np.sqrt(problem.s)[:, None], usable(problem)
    if problem.l2:
        l2 = np.sqrt(WIDE(problem.l2)) / problem.size
        found = orthonormal(np.vstack((root * Z, np.diag(l2))), 0)
    else:
        found = orthonormal(root * Z, problem.cutoff)
    return in_columns(problem, Z, found)


def in_columns(problem, Z, found, exact=True):
    """Return coordinates in which a transform of the scaled columns is orthonormal."""
    transform = found.transform / problem.size[:, None]
    tail = np.sqrt(WIDE(problem.l2)) * transform
    k = transform.shape[1]
    B = found.basis[: len(Z)] / np.sqrt(problem.s)[:, None]
    return Coordinates(B, transform, np.zeros(k), tail.T @ tail, exact)


def usable(problem):
    """Return the centred columns, scaled, without what rounding may have made of them."""
    Z = np.where(problem.live, problem.centred / problem.size, 0)
    root = np.sqrt(problem.s)[:, None]
    found = orthonormal(root * Z, problem.cutoff)
    if found.basis.shape[1] == min(Z.shape[1], len(Z)):
        return Z
    return (found.basis @ (found.basis.T @ (root * Z))) / root


def polynomial_coordinates(problem):
    """Return orthonormal coordinates of terms, which may be dependent to any degree."""
    root = np.sqrt(problem.s)[:, None]
    span = problem.polynomial.span
    if span is not None and not problem.l2:
        columns, amplified = terms(span.X, span.powers, span.basis), span.amplified
        Z = columns - problem.s @ columns
        cutoff = problem.data_eps * GREY * len(amplified) ** 0.5 * amplified
        found = orthonormal(root * Z, cutoff)
        k = found.basis.shape[1]
        made = found.transform, problem.data_eps * np.abs(columns) * amplified
        return Coordinates(found.basis / root, None, np.zeros(k), np.zeros((k, k)), made=made)
    Z = np.where(problem.live, problem.centred / problem.size, 0)
    l2 = np.sqrt(WIDE(problem.l2)) / problem.size
    stacked = np.vstack((root * Z, np.diag(l2))) if problem.l2 else root * Z
    cutoff = 0 if problem.l2 else problem.cutoff
    found = orthonormal(stacked, cutoff)
    exact = found.margin > SMALL_MARGIN
    if not exact and stacked.shape[0] * stacked.shape[1] ** 2 <= WORK:
        with mpmath.workprec(BITS):
            found, _ = precisely(problem, l2, cutoff)
            found.basis, found.transform = rounded(found.basis), rounded(found.transform)
        exact = True
    return in_columns(problem, Z, found, exact)


def precisely(problem, l2, cutoff):
    """Return orthonormal coordinates of terms, and the terms, in the arithmetic of mpmath."""
    A, s = problem.polynomial.exact_terms(), exactly(problem.s)
    A = A - s @ A / s.sum() if problem.fit_intercept else A
    Z = np.where(problem.live, A / exactly(problem.size), mpmath.mpf(0))
    stacked = exactly(np.sqrt(problem.s))[:, None] * Z
    if problem.l2 and np.ndim(l2):
        stacked = np.vstack((stacked, np.diag(exactly(l2)) + mpmath.mpf(0)))
    return orthonormal(stacked, cutoff), stacked


def triangular_coordinates(problem, plain):
    """Return the columns as orthogonal ones times a triangle of numbers of up to one.

    Of columns that nearly depend on each other a double holds too little of what they differ by.
    """
    root = np.sqrt(problem.s)[:, None]
    found = orthonormal(root * plain.B, problem.cutoff if problem.polynomial is None else 1e-18)
    small = found.margin < SMALL_MARGIN and problem.polynomial is not None
    if small and plain.B.shape[0] * plain.B.shape[1] ** 2 <= WORK:
        with mpmath.workprec(BITS):
            found, Z = precisely(problem, 0, mpmath.mpf(2) ** -100)
            R = rounded(found.basis.T @ Z)
            Q = rounded(found.basis)
    else:
        Q, R = found.basis, found.basis.T @ (root * plain.B)
    diagonal = R[np.arange(len(R)), found.pivots]
    return replace(plain, triangle=(Q / root * diagonal, R / diagonal[:, None]))


def column_coordinates(problem):
    """Return the columns scaled, for a penalty with kinks and for signs."""
    if problem.polynomial is None:
        Z = usable(problem)
    else:
        Z = np.where(problem.live, problem.centred / problem.size, 0)
    size = problem.size
    return Coordinates(
        Z, np.diag(1 / size), WIDE(problem.l1) / size, np.diag(WIDE(problem.l2) / size**2)
    )


@dataclass
class Point:
    """A solution: its objective, its residuals and, where known, its coefficients."""

    value: float
    r: np.ndarray
    coef: np.ndarray | None = None
    intercept: float = 0.0
    penalty: float = 0.0
    data_off: np.ndarray | None = None  # what the rounding of the data can do to each prediction


class Solver:
    """Clarabel on a problem in some coordinates, about an origin and in a unit of y."""

    def __init__(self, problem, coordinates, clip=True, around=None, unit=None):
        self.problem, self.coordinates = problem, coordinates
        self.first = int(problem.fit_intercept)
        whole = np.hstack((np.ones((len(problem.y), self.first), WIDE), coordinates.B))
        if around is None:
            around = np.zeros(whole.shape[1], WIDE)
            around[: self.first] = _median(problem.y)
        self.origin, r = around, problem.y - whole @ around
        self.unit = _unit(np.abs(r), problem.s) if unit is None else WIDE(unit)
        if clip and problem.loss in BOUNDED:  # further out a row has the same slope
            far = FAR * max(self.unit, BOUNDED[problem.loss](problem))
            r = np.clip(r, -far, far)
        self.B, self.y = whole.astype(float), (r / self.unit).astype(float)
        self.s = problem.s.astype(float)

    def solve(self, **settings):
        """Return the point that solves the program, and the slopes of the rows there."""
        parts = self._exponential() if self.problem.loss == "log_cosh" else self._quadratic()
        x, z = _clarabel(*parts, **settings)
        k = self.B.shape[1]
        u = x[:k]
        return u, -z[: len(self.y)] * self.scale

    def solve_linear(self):
        """Return the same by HiGHS, for a program without curvature."""
        _, q, A, b, cones = self._quadratic()
        n, A = cones[0].dim, A.tocsr()
        found = scipy.optimize.linprog(
            q, A_ub=A[n:], b_ub=b[n:], A_eq=A[:n], b_eq=b[:n], bounds=(None, None), method="highs"
        )
        if found.x is None:
            return np.full(self.B.shape[1], np.nan), None
        return found.x[: self.B.shape[1]], found.eqlin.marginals[: len(self.y)] * self.scale

    def whole(self, u):
        """Return ``u`` in the units of y, and not about the origin."""
        v = self.origin + np.asarray(u, WIDE) * self.unit
        if self.problem.positive:
            v[self.first :] = np.maximum(v[self.first :], 0)
        return v

    def at(self, u):
        """Return the point that ``u`` of the program stands for."""
        c, problem = self.coordinates, self.problem
        v = self.whole(u)
        w, start = v[self.first :], (v[0] if self.first else WIDE(0))
        penalty = np.abs(w) @ c.l1 + w @ c.H @ w / 2
        r = problem.y - start - c.B @ w
        value = float(problem.s @ problem.losses(r) + penalty)
        if c.transform is None:
            transform, moved = c.made
            off = (moved @ np.abs(transform @ w)).astype(float)
            return Point(value, r, penalty=float(penalty), data_off=off)
        coef = (c.transform @ w).astype(float)
        intercept = float(start - problem.mean @ coef) if self.first else 0.0
        if problem.polynomial is not None and c.exact:
            return Point(value, r, coef, intercept, float(penalty))
        # As coefficients that an estimator can hold.
        r = problem.residual(coef, intercept)
        penalty = problem.penalty(coef)
        value = float(problem.s @ problem.losses(r) + penalty)
        return Point(value, r, coef, intercept, float(penalty))

    @cached_property
    def scale(self):
        """What the objective of the program is to be multiplied by, over the unit of y."""
        return float(self.factor / self.unit)

    @cached_property
    def factor(self):
        """The unit of the objective."""
        if self.problem.loss == "log_cosh":
            return self.unit * min(self.unit, 1)
        return self.unit**2 if self.problem.loss in QUADRATIC else self.unit

    def _penalty(self):
        """Return l1, H of all of u in units of the program."""
        c = self.coordinates
        l1 = np.append(np.zeros(self.first), c.l1 * self.unit / self.factor).astype(float)
        H = np.zeros((len(l1), len(l1)))
        H[self.first :, self.first :] = c.H * self.unit**2 / self.factor
        return l1, H

    def _start(self):
        """Return the origin in units of the program, without the intercept, which costs nothing."""
        start = (self.origin / self.unit).astype(float)
        start[: self.first] = 0
        return start

    def _quadratic(self):
        """Return P, q, A, b and cones, for losses of linear and quadratic pieces."""
        problem, (n, k) = self.problem, self.B.shape
        curvature, flat, left, right = pieces(problem.loss, problem.epsilon, problem.quantile)
        if problem.loss == "huber":
            left, right = left / self.unit, right / self.unit
        flat = float(flat / self.unit)
        l1, H = self._penalty()
        eye = sp.identity(n, format="csc")
        blocks, costs, curves, lows = [sp.csc_matrix(self.B)], [H @ self._start()], [H], []
        at = k
        if curvature:
            blocks.append(eye)
            costs.append(np.zeros(n))
            curves.append(sp.diags(curvature * self.s))
            at += n
        if problem.loss == "expectile":  # the parts of residuals above and below zero
            above = float(problem.quantile)
            blocks += [eye, -eye]
            costs.append(np.zeros(2 * n))
            curves.append(sp.diags(np.concatenate((2 * above * self.s, 2 * (1 - above) * self.s))))
            lows.append((at, 2 * n, -1.0, 0.0))
            at += 2 * n
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
            [H @ self._start(), np.zeros(n), self.s * times],
        )
        blocks += [zero, zero]
        costs += [np.zeros(n), np.zeros(n)]
        curves = [H, sp.csc_matrix((4 * n, 4 * n))]
        return self._with_penalty(blocks, costs, curves, [], S, l1, k + 4 * n)

    def _with_penalty(self, blocks, costs, curves, lows, rounded, l1, at):
        n, k = self.B.shape
        A, b = [sp.hstack(blocks, format="csc")], [self.y]
        if self.coordinates.triangle is not None:
            A, b, at = self._by_triangle(A[0], costs, curves, at)
        cones = [clarabel.ZeroConeT(sum(map(len, b)))]
        rows, start = [], self._start()[self.first :]
        problem = self.problem
        kinks = problem.l1 > 0 and not problem.positive
        if problem.l1 > 0 and problem.positive:
            costs[0][:k] += l1
        if kinks:
            costs.append(l1[self.first :])
            d = k - self.first
            curves.append(sp.csc_matrix((d, d)))
            A = [sp.hstack((rows_of, sp.csc_matrix((rows_of.shape[0], d)))) for rows_of in A]
            for sign in (1, -1):
                row = sp.lil_matrix((d, at + d))
                row[np.arange(d), np.arange(self.first, k)] = sign
                row[np.arange(d), at + np.arange(d)] = -1
                rows.append((row, -sign * start))
            at += d
        if problem.positive:
            lows.append((self.first, k - self.first, -1.0, start))
        for start, count, sign, bound in lows:
            row = sp.coo_matrix(
                (np.full(count, sign), (np.arange(count), start + np.arange(count))),
                shape=(count, at),
            )
            rows.append((row, np.broadcast_to(bound, count)))
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

    def _by_triangle(self, A, costs, curves, at):
        """Return the equations with the columns in two factors, the product with one a variable."""
        Q, R = (factor.astype(float) for factor in self.coordinates.triangle)
        k, rank = self.B.shape[1], len(R)
        A = A.tolil()
        A[:, self.first : k] = 0
        link = sp.lil_matrix((rank, at + rank))
        link[:, self.first : k] = R
        link[np.arange(rank), at + np.arange(rank)] = -1
        costs.append(np.zeros(rank))
        curves.append(sp.csc_matrix((rank, rank)))
        return [sp.hstack((A, sp.csc_matrix(Q))), link], [self.y, np.zeros(rank)], at + rank

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
    if loss == "expectile":
        return 0.0, 0.0, None, None
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


def _clarabel(P, q, A, b, cones, tol=1e-12, max_iter=100, **more):
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.max_iter = max_iter
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tol
    for name, value in more.items():
        setattr(settings, name, value)
    found = clarabel.DefaultSolver(P, q, A, b, cones, settings).solve()
    return np.array(found.x), np.array(found.z)

"""Least squares with "l1", "elasticnet" or bounds, for many problems and penalties at once.

Problems go down the path of penalties together: at each penalty the columns that are not zero are
guessed from the last point, the equations of these are solved, and the guess is mended until it is
right (a primal-dual active set, which is Newton's method for the nonsmooth equations). Where
guesses go in a circle, the path is followed from one change of columns to the next (a homotopy).

References
----------
Osborne, Presnell, Turlach (2000), "A new approach to variable selection in least squares problems",
IMA Journal of Numerical Analysis 20(3).

Hintermueller, Ito, Kunisch (2002), "The primal-dual active set strategy as a semismooth Newton
method", SIAM Journal on Optimization 13(3).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from .scaled_moments import ScaledMoments

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FREE_STEPS = 8  # in which any number of columns may enter or leave; a handful is usual
_STEPS = 100  # later ones change one column each, which cannot go in a circle
_CHANGES = 200  # of columns, from one penalty to the next
_ROUNDING = 1e-12  # of a slope, relative to the largest at zero
_UNSOLVED = 1e-9  # left of an equation, on the same scale
_FEW = 48  # columns that are eliminated one by one; of more, guesses are mostly far off
_ILL = 1e-8  # of a column, left beside the others: below, products hold few digits of solutions


@dataclass(frozen=True)
class KinkedProblems:
    """``1/2 u.R u - q.u + a (l1.|u| + 1/2 l2.u^2)``, each with its penalties, ``u >= 0`` if asked.

    Parameters
    ----------
    hessians : array of shape (n_hessians, d, d)
        Each with a diagonal of ones, or rows of zeros.
    of : array of int, of shape (n_problems,)
        The number of the Hessian of each problem.
    gradient : array of shape (n_problems, d)
    l1, l2 : array of shape (n_problems, d)
        The weight of each coefficient in the penalties, for ``a = 1``.
    positive : bool
    """

    hessians: Array
    of: NDArray[np.intp]
    gradient: Array
    l1: Array
    l2: Array
    positive: bool

    @classmethod
    def made(
        cls,
        problems: list[ScaledMoments],
        shares: Array,
        positive: bool,
        factors: Array | float = 1.0,
    ) -> "KinkedProblems":
        """Return the problems of each of ``problems``, share of "l1" and target, in this order.

        The penalty on each coefficient is times its factor.
        """
        parts = []
        for number, problem in enumerate(problems):
            kept = np.where(problem.varies, 1 / problem.scale, 0.0)
            l1, l2 = factors * kept, factors * kept**2
            for share in shares:
                for gradient in problem.gradient.T:
                    parts.append((number, gradient, share * l1, (1 - share) * l2))
        of, gradient, l1, l2 = map(np.array, zip(*parts, strict=True))
        hessians = np.stack([problem.hessian for problem in problems])
        return cls(hessians, of, gradient, l1, l2, positive)

    def some(self, which: NDArray[np.intp]) -> "KinkedProblems":
        """Return those of these numbers."""
        return replace(
            self,
            of=self.of[which],
            gradient=self.gradient[which],
            l1=self.l1[which],
            l2=self.l2[which],
        )

    @property
    def unpenalised(self) -> Mask:
        """Which coefficients of columns that vary no penalty is on, where it is on others."""
        weight = self.l1 + self.l2
        varies = np.diagonal(self.hessians, 0, 1, 2)[self.of] > 0
        return (weight == 0) & varies & weight.any(1, keepdims=True)

    def curved(self, u: Array) -> Array:
        """Return ``R u`` of each problem, of which only rows that count are read."""
        most = int(np.count_nonzero(u, axis=1).max(initial=0))
        used = np.argsort(u == 0, axis=1, kind="stable")[:, :most]
        rows = self.hessians[self.of[:, None], used]
        return np.matmul(np.take_along_axis(u, used, 1)[:, None], rows)[:, 0]


def kinked_path(problems: KinkedProblems, alphas: Array) -> tuple[Array, Mask]:
    """Return the minimisers, and which of them were not found.

    Parameters
    ----------
    problems : KinkedProblems
    alphas : array of shape (n_problems, n_alphas)
        In descending order, so that a point is near the next one.

    Returns
    -------
    u : array of shape (n_problems, n_alphas, d)
    lost : array of bool, of shape (n_problems, n_alphas)
        Where columns depend on each other so much that the guesses went in a circle, or that
        products of columns do not hold the digits of the solution, and for all penalties below.
    """
    n, n_alphas = alphas.shape
    found = np.zeros((n, n_alphas, problems.gradient.shape[1]))
    lost = np.zeros((n, n_alphas), bool)
    u, least = _without_penalised(problems)
    before = np.maximum(least, alphas[:, 0])
    for i in range(n_alphas):
        # Below a penalty where guesses went in a circle they mostly do so, which takes all steps.
        left = np.flatnonzero(~lost[:, i - 1]) if i else np.arange(n)
        if not len(left):
            lost[:, i:] = True
            break
        own = alphas[left, i]
        u[left], gone = _followed(problems.some(left), before[left], own, u[left])
        before = alphas[:, i]
        lost[:, i], lost[left, i] = True, gone
        found[:, i] = u
    return found, lost


def _without_penalised(problems: KinkedProblems) -> tuple[Array, Array]:
    """Return the minimisers with zero for all that is penalised, and the least penalties for these.

    Such penalties are zero without "l1". Where columns that no penalty is on depend on each other,
    or are kept from below zero, these are zero too, which is a start as well.
    """
    l1, free = problems.l1, problems.unpenalised
    u, slope = np.zeros_like(l1), -problems.gradient
    if free.any():
        sign = free.astype(float)
        point, there = _solved(problems, np.arange(len(u)), sign, 0 * l1, 0 * l1)
        fine = np.isfinite(there).all(1) & ~(problems.positive & (point < 0).any(1))
        u[fine], slope[fine] = point[fine], there[fine]
    least = np.divide(abs(slope), l1, out=np.zeros_like(l1), where=l1 > 0)
    return u, least.max(1, initial=0.0)


def _followed(
    problems: KinkedProblems, before: Array, alpha: Array, u: Array
) -> tuple[Array, Mask]:
    """Return the minimisers for ``alpha``, and which were not found, from those for ``before``.

    Where many columns enter or leave in between, guesses may go in a circle. Then the path is
    followed from one change to the next.
    """
    found, lost = _minimised(problems, alpha[:, None], u, _FREE_STEPS, before[:, None])
    at = np.flatnonzero(lost & (before > alpha))
    reached, point = before[at], u[at]
    for _ in range(_CHANGES):
        if not len(at):
            break
        part = problems.some(at)
        to, start = _past_next_change(part, reached, alpha[at], point)
        point, gone = _minimised(part, to[:, None], start, _FREE_STEPS)
        done = ~gone & (to <= alpha[at])
        found[at[done]], lost[at[done]] = point[done], False
        left = ~gone & ~done
        at, reached, point = at[left], to[left], point[left]
    rest = np.flatnonzero(lost)
    if len(rest):
        some = problems.some(rest)
        found[rest], lost[rest] = _minimised(some, alpha[rest, None], u[rest], _STEPS)
    return found, lost


def _past_next_change(
    problems: KinkedProblems, alpha: Array, least: Array, u: Array
) -> tuple[Array, Array]:
    """Return penalties half way from the first change of columns to the second, and points there.

    From a minimiser on, coefficients and slopes go along straight lines in the penalty, exactly so
    without "l2". Penalties are at least ``least``.
    """
    sign, l1, l2 = np.sign(u), problems.l1, alpha[:, None] * problems.l2
    slope = problems.curved(u) + l2 * u - problems.gradient
    pull = replace(problems, gradient=problems.l1 * sign + problems.l2 * u)
    way, rate = _solved(pull, np.arange(len(u)), sign, np.zeros_like(u), l2)
    rate = rate + pull.gradient  # of all slopes; those of columns that are not zero follow l1
    bound = alpha[:, None] * l1
    with np.errstate(divide="ignore", invalid="ignore"):
        leaves = np.where(sign != 0, -u / way, np.inf)
        below = np.where(sign == 0, (bound + slope) / (l1 - rate), np.inf)
        above = np.where(sign == 0, (bound - slope) / (l1 + rate), np.inf)
    steps = np.concatenate([leaves, below] if problems.positive else [leaves, below, above], 1)
    steps = np.sort(np.where(steps > 0, steps, np.inf), 1)
    step = np.minimum((steps[:, 0] + steps[:, 1]) / 2, alpha - least)
    return np.maximum(alpha - step, least), u + step[:, None] * np.nan_to_num(way)


def _minimised(
    problems: KinkedProblems,
    alpha: Array,
    u: Array,
    n_steps: int,
    before: Array | None = None,
) -> tuple[Array, Mask]:
    """Return the minimisers near u, and which were not found; there u is as it was.

    Where u is the minimiser for a penalty ``before``, columns at zero whose slope was as large as
    that depend on others, and are not the first guess.
    """
    l1, l2 = alpha * problems.l1, alpha * problems.l2
    size = abs(problems.gradient).max(1, initial=0.0, keepdims=True)
    u, lost, left = u.copy(), np.ones(len(u), bool), np.arange(len(u))
    slope = problems.curved(u) + l2 * u - problems.gradient
    sign = _signs(u, slope, l1, size, problems.positive)
    if before is not None:
        steep = abs(slope) >= before * problems.l1 - _UNSOLVED * size
        sign[(u == 0) & steep & ~problems.unpenalised] = 0
    for step in range(n_steps):
        point, slope, sign = _solved_among(problems, left, sign, l1[left], l2[left], u[left])
        off = np.where(sign != 0, abs(slope + l1[left] * sign), 0.0).max(1, initial=0.0)
        solvable = (off <= _UNSOLVED * size[left, 0]) & ~_is_one_of_many(
            problems, left, alpha[left] == 0, sign, slope, size[left]
        )
        wanted = _signs(point, slope, l1[left], size[left], problems.positive)
        wanted = np.where(wanted * sign < 0, 0.0, wanted)  # or two signs would follow each other
        changed = wanted != sign
        done = solvable & ~changed.any(1)
        u[left[done]], lost[left[done]] = point[done], False
        if step >= _FREE_STEPS:
            changed &= changed.cumsum(1) == 1
        go_on = solvable & ~done
        sign, left = np.where(changed, wanted, sign)[go_on], left[go_on]
        if not len(left):
            break
    return u, lost


def _is_one_of_many(
    problems: KinkedProblems,
    which: NDArray[np.intp],
    bare: Mask,
    sign: Array,
    slope: Array,
    size: Array,
) -> Mask:
    """Return where other points are minimisers as well, as some columns cost and gain nothing.

    That is only without a penalty on these. Of such points a fit finds that of least norm.
    """
    some = problems.some(which)
    free = some.unpenalised | (bare & (some.l1 + some.l2 > 0))
    return (free & (sign == 0) & (abs(slope) <= _UNSOLVED * size)).any(1)


def _signs(u: Array, slope: Array, l1: Array, size: Array, positive: bool) -> Array:
    """Return the signs of the minimiser's coefficients, 0 for those at zero, as u suggests them.

    They are those of a proximal gradient step from u. Columns are scaled, so that its length is 1.
    """
    stepped = u - slope
    beyond = stepped if positive else abs(stepped)
    # What rounding may have moved across a kink stays at zero.
    threshold = l1 + np.where(u == 0, _ROUNDING * size, 0.0)
    return np.where(beyond > threshold, np.sign(stepped), 0.0)


def _solved_among(
    problems: KinkedProblems,
    which: NDArray[np.intp],
    sign: Array,
    l1: Array,
    l2: Array,
    near: Array,
) -> tuple[Array, Array, Array]:
    """Return the same as ``_solved``, and the signs that are left where columns are dependent.

    Of columns that depend on each other those are left that are large in a point nearby. The
    others cost as much as they gain at the minimum, or else the point is none.
    """
    point, slope = _solved(problems, which, sign, l1, l2)
    bad = np.flatnonzero(np.isnan(point).any(1))
    if len(bad):
        sign = sign.copy()
        sign[bad] = _independent(problems, which[bad], sign[bad], l2[bad], near[bad])
        point[bad], slope[bad] = _solved(problems, which[bad], sign[bad], l1[bad], l2[bad])
    return point, slope, sign


def _independent(
    problems: KinkedProblems, which: NDArray[np.intp], sign: Array, l2: Array, near: Array
) -> Array:
    """Return the signs without those of columns that depend on columns that are larger nearby."""
    used, _, left = _equations(problems, which, sign, l2, near)
    at = np.arange(used.shape[1])
    if len(at) > _FEW:
        return sign
    whole, kept = left[:, at, at].copy(), np.zeros(used.shape, bool)
    for j in at:  # elimination, with no part for a column that nothing is left of
        kept[:, j] = left[:, j, j] > _ILL * whole[:, j]
        pivot = np.where(kept[:, j], left[:, j, j], np.inf)
        left -= left[:, :, j, None] * left[:, None, j] / pivot[:, None, None]
    sign = sign.copy()
    np.put_along_axis(sign, used, np.where(kept, np.take_along_axis(sign, used, 1), 0.0), 1)
    return sign


def _solved(
    problems: KinkedProblems, which: NDArray[np.intp], sign: Array, l1: Array, l2: Array
) -> tuple[Array, Array]:
    """Return the minimisers among coefficients of these signs, and the slopes there.

    Those of equations that cannot be solved, or whose solutions are rounding, are NaN.
    """
    q, point = problems.gradient[which], np.zeros_like(sign)
    used, rows, matrix = _equations(problems, which, sign, l2, sign)
    if not used.shape[1]:
        return point, -q
    right = np.where(sign != 0, q - l1 * sign, 0.0)
    right = np.take_along_axis(right, used, 1)[:, :, None]
    factor, info = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    solved = torch.cholesky_solve(torch.from_numpy(right), factor)[:, :, 0].numpy()
    left = factor.diagonal(dim1=1, dim2=2).square().numpy() / np.diagonal(matrix, 0, 1, 2)
    clear = (info.numpy() == 0) & (left.min(1) > _ILL)
    solved = np.where(clear[:, None], solved, np.nan)
    np.put_along_axis(point, used, solved, 1)
    return point, np.matmul(solved[:, None], rows)[:, 0] + l2 * point - q


def _equations(
    problems: KinkedProblems, which: NDArray[np.intp], sign: Array, l2: Array, near: Array
) -> tuple[NDArray[np.intp], Array, Array]:
    """Return the numbers of each problem's columns, their rows of its Hessian, and its equations.

    Each has as many as the one with the most, in the order of their size in ``near``: where all had
    those of any, equations would be as large as all of theirs together. Columns that are not its
    own have an equation of their own, and zero as their solution.
    """
    active = sign != 0
    most, size = int(active.sum(1).max(initial=0)), abs(near)
    used = np.argsort(np.where(active, -size, 1.0), axis=1, kind="stable")[:, :most]
    own, at = np.take_along_axis(active, used, 1), np.arange(most)
    rows = problems.hessians[problems.of[which, None], used]
    matrix = np.take_along_axis(rows, used[:, None, :], 2) * (own[:, :, None] & own[:, None, :])
    matrix[:, at, at] = np.where(own, matrix[:, at, at] + np.take_along_axis(l2, used, 1), 1.0)
    return used, rows, matrix

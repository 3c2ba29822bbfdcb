"""The minimum of a quadratic plus kinks at zero, which is where a proximal Newton step goes.

The support is guessed from where a proximal step would land and the quadratic is minimised on it,
until the minimum has the support that was guessed (a primal-dual active set). A guess that does not
descend is replaced by accelerated proximal steps, which always do. Where many supports are alike,
as with columns that repeat, guesses may follow each other without end; then interior point steps
take over.

References
----------
Hintermuller, Ito, Kunisch (2003), "The primal-dual active set strategy as a semismooth Newton
method", SIAM Journal on Optimization 13(3). Beck, Teboulle (2009), "A fast iterative
shrinkage-thresholding algorithm for linear inverse problems", SIAM Journal on Imaging Sciences 2.
"""

from math import inf

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import norm, product
from ..._objective.losses import SquaredError
from .bounds import Bound
from .cholesky import solve_positive
from .crossover import descend
from .interior_point import InteriorPoint
from .kinks import Kinks
from .local_model import LocalModel
from .local_problem import LocalProblem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_GUESSES = 10  # at least
_COLUMNS_A_GUESS = 10  # of many columns: more guesses cost as much as a factorisation of them all
_LAST_GUESSES = 3
_ROUNDS = 3  # of proximal steps, at least: more of few columns cost what interior point steps do
_ENTERING = 10
_PROXIMAL_STEPS = 50
_NARROW = 64  # coordinates, of which one more face costs less than proximal steps
_POWER_STEPS = 10
_ROUNDING = 1e-14  # of a gradient
_EPS = float(np.finfo(np.float64).eps)


def minimise_quadratic(
    hessian: Array, gradient: Array, kinks: Kinks[np.ndarray], start: Array
) -> Array:
    """Return the minimum over u of a quadratic about the start, plus kinks.

    It is that of ``gradient.(u - start) + 1/2 (u - start).hessian.(u - start) + kinks(u)``.

    Parameters
    ----------
    hessian : array of shape (k, k)
        Its diagonal is positive.
    gradient : array of shape (k,)
        Of the quadratic at the start.
    kinks : Kinks
    start : array of shape (k,)
    """
    face = _Face(hessian, kinks, start, gradient)
    if not start.any():
        face.go_to(face.without_kinks())
    n_guesses = max(_GUESSES, len(start) // _COLUMNS_A_GUESS)
    if face.descend(n_guesses) or face.is_least():
        return face.u
    face.go_to(_by_interior_point(hessian, face.gradient, kinks, face.u))
    face.descend(_LAST_GUESSES)
    return face.u


class _Face:
    """A point, the gradient of the quadratic there, and where to go from it.

    A face is the set of points with a given support, and given signs where there is a kink.
    """

    def __init__(self, hessian: Array, kinks: Kinks[np.ndarray], u: Array, gradient: Array):
        self.hessian, self.kinks = hessian, kinks
        self.start, self.u, self.gradient = u, u, gradient
        self.gained, self.first = 0.0, abs(gradient)

    def descend(self, n_guesses: int) -> bool:
        """Go from guess to guess; return whether the last one led to the minimum."""
        rounds = max(_ROUNDS, len(self.u) // _COLUMNS_A_GUESS)
        for _ in range(n_guesses):
            target, settled = self.guess()
            if settled:
                self.u = target
                return True
            if not self.go_to(target):
                if len(self.u) <= _NARROW and self.go_to(self.lowest_on_way()):
                    continue
                before, rounds = self.gained, rounds - 1
                self.go_to(self.proximal_steps())
                self.go_to(self.lowest_on_way())
                only_rounding = self.gained - before <= _EPS * self.gained
                if not rounds or only_rounding:
                    return False
        return False

    def is_least(self) -> bool:
        """Return whether the subgradient is zero but for rounding."""
        subgradient = abs(self.kinks.subgradient(self.u, self.gradient))
        size = product(abs(self.hessian), abs(self.u - self.start)) + self.kinks.slope
        return bool((subgradient <= _ROUNDING * (size + self.first)).all())

    def go_to(self, target: Array) -> bool:
        """Go there if that is lower; return whether it is."""
        step = target - self.u
        curved = product(self.hessian, step)
        # Differences of values would lose what a step near the minimum gains.
        kinks = self.kinks.slope @ (abs(target) - abs(self.u))
        gain = -float(step @ (self.gradient + 0.5 * curved) + kinks)
        if not gain > 0:
            return False
        self.u, self.gradient = target, self.gradient + curved
        self.gained += gain
        return True

    def guess(self) -> tuple[Array, bool]:
        """Return the minimum on the face where a proximal step lands.

        And whether u and this minimum are on that face too: then it is the minimum of the whole.
        """
        step = 1 / self.hessian.diagonal()
        landed = self.kinks.prox(self.u - self.gradient * step, step)
        # A coordinate that came to zero on the way is at its kink but for rounding, and stays.
        rounding = _ROUNDING * (self.first + self.kinks.slope) * step
        landed = np.where((self.u == 0) & (abs(landed) <= rounding), 0.0, landed)
        free, sign = self.kinks.free(landed), np.sign(landed)
        target, unique = self._minimum(free, sign)
        if not unique:  # a support larger than the rank would not shrink again
            return self.u, False
        wrong = self.kinks.rigid & (np.sign(target) != sign)
        settled = not (wrong | (self.kinks.rigid & (np.sign(self.u) != sign))).any()
        return np.where(wrong, 0.0, target), settled

    def without_kinks(self) -> Array:
        """Return the minimum without kinks, from where the first guess of a weak penalty is right.

        Zero for what is negative there and may not be.
        """
        step, unique = solve_positive(self.hessian, -self.gradient)
        target = self.u + step if unique else self.u
        return np.where(self.kinks.bounded, np.maximum(target, 0.0), target)

    def proximal_steps(self) -> Array:
        """Return u after accelerated proximal steps, whose momentum ends where they turn back."""
        step = 1 / (self.hessian.diagonal() * _largest(self.hessian))
        start = u = ahead = self.u
        momentum = 1.0
        for _ in range(_PROXIMAL_STEPS):
            gradient = self.gradient + product(self.hessian, ahead - start)
            new = self.kinks.prox(ahead - gradient * step, step)
            if ((ahead - new) * (new - u) / step).sum() > 0:
                ahead, momentum = u, 1.0
                continue
            faster = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
            ahead = new + (momentum - 1) / faster * (new - u)
            u, momentum = new, faster
        return u

    def lowest_on_way(self) -> Array:
        """Return the lowest point on the way to the minimum on a face that is entered downhill.

        Its support is that of u, with the coordinates that would leave zero by most. The slope
        along the way changes where a coordinate comes to zero, and the lowest point may be there.
        """
        u, kinks = self.u, self.kinks
        steep = kinks.subgradient(u, self.gradient) / self.hessian.diagonal() ** 0.5 * (u == 0)
        order = (-abs(steep)).argsort(kind="stable")
        room = min(_ENTERING + int((u != 0).sum()) // 4, int((steep != 0).sum()))
        while True:
            entering = np.zeros_like(u)
            entering[order[:room]] = -np.sign(steep[order[:room]])
            way, unique = self._way(entering)
            if unique or room <= 1:
                break
            room //= 2
        (crossing,) = (self.kinks.rigid & (u * (u + way) < 0)).nonzero()
        stops = np.append(u[crossing] / -way[crossing], 1.0)
        points = u + stops[:, None] * way
        points[np.arange(len(crossing)), crossing] = 0
        outside = ((points < 0) & kinks.bounded).any(1)
        steps = points - u
        value = product(steps, self.gradient)
        value += 0.5 * (product(steps, self.hessian) * steps).sum(1)
        value += product(abs(points) - abs(u), kinks.slope)
        return points[np.where(outside, inf, value).argmin()]

    def _way(self, entering: Array) -> tuple[Array, bool]:
        """Return the step to the minimum on the face of u and what enters; whether it is unique.

        A coordinate whose step has the wrong sign does not enter.
        """
        while True:
            support = self.kinks.free(self.u) | (entering != 0)
            target, unique = self._minimum(support, np.sign(self.u) + entering)
            way = target - self.u
            back = self.kinks.rigid & (way * entering < 0)
            if not back.any():
                return way, unique
            entering = np.where(back, 0.0, entering)

    def _minimum(self, support: Mask, sign: Array) -> tuple[Array, bool]:
        """Return a minimum over a support, with kinks of these signs; whether it is unique."""
        start = np.where(support, self.u, 0.0)
        gradient = self.gradient + self.kinks.slope * sign
        gradient += product(self.hessian, start - self.u)
        (index,) = support.nonzero()
        part = self.hessian[index[:, None], index]  # np.ix_ takes longer than the rest of a step
        step, unique = solve_positive(part, -gradient[index])
        start[index] += step
        return start, unique


def _by_interior_point(
    hessian: Array, gradient: Array, kinks: Kinks[np.ndarray], u: Array
) -> Array:
    """Return the same minimum by interior point steps."""
    nothing, none = np.zeros(0), np.zeros_like(hessian)
    model = LocalModel(
        point=u,
        value=0.0,
        gradient=gradient,
        hessian=hessian,
        Z=np.zeros((0, len(u))),
        y=nothing,
        share=nothing,
        exact=True,
    )
    bound = Bound(SquaredError(), kinks, none, 1.0, whitened=False, n_free=0)
    steps = InteriorPoint(LocalProblem(model, SquaredError(), kinks, none, bound), u)
    descend(steps, 0.0)
    return steps.result.u


def _largest(hessian: Array) -> float:
    """Return an upper estimate of the largest eigenvalue, in the metric of the diagonal."""
    unit = hessian.diagonal() ** -0.5
    scaled = hessian * np.outer(unit, unit)
    v, length = np.ones_like(unit), 1.0
    for _ in range(_POWER_STEPS):
        v = product(scaled, v)
        length = norm(v)
        v = v / length
    return min(1.3 * length, float(abs(scaled).sum(0).max()))

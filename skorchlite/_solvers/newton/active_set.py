"""Minimum of a quadratic plus corners at zero, over bounded coefficients: the proximal Newton step.

The support is guessed from where a proximal step would land and the quadratic is minimised on it,
until the guess is its own outcome (a primal-dual active set). A guess that does not descend is
replaced by accelerated proximal steps, which always do. Where many faces are alike, as with columns
that repeat, guesses may follow each other without end; interior point steps end there.

References
----------
Hintermuller, Ito, Kunisch (2003), "The primal-dual active set strategy as a semismooth Newton
method", SIAM Journal on Optimization 13(3). Beck, Teboulle (2009), "A fast iterative
shrinkage-thresholding algorithm for linear inverse problems", SIAM Journal on Imaging Sciences 2.
"""

import torch
from torch import Tensor

from ..._objective.local_model import Model
from ..._objective.losses import SquaredError
from .bounds import Bound
from .crossover import descend
from .interior_point import InteriorPoint
from .kinks import Kinks, solve_positive
from .local_problem import LocalProblem

_GUESSES = 10  # at least
_COLUMNS_A_GUESS = 10  # of many columns: more guesses cost as much as a factorisation of them all
_LAST_GUESSES = 3
_ROUNDS = 3  # of proximal steps, at least: more of few columns cost what interior point steps do
_ENTERING = 10
_PROXIMAL_STEPS = 50
_POWER_STEPS = 10
_ROUNDING = 1e-14  # of a gradient
_EPS = torch.finfo(torch.float64).eps


def minimise_quadratic(hessian: Tensor, slope: Tensor, corners: Kinks, x: Tensor) -> Tensor:
    """Return the minimum of ``slope.(u - x) + 1/2 (u - x).hessian.(u - x) + corners(u)`` over u.

    Parameters
    ----------
    hessian : Tensor of shape (k, k)
        Its diagonal is positive.
    slope : Tensor of shape (k,)
        The gradient of the quadratic at x.
    corners : Kinks
    x : Tensor of shape (k,)
        Where to begin.
    """
    face = _Face(hessian, corners, x, slope)
    n_guesses = max(_GUESSES, len(x) // _COLUMNS_A_GUESS)
    if face.descend(n_guesses) or face.is_least():
        return face.x
    face.go_to(_by_interior_point(hessian, face.slope, corners, face.x))
    face.descend(_LAST_GUESSES)
    return face.x


class _Face:
    """A point, the gradient of the quadratic there, and where to go from it."""

    def __init__(self, hessian: Tensor, corners: Kinks, x: Tensor, slope: Tensor):
        self.hessian, self.corners = hessian, corners
        self.start, self.x, self.slope = x, x, slope
        self.rigid = corners.bounded | (corners.slope > 0)
        self.gained, self.first = 0.0, slope.abs()

    def descend(self, n_guesses: int) -> bool:
        """Go from guess to guess; return whether the last one was its own outcome."""
        rounds = max(_ROUNDS, len(self.x) // _COLUMNS_A_GUESS)
        for _ in range(n_guesses):
            target, settled = self.guess()
            if settled:
                self.x = target
                return True
            if not self.go_to(target):
                before, rounds = self.gained, rounds - 1
                self.go_to(self.proximal_steps())
                self.go_to(self.lowest_on_way())
                # Or nothing: rounding is left.
                if not rounds or self.gained - before <= _EPS * self.gained:
                    return False
        return False

    def is_least(self) -> bool:
        """Return whether the subgradient is zero but for rounding."""
        pull = self.corners.subgradient(self.x, self.slope).abs()
        size = self.hessian.abs() @ (self.x - self.start).abs() + self.corners.slope
        return bool((pull <= _ROUNDING * (size + self.first)).all())

    def go_to(self, target: Tensor) -> bool:
        """Go there if that is lower; return whether it is."""
        step = target - self.x
        bend = self.hessian @ step
        # Differences of values would lose what a step near the minimum gains.
        corner = (self.corners.slope * (target.abs() - self.x.abs())).sum()
        gain = -float(step @ (self.slope + 0.5 * bend) + corner)
        if not gain > 0:
            return False
        self.x, self.slope = target, self.slope + bend
        self.gained += gain
        return True

    def guess(self) -> tuple[Tensor, bool]:
        """Return the minimum with the support and the signs of where a proximal step lands.

        And whether these are those of x and of the minimum, which is that of the whole then.
        """
        step = 1 / self.hessian.diagonal()
        landed = self.corners.prox(self.x - self.slope * step, step)
        free, sign = self.corners.free(landed), landed.sign()
        target, unique = self._minimum(free, sign)
        if not unique:  # a support larger than the rank would not shrink again
            return self.x, False
        wrong = self.rigid & (target.sign() != sign)
        settled = not (wrong | (self.rigid & (self.x.sign() != sign))).any()
        return torch.where(wrong, torch.zeros_like(target), target), settled

    def proximal_steps(self) -> Tensor:
        """Return x after accelerated proximal steps, begun anew where they turn back."""
        step = 1 / (self.hessian.diagonal() * _largest(self.hessian))
        start = x = ahead = self.x
        momentum = 1.0
        for _ in range(_PROXIMAL_STEPS):
            slope = self.slope + self.hessian @ (ahead - start)
            new = self.corners.prox(ahead - slope * step, step)
            if ((ahead - new) * (new - x) / step).sum() > 0:
                ahead, momentum = x, 1.0
                continue
            faster = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
            ahead = new + (momentum - 1) / faster * (new - x)
            x, momentum = new, faster
        return x

    def lowest_on_way(self) -> Tensor:
        """Return the lowest point on the way to the minimum on a face that is entered downhill.

        The face is the support of x with the coordinates that would leave zero by most. The way
        changes its slope where a coordinate comes to zero; there it may stay.
        """
        x, corners = self.x, self.corners
        steep = corners.subgradient(x, self.slope) * self.hessian.diagonal().rsqrt() * (x == 0)
        order = steep.abs().argsort(descending=True)
        room = min(_ENTERING + int((x != 0).sum()) // 4, int((steep != 0).sum()))
        while True:
            entering = torch.zeros_like(x)
            entering[order[:room]] = -steep[order[:room]].sign()
            way, unique = self._way(entering)
            if unique or room <= 1:
                break
            room //= 2
        (crossing,) = (self.rigid & (x * (x + way) < 0)).nonzero(as_tuple=True)
        stops = torch.cat((x[crossing] / -way[crossing], x.new_ones(1)))
        points = x + stops[:, None] * way
        points[torch.arange(len(crossing)), crossing] = 0
        outside = ((points < 0) & corners.bounded).any(1)
        steps = points - x
        value = steps @ self.slope + 0.5 * ((steps @ self.hessian) * steps).sum(1)
        value += (points.abs() - x.abs()) @ corners.slope
        return points[torch.where(outside, torch.inf, value).argmin()]

    def _way(self, entering: Tensor) -> tuple[Tensor, bool]:
        """Return the way to the minimum on the face of x and what enters; whether it is unique.

        What enters on the wrong side is left out again.
        """
        while True:
            support = self.corners.free(self.x) | (entering != 0)
            target, unique = self._minimum(support, self.x.sign() + entering)
            way = target - self.x
            back = self.rigid & (way * entering < 0)
            if not back.any():
                return way, unique
            entering = torch.where(back, torch.zeros_like(entering), entering)

    def _minimum(self, support: Tensor, sign: Tensor) -> tuple[Tensor, bool]:
        """Return a minimum on a face, whose coordinates have these signs; whether it is unique."""
        start = torch.where(support, self.x, torch.zeros_like(self.x))
        slope = self.slope + self.hessian @ (start - self.x) + self.corners.slope * sign
        (index,) = support.nonzero(as_tuple=True)
        step, unique = solve_positive(self.hessian[index][:, index], -slope[index])
        start[index] += step
        return start, unique


def _by_interior_point(hessian: Tensor, slope: Tensor, kinks: Kinks, x: Tensor) -> Tensor:
    """Return the same minimum by interior point steps."""
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
    bound = Bound(SquaredError(), kinks, none, 1.0, whitened=False, n_free=0)
    steps = InteriorPoint(LocalProblem(model, SquaredError(), kinks, none, bound), x)
    descend(steps, 0.0)
    return steps.result.u


def _largest(hessian: Tensor) -> float:
    """Return an upper estimate of the largest eigenvalue, in the metric of the diagonal."""
    unit = hessian.diagonal().rsqrt()
    scaled = hessian * torch.outer(unit, unit)
    v, length = torch.ones_like(unit), 1.0
    for _ in range(_POWER_STEPS):
        v = scaled @ v
        length = float(torch.linalg.vector_norm(v))
        v = v / length
    return min(1.3 * length, float(scaled.abs().sum(0).max()))

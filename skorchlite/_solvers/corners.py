"""Minimum of a quadratic plus corners at zero, over bounded coefficients: the proximal Newton step.

The support is guessed from where a proximal step would land and the quadratic is minimised on it,
until the guess is its own outcome (a primal-dual active set). A guess that does not descend is
replaced by accelerated proximal steps, which always do.

References
----------
Hintermuller, Ito, Kunisch (2003), "The primal-dual active set strategy as a semismooth Newton
method", SIAM Journal on Optimization 13(3). Beck, Teboulle (2009), "A fast iterative
shrinkage-thresholding algorithm for linear inverse problems", SIAM Journal on Imaging Sciences 2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_GUESSES = 500
_ENTERING = 10
_PROXIMAL_STEPS = 50
_POWER_STEPS = 10
_EPS = torch.finfo(torch.float64).eps


@dataclass
class Corners:
    """What is not smooth: ``sum_j slope_j |x_j|``, and ``x_j >= 0`` where ``bounded_j``.

    Parameters
    ----------
    slope : Tensor of shape (k,)
    bounded : Tensor of shape (k,), bool
    """

    slope: Tensor
    bounded: Tensor

    def value(self, x: Tensor) -> Tensor:
        """Return the value at x."""
        return (self.slope * x.abs()).sum()

    def prox(self, x: Tensor, step: Tensor) -> Tensor:
        """Return where a step to x is drawn to, in the metric ``1 / step``."""
        shrunk = (x.abs() - self.slope * step).clamp(min=0) * x.sign()
        return torch.where(self.bounded, shrunk.clamp(min=0), shrunk)

    def free(self, x: Tensor) -> Tensor:
        """Return where a small change of x has a smooth effect."""
        return (x != 0) | ((self.slope == 0) & ~self.bounded)

    def subgradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Return the subgradient of least norm, from the gradient of the smooth part."""
        at_zero = (gradient.abs() - self.slope).clamp(min=0) * gradient.sign()
        at_bound = (gradient + self.slope).clamp(max=0)
        at_zero = torch.where(self.bounded, at_bound, at_zero)
        return torch.where(x == 0, at_zero, gradient + self.slope * x.sign())


def minimise_quadratic(hessian: Tensor, slope: Tensor, corners: Corners, x: Tensor) -> Tensor:
    """Return the minimum of ``slope.(u - x) + 1/2 (u - x).hessian.(u - x) + corners(u)`` over u.

    Parameters
    ----------
    hessian : Tensor of shape (k, k)
        Its diagonal is positive.
    slope : Tensor of shape (k,)
        The gradient of the quadratic at x.
    corners : Corners
    x : Tensor of shape (k,)
        Where to begin.
    """
    face = _Face(hessian, corners, x, slope)
    for _ in range(_GUESSES):
        target, settled = face.guess()
        if settled:
            return target
        if not face.go_to(target):
            before = face.gained
            face.go_to(face.proximal_steps())
            face.go_to(face.lowest_on_way())
            if face.gained - before <= _EPS * face.gained:  # or nothing: rounding is left
                break
    return face.x


class _Face:
    """A point, the gradient of the quadratic there, and where to go from it."""

    def __init__(self, hessian: Tensor, corners: Corners, x: Tensor, slope: Tensor):
        self.hessian, self.corners = hessian, corners
        self.x, self.slope = x, slope
        self.rigid = corners.bounded | (corners.slope > 0)
        self.gained = 0.0

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


def solve_positive(matrix: Tensor, right: Tensor) -> tuple[Tensor, bool]:
    """Return the solution of a symmetric positive semidefinite system, and whether it is unique.

    If it is not, the matrix is shifted, in units of its diagonal, by more than its rounding.
    """
    rounding = 4 * torch.finfo(matrix.dtype).eps * max(len(matrix), 1)
    diagonal = matrix.diagonal()
    diagonal = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal))
    lower, info = torch.linalg.cholesky_ex(matrix)
    unique = not info and bool((lower.diagonal() ** 2 > rounding * diagonal).all())
    shift = 100 * rounding
    while info and shift < 1e6:
        lower, info = torch.linalg.cholesky_ex(matrix + (shift * diagonal).diag())
        shift *= 100
    return torch.cholesky_solve(right[:, None], lower)[:, 0], unique

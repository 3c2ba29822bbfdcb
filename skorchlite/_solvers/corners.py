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


def minimise_quadratic(hessian: Tensor, gradient: Tensor, corners: Corners, x: Tensor) -> Tensor:
    """Return the minimum of ``gradient.x + 1/2 x.hessian.x + corners(x)``, begun at x.

    Parameters
    ----------
    hessian : Tensor of shape (k, k)
        Its diagonal is positive.
    gradient : Tensor of shape (k,)
        At zero.
    corners : Corners
    x : Tensor of shape (k,)
    """
    scale = hessian.diagonal() * _largest(hessian)
    value = _value(hessian, gradient, corners, x)
    for _ in range(_GUESSES):
        new = _guess(hessian, gradient, corners, x)
        new_value = _value(hessian, gradient, corners, new)
        if not new_value < value:
            if torch.equal(new.sign(), x.sign()):  # the guess is x itself
                return x
            new = _proximal_steps(hessian, gradient, corners, x, 1 / scale)
            new = _face_step(hessian, gradient, corners, new)
            new_value = _value(hessian, gradient, corners, new)
        if not new_value < value:
            return x
        x, value = new, new_value
    return x


def _value(hessian: Tensor, gradient: Tensor, corners: Corners, x: Tensor) -> float:
    return float(x @ (gradient + 0.5 * (hessian @ x)) + corners.value(x))


def _proximal_steps(
    hessian: Tensor, gradient: Tensor, corners: Corners, x: Tensor, step: Tensor
) -> Tensor:
    """Return x after accelerated proximal steps, begun anew where they turn back."""
    ahead, momentum = x, 1.0
    for _ in range(_PROXIMAL_STEPS):
        new = corners.prox(ahead - (gradient + hessian @ ahead) * step, step)
        if ((ahead - new) * (new - x) / step).sum() > 0:
            ahead, momentum = x, 1.0
            continue
        faster = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
        ahead = new + (momentum - 1) / faster * (new - x)
        x, momentum = new, faster
    return x


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


def _guess(hessian: Tensor, gradient: Tensor, corners: Corners, x: Tensor) -> Tensor:
    """Return the minimum with the support and the signs of where a proximal step lands."""
    step = 1 / hessian.diagonal()
    landed = corners.prox(x - (gradient + hessian @ x) * step, step)
    guess, unique = _minimum_on(hessian, gradient, corners, corners.free(landed), landed.sign())
    if not unique:  # a support larger than the rank would not shrink again
        return x
    return torch.where(guess * landed < 0, torch.zeros_like(guess), guess)


def _face_step(hessian: Tensor, gradient: Tensor, corners: Corners, x: Tensor) -> Tensor:
    """Return the lowest point on the way to the minimum on a face that is entered downhill.

    The face is the support of x with the coordinates that would leave zero by most. The way changes
    its slope where a coordinate comes to zero; there it may stay.
    """
    slope = corners.subgradient(x, gradient + hessian @ x)
    steep = slope * hessian.diagonal().rsqrt() * (x == 0)
    order = steep.abs().argsort(descending=True)
    room = min(_ENTERING + int((x != 0).sum()) // 4, int((steep != 0).sum()))
    while True:
        entering = torch.zeros_like(x)
        entering[order[:room]] = -steep[order[:room]].sign()
        way, unique = _way_on_face(hessian, gradient, corners, x, entering)
        if unique or room <= 1:
            return _lowest(hessian, gradient, corners, x, way)
        room //= 2


def _way_on_face(
    hessian: Tensor, gradient: Tensor, corners: Corners, x: Tensor, entering: Tensor
) -> tuple[Tensor, bool]:
    """Return the way to the minimum on the face of x and what enters, and whether that is unique.

    What enters on the wrong side is left out again.
    """
    while True:
        support = corners.free(x) | (entering != 0)
        target, unique = _minimum_on(hessian, gradient, corners, support, x.sign() + entering)
        way = target - x
        back = way * entering < 0
        if not back.any():
            return way, unique
        entering = torch.where(back, torch.zeros_like(entering), entering)


def _lowest(hessian: Tensor, gradient: Tensor, corners: Corners, x: Tensor, way: Tensor) -> Tensor:
    """Return the lowest of the end of a way and the points at which a coordinate comes to zero."""
    (crossing,) = (x * (x + way) < 0).nonzero(as_tuple=True)
    stops = torch.cat((x[crossing] / -way[crossing], x.new_ones(1)))
    points = x + stops[:, None] * way
    points[torch.arange(len(crossing)), crossing] = 0
    inside = ~((points < 0) & corners.bounded).any(1)
    smooth = points @ gradient + 0.5 * ((points @ hessian) * points).sum(1)
    value = smooth + points.abs() @ corners.slope
    return points[torch.where(inside, value, torch.inf).argmin()]


def _minimum_on(
    hessian: Tensor, gradient: Tensor, corners: Corners, support: Tensor, sign: Tensor
) -> tuple[Tensor, bool]:
    """Return a minimum on a face, whose coordinates have these signs, and whether it is unique."""
    (index,) = support.nonzero(as_tuple=True)
    right = -(corners.slope * sign + gradient)[index]
    x = torch.zeros_like(gradient)
    x[index], unique = solve_positive(hessian[index][:, index], right)
    return x, unique


def solve_positive(matrix: Tensor, right: Tensor) -> tuple[Tensor, bool]:
    """Return the solution of a symmetric positive semidefinite system, and whether it is unique.

    If it is not, the matrix is shifted, in units of its diagonal, by more than its rounding.
    """
    rounding = 4 * torch.finfo(matrix.dtype).eps * max(len(matrix), 1)
    diagonal = matrix.diagonal()
    lower, info = torch.linalg.cholesky_ex(matrix)
    unique = not info and bool((lower.diagonal() ** 2 > rounding * diagonal).all())
    shift = 100 * rounding
    while info and shift < 1e6:
        lower, info = torch.linalg.cholesky_ex(matrix + (shift * diagonal).diag())
        shift *= 100
    return torch.cholesky_solve(right[:, None], lower)[:, 0], unique

"""Conjugate gradients, for a quadratic objective whose matrix is never formed.

A pass over the rows multiplies a direction by the Hessian, which gives the length of the step along
it exactly. The gradient follows from that. Now and then it is taken from the data anew, which ends
the drift of rounding errors; before the descent ends, it always is.

References
----------
Hestenes, Stiefel (1952), "Methods of conjugate gradients for solving linear systems". van der
Vorst, Ye (2000), "Residual replacement strategies for Krylov subspace iterative methods", SIAM
Journal on Scientific Computing 22(3).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.loss import Loss
from ..base import Monitor
from ..newton.scaled import Scaled
from .iterate import Iterate

Array = NDArray[np.float64]

_EPS = torch.finfo(torch.float64).eps
_ANEW = 50  # steps, after which the gradient is taken from the data
_IDLE = 2  # of these that gain nothing


class ConjugateDescent(Iterate):
    """Descent by conjugate gradients.

    Parameters
    ----------
    problem : Scaled
        Of squared error, with a smooth penalty.
    u : Tensor of shape (k, n_targets)
        Where to start.
    monitor : Monitor
    """

    def __init__(self, problem: Scaled, u: Tensor, monitor: Monitor):
        super().__init__(problem, monitor)
        self.least = np.full(len(self.first_norm), np.inf)
        if not torch.equal(u, self.u):
            self.u = u
            self.measure()
            self.first_norm = torch.maximum(self.first_norm, self.norm)
        self.curve = [self.total]
        self.first_value = self.value

    def measure(self, loss: Loss | None = None) -> None:
        """Take value and gradient at the point from the data, or from the spread at zero."""
        if loss is None and not self.u.any():
            self.value, self.gradient = self.problem.without_coefficients()
            self.subgradient = self.gradient
        else:
            super().measure(loss)
        self._square = self._measured_square()

    @property
    def norm(self) -> Tensor:
        """The norm of the gradient for each target."""
        return torch.from_numpy(np.sqrt(self._square))

    @property
    def least_curvature(self) -> Tensor:
        """The least curvature along a step so far; infinite before the first one."""
        return torch.from_numpy(self.least)

    def run(self, tol: float, max_iter: int) -> str:
        """Step until the coefficients are within tol, relatively; return how it ended."""
        idle, lowest = 0, self.norm
        while True:
            direction = -self.gradient
            for _ in range(_ANEW):
                if not self._above(tol).any() or self.n_iter >= max_iter:
                    break
                direction = self._step(direction)
            self.measure()
            self.curve[-1] = self.total
            if not self._above(tol).any():
                return "converged"
            if self.n_iter >= max_iter:
                return "max_iter"
            idle = 0 if (self.norm < 0.5 * lowest)[self._above(tol)].any() else idle + 1
            lowest = torch.minimum(lowest, self.norm)
            if idle >= _IDLE:
                return "stalled"

    def _above(self, tol: float) -> Tensor:
        """Return for which targets the error of the coefficients may be above tol, relatively."""
        return self.norm > torch.maximum(tol * self.scale_of_norm(), _EPS * self.first_norm)

    def _step(self, direction: Tensor) -> Tensor:
        """Step to the minimum along the direction; turn it, in place, to the next one."""
        problem, square = self.problem, self._square
        product = problem.hessian_product(direction)
        curvature, size = problem.dots(direction, product), problem.dots(direction, direction)
        with np.errstate(all="ignore"):
            lengths = np.where(curvature > 0, square / curvature, 0.0)
            met = curvature / size
            self.least = np.where(met > 0, np.minimum(self.least, met), self.least)
        length = torch.from_numpy(lengths)
        self.step = length * direction
        self.u = self.u + self.step
        self.gradient.addcmul_(length, product)
        self._square = self._measured_square()
        self.value = (self.value - torch.from_numpy(0.5 * lengths * square)).clamp_(min=0)
        self.n_iter += 1
        self.curve.append(self.total)
        self.monitor(self.n_iter, self.curve[-1], None, self.solution)
        with np.errstate(all="ignore"):
            ratio = np.where(square > 0, self._square / square, 0.0)
        return direction.mul_(torch.from_numpy(ratio)).sub_(self.gradient)

    def _measured_square(self) -> Array:
        """Return the squared norm of the gradient, which rounding cannot make negative."""
        return np.maximum(self.problem.dots(self.gradient, self.gradient), 0.0)

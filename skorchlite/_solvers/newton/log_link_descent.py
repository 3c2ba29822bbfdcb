"""The descent of one target by Newton steps, with a lower bound on the objective at each."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..._exceptions import OutOfRangeError
from ..._linalg.products import norm, product, quietly
from ..._objective.expansions import Expansion, Trial
from ..._objective.objective import Objective
from ..base import SolverControl
from .bounds import AtZero
from .cholesky import cholesky
from .kinks import Kinks
from .newton_step import NewtonStep

Array = NDArray[np.float64]

SUFFICIENT = 1e-4  # of what a step promises: what it has to gain
GROWTH = 2.0  # of the logarithm of a mean: a step that fails is cut to one that changes it so much
_TRIALS = 60
_SLIGHT, _FEW_TRIALS = 1e-9, 12  # of the objective: what rounding of predictions may keep from it
NOISE = 1e-14  # of the objective
_SHIFTS = (0.0, 1e-12, 1e-9, 1e-6, 1e-3, 1.0)  # of a Hessian, relative to its diagonal
_SPARE = 0.3  # of the tolerance, which the third order of a step may take without a curvature
SURELY = 1e-13  # a gap that shows whether a mean that falls comes to an end
FALLING = 0.5  # of the logarithm of a mean in a step at the end: then it falls without end
LITTLE = 1e-12  # of the objective of the constant
_IDLE, _IDLE_GAIN = 60, 1e-3  # steps that gain no more of the objective: rounding leads them
SLIGHT_BLUR = 1e-6  # of the objective: what rounding may cost without a warning
_LEAST_SLOPE = 1e-6  # of what it may be: a first gradient that others are relative to
_FLAT = 1e-7  # of the first gradient, which counts as zero for a loss that is not convex


@dataclass(frozen=True)
class Form:
    """What a descent minimises besides the loss of the rows, in coordinates ``u``.

    It is ``constant - pulled.u + 1/2 u.curvature.u``, and kinks.

    Parameters
    ----------
    objective : Objective
    kinks : Kinks
    curvature : array of shape (k, k)
    pulled : array of shape (k,) or float, default=0.0
    constant : float, default=0.0
    """

    objective: Objective
    kinks: Kinks[np.ndarray]
    curvature: Array
    pulled: Any = 0.0
    constant: float = 0.0

    def at(self, u: Array) -> tuple[float, Array]:
        """Return the value at u, and the gradient of what is smooth."""
        curved = product(self.curvature, u)
        rest = float(((0.5 * curved - self.pulled) * u).sum())
        return self.constant + rest + self.kinks.value(u), curved - self.pulled


class Descent:
    """The descent of one target.

    Parameters
    ----------
    form : Form
    control : SolverControl
    goal : float
        A relative gap, not above ``tol``, that steps go on to as long as they gain.
    start : array of shape (k,)
    at_zero : AtZero, default=None
        Of the constant model, if the start is another.

    Attributes
    ----------
    u : array of shape (k,)
        The best point so far.
    value, lower, gap : float
        The objective there, a lower bound on its minimum, and what is between both, relatively.
    norm : float
        Of the subgradient there, relative to that at the start.
    status : str
        How it ended; "" while it goes on.
    """

    def __init__(
        self,
        form: Form,
        control: SolverControl,
        goal: float,
        start: Array,
        at_zero: AtZero | None = None,
    ):
        self.form, self.kinks, self.curvature = form, form.kinks, form.curvature
        self.convex, self.smooth = form.objective.loss.convex, not form.kinks.rigid.any()
        # With a penalty on all coefficients it is at infinity only if all targets are zero.
        objective = form.objective
        self.open = bool(objective.penalty.unpenalised(objective.n_features).any())
        self.tol, self.goal, self.max_iter = control.gap, goal, control.max_iter
        self.at_zero = at_zero or AtZero(0.0, 0.0)
        self.u, self.value, self.lower, self.gap = start, inf, -inf, inf
        self.norm, self.first_norm, self.blur, self.falling = inf, 0.0, 0.0, False
        self.step = NewtonStep(start, np.zeros_like(start))
        self.length, self.n_trials, self.curved, self.third = 0.0, 0, True, inf
        self.n_iter, self.idle, self.curve, self.status = 0, 0, list[float](), ""

    def trial(self) -> Trial:
        """Return the point to evaluate next."""
        return Trial(
            point=torch.from_numpy(self._next()),
            step=torch.from_numpy(self.step.way),
            whole=self.length == 1,
            curved=self.curved,
        )

    def _next(self) -> Array:
        # The end of a step has zeros that are exact.
        return self.step.end if self.length == 1 else self.u + self.length * self.step.way

    @quietly
    def advance(self, about: Expansion) -> None:
        """Go to the point that was evaluated, if it is lower, and make the next step."""
        u = self._next()
        rest, slope = self.form.at(u)
        value = about.value + rest
        finite = isfinite(value + float(about.gradient.sum()))
        if not self.curve:
            if not finite:
                raise OutOfRangeError
            self.at_zero = self.at_zero if self.at_zero.value else AtZero.of(value)
        below = -inf
        if self.length == 1:
            below = self._bound(about)
        if self.length and not (finite and self._is_lower(value)):
            self._shorten(about.growth)
            return
        if self.length == 1 and self.step.slope > 0:
            expected = self.value - self.step.gain
            self.third = abs(value - expected) / self.step.slope**1.5
        self.n_iter += self.length > 0
        self.idle = self.idle + 1 if self.value - value <= _IDLE_GAIN * self.value else 0
        self.curve = [*self.curve, value] if self.length or not self.curve else self.curve
        self.u, self.value = u, value
        gradient = about.gradient.numpy() + slope
        self._measure(gradient, about)
        falling = about.lowest <= -FALLING and (self.open or about.nothing)
        falling |= about.nothing and value <= self.at_zero.nothing
        # Where next to nothing is left of the objective, rounding makes the last steps short.
        falling |= self.falling and value <= LITTLE * self.at_zero.value
        self.falling = falling
        if below > value:  # rows that were left out matter
            below = -inf
        if self.lower > value * (1 + SLIGHT_BLUR):  # it was made of rounding
            self.lower, self.blur = -inf, 0.0
        self.status = self._ended(max(self.lower, below), falling)
        if not self.status:
            self._make_step(about, gradient)

    def _bound(self, about: Expansion) -> float:
        """Take the lower bound that the step gives, or return what is one but for some rows.

        Rows with targets of zero whose predictions go to zero without end have a limit of no slope,
        which the next steps come to.
        """
        if not (self.convex and self.step.balanced):
            return -inf
        below = self.value - about.gap - self.step.left
        if about.least >= -1:
            if below - self.step.blur > self.lower - self.blur:
                self.lower, self.blur = below, self.step.blur
            return -inf
        falls = about.lowest <= -FALLING and (self.open or about.nothing)
        return below if falls else -inf

    def _is_lower(self, value: float) -> bool:
        """Return whether the objective fell enough, or all that the step could gain is rounding."""
        if self.step.slope <= NOISE * self.value:
            return value <= self.value * (1 + NOISE)
        return value <= self.value - SUFFICIENT * self.length * self.step.slope

    def _shorten(self, growth: float) -> None:
        """Try a point on the way that is nearer."""
        self.n_trials += 1
        slight = self.step.slope <= _SLIGHT * self.value
        if self.n_trials > (_FEW_TRIALS if slight else _TRIALS):
            self.status = self._stopped()
        self.length *= 0.5
        if growth * self.length > GROWTH:
            self.length = GROWTH / growth
        self.curved = True

    def _measure(self, gradient: Array, about: Expansion) -> None:
        """Note the norm of the subgradient at the point."""
        if not self.first_norm:
            # No slope is far above this. Of a constant model that is the best one there is none.
            most = (about.hessian.diagonal().numpy() * self.value) ** 0.5
            self.first_norm = max(norm(gradient), _LEAST_SLOPE * norm(most))
        size = norm(self.kinks.subgradient(self.u, gradient))
        self.norm = size / self.first_norm if self.first_norm else 0.0

    def _stopped(self, status: str = "stalled") -> str:
        """Return the status where no step follows."""
        enough = max(self.tol, self.at_zero.rounded(self.value))
        blurred = self.at_zero.relative(self.blur, self.value)
        near = self.gap - blurred <= enough and self.gap <= max(enough, SLIGHT_BLUR)
        if not self.convex:  # no loss is below zero
            near = self.norm <= _FLAT or self.value <= self.at_zero.nothing
        return "converged" if near else status

    def _ended(self, lower: float, falling: bool) -> str:
        """Return how the descent ended, "" where it goes on."""
        noise = NOISE if self.convex else NOISE * _FLAT  # slopes show more than the objective
        rounded = self.length > 0 and self.step.slope <= noise * self.value
        rounded |= self.idle > _IDLE
        if self.convex:
            gap = self.at_zero.relative(self.value - lower, self.value)
            self.gap = self.at_zero.relative(self.value - lower + self.blur, self.value)
            goal = min(self.tol, SURELY) if falling else self.goal
            enough = max(goal, self.at_zero.rounded(self.value))
            # Where steps cost little, one more brings coefficients as close as the objective is.
            slope = self.at_zero.part(self.step.slope, self.value)
            short = self.goal == self.tol or slope <= self.tol
            if gap <= enough and self.gap <= max(enough, SLIGHT_BLUR) and (short or falling):
                return "separated" if falling else "converged"
        elif self.norm <= self.tol or not self.value:
            return "converged"
        if self.n_iter >= self.max_iter:
            return self._stopped("max_iter")
        return self._stopped() if rounded else ""

    def _make_step(self, about: Expansion, gradient: Array) -> None:
        """Make the Newton step from the point, for which its curvature has to be known."""
        if not about.hessian.ndim:
            self.length, self.curved = 0.0, True
            return
        hessian = about.hessian.numpy() + self.curvature
        if not self.convex and not cholesky(hessian)[1]:
            hessian = about.expected.numpy() + self.curvature
        for shift in _SHIFTS:
            shifted = hessian + np.diag(shift * hessian.diagonal()) if shift else hessian
            self.step = NewtonStep.of(
                self.u, self.value, gradient, shifted, self.curvature, self.kinks
            )
            # Where directions have no curvature, rounding may lead uphill.
            if 0 <= self.step.gain <= self.step.slope:
                break
        self.length, self.n_trials = 1.0, 0
        # What the next point is above its bound is of third order in the step.
        above = self.third * max(self.step.slope, 0.0) ** 1.5
        self.curved = not above <= _SPARE * self.goal * self.value

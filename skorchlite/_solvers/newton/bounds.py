"""How far the optimum may be below a point: a bound that is computed, not estimated.

A convex function lies above its tangents. So the objective at the optimum is at least its value
here, less what the gradient could gain on the way there. The objective bounds how far that way is:
at the optimum it is no higher than here, which limits the residuals, and the penalty.

References
----------
Mangasarian (1985), "Computable numerical bounds for Lagrange multipliers of stationary points of
nonconvex differentiable nonlinear programs". Ndiaye, Fercoq, Gramfort, Salmon (2017), "Gap safe
screening rules for sparsity enforcing penalties", JMLR 18.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import norm, product, quietly
from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._sources.row_source import lightest
from .cholesky import cholesky, solve_factorised, solve_positive
from .kinks import Kinks

Array = NDArray[np.float64]

_ROUNDING = 4 * float(np.finfo(np.float64).eps)
NOTHING = 1e-14  # of the objective at zero: what is left of it then is rounding
_SPANNED = 1e-3  # of a slope: what no step may reach where columns depend on each other
_LEFT_OUT = 1e-6  # of the objective: what slopes that are left out as rounding may gain
_FEW_COLUMNS = 1_000  # whose products with each other take next to no time
_UNSEEN = 1e-6  # of the objective: what rounding may make of a gap without a warning
_MOST = 1e-7  # of the objective: what may be put down to rounding


@dataclass
class Bound:
    """What the tangent at a point leaves to gain.

    Parameters
    ----------
    loss : Loss
    kinks : Kinks
        Of the penalty, in the coordinates of the descent.
    curvature : array of shape (k, k), or (k,) where it is diagonal
        Of the penalty.
    least_share : float
        The least weight of a row, relative to that of all.
    whitened : bool
        Whether the coordinates are such that predictions together with the root of a smooth penalty
        change by as much as u does, root mean square.
    n_free : int
        How many of the last coordinates are intercepts, for columns measured from their mean.
    """

    loss: Loss
    kinks: Kinks
    curvature: Array
    least_share: float
    whitened: bool
    n_free: int

    @quietly
    def left(self, u: Array, gradient: Array, value: float, gram: Callable[[], Array]) -> float:
        """Return how much lower than at u the objective may be, at most.

        Parameters
        ----------
        u : array of shape (k,)
        gradient : array of shape (k,)
            Of a convex function that is no higher than the objective, without the kinks.
        value : float
            Of the objective at u.
        gram : callable
            Returns ``Z^T diag(share) Z``, or less, where it is asked for; the curvature of the
            penalty may be in it.
        """
        kinks, slope = self.kinks, self.kinks.slope
        beyond = kinks.beyond(gradient)
        # Without the slopes beyond the kinks, the tangent is least where coefficients are zero.
        inside = np.maximum(slope * abs(u) + (gradient - beyond) * u, 0.0)[kinks.rigid]
        small = abs(beyond) <= self._rounding(u, value)
        rounded = np.where(small & (slope > 0), beyond, 0.0)
        beyond = np.where(small, 0.0, beyond)
        gain = float(inside.sum()) + float(np.maximum(beyond * u, 0.0)[kinks.rigid].sum())
        gain += self._reach(beyond, value, gram) if beyond.any() else 0.0
        # The least slope leads far along a direction that rows and a weak penalty hardly hold.
        far = self._reach(rounded, value, gram, weak=True) if rounded.any() else 0.0
        gain += far if far > _LEFT_OUT * value else 0.0
        gain = min(gain, self._along_coefficients(u, gradient, value))
        return min(gain, max(value, 0.0))  # no loss and no penalty is below zero

    @quietly
    def blurred(self, u: Array, value: float) -> float:
        """Return what of a gap may be made of rounding errors of the gradient."""
        if self.whitened:
            return 0.0
        return min(float(self._rounding(u, value) @ abs(u)), _MOST * value)

    def _along_coefficients(self, u: Array, gradient: Array, value: float) -> float:
        """Return how much all may gain against the curvature of the penalty, each for itself."""
        k = len(u) - self.n_free
        if self.curvature.ndim != 1 or not (self.curvature[:k] > 0).all():
            return inf
        away = 2 * self.loss.largest_residual(max(value, 0.0))
        gain = proximal_gain(
            self.kinks.over(slice(None, k)), self.curvature[:k], u[:k], gradient[:k]
        )
        return gain + float(abs(gradient[k:]).sum()) * away

    def _rounding(self, u: Array, value: float) -> Array:
        """Return how far rounding errors may have moved the gradient."""
        size = self.loss.largest_slope(value) + self.loss.smoothness * float(abs(u).sum())
        rounding = _ROUNDING * (size + self.kinks.slope)
        # Where numbers are huge beside the slopes of a loss, that much is no longer to be left out.
        lost = float(rounding @ abs(u))
        return rounding * min(1.0, _LEFT_OUT * value / lost) if lost > 0 else rounding

    def _reach(
        self, beyond: Array, value: float, gram: Callable[[], Array], weak: bool = False
    ) -> float:
        """Return how much a slope of the tangent may gain on the way to the optimum.

        Parameters
        ----------
        beyond : array of shape (k,)
            The slope, beyond the kinks.
        value : float
        gram : callable
        weak : bool, default=False
            Whether the kinks may be weak beside the slope, so that the rows limit the gain more.
        """
        value = max(value, 0.0)
        away = 2 * self.loss.largest_residual(value)  # mean absolute change of predictions
        spread = away / self.least_share**0.5  # root mean square, at the most
        k = len(beyond) - self.n_free
        # The mean of the predictions changes by as much as the intercept.
        intercept = float(abs(beyond[k:]).sum()) * away
        curved = self._against_curvature(beyond[:k]) + intercept
        if self.curvature.any():  # and the root of twice the penalty changes by that much
            spread += (8 * value) ** 0.5
        if self.whitened:
            return min(norm(beyond) * spread, curved)
        slope, rest = self.kinks.slope[:k], beyond[:k]
        kinked = slope > 0
        # The sum of the coefficients, each times its kink, is at most the objective.
        held = 0.0
        if kinked.any():
            held = float((abs(rest)[kinked] / slope[kinked]).max()) * value
        others = np.where(kinked, 0.0, rest)
        gain = held + self._against_rows(others, value, spread, gram)
        if weak and held > _LEFT_OUT * value and k <= _FEW_COLUMNS:
            gain = min(gain, self._against_rows(rest, value, spread, gram))
        return min(gain + intercept, curved)

    def _against_rows(
        self, slope: Array, value: float, spread: float, gram: Callable[[], Array]
    ) -> float:
        """Return how much a slope may gain while predictions change by no more than the spread."""
        if not slope.any():
            return 0.0
        matrix = gram()[: len(slope), : len(slope)]
        step, _ = solve_positive(matrix, slope)
        reached = product(matrix, step)
        off = slope - reached
        gain = max(float(step @ reached), 0.0) ** 0.5 * spread
        # Along what is left of the slope predictions change little, however far that is.
        curvature = self.curvature[: len(slope)]
        if curvature.ndim == 1 and (curvature > 0).all():
            return gain + float((off * off / curvature).sum() * 8 * value) ** 0.5
        spanned = norm(off) <= _SPANNED * norm(slope)
        return gain if spanned else inf

    def _against_curvature(self, slope: Array) -> float:
        """Return how much a slope may gain against the curvature of the penalty alone."""
        if self.curvature.ndim == 1:
            curvature = self.curvature[: len(slope)]
            if not (curvature > 0).all():
                return inf
            return 0.5 * float((slope * slope / curvature).sum())
        lower, found = cholesky(self.curvature[: len(slope), : len(slope)])
        return 0.5 * float(slope @ solve_factorised(lower, slope)) if found else inf


def proximal_gain(kinks: Kinks, curvature: Array, u: Array, gradient: Array) -> float:
    """Return how much a tangent may gain, beside a penalty with kinks and curvature.

    Each coefficient for itself gains most by a proximal step. That is less than a slope times the
    coefficient where the slope is small, such as one that rounding leaves inside a kink.

    Parameters
    ----------
    kinks : Kinks
    curvature : array of shape (k,)
        Of the penalty, positive.
    u : array of shape (k,)
    gradient : array of shape (k,)
        Of a convex function and the penalty's smooth part, at u.
    """
    new = kinks.prox(u - gradient / curvature, 1 / curvature)
    step = new - u
    gains = -(gradient + 0.5 * curvature * step) * step - kinks.slope * (abs(new) - abs(u))
    return float(np.maximum(gains, 0.0).sum())


def least_share(objective: Objective) -> float:
    """Return the least weight of a row, relative to that of all, in a pass over the rows."""
    least, total = objective.rows.total(lightest)
    return min(least) / total if total > 0 else 1.0


@dataclass
class AtZero:
    """The objective at zero, which says how small a value of it counts as nothing.

    Parameters
    ----------
    value : float
        The objective without any coefficients.
    nothing : float
        A value that is smaller is rounding: the targets are explained.
    """

    value: float
    nothing: float

    @classmethod
    def of(cls, value: float) -> "AtZero":
        """Return the same where the rounding of sums is what counts as nothing."""
        return cls(value, NOTHING * value)

    def relative(self, gap: float, value: float) -> float:
        """Return a gap relative to the objective or, where that counts as nothing, to this one."""
        return self.part(min(max(gap, 0.0), value), value)  # none is below zero

    def part(self, part: float, value: float) -> float:
        """Return a part of the objective relative to it or, where it is nothing, to this one."""
        whole = value if value > self.nothing else self.value
        return part / whole if value > 0 else 0.0

    def blurred(self, rounding: float, value: float) -> float:
        """Return how much of a relative gap rounding may have made, of the gradient and of sums."""
        return self.relative(rounding, value) + self.rounded(value)

    def rounded(self, value: float) -> float:
        """Return how large a relative gap the rounding of sums may make without a warning."""
        made = NOTHING * self.value
        return min(made / value, _UNSEEN) if value > self.nothing else NOTHING

"""How far the optimum may be below a point: a bound that is computed, not guessed.

A convex function lies above its tangents. So the objective at the optimum is at least what it is
here, less what the gradient could gain on the way there, and how far that is the objective itself
says: at the optimum it is no higher than here, which bounds the residuals, and the penalty.

References
----------
Mangasarian (1985), "Computable numerical bounds for Lagrange multipliers of stationary points of
nonconvex differentiable nonlinear programs". Ndiaye, Fercoq, Gramfort, Salmon (2017), "Gap safe
screening rules for sparsity enforcing penalties", JMLR 18.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller

import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.objective import Objective
from .kinks import Kinks, solve_positive

_ROUNDING = 4 * torch.finfo(torch.float64).eps
NOTHING = 1e-14  # of the objective at zero: what is left of it then is rounding
_SPANNED = 1e-3  # of a slope: what may be off where columns depend on each other
_LEFT_OUT = 1e-6  # of the objective: what slopes that are left out as rounding may gain
_FEW_COLUMNS = 1_000  # whose products with each other are made in no time
_UNSEEN = 1e-6  # of the objective: what rounding may leave of it without a word
_MOST = 1e-7  # of the objective: what may be put down to rounding


@dataclass
class Bound:
    """What the tangent at a point leaves to gain.

    Parameters
    ----------
    loss : object
    kinks : Kinks
        Of the penalty, in the coordinates of the descent.
    curvature : Tensor of shape (k, k), or (k,) where it is diagonal
        Of the penalty.
    least_share : float
        The least weight of a row, relative to that of all.
    whitened : bool
        Whether the coordinates are such that predictions, and the penalty that is smooth, change by
        as much as x does, root mean square.
    n_free : int
        How many of the last coordinates are intercepts, of columns measured from their mean.
    """

    loss: Loss
    kinks: Kinks
    curvature: Tensor
    least_share: float
    whitened: bool
    n_free: int

    def left(self, x: Tensor, gradient: Tensor, value: float, gram: Callable[[], Tensor]) -> float:
        """Return how much lower than at x the objective may be, at most.

        Parameters
        ----------
        x : Tensor of shape (k,)
        gradient : Tensor of shape (k,)
            Of a convex function that is no higher than the objective, without the corners.
        value : float
            Of the objective at x.
        gram : callable
            Returns ``Z^T diag(share) Z``, or less, where it is asked for; the curvature of the
            penalty may be in it.
        """
        slope, bounded = self.kinks.slope, self.kinks.bounded
        beyond = (gradient.abs() - slope).clamp(min=0) * gradient.sign()
        beyond = torch.where(bounded, (gradient + slope).clamp(max=0), beyond)
        # But for what is beyond the corners, the tangent is least where coefficients are zero.
        rigid = (slope > 0) | bounded
        inside = ((slope * x.abs() + (gradient - beyond) * x).clamp(min=0))[rigid]
        small = beyond.abs() <= self._rounding(x, value)
        rounded = torch.where(small & (slope > 0), beyond, 0.0)
        beyond = torch.where(small, 0.0, beyond)
        gain = float(inside.sum()) + float((beyond * x).clamp(min=0)[rigid].sum())
        gain += self._reach(beyond, value, gram) if beyond.any() else 0.0
        # The least slope leads far along a direction that rows and a weak penalty hardly hold.
        far = self._reach(rounded, value, gram, weak=True) if rounded.any() else 0.0
        gain += far if far > _LEFT_OUT * value else 0.0
        return min(gain, max(value, 0.0))  # no loss and no penalty is below zero

    def blurred(self, x: Tensor, value: float) -> float:
        """Return what of a gap may be made of rounding errors of the gradient."""
        if self.whitened:
            return 0.0
        return min(float(self._rounding(x, value) @ x.abs()), _MOST * value)

    def _rounding(self, x: Tensor, value: float) -> Tensor:
        """Return how far rounding errors may have moved the gradient."""
        size = self.loss.largest_slope(value) + self.loss.smoothness * float(x.abs().sum())
        rounding = _ROUNDING * (size + self.kinks.slope)
        # Where numbers are huge beside the slopes of a loss, that much is no longer to be left out.
        lost = float(rounding @ x.abs())
        return rounding * min(1.0, _LEFT_OUT * value / lost) if lost > 0 else rounding

    def _reach(
        self, beyond: Tensor, value: float, gram: Callable[[], Tensor], weak: bool = False
    ) -> float:
        """Return how much a slope of the tangent may gain on the way to the optimum.

        Where it is made of rounding, a penalty may be ``weak`` beside it, and the rows hold more.
        """
        value = max(value, 0.0)
        away = 2 * self.loss.largest_residual(value)  # mean absolute change of predictions
        spread = away / self.least_share**0.5  # root mean square, at the most
        k = len(beyond) - self.n_free
        # The mean of the predictions changes by as much as the intercept.
        intercept = float(beyond[k:].abs().sum()) * away
        bent = self._against_curvature(beyond[:k]) + intercept
        if self.curvature.any():  # and the root of twice the penalty changes by that much
            spread += (8 * value) ** 0.5
        if self.whitened:
            return min(float(torch.linalg.vector_norm(beyond)) * spread, bent)
        slope, rest = self.kinks.slope[:k], beyond[:k]
        kinked = slope > 0
        # The sum of the coefficients, each times its corner, is at most the objective.
        held = float((rest.abs() / slope)[kinked].max()) * value if kinked.any() else 0.0
        others = torch.where(kinked, 0.0, rest)
        gain = held + self._against_rows(others, value, spread, gram)
        if weak and held > _LEFT_OUT * value and k <= _FEW_COLUMNS:
            gain = min(gain, self._against_rows(rest, value, spread, gram))
        return min(gain + intercept, bent)

    def _against_rows(
        self, slope: Tensor, value: float, spread: float, gram: Callable[[], Tensor]
    ) -> float:
        """Return how much a slope may gain while predictions change by no more than the spread."""
        if not slope.any():
            return 0.0
        matrix = gram()[: len(slope), : len(slope)]
        step, _ = solve_positive(matrix, slope)
        reached = matrix @ step
        off = slope - reached
        gain = max(float(step @ reached), 0.0) ** 0.5 * spread
        # Along what is left of the slope predictions change little, however far that is.
        curvature = self.curvature[: len(slope)]
        if curvature.ndim == 1 and (curvature > 0).all():
            return gain + float((off * off / curvature).sum() * 8 * value) ** 0.5
        spanned = torch.linalg.vector_norm(off) <= _SPANNED * torch.linalg.vector_norm(slope)
        return gain if spanned else torch.inf

    def _against_curvature(self, slope: Tensor) -> float:
        """Return how much a slope may gain against the curvature of the penalty alone."""
        if self.curvature.ndim == 1:
            bent = self.curvature[: len(slope)]
            return 0.5 * float((slope * slope / bent).sum()) if (bent > 0).all() else torch.inf
        lower, info = torch.linalg.cholesky_ex(self.curvature[: len(slope), : len(slope)])
        if info:
            return torch.inf
        return 0.5 * float(slope @ torch.cholesky_solve(slope[:, None], lower)[:, 0])


def least_share(objective: Objective) -> float:
    """Return the least weight of a row, relative to that of all, in a pass over the rows."""
    least, total = objective.rows.total(methodcaller("lightest"))
    return min(least) / total if total > 0 else 1.0


@dataclass
class AtZero:
    """The objective at zero, and what is left of it where all of the targets is explained.

    Parameters
    ----------
    value : float
    nothing : float
        What is less is rounding.
    """

    value: float
    nothing: float

    @classmethod
    def of(cls, value: float) -> "AtZero":
        """Return what rounding of sums leaves of a value."""
        return cls(value, NOTHING * value)

    def relative(self, gap: float, value: float) -> float:
        """Return a gap relative to the objective or, where nothing is left of that, to this one."""
        return self.share(min(max(gap, 0.0), value), value)  # none is below zero

    def share(self, part: float, value: float) -> float:
        """Return a part of the objective relative to it or, where nothing is left, to this one."""
        whole = value if value > self.nothing else self.value
        return part / whole if value > 0 else 0.0

    def blurred(self, rounding: float, value: float) -> float:
        """Return how much of a relative gap rounding may have made, of the gradient and of sums."""
        return self.relative(rounding, value) + self.rounded(value)

    def rounded(self, value: float) -> float:
        """Return how large a relative gap rounding may make, of those that nobody sees."""
        made = NOTHING * self.value
        return min(made / value, _UNSEEN) if value > self.nothing else NOTHING

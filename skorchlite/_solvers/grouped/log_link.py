"""Newton steps on losses with a log link, for many groups at a time.

They are in coordinates of least squares, as those of other losses, but the bound on what is left
to gain is the value of the dual point that a Newton step leads to; see ``newton.log_link``. Groups
that are done stay as they are.
"""

import torch
from torch import Tensor

from ..._objective.log_link import LogLink
from ..newton.log_link_descent import FALLING, GROWTH, LITTLE, NOISE, SUFFICIENT, SURELY
from .form import Form
from .least_squares import relative
from .problem import GroupProblem

_MOST_STEPS = 100
_TRIALS = 40
_SHORT = 0.5  # of the logarithms of means
_GENTLE = 1e-13  # the least damping, relative to the curvature of each coordinate


class LogLinkDescent:
    """The iterates of all groups for one target.

    Parameters
    ----------
    form : Form
    y : Tensor of shape (n_batch, n_rows)
    problem : GroupProblem
    target : int

    Attributes
    ----------
    u : Tensor of shape (n_batch, k)
    gap : Tensor of shape (n_batch,)
        How far the objective may be above its least, relatively; NaN while it is not known.
    n_iter : Tensor of shape (n_batch,)
    separated : Tensor of shape (n_batch,), bool
        Whether the optimum is at infinity.
    """

    def __init__(self, form: Form, y: Tensor, problem: GroupProblem, target: int):
        assert isinstance(problem.loss, LogLink)
        self.form, self.loss, self.problem = form, problem.loss, problem
        self.there = form.share > 0
        self.y = y.where(self.there, 1.0)  # rows that fill a batch up are in no domain
        self.loss.check(self.y)
        self.pulled, self.constant = form.pulled[..., target], form.constant[target]
        self.u = torch.zeros_like(form.P[:, 0])
        if problem.fit_intercept:
            self.u[:, -1] = self.loss.link((form.share * y).sum(1))
        self.gap = torch.full_like(self.u[:, 0], torch.nan)
        self.n_iter = torch.zeros_like(self.gap, dtype=torch.int64)
        self.separated = torch.zeros_like(self.gap, dtype=torch.bool)
        self.falling = self.separated
        # With a penalty on all coefficients the minimum is at infinity only if all targets are 0.
        n_free = problem.n_free(form.P.shape[2] - problem.fit_intercept)
        self.open = ~(self.there & (self.y > 0)).any(1) | (n_free > 0)

    def run(self) -> None:
        """Take steps until each group is within the tolerance, or rounding is all that is left."""
        raw = (self.form.P @ self.u[..., None])[..., 0]
        value = first = self._value(raw, self.u)
        going = torch.isfinite(value)
        for _ in range(min(self.problem.control.max_iter, _MOST_STEPS) + 1):
            step, slope = self._step(raw)
            change = (self.form.P @ step[..., None])[..., 0]
            done = going & self._bound(raw, step, change, value, first, going)
            # A short step more is lower for sure, and costs nothing.
            short = done & (change.abs().where(self.there, 0.0).amax(1) <= _SHORT)
            self.u += step.where(short[:, None], 0.0)
            going &= ~done & torch.isfinite(slope)
            if not going.any():
                return
            self.n_iter += going
            length = self._search_line(raw, change, step, slope, value, going)
            self.u += length[:, None] * step
            raw = raw + length[:, None] * change
            new = self._value(raw, self.u)
            going = going & (length > 0)
            value = new.where(going, value)

    def _value(self, raw: Tensor, u: Tensor) -> Tensor:
        """Return the objective of all groups at u, where the raw predictions are ``raw``."""
        curved = (self.form.curvature @ u[..., None])[..., 0]
        losses = self.form.share * self.loss.value(self.y, raw)
        rest = (0.5 * curved - self.pulled) * u
        return losses.where(self.there, 0.0).sum(1) + rest.sum(1) + self.constant

    def _step(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Newton step of each group, and what the objective loses at first along it."""
        form, loss = self.form, self.loss
        falling, rising = loss.exponentials(self.y, raw)
        curved = (form.curvature @ self.u[..., None])[..., 0] - self.pulled
        gradient = ((form.share * (rising - falling))[:, None] @ form.P)[:, 0] + curved
        curvature = form.share * (loss.falling * falling + loss.rising * rising)
        hessian = form.P.mT @ (curvature[..., None] * form.P) + form.curvature
        lower, failed = torch.linalg.cholesky_ex(hessian)
        if failed.any():
            diagonal = hessian.diagonal(dim1=1, dim2=2)
            diagonal += _GENTLE * diagonal + torch.finfo(diagonal.dtype).tiny
            again, _ = torch.linalg.cholesky_ex(hessian)
            lower = torch.where((failed != 0)[:, None, None], again, lower)
        step = -torch.cholesky_solve(gradient[..., None], lower)[..., 0]
        return step, -(gradient * step).sum(1)

    def _bound(
        self,
        raw: Tensor,
        step: Tensor,
        change: Tensor,
        value: Tensor,
        first: Tensor,
        going: Tensor,
    ) -> Tensor:
        """Note the gaps by the dual points that steps lead to; return which groups are done."""
        loss, tol = self.loss, self.problem.control.gap
        gaps = self.form.share * loss.dual_gap(*loss.exponentials(self.y, raw), change)
        curved = (self.form.curvature @ step[..., None])[..., 0]
        left = gaps.where(self.there, 0.0).sum(1) + 0.5 * (curved * step).sum(1)
        gap = relative(left, value, first)
        rates = [rate for rate in (-loss.falling, loss.rising) if rate]
        least = torch.stack([(rate * change).where(self.there, 0.0).amin(1) for rate in rates])
        zero = self.there & (self.y == 0)
        falls = self.open & (loss.fall(raw, change).where(zero, 0.0).amin(1) <= -FALLING)
        sound = (least.amin(0) >= -1) | falls
        self.gap = gap.where(sound & going, self.gap)
        # Where next to nothing is left of the objective, rounding makes the last steps short.
        falls |= self.falling & (value <= LITTLE * first)
        self.falling = falls
        self.separated |= going & falls & (gap <= min(tol, SURELY))
        return self.separated | (sound & ~falls & (gap <= tol))

    def _search_line(
        self,
        raw: Tensor,
        change: Tensor,
        step: Tensor,
        slope: Tensor,
        value: Tensor,
        going: Tensor,
    ) -> Tensor:
        """Return how far each group goes along its step: half as far until that gains enough."""
        loss = self.loss
        rates = torch.stack([-loss.falling * change, loss.rising * change]).where(self.there, 0.0)
        growth = rates.amax(0).amax(1)
        length = going.to(value.dtype)
        searching = going.clone()
        for _ in range(_TRIALS):
            u = self.u + length[:, None] * step
            there = self._value(raw + length[:, None] * change, u)
            noise = (slope <= NOISE * value) & (there <= value * (1 + NOISE))
            lower = noise | (there <= value - SUFFICIENT * length * slope)
            searching &= ~lower
            if not searching.any():
                return length
            shorter = torch.minimum(0.5 * length, GROWTH / growth.clamp(min=GROWTH))
            length = shorter.where(searching, length)
        return length.where(~searching, 0.0)

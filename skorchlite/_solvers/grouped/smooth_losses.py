"""Losses with a curvature and a smooth penalty, for many groups at a time: damped Newton steps.

They are in coordinates of least squares, in which rows have like spread in all directions, and
begin at its solution. Each is as long as the true objective of its group falls. A group is done
when a bound says that the objective is within ``tol`` of its least.
"""

import torch
from torch import Tensor

from ..._objective.loss import Loss
from .degenerate import directions_of
from .form import Form
from .least_squares import metrics_of, relative
from .log_link import LogLinkDescent
from .problem import Centred, GroupProblem, GroupSolutions

_ALL = slice(None)
_MOST_STEPS = 60
_FLAT = 0.1  # slope at which a line search ends, relative to that at its start
_TRIALS = 12
_LONGEST = 1e6  # times the Newton step
_CURVED = 1e-3  # of the curvature of squared error: with less along a direction a step is damped
_DAMPING = 0.01  # times the slope relative to the residuals, so that it vanishes at the minimum
_GENTLE = 1e-12  # the least damping, relative to the curvature of squared error
_WORTH = 0.7  # of the groups: fewer are taken out, which takes as long as a part of a step
_ROUNDED = 1e-20  # of the objective: a step that gains less, and not less than before, is rounding


def solve_smooth(centred: Centred, problem: GroupProblem) -> GroupSolutions:
    """Return the solutions of a batch of groups; NaN for the optimality of one that has none.

    Parameters
    ----------
    centred : Centred
    problem : GroupProblem
        Its loss has a curvature.
    """
    t, rooted, Z = centred.t, centred.rooted(), centred.Z
    products = rooted.mT @ rooted
    hessian, right = products[:, t:, t:], products[:, t:, :t] + problem.pulled(products)
    hessian.diagonal(dim1=1, dim2=2).add_(problem.curvature(Z))
    metrics = metrics_of(hessian, centred.distance(), problem.data_eps(Z), Z.shape[1])
    identity = torch.eye(Z.shape[2], dtype=Z.dtype, device=Z.device)
    factor = torch.linalg.solve_triangular(metrics.lower.mT, identity, upper=True)
    factor = factor / metrics.scale[..., None]
    rank, finite = torch.full_like(centred.counts, Z.shape[2]), metrics.exact
    hard = ~metrics.exact
    if hard.any():
        distance, counts = centred.distance()[hard], centred.counts[hard]
        found = directions_of(rooted[hard][..., t:], distance, counts, problem)
        factor[hard] = found.factor / found.scale[..., None]
        rank[hard], finite = found.rank, finite.clone()
        finite[hard] = found.finite
    form = Form.of(centred, factor, problem)
    targets = [
        LogLinkDescent(form, centred.y[..., j], problem, j)
        if problem.loss.log_link
        else _Descent(
            form, centred.y[..., j], (factor.mT @ right[..., j, None])[..., 0], problem, j
        )
        for j in range(t)
    ]
    for descent in targets:
        descent.run()
    u, gaps, n_iter, separated = (
        torch.stack([getattr(descent, name) for descent in targets], -1)
        for name in ("u", "gap", "n_iter", "separated")
    )
    w = factor @ u[:, : Z.shape[2]]
    if hard.any():
        w[hard] = found.least_norm(w[hard], centred.turn(hard))
    intercept = u[:, -1] if problem.fit_intercept else torch.zeros_like(w[:, 0])
    sound = finite & torch.isfinite(w).all(2).all(1)
    gap = gaps.amax(1).where(sound, torch.nan)
    return GroupSolutions(w, rank, gap, n_iter.amax(1), intercept, separated.any(1) & sound)


class _Descent:
    """The iterates of all groups for one target.

    Attributes
    ----------
    u : Tensor of shape (n_batch, k)
    gap : Tensor of shape (n_batch,)
        How far the objective may be above its least, relatively; NaN while it is not known.
    n_iter : Tensor of shape (n_batch,)
    """

    def __init__(self, form: Form, y: Tensor, start: Tensor, problem: GroupProblem, target: int):
        self.form, self.y, self.problem, self.target = form, y, problem, target
        self.n_free = form.P.shape[2] - start.shape[1]
        self.u = torch.nn.functional.pad(start, (0, self.n_free))
        self.gap = torch.full_like(self.u[:, 0], torch.nan)
        self.n_iter = torch.ones_like(self.gap, dtype=torch.int64)  # that to least squares
        self.separated = torch.zeros_like(self.gap, dtype=torch.bool)  # no minimum is at infinity
        self.first = self._value(form, y, torch.zeros_like(y), 0.0 * self.u)
        self.u[self.first <= 0] = 0.0  # the constant model has no loss, and the least norm

    def run(self) -> None:
        """Take steps until each group is within the tolerance, or rounding is all that is left."""
        groups, form, y = torch.arange(len(self.u), device=self.u.device), self.form, self.y
        raw = (form.P @ self.u[..., None])[..., 0]
        slopes, last = self.problem.loss.gradient(y, raw), torch.full_like(self.gap, torch.inf)
        for n_iter in range(min(self.problem.control.max_iter, _MOST_STEPS) + 1):
            u = self.u[groups]
            gradient = self._gradient(form, slopes, u)
            size = gradient.square().sum(1)
            going = self._going(groups, form, y, raw, gradient, size, last)
            self.n_iter[groups[going]] = n_iter + 1
            n_going = int(going.sum())
            if not n_going:
                return
            if n_going < _WORTH * len(groups):
                groups, form, u = groups[going], form.only(going), u[going]
                y, raw, gradient, size = (part[going] for part in (y, raw, gradient, size))
                going = going[going]
            step = self._step(form, y, raw, gradient).where(going[:, None], 0.0)
            raw, slopes, length = self._search_line(form, y, raw, u, step, gradient)
            self.u[groups] = u + length[:, None] * step
            last = size

    def _going(
        self,
        groups: Tensor,
        form: Form,
        y: Tensor,
        raw: Tensor,
        gradient: Tensor,
        size: Tensor,
        last: Tensor,
    ) -> Tensor:
        """Return which groups are not done, and note the gap of those that may be.

        Done are those with a gap within the tolerance, and those whose gradient is that close to
        zero and no longer gets closer.
        """
        tol, first = self.problem.control.gap, self.first[groups]
        near = 0.5 * size <= tol * first
        if near.any():
            at = near.nonzero()[:, 0] if not near.all() else slice(None)
            own = groups[at]
            value = self._value(form, y, raw, self.u[own], at)
            left = self._left(value, gradient[at], form.least_share[at])
            # A pull to large coefficients is no measure of what is rounding.
            loss_at_zero = first[at] - form.constant[self.target]
            self.gap[own] = relative(left, value, loss_at_zero)
        return ~((self.gap[groups] <= tol) | (near & (size >= 0.25 * last)))

    def _value(
        self, form: Form, y: Tensor, raw: Tensor, u: Tensor, at: Tensor | slice = _ALL
    ) -> Tensor:
        """Return the objective of some groups at u, where the predictions are ``raw``."""
        curved = (form.curvature[at] @ u[..., None])[..., 0]
        value = (form.share[at] * self.problem.loss.value(y[at], raw[at])).sum(1)
        rest = (0.5 * curved - form.pulled[at, :, self.target]) * u
        return value + form.constant[self.target] + rest.sum(1)

    def _gradient(self, form: Form, slopes: Tensor, u: Tensor) -> Tensor:
        """Return the gradient at u, where those of the loss are ``slopes``."""
        curved = (form.curvature @ u[..., None])[..., 0] - form.pulled[..., self.target]
        return ((form.share * slopes)[:, None] @ form.P)[:, 0] + curved

    def _step(self, form: Form, y: Tensor, raw: Tensor, gradient: Tensor) -> Tensor:
        """Return the Newton step, damped where few rows are curved."""
        curved = form.share * self.problem.loss.curvature(y, raw)
        hessian = form.P.mT @ (curved[..., None] * form.P) + form.curvature
        hessian.diagonal(dim1=1, dim2=2).add_(_GENTLE)
        lower, failed = torch.linalg.cholesky_ex(hessian)
        flat = (failed != 0) | (lower.diagonal(dim1=1, dim2=2).square() < _CURVED).any(1)
        if flat.any():
            at = flat.nonzero()[:, 0]
            residual = (form.share[at] * (y[at] - raw[at]).abs()).sum(1)
            size = residual.where(residual > 0, torch.inf)
            shift = _DAMPING * torch.linalg.vector_norm(gradient[at], dim=1) / size
            hessian = hessian[at]
            hessian.diagonal(dim1=1, dim2=2).add_(shift[:, None])
            lower[at], _ = torch.linalg.cholesky_ex(hessian)
        return -torch.cholesky_solve(gradient[..., None], lower)[..., 0]

    def _left(self, value: Tensor, gradient: Tensor, least_share: Tensor) -> Tensor:
        """Return how much lower the objective may be, at most; see ``Bound``."""
        loss: Loss = self.problem.loss
        largest = [loss.largest_residual(max(part, 0.0)) for part in value.tolist()]
        away = 2 * value.new_tensor(largest)  # mean absolute change of predictions on the way
        spread = away / least_share.sqrt()  # root mean square, at the most
        if self.problem.curved:  # and the root of twice the penalty changes by that much
            spread = spread + (8 * value.clamp(min=0)).sqrt()
        k = gradient.shape[1] - self.n_free
        gain = torch.linalg.vector_norm(gradient[:, :k], dim=1) * spread
        return gain + gradient[:, k:].abs().sum(1) * away

    def _search_line(
        self, form: Form, y: Tensor, raw: Tensor, u: Tensor, step: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Go along each step to where the slope is next to zero.

        The slope never falls, so that its zero lies between a length at which it is negative and
        one at which it is not. It is found by false position, kept away from the ends.

        Returns
        -------
        raw, slopes : Tensor of shape (n_batch, n_rows)
            The predictions there, and the gradients of the loss in them.
        length : Tensor of shape (n_batch,)
        """
        loss, change = self.problem.loss, (form.P @ step[..., None])[..., 0]
        weighted = form.share * change
        along = (form.curvature @ step[..., None])[..., 0]
        curvature = (along * step).sum(1)
        start = (along * u - form.pulled[..., self.target] * step).sum(1)
        low, at_low = torch.zeros_like(start), (gradient * step).sum(1)
        flat, length = -_FLAT * at_low, torch.ones_like(start)
        high, at_high = torch.full_like(start, torch.inf), torch.full_like(start, torch.inf)
        for trial in range(_TRIALS):
            there = torch.addcmul(raw, length[:, None], change)
            slopes = loss.gradient(y, there)
            here = (weighted * slopes).sum(1) + curvature * length + start
            searching = (here.abs() > flat) & (length < _LONGEST)
            if trial == _TRIALS - 1 or not searching.any():
                break
            below = here < 0
            low, at_low = low.where(~below, length), at_low.where(~below, here)
            high, at_high = high.where(below, length), at_high.where(below, here)
            part = (at_low / (at_low - at_high)).clamp(0.05, 0.95)
            between = torch.where(high.isinf(), 3 * length, low + (high - low) * part)
            length = length.where(~searching, between)
        return there, slopes, length

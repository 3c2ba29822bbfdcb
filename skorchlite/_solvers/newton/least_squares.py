"""Full-batch descent preconditioned with the Gram matrix.

One pass makes the Gram matrix of the centred columns, hence the first step. Where the condition
of that matrix leaves fewer digits than ``tol`` asks for, further passes take the gradient from the
data and descend by conjugate gradients in the metric of the Gram matrix. A step shrinks the error
by about ``condition * eps``, so that one or two are enough.

References
----------
Bjorck (1987), "Stability analysis of the method of seminormal equations for linear least squares
problems". Fukaya, Kannan, Nakatsukasa, Yamamoto, Yanagisawa (2020), "Shifted Cholesky QR for
computing the QR factorization of ill-conditioned matrices". Hestenes, Stiefel (1952), "Methods of
conjugate gradients for solving linear systems".
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._objective.moments import Moments
from ..._objective.objective import Objective, Quadratic
from ..base import CANCELLED, Monitor, Solution, SolverControl
from .bounds import AtZero
from .preconditioner import FAR_UNITS, Metric, cheap, cholesky_metric, rounded_by, spectral_metric
from .underdetermined import wide_metric, wide_quadratic

_SOME_COLUMNS = 600  # whose Gram matrix is factorised in a moment
_MARGIN = 0.1  # of tol, for an error that is estimated beforehand and not measured
_SAFETY = 4.0  # rounding errors of a sum of products, in units of condition * eps
_CONTRACTION = 0.1  # a metric that shrinks the error by less a step is made anew
_PRODUCT = 100.0  # times eps: the rounding error of a form, of its diagonal
_SAME = 1e-6  # a relative change of the predictions that is made of rounding errors
_FLAT = 1e-6  # of the gradient at zero: more than that is a direction that was not seen
_ROUNDED = 1e-12  # of the targets: a gradient that is made of rounding errors
_FAR_MEAN = 100.0  # (mean / deviation)^2 from the origin that costs a Gram matrix two digits
_EPS = torch.finfo(torch.float64).eps
CLEAR = 1e-8  # a part of a curvature that rounding may make and nobody sees
BLURRED = 1e-6  # one that changes the objective by more than rounding, and coefficients visibly


def descend_quadratic(
    objective: Objective, start: Tensor | None, control: SolverControl
) -> Solution:
    """Minimise a quadratic objective without corners.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features, n_targets) or None
        Coefficients in coordinates of the objective, None for zero; the intercept is solved for.
    control : SolverControl
        ``tol`` is of the coefficients, columns scaled.

    Returns
    -------
    Solution
    """
    model = quadratic_model(objective, control.dtype, control.data_eps)
    objective, quadratic, metric = model.objective, model.quadratic, model.metric
    descent = _Descent(objective, quadratic, metric, control.monitor)
    descent.first_step(start)
    # Of a metric by eigenvectors, whose condition may be anything, it is not known beforehand.
    rate = min(_SAFETY * metric.condition * torch.finfo(model.dtype).eps, _CONTRACTION)
    status = descent.refine(control.gap, control.max_iter, rate)
    lost = _digits_lost(objective, metric.rank)
    if lost > CANCELLED:
        status = "cancelled"
    return descent.solution(status).knowing(cancelled=lost)


def _digits_lost(objective: Objective, rank: int) -> float:
    """Return how many digits cancel in powers that a descent had to be in, where they matter.

    A penalty is on them, or the rows, fewer than terms, are not all apart in them.
    """
    basis = objective.basis
    if objective.penalty.curvature or not basis.digits_lost:
        return basis.digits_lost
    if basis.seen is None or not objective.rows.fewer_than(objective.n_features):
        return 0.0
    n_apart = len(np.unique(basis.seen, axis=0)) - objective.fit_intercept
    return basis.digits_lost if rank < n_apart else 0.0


@dataclass
class QuadraticModel:
    """Least squares about the mean of the columns.

    Parameters
    ----------
    objective : Objective
        Measured from the mean.
    quadratic : Quadratic
    metric : Metric
    dtype : torch.dtype
        Of the products that these are made of.
    """

    objective: Objective
    quadratic: Quadratic
    metric: Metric
    dtype: torch.dtype


def quadratic_model(objective: Objective, dtype: torch.dtype, data_eps: float) -> QuadraticModel:
    """Return the quadratic objective about the mean of the columns, and its metric."""
    diagonal = objective.basis.diagonal
    if diagonal and objective.rows.fewer_than(objective.n_features):
        objective, quadratic = wide_quadratic(objective)
        rounding = _rounding(objective, quadratic.moments.cross, 1.0, data_eps)
        wide = wide_metric(objective, quadratic, rounding)
        full = len(quadratic.hessian.Z) - objective.fit_intercept
        # In the caller's units, directions among small columns are lost beside large ones.
        if wide.rank >= full or objective.n_features > _SOME_COLUMNS:
            return QuadraticModel(objective, quadratic, wide, objective.double)
    objective, quadratic = measure(objective, dtype)
    metric = _precondition(objective, quadratic, dtype, data_eps)
    if metric is None and dtype != objective.double:
        dtype = objective.double
        objective, quadratic = measure(objective, dtype)
        metric = _precondition(objective, quadratic, dtype, data_eps)
    if metric is None:
        moments = quadratic.moments
        rounding = _rounding(objective, moments.cross.diagonal(), moments.weight, data_eps)
        metric = spectral_metric(objective, quadratic.hessian, rounding)
    return QuadraticModel(objective, quadratic, metric, dtype)


def measure(objective: Objective, dtype: torch.dtype) -> tuple[Any, Quadratic]:
    """Return the objective about the mean of the columns, and as a quadratic."""
    quadratic = objective.quadratic(dtype)
    if not objective.fit_intercept:
        return objective, quadratic
    moments = quadratic.moments
    spread = moments.cross.diagonal()
    far = moments.mean**2 > (_FAR_MEAN / moments.weight) * spread
    objective = objective.centred(moments.mean)
    quadratic.moments = Moments(moments.weight, torch.zeros_like(spread), moments.cross)
    again = far.any() and (far & (spread > 0)).any()  # a constant column is never far
    return objective, objective.quadratic(dtype) if again else quadratic


def _precondition(
    objective: Objective, quadratic: Quadratic, dtype: torch.dtype, data_eps: float
) -> Metric | None:
    """Return the metric by a Cholesky factorization, or None if that is not exact enough."""
    metric = cholesky_metric(quadratic.hessian)
    if metric is None:
        return None
    made = _rounded_part(objective, data_eps, metric.scale)
    noise = max(torch.finfo(dtype).eps, float(made.max()) ** 2)
    if objective.rounded is not None:
        form = objective.rounded
        summed = (form if form.ndim == 1 else form.diagonal()) / metric.scale**2
        if metric.condition * float(summed.max()) > CLEAR:
            return None
    return metric if _SAFETY * metric.condition * noise < _CONTRACTION else None


def _rounding(objective: Objective, squares: Tensor, weight: float, data_eps: float) -> Tensor:
    """Return the part of each column's deviation that the rounding of its entries may have made.

    A column that depends on others does so only up to the rounding of its entries, which is
    relative to their distance from zero and not to their deviation.
    """
    deviation = (squares[-objective.n_features :] / weight).sqrt()
    return torch.where(deviation > 0, _rounded_part(objective, data_eps, deviation), torch.inf)


def _rounded_part(objective: Objective, data_eps: float, deviation: Tensor) -> Tensor:
    """Return the same where no deviation is zero.

    With a penalty on them there are no coefficients that the data leaves undetermined.
    """
    if objective.penalty.curvature:
        return torch.zeros_like(deviation)
    moved = rounded_by(objective, data_eps, deviation)
    return _SAFETY * objective.n_features**0.5 * moved / deviation


def least_norm(
    objective: Objective, hessian: Any, metric: Metric, w: Tensor, far: float = FAR_UNITS
) -> Tensor:
    """Return the coefficients of least norm that predict what w does, if there are others.

    They would not where columns that are taken for constant are not quite.
    """
    excess = metric.excess(w, objective.units.to_caller, far)
    moved, size = ((part * (hessian @ part)).sum(0) for part in (excess, w))
    # Beside a large excess the products have a rounding error of their own.
    rounding = (hessian.diagonal()[:, None] * excess * excess).sum(0)
    same = _SAME**2 * size + _PRODUCT * torch.finfo(w.dtype).eps * rounding
    return w - torch.where(moved <= same, excess, torch.zeros_like(excess))


def resolves(metric: Metric, quadratic: Quadratic, w: Tensor, gradient: Tensor) -> bool:
    """Return whether the gradient at the minimum that a metric leads to is next to nothing.

    Beside large columns, directions among small ones may be lost to it.
    """
    if metric.rank == len(w):
        return True
    first = metric.norm(quadratic.gradient)
    sizes = quadratic.hessian.diagonal().clamp(min=0).sqrt()
    rounding = len(sizes) ** 0.5 * _SAFETY * torch.finfo(w.dtype).eps * (sizes @ w.abs())
    made = _ROUNDED + len(sizes) ** 0.5 * metric.noise
    enough = torch.maximum(_FLAT * first, made * (2 * quadratic.value).sqrt())
    return bool((metric.norm(gradient) <= torch.maximum(enough, rounding)).all())


class _Descent:
    """The iterate ``v``, with ``v_low`` for what a double cannot hold of it."""

    def __init__(
        self, objective: Objective, quadratic: Quadratic, metric: Metric, monitor: Monitor
    ):
        self.objective, self.quadratic, self.metric = objective, quadratic, metric
        self.monitor = monitor
        self.n_iter, self.change = 0, 0.0
        self.curve: list[float] = []

    def first_step(self, start: Tensor | None) -> None:
        """Step to the minimum of the quadratic that the Gram matrix holds.

        It is there from anywhere. From zero no rounding of a start that is far away stays in it.
        """
        value, gradient = self.quadratic.value, self.quadratic.gradient
        self.first_norm, self.first_value = self.metric.norm(gradient), value
        w = -self.metric.apply(gradient)
        if start is not None:
            there, _ = self.quadratic.at(start)
            value = there if torch.isfinite(there).all() else value
        self.curve.append(self.objective.units.total(value))
        self.v = torch.cat((w, torch.zeros_like(w[:1])))
        self.v_low = torch.zeros_like(self.v)
        self._count(*self.quadratic.at(w))

    def refine(self, tol: float, max_iter: int, rate: float) -> str:
        """Descend along gradients from the data until within ``tol``; return how it ended.

        What the first step leaves is known from the condition alone. A pass measures it, and where
        that costs next to nothing one is made unless ``tol`` is far off.

        Parameters
        ----------
        rate : float
            The factor by which a step is expected to shrink the error.
        """
        self.change, last = rate * self.objective.units.amplification(self.v[:-1]), torch.inf
        before: Tensor | None = None
        direction: Tensor | None = None
        unsure = self.change > _MARGIN * tol and self.n_iter < max_iter and cheap(self.objective)
        while self.change > tol or unsure:
            unsure = False
            if self.n_iter >= max_iter:
                return "max_iter"
            value, gradient = self.objective.evaluate(self.v, self.v_low)
            self.curve[-1] = self.objective.units.total(value)  # measured, where it was the model's
            if before is not None and direction is not None:
                gradient = self._search_line(before, gradient, direction)
            direction = self._conjugate(gradient, before, direction)
            before = gradient
            self._add(-direction)
            gained = 0.5 * (gradient * direction).sum(0)
            left = gradient[:-1] - self.quadratic.hessian @ direction[:-1]
            self._count((value - gained).clamp(min=0), left)
            step = self.objective.units.relative_size(
                direction[:-1], self.v[:-1], self.metric.scale
            )
            self.change = step * max(rate, min(step / last, 1.0))
            if step > 0.5 * last and self.change > tol:  # rounding errors are all that is left
                floor = 1e3 * torch.finfo(torch.float64).eps * self.metric.condition**0.5
                return "converged" if step <= floor else "stalled"
            last = step
        return "converged"

    def solution(self, status: str) -> Solution:
        """Return the record of the descent, at the solution of minimum norm."""
        v = self.v
        if self.metric.rank < self.objective.n_features:
            w = least_norm(self.objective, self.quadratic.hessian, self.metric, v[:-1])
            v = self._unless_worse(torch.cat((w, v[-1:])))
        if status == "converged" and not self._resolved:
            status = "unresolved"
        gap = self._gap
        if status == "converged" and gap > BLURRED:
            status, gap = self._measured_status(), self._gap
        return Solution(
            objective=self.objective,
            v=v,
            v_low=self.v_low,
            n_iter=self.n_iter,
            loss_curve=list(self.curve),
            optimality=torch.nan if status == "unresolved" else gap,
            rank=self.metric.rank,
            change=self.change,
            status=status,
            moments=self.quadratic.moments,
            metric=self.metric,
        )

    def _search_line(self, before: Tensor, gradient: Tensor, direction: Tensor) -> Tensor:
        """Move to the minimum along the last direction; return the gradient there.

        The gradient is affine, so that its values before and after a step give the curvature
        between: an exact line search that costs no pass of its own.
        """
        length = (direction * before).sum(0) / (direction * (before - gradient)).sum(0)
        # Far from 1, which is the length of a Newton step, it is made of rounding errors.
        length = torch.where((length > 0.5) & (length < 2), length, torch.ones_like(length))
        self._add((1 - length) * direction)
        return before + length * (gradient - before)

    def _conjugate(
        self, gradient: Tensor, before: Tensor | None, direction: Tensor | None
    ) -> Tensor:
        """Return the next direction of descent (Polak and Ribiere's formula)."""
        scaled = self._newton_step(gradient)
        if before is None or direction is None:
            return scaled
        weight = (scaled * (gradient - before)).sum(0) / (self._newton_step(before) * before).sum(0)
        return scaled + torch.nan_to_num(weight, 0.0, 0.0, 0.0).clamp(0, 1) * direction

    def _newton_step(self, gradient: Tensor) -> Tensor:
        return torch.cat((self.metric.apply(gradient[:-1]), gradient[-1:]))

    def _add(self, step: Tensor) -> None:
        """Add to the iterate in doubled precision (Knuth's exact sum of two)."""
        step = step + self.v_low
        moved = self.v + step
        taken = moved - self.v
        self.v_low = (self.v - (moved - taken)) + (step - taken)
        self.v = moved

    def _count(self, value: Tensor, gradient: Tensor) -> None:
        self.n_iter += 1
        self.curve.append(self.objective.units.total(value))
        self.value, self.gradient = value, gradient
        self.monitor(self.n_iter, self.curve[-1], None, partial(self.solution, "completed"))

    @property
    def _gap(self) -> float:
        """How far a target may be above its least objective, relatively."""
        triples = (part.tolist() for part in (self._left, self.value, self.first_value))
        return max(
            AtZero.of(first).relative(left, value)
            for left, value, first in zip(*triples, strict=True)
        )

    @property
    def _left(self) -> Tensor:
        """How far each target may be above its least objective.

        A Newton step gains half the squared gradient in the metric, and what it leaves of the
        gradient no more than against the curvature of the penalty alone.
        """
        gradient, metric = self.gradient, self.metric
        along = metric.factor.T @ gradient
        left = 0.5 * (along * along).sum(0)
        bent = self.objective.column_penalty.curvature[:, None]
        if self.objective.penalty.curvature:
            rest = gradient - self.quadratic.hessian @ (metric.factor @ along)
            left = left + 0.5 * torch.where(bent > 0, rest * rest / bent, 0.0).sum(0)
        return left

    def _measured_status(self) -> str:
        """Return how it ended where more seems to be left than anyone would not see.

        That is measured, since what a model says of it has errors too; rounding may have made it.
        """
        self.value, gradient = self.objective.evaluate(self.v, self.v_low)
        self.gradient = gradient[:-1]
        close = (self._left <= self._unseen(self.value, self.v.abs())).all()
        return "converged" if close else "stalled_gap"

    def _unless_worse(self, v: Tensor) -> Tensor:
        """Return v where it is no higher but for rounding, as far as that is cheap to know."""
        if not cheap(self.objective):
            return v
        value, _ = self.objective.evaluate(self.v, self.v_low)
        higher = self.objective.evaluate(v, self.v_low)[0] - value
        sizes = torch.maximum(v.abs(), self.v.abs())
        # Where coefficients are huge rounding may be more than nobody sees, and is seen.
        unseen = torch.minimum(self._unseen(value, sizes), BLURRED * self.first_value)
        return torch.where(higher <= unseen, v, self.v)

    def _unseen(self, value: Tensor, sizes: Tensor) -> Tensor:
        """Return a change of the objective that nobody sees, or that rounding makes."""
        moved = _EPS * (self.metric.scale @ sizes[:-1])
        return BLURRED * value + _SAFETY**2 * moved * ((2 * value).sqrt() + moved)

    @property
    def _resolved(self) -> bool:
        return resolves(self.metric, self.quadratic, self.v[:-1], self.gradient)

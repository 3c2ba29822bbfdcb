"""Squared error with a smooth penalty: descent preconditioned with the Gram matrix.

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

from functools import partial
from math import inf, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._linalg.products import quietly
from ..._objective.objective import Objective
from ..base import CANCELLED, Monitor, Solution, SolverControl
from .bounds import AtZero
from .quadratic_model import CONTRACTION, SAFETY, QuadraticModel, quadratic_model
from .small_problems import cheap, is_near_enough

Array = NDArray[np.float64]

BLURRED = 1e-6  # of a curvature, or the objective: what rounding may make without a warning
_EPS = float(np.finfo(np.float64).eps)


@quietly
def descend_quadratic(
    objective: Objective, start: Tensor | None, control: SolverControl
) -> Solution:
    """Minimise a quadratic objective without kinks.

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
    descent = _Descent(model, control.monitor)
    descent.first_step(None if start is None else start.numpy())
    # The condition is an estimate for some metrics, and CONTRACTION is what all of them achieve.
    rate = min(SAFETY * model.metric.condition * torch.finfo(model.dtype).eps, CONTRACTION)
    status = descent.refine(control.gap, control.max_iter, rate)
    lost = _digits_lost(model.objective, model.metric.rank)
    if lost > CANCELLED:
        return descent.solution("cancelled").knowing(cancelled=lost)
    return descent.solution(status)


def _digits_lost(objective: Objective, rank: int) -> float:
    """Return how many digits cancel in the powers that the descent was in, where that matters.

    It does where a penalty is on their coefficients, and where rows, fewer than powers, are not all
    distinct in them.
    """
    basis = objective.basis
    if objective.penalty.curvature or not basis.digits_lost:
        return basis.digits_lost
    if basis.sampled_rows is None or not objective.rows.fewer_than(objective.n_features):
        return 0.0
    n_distinct = len(np.unique(basis.sampled_rows, axis=0)) - objective.fit_intercept
    return basis.digits_lost if rank < n_distinct else 0.0


class _Descent:
    """The iterate ``v``, with ``v_low`` for what a double cannot hold of it."""

    def __init__(self, model: QuadraticModel, monitor: Monitor):
        self.model, self.monitor = model, monitor
        self.objective, self.quadratic, self.metric = model.objective, model.quadratic, model.metric
        self.n_iter, self.change, self.measured = 0, 0.0, False
        self.curve: list[float] = []

    def first_step(self, start: Array | None) -> None:
        """Step to the minimum of the quadratic that the Gram matrix holds.

        A Newton step leads there from anywhere. It is taken from zero, so that no rounding of a
        start that is far away stays in the minimum.
        """
        value, gradient = self.quadratic.value, self.quadratic.gradient
        self.first_value = value
        w = -self.metric.apply(gradient)
        if start is not None:
            there, _ = self.quadratic.at(start)
            value = there if np.isfinite(there).all() else value
        self.curve.append(self.objective.units.total(value))
        self.v = np.concatenate((w, np.zeros((1, w.shape[1]))))
        self.v_low = np.zeros_like(self.v)
        self._count(*self.quadratic.at(w))

    def refine(self, tol: float, max_iter: int, rate: float) -> str:
        """Descend along gradients from the data until within ``tol``; return how it ended.

        How much error the first step leaves is estimated from the condition. A pass measures it;
        where that costs next to nothing, one is made unless the estimate is far below ``tol``.

        Parameters
        ----------
        rate : float
            The factor by which a step is expected to shrink the error.
        """
        self.change, last = rate * self.objective.units.amplification(self.v[:-1]), inf
        lowest = np.full_like(self.first_value, inf)
        before: Array | None = None
        direction: Array | None = None
        unsure = self.n_iter < max_iter and not is_near_enough(self.objective, self.change, tol)
        while self.change > tol or unsure:
            unsure = False
            if self.n_iter >= max_iter:
                return "max_iter"
            value, gradient = self._evaluate(self.v)
            # Measured, where it was the model's.
            self.curve[-1] = self.objective.units.total(value)
            falls, lowest = (value < 0.5 * lowest).any(), np.minimum(value, lowest)
            if before is not None and direction is not None:
                gradient = self._search_line(before, gradient, direction)
            direction = self._conjugate(gradient, before, direction)
            before = gradient
            self._add(-direction)
            gained = 0.5 * (gradient * direction).sum(0)
            left = gradient[:-1] - self.quadratic.hessian_product(direction[:-1])
            self.measured = True
            self._count(np.maximum(value - gained, 0.0), left)
            step = self.objective.units.relative_size(
                direction[:-1], self.v[:-1], self.metric.scale
            )
            self.change = step * max(rate, min(step / last, 1.0))
            # Rounding errors are all that is left, except of an objective that is on its way to
            # zero: where columns nearly depend on each other it is far ahead of the coefficients.
            if step > 0.5 * last and self.change > tol and not falls:
                floor = 1e3 * _EPS * self.metric.condition**0.5
                return "converged" if step <= floor else "stalled"
            last = step
        return "converged"

    def solution(self, status: str) -> Solution:
        """Return the record of the descent, at the solution of minimum norm."""
        v = self.v
        if self.metric.rank < self.objective.n_features:
            w = self.model.least_norm(v[:-1])
            v = self._unless_worse(np.concatenate((w, v[-1:])))
        if status == "converged" and not self.model.resolves(self.v[:-1], self.gradient):
            status = "unresolved"
        gap = self._gap
        if status == "converged" and gap > BLURRED:
            status, gap = self._measured_status(), self._gap
        return Solution(
            objective=self.objective,
            v=torch.from_numpy(v),
            v_low=torch.from_numpy(self.v_low),
            n_iter=self.n_iter,
            loss_curve=list(self.curve),
            optimality=nan if status == "unresolved" else gap,
            rank=self.metric.rank,
            change=self.change,
            status=status,
            moments=self.quadratic.moments,
            metric=self.metric,
            dtype=self.model.dtype,
            values=self.value,
            measured=self.measured,
        )

    def _evaluate(self, v: Array) -> tuple[Array, Array]:
        """Return the value for each target and the gradient, from the data."""
        point = torch.from_numpy(v), torch.from_numpy(self.v_low)
        value, gradient = self.objective.evaluate(*point)
        return value.numpy(), gradient.numpy()

    def _search_line(self, before: Array, gradient: Array, direction: Array) -> Array:
        """Move to the minimum along the last direction; return the gradient there.

        The gradient is affine, so that its values before and after a step give the curvature
        between them: the line search is exact and costs no pass of its own.
        """
        length = (direction * before).sum(0) / (direction * (before - gradient)).sum(0)
        # Far from 1, which is the length of a Newton step, it is made of rounding errors.
        length = np.where((length > 0.5) & (length < 2), length, 1.0)
        self._add((1 - length) * direction)
        return before + length * (gradient - before)

    def _conjugate(self, gradient: Array, before: Array | None, direction: Array | None) -> Array:
        """Return the next direction of descent (Polak and Ribiere's formula)."""
        scaled = self._newton_step(gradient)
        if before is None or direction is None:
            return scaled
        change = (scaled * (gradient - before)).sum(0)
        ratio = change / (self._newton_step(before) * before).sum(0)
        return scaled + np.nan_to_num(ratio, True, 0.0, 0.0, 0.0).clip(0, 1) * direction

    def _newton_step(self, gradient: Array) -> Array:
        return np.concatenate((self.metric.apply(gradient[:-1]), gradient[-1:]))

    def _add(self, step: Array) -> None:
        """Add to the iterate in doubled precision (Knuth's exact sum of two)."""
        step = step + self.v_low
        moved = self.v + step
        taken = moved - self.v
        self.v_low = (self.v - (moved - taken)) + (step - taken)
        self.v = moved

    def _count(self, value: Array, gradient: Array) -> None:
        self.n_iter += 1
        self.curve.append(self.objective.units.total(value))
        self.value, self.gradient = value, gradient
        self.monitor(self.n_iter, self.curve[-1], None, partial(self.solution, "completed"))

    @property
    def _gap(self) -> float:
        """How far a target may be above its least objective, relatively."""
        left = self.model.left(self.gradient)
        triples = (part.tolist() for part in (left, self.value, self.first_value))
        return max(
            AtZero.of(first).relative(left, value)
            for left, value, first in zip(*triples, strict=True)
        )

    def _measured_status(self) -> str:
        """Return how it ended where the model says that a visible gap is left.

        The gap is measured, since the model has errors too. Rounding may have made it.
        """
        self.value, gradient = self._evaluate(self.v)
        self.measured = True
        self.gradient = gradient[:-1]
        close = (self.model.left(self.gradient) <= self._unseen(self.value, abs(self.v))).all()
        return "converged" if close else "stalled_gap"

    def _unless_worse(self, v: Array) -> Array:
        """Return v for targets where it is no higher but for rounding, if that is cheap to know."""
        if not cheap(self.objective):
            return v
        value, _ = self._evaluate(self.v)
        higher = self._evaluate(v)[0] - value
        sizes = np.maximum(abs(v), abs(self.v))
        # Where coefficients are huge, rounding may make a visible change: that is not allowed.
        unseen = np.minimum(self._unseen(value, sizes), BLURRED * self.first_value)
        return np.where(higher <= unseen, v, self.v)

    def _unseen(self, value: Array, sizes: Array) -> Array:
        """Return a change of the objective that is not visible, or that rounding makes."""
        # Residuals are what targets differ by from predictions, and both are rounded.
        moved = _EPS * (self.metric.scale @ sizes[:-1] + np.sqrt(2 * self.first_value))
        return BLURRED * value + SAFETY**2 * moved * (np.sqrt(2 * value) + moved)

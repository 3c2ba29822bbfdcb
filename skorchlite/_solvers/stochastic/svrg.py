"""Stochastic descent whose noise vanishes at the optimum, with a step that it finds itself.

Each epoch begins with a pass that takes the gradient of the objective at a point. The steps of the
epoch then follow the gradient of a batch less that of the same batch at this point, plus the
objective's there: exact on average, and without noise at the optimum. The mean of the second half
of the points begins the next epoch, or the point that the last epochs point at, if the objective is
lower there. An epoch that raises the objective is undone, and the step halved.

A loss with corners is smoothed, in ever narrower bands about its corners, as far as batches can
tell one side of a band from the other.

References
----------
Johnson, Zhang (2013), "Accelerating stochastic gradient descent using predictive variance
reduction". Xiao, Zhang (2014), "A proximal stochastic gradient method with
progressive variance reduction", SIAM Journal on Optimization 24(4).
"""

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._linalg.anderson import extrapolated
from ..._runtime import threads_for
from ..base import SolverControl
from ..newton.kinks import Kinks
from .minibatches import Minibatches, add_product, multiply
from .optimizers import ProximalPenalty
from .settings import Settings
from .sgd import Loop
from .step_size import Pilot, batch_noise, curved_coordinates, drawing, squared_norms

_STEP = 0.5  # of the step that noise and curvature allow
_FEW_BATCHES = 4  # with fewer in an epoch, its last point begins the next one
_LENGTH = 0.1  # of a deviation of the targets: the first step of an optimizer with its own scale
_BOLD, _SHY = 1.2, 0.5  # how its step grows after an epoch that gained, and shrinks after another
_ROUNDING = 1e-12  # of the first objective: by so much it may rise
_SMOOTHING = 1e-3  # of the objective of a loss with corners: by so much it may rise
_EPOCHS, _EPOCHS_TO_EXTRAPOLATE = 6, 4  # most, and fewest, that tell where they lead
_NARROWER = 0.3  # of a band, from epoch to epoch
_FOLDS = 2.0  # by how many factors of e an epoch is to shrink the error in the narrowest band
_UNDONE = 0.2  # of an epoch without gain: one that was undone, and whose step was too long
_GAIN, _FALL = 0.9, 1 - 1e-8  # of optimality, of objective: an epoch that leaves more was idle
_CLOSER, _CLOSEST = 0.3, 1e-3  # of optimality, as it is aimed at where the gap is above tol
_FLAT = 1e-6  # optimality of what is the optimum to rounding
_TINY = 1e-300
_EXACT_FIT = 1e-6  # of the first objective: smaller ones are no scale to measure a gap by


@dataclass
class _Measured:
    """What a pass tells of a point.

    Parameters
    ----------
    u : Tensor of shape (n_coordinates, n_targets)
    value, norm : Tensor of shape (n_targets,)
        Of the objective, and of its subgradient in u.
    gradient : Tensor of shape (n_rows of v, n_targets)
        In v.
    curvature, weighted : float
        The mean curvature of the loss, and the mean weighted by itself.
    optimality : float
    """

    u: Tensor
    value: Tensor
    norm: Tensor
    gradient: Tensor
    curvature: float
    weighted: float
    optimality: float


class VarianceReduced:
    """The descent.

    Parameters
    ----------
    loop : Loop
        Whose point is moved in place.
    settings : Settings
    """

    def __init__(self, loop: Loop, settings: Settings):
        objective, coordinates, u = loop.objective, loop.coordinates, loop.u
        self.objective, self.loss, self.learned = objective, objective.loss, objective.loss
        self.coordinates, self.u, self.optimizer = coordinates, u, loop.optimizer
        self.batch_size, self.generator = settings.batch_size, settings.generator
        corner, positive = coordinates.corner(objective).to(u), objective.penalty.positive
        bounded = torch.arange(len(corner), device=u.device)[:, None] < objective.n_features
        self.corners = Kinks(corner, bounded & positive)
        self.proximal = ProximalPenalty(corner[: objective.n_features], positive)
        self.pilot = Pilot(objective, coordinates)
        self.rows_curvature = self.pilot.largest(1.0, 0.0)
        self.penalty_curvature = self.pilot.largest(0.0, 1.0)
        self.deviation = float(self.pilot.y.std(0, correction=0).max())
        self._draw(squared_norms(objective, coordinates, u.dtype))
        # Of the loss where the coordinates were made: mean, and mean weighted by itself.
        self.made_at = 1.0, 1.0
        self.n_iter, self.n_updates, self.caution, self.curve = 0, 0, 1.0, list[float]()
        self.epochs: deque[tuple[Tensor, Tensor]] = deque(maxlen=_EPOCHS)
        self.reference: Any = inf
        self.least: tuple[Tensor, Tensor] | None = None  # objectives of targets, and their points

    def run(
        self,
        control: SolverControl,
        patience: int,
        report: Callable[[int, float], None],
        monitor: Callable[[Tensor], bool],
        gap: Callable[[Tensor], float],
    ) -> str:
        """Descend until the relative gap is within tol; return how it ended.

        Parameters
        ----------
        control : SolverControl
        patience : int
            Epochs without gain, after which rounding errors are all that is left.
        report : callable
            Called with (n_iter, objective) after each epoch.
        monitor : callable
            Called with the point after each epoch; returns whether to stop.
        gap : callable
            Returns the relative gap at a point, NaN where none is known. It is asked for where
            what the epochs measure for themselves is small enough.
        """
        tol = control.tol
        self._begin()
        if not self.first_value.any():  # the constant model is exact
            self.curve = [0.0]
            self.u.copy_(self.constant())
            return "converged"
        least, lowest, idle, caution, enough = inf, inf, 0.0, 1.0, tol
        self.curve.append(self.objective.units.total(self.anchor.value))
        report(self.n_iter, self.curve[-1])
        while True:
            if tol is not None and self.anchor.optimality <= (enough or 0.0):
                left = gap(self.end()[0])
                if not left > tol:
                    return "converged"
                enough = self.anchor.optimality * min(max(tol / left, _CLOSEST), _CLOSER)
            undone = self.caution < caution
            caution = self.caution
            gained = self.anchor.optimality < _GAIN * least or self.curve[-1] < _FALL * lowest
            idle = 0 if gained else idle + (_UNDONE if undone else 1)
            least, lowest = min(least, self.anchor.optimality), min(lowest, self.curve[-1])
            if tol is not None and idle > patience:
                return self._stalled()
            if self.n_iter == control.max_iter:
                return "completed" if tol is None else "max_iter_epochs"
            self._keep_least()
            with threads_for(self.batches.n_batch * len(self.u)):
                self._epoch()
            self.n_iter += 1
            self._judge()
            self.curve.append(self.objective.units.total(self.anchor.value))
            stop = monitor(self.point(self.u))
            report(self.n_iter, self.curve[-1])
            if stop:
                return "watched"

    def point(self, u: Tensor) -> Tensor:
        """Return coefficients and intercept at u, in double precision."""
        v = self.coordinates.model(u).to("cpu", torch.float64)
        return v if self.objective.fit_intercept else torch.cat((v, torch.zeros_like(v[:1])))

    def end(self) -> tuple[Tensor, list[float]]:
        """Return the point with the least objective so far, and the curve up to it.

        Bands are narrowed at the cost of a little, so that it need not be the last one.
        """
        v, value = self.point(self.u), self.anchor.value
        if self.least is None:
            return v, self.curve
        before, least = self.least
        total = self.objective.units.total(torch.minimum(before, value))
        return torch.where(before < value, least, v), [*self.curve[:-1], total]

    @property
    def tangents(self) -> Any:
        """Lines below a loss with corners, as close as it was learned; None of others."""
        return None if self.learned is self.loss else self.learned.tangents()

    def _keep_least(self) -> None:
        """Take note of the point that an epoch begins from."""
        if self.loss.corners:
            value = self.anchor.value
            least = value if self.least is None else torch.minimum(self.least[0], value)
            self.least = least, self.end()[0]

    def constant(self) -> Tensor:
        """Return the point with all coefficients zero, predictions at about the mean."""
        u = torch.zeros_like(self.u)
        if not self.loss.residual and self.objective.fit_intercept:
            u[-1] = self.pilot.y.mean(0)
        return u

    # --- from epoch to epoch ---

    def _begin(self) -> None:
        """Measure the constant model, which all else is relative to, and the start."""
        constant = self.constant()
        value, gradient = self.objective.evaluate(self.point(constant))
        self.first_value = value
        if self.loss.corners and value.any():
            self.learned = self.loss.smoothed(float(value.max()) / self.loss.smoothed(1.0).bound)
        self.anchor = self._measured(constant, value, gradient)
        self.reference = self.anchor.norm
        if not self.first_value.any():
            self.anchor.optimality = 0.0
            return
        if not torch.equal(self.u, constant):
            value, gradient = self.objective.evaluate(self.point(self.u))
        self.anchor = self._measured(self.u, value, gradient)

    def _measured(self, u: Tensor, value: Tensor, gradient: Tensor) -> _Measured:
        """Return what is known of a point, given the objective and its gradient there."""
        v, lower = self.point(u), value
        if self.learned is not self.loss:
            lower, gradient = self.objective.evaluate(v, loss=self.learned.tangents())
        gradient = self._fitted(gradient)
        curvature, weighted = self.pilot.of_loss(self.learned, self.coordinates.model(u))
        norm = self._norm(u, gradient)
        if self.learned is self.loss:
            relative = norm / self.reference
        else:
            below = self._below(u, norm)
            relative = (value - lower + below) / torch.maximum(value, _EXACT_FIT * self.first_value)
        optimality = float(relative.nan_to_num(0.0).clamp(min=0).max())  # 0/0: a constant target
        return _Measured(u.clone(), value, norm, gradient, curvature, weighted, optimality)

    def _below(self, u: Tensor, norm: Tensor) -> Tensor:
        """Return by how much the smoothed objective may fall, where its subgradient has this norm.

        It may be flat all the way to its minimum, which is about as far as the targets are.
        """
        size = torch.linalg.vector_norm(u, dim=0).cpu().double()
        made = self.made_at[0] / max(self.rows_curvature, _TINY)
        return norm * (size + self.deviation * made**0.5)

    def _fitted(self, gradient: Tensor) -> Tensor:
        """Return the gradient as the steps have it: no intercept where none is fitted."""
        return gradient[: self.objective.n_features + self.objective.fit_intercept].to(self.u)

    def _norm(self, u: Tensor, gradient: Tensor) -> Tensor:
        """Return the norm of the subgradient for each target, from the gradient in v."""
        steepest = self.corners.subgradient(u, self.coordinates.pull(self._fitted(gradient)))
        return torch.linalg.vector_norm(steepest, dim=0).to("cpu", torch.float64)

    def _stalled(self) -> str:
        """Return what to call an end without gain: an optimum to rounding, or none."""
        anchor = self.anchor
        if self.learned is not self.loss:
            return "stalled_gap"
        below = 0.5 * anchor.norm**2 / max(anchor.curvature, _TINY)
        if not self.loss.convex and anchor.optimality > _FLAT:
            return "stalled_epochs"  # a curvature that is measured is as large as a jump of a slope
        return "converged" if (below <= _ROUNDING * anchor.value).all() else "stalled_epochs"

    def _judge(self) -> None:
        """Take the point that the epoch led to, or undo the epoch and be more careful."""
        value = torch.full_like(self.first_value, inf)
        if torch.isfinite(self.u).all():
            with contextlib.suppress(OutOfRangeError):
                value, gradient = self.objective.evaluate(self.point(self.u))
        before = self.anchor.value
        slack = _SMOOTHING * before if self.loss.corners else _ROUNDING * self.first_value
        if (value <= before + slack).all():
            value, gradient = self._extrapolate(value, gradient)
            self._narrow()
            self.anchor = self._measured(self.u, value, gradient)
            self.caution *= _BOLD if self.optimizer.own_scale else 1.0
            self._follow_curvature()
        else:
            self.u.copy_(self.anchor.u)
            self.optimizer.restart()
            self.epochs.clear()
            self.caution *= _SHY

    def _follow_curvature(self) -> None:
        """Make the coordinates anew where the curvature of the loss is not what it was.

        That of the rows alone would leave directions flat in which few rows are curved.
        """
        doubling = self.n_iter & (self.n_iter - 1) == 0
        if self.loss.quadratic or self.coordinates.factor is None or not doubling:
            return
        v = self.coordinates.model(self.u)
        made = curved_coordinates(self.objective, self.learned, v)
        if made is None or made.size != self.coordinates.size:
            return
        made.metric = self.coordinates.metric
        self.coordinates = made.to(self.u)
        self._draw(squared_norms(self.objective, self.coordinates, self.u.dtype, self.learned, v))
        self.made_at = self.anchor.curvature, self.anchor.weighted
        self.rows_curvature, self.penalty_curvature = 1.0, 0.0
        self.u.copy_(self.coordinates.start(v))
        self.optimizer.restart()
        self.epochs.clear()
        before, self.reference = self.reference, inf
        anchor = self._measured(self.u, self.anchor.value, self.anchor.gradient)
        # Norms are in other units now: what is relative to the first one stays so.
        self.reference = before * anchor.norm / self.anchor.norm.clamp(min=_TINY)
        anchor.optimality = self.anchor.optimality
        self.anchor = anchor

    def _draw(self, squares: Tensor) -> None:
        """Choose how often to draw each row, from its squared norm times its curvature."""
        drawn, weight = None, None
        if self.objective.rows.indexed:
            drawn, weight, squares = drawing(squares)
        self.batches = Minibatches(
            self.objective,
            self.batch_size,
            self.generator,
            self.u.dtype,
            drawn=drawn,
            weight=weight,
        )
        total = float(squares.sum())
        self.row = float((squares**2).sum()) / total if total > 0 else 0.0
        self.noise = self.row * batch_noise(self.batches.n_rows, self.batches.n_batch)

    def _extrapolate(self, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Move on to where the last epochs lead, if that is lower; return value and gradient.

        Where curvature is uneven, an epoch shrinks the error by little, and this by much.
        """
        self.epochs.append((self.anchor.u, self.u.clone()))
        if len(self.epochs) < _EPOCHS_TO_EXTRAPOLATE:
            return value, gradient
        ahead = extrapolated(self.epochs)
        ahead = torch.where(self.u == 0, self.u, ahead)
        if self.objective.penalty.positive:
            ahead[: self.objective.n_features].clamp_(min=0)
        if not torch.isfinite(ahead).all():
            return value, gradient
        with contextlib.suppress(OutOfRangeError):
            other, slope = self.objective.evaluate(self.point(ahead))
            equal = (other - value).abs() <= _ROUNDING * value
            flatter = self._norm(ahead, slope) < self._norm(self.u, gradient)
            better = torch.where(equal, flatter, other < value)
            self.u.copy_(torch.where(better.to(self.u.device), ahead, self.u))
            return torch.where(better, other, value), torch.where(better, slope, gradient)
        return value, gradient

    def _narrow(self) -> None:
        """Narrow the bands of a smoothed loss, as far as an epoch can follow."""
        if self.learned is self.loss:
            return
        width = self.learned.width
        mean, weighted = self.made_at
        row = self.row * self.anchor.weighted / weighted
        curvature = self.batches.n_rows * self.anchor.curvature / mean
        least = 2 * _FOLDS * width * row / curvature
        # Narrower bands hide less than the rounding of the objective.
        size = max(float(self.anchor.value.max()), _EXACT_FIT * float(self.first_value.max()))
        least = max(least, torch.finfo(torch.float64).eps * size / self.loss.smoothed(1.0).bound)
        narrower = min(width, max(_NARROWER * width, least))
        if narrower < width:
            self.learned = self.loss.smoothed(narrower)
            self.epochs.clear()

    # --- within an epoch ---

    def _rate(self) -> float:
        """Return the step, which curvature and noise bound."""
        anchor, optimizer = self.anchor, self.optimizer
        if optimizer.own_scale:
            return self.caution * _LENGTH * self.deviation / max(self.rows_curvature, _TINY) ** 0.5
        mean, weighted = self.made_at
        curvature = anchor.curvature / mean * self.rows_curvature + self.penalty_curvature
        curvature += anchor.weighted / weighted * self.noise
        share = 1.0 if len(self.batches) == 1 else _STEP
        return self.caution * share * optimizer.damping / curvature if curvature > 0 else 1.0

    def _epoch(self) -> None:
        rate, steps = self._rate(), len(self.batches)
        total, begun, done = torch.zeros_like(self.u), False, 0
        anchor, gradient = self.coordinates.model(self.anchor.u).clone(), self.anchor.gradient
        v = self.coordinates.model(self.u).clone()
        change = torch.empty_like(gradient)
        for block in self.batches:
            raw = block.Z @ anchor
            before = self.learned.gradient(block.y, raw)
            for Z, Zt, y, share, raw_part, before_part in block.batches(raw, before):
                multiply(Z, v, raw_part)
                slope = self.learned.gradient(y, raw_part).sub_(before_part)
                if share is not None:
                    slope.mul_(share)
                size = len(Z) if block.whole else block.n_batch
                start = change if begun else gradient
                add_product(start, Zt, slope, 1.0, 1 / size, change)
                begun = not block.last
                if begun:
                    continue
                self._step(change, v, anchor, rate)
                done += 1
                self.n_updates += 1
                if 2 * done > steps:
                    total.add_(self.u)
        if steps >= _FEW_BATCHES:
            mean = total.div_(done - steps // 2)
            # An average of coefficients that left zero on the way would not come back to it.
            self.u.copy_(torch.where(self.u == 0, self.u, mean))

    def _step(self, gradient: Tensor, v: Tensor, anchor: Tensor, rate: float) -> None:
        """Step along the gradient and bring v up to it."""
        d = self.objective.n_features
        if self.objective.penalty.curvature:
            gradient[:d].addcmul_(self.pilot.penalty[:d], v[:d] - anchor[:d])
        self.optimizer.step(self.coordinates.pull(gradient), rate)
        if not self.objective.penalty.smooth:
            self.proximal.apply(self.u[:d], rate)
        v.copy_(self.coordinates.model(self.u))

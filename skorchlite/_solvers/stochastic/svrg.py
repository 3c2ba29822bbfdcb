"""Stochastic descent whose noise vanishes at the optimum, with a step that it finds itself.

Each epoch begins with a snapshot: a pass that takes the gradient of the objective at a point. The
steps of the epoch reduce the variance of the batches' gradients by it (see ``inner_epoch``). The
next epoch begins from the mean of the points of the second half or, if the objective is lower
there, from the point that the last epochs lead to. An epoch that raises the objective is undone,
and the step halved.

A loss with kinks is smoothed in a band about each, which is narrowed from epoch to epoch as far as
batches can descend in it.

References
----------
Johnson, Zhang (2013), "Accelerating stochastic gradient descent using predictive variance
reduction". Xiao, Zhang (2014), "A proximal stochastic gradient method with
progressive variance reduction", SIAM Journal on Optimization 24(4).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._linalg.anderson import extrapolated
from ..._runtime import threads_for
from ..base import SolverControl
from .curvature import curved_coordinates, squared_norms
from .inner_epoch import InnerEpoch
from .preconditioned import Preconditioned
from .progress import GapCheck, Progress
from .sampling import Curvature, Sampling
from .settings import Settings
from .start import Start

_LENGTH = 0.1  # deviations of the targets: the first step of an optimizer with a scale of its own
_LONGER = 1.2  # times its step: that of the next epoch, after one that is kept
_SHORTER = 0.5  # times the step of any optimizer: that of the next epoch, after one that is undone
_ROUNDING = 1e-12  # of the objective of the constant model, which an epoch may add to the objective
_SMOOTHING = 1e-3  # of the objective of a loss with kinks, which an epoch may add
_EPOCHS, _EPOCHS_TO_EXTRAPOLATE = 6, 4  # the most and the fewest to extrapolate from
_NARROWER = 0.3  # times its width: a band in the next epoch
_FLAT = 1e-6  # optimality below which a loss that may not be convex is at its optimum to rounding
_TINY = 1e-300
_EXACT_FIT = 1e-6  # of the objective of the constant model: smaller ones are no scale for a gap


class VarianceReduced:
    """Variance-reduced stochastic descent.

    Parameters
    ----------
    start : Start
        Its point is moved in place.
    settings : Settings

    Attributes
    ----------
    problem : Preconditioned
    u : Tensor of shape (n_coordinates, n_targets)
        The present point.
    sampling : Sampling
    caution : float
        What the step is multiplied by: it shrinks with each epoch that is undone.
    snapshot : Snapshot
        Of the point that the next epoch begins from.
    optimality : float
        Of that point: the norm of the subgradient, relative to that at the constant model. Of a
        loss with kinks: how far the objective may be above its least, relatively, by an estimate.
    first_value, first_norm : Tensor of shape (n_targets,)
        The objective of the constant model, and the norm of its subgradient.
    curve : list of float
        The objective at the start and after each epoch, summed over the targets.
    """

    def __init__(self, start: Start, settings: Settings):
        objective, coordinates = start.objective, start.coordinates
        self.optimizer, self.u = start.optimizer, start.optimizer.x
        self.batch_size, self.generator = settings.batch_size, settings.generator
        self.problem = Preconditioned.of(objective, coordinates, self.u)
        pilot = self.problem.pilot
        curvature = Curvature(pilot.largest(1.0, 0.0), pilot.largest(0.0, 1.0))
        squares = squared_norms(objective, coordinates, self.u.dtype)
        self.sampling = self._sampling(squares, curvature)
        self.caution, self.curve, self.n_updates = 1.0, list[float](), 0
        self._epochs: deque[tuple[Tensor, Tensor]] = deque(maxlen=_EPOCHS)
        self._lowest: tuple[Tensor, Tensor] | None = None  # objectives of targets, and their points

    @property
    def n_iter(self) -> int:
        """The number of epochs so far."""
        return max(len(self.curve) - 1, 0)

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
            Returns the relative gap at a point, NaN where no bound is known. It is asked for where
            the optimality is small enough.
        """
        tol, total = control.tol, self.problem.objective.units.total
        self._begin()
        self.curve.append(total(self.snapshot.value))
        if not self.first_value.any():  # the constant model is exact
            return "converged"
        check, progress, undone = GapCheck(lambda: gap(self.end()[0]), tol), Progress(), False
        report(self.n_iter, self.curve[-1])
        while not check.met(self.optimality):
            progress.take(self.optimality, self.curve[-1], undone)
            if tol is not None and progress.idle > patience:
                return self._stalled()
            if self.n_iter == control.max_iter:
                return "completed" if tol is None else "max_iter_epochs"
            undone = not self._epoch()
            self.curve.append(total(self.snapshot.value))
            stop = monitor(self.problem.point(self.u))
            report(self.n_iter, self.curve[-1])
            if stop:
                return "watched"
        return "converged"

    def end(self) -> tuple[Tensor, list[float]]:
        """Return the v with the least objective so far, and the curve up to it.

        Narrower bands may cost a little of the objective, so that it need not be the last one.
        """
        v, value = self.problem.point(self.u), self.snapshot.value
        if self._lowest is None:
            return v, self.curve
        value, v = _lower(self._lowest, (value, v))
        return v, [*self.curve[:-1], self.problem.objective.units.total(value)]

    # --- from epoch to epoch ---

    def _begin(self) -> None:
        """Measure the constant model, which all else is relative to, and the start."""
        loss, constant = self.problem.objective.loss, self.problem.constant(self.u)
        value, gradient = self.problem.evaluate(constant)
        self.first_value, self.first_norm = value, self.problem.norm(constant, gradient)
        if not value.any():
            self.u.copy_(constant)
            self.snapshot, _ = self.problem.snapshot(constant, value, gradient)
            self.optimality = 0.0
            return
        if loss.kinked:
            width = float(value.max()) / loss.smoothed(1.0).bound
            self.problem = replace(self.problem, loss=loss.smoothed(width))
        if not torch.equal(self.u, constant):
            value, gradient = self.problem.evaluate(self.u)
        self._take(value, gradient)

    def _take(self, value: Tensor, gradient: Tensor) -> None:
        """Take the snapshot of the present point, from the objective and its gradient there."""
        self.snapshot, lower = self.problem.snapshot(self.u, value, gradient)
        relative = self.snapshot.norm / self.first_norm
        if self.problem.smoothed:
            scale = torch.maximum(value, _EXACT_FIT * self.first_value)
            relative = (value - lower + self._below()) / scale
        # For a constant target this is 0/0.
        self.optimality = float(relative.nan_to_num(0.0).clamp(min=0).max())

    def _below(self) -> Tensor:
        """Return by how much the smoothed objective may fall, from the norm of its subgradient.

        It may be flat all the way to its minimum, which is about as far as the targets are.
        """
        size = torch.linalg.vector_norm(self.u, dim=0).cpu().double()
        reach = self.problem.pilot.deviation * self.sampling.curvature.reach
        return self.snapshot.norm * (size + reach)

    def _stalled(self) -> str:
        """Return the status of an end without gain: the optimum to rounding, or a stall."""
        snapshot, loss = self.snapshot, self.problem.objective.loss
        if self.problem.smoothed:
            return "stalled_gap"
        below = 0.5 * snapshot.norm**2 / max(snapshot.curvature, _TINY)
        if not loss.convex and self.optimality > _FLAT:
            return "stalled_epochs"  # where the slope jumps, the curvature measured has no meaning
        return "converged" if (below <= _ROUNDING * snapshot.value).all() else "stalled_epochs"

    def _epoch(self) -> bool:
        """Take the steps of an epoch, or undo them if they raise the objective.

        Returns
        -------
        kept : bool
        """
        batches = self.sampling.batches
        if self.problem.objective.loss.kinked:
            here = self.snapshot.value, self.problem.point(self.u)
            self._lowest = here if self._lowest is None else _lower(self._lowest, here)
        with threads_for(batches.n_batch * len(self.u)):
            epoch = InnerEpoch(self.problem, self.snapshot, self.optimizer, self._rate())
            self.n_updates += epoch.run(batches)
        found = self._evaluate(self.u)
        if found is None or not (found[0] <= self.snapshot.value + self._slack()).all():
            self.u.copy_(self.snapshot.u)
            self._restart()
            self.caution *= _SHORTER
            return False
        found = self._extrapolate(*found)
        self._narrow()
        self._take(*found)
        self.caution *= _LONGER if self.optimizer.own_scale else 1.0
        self._follow_curvature()
        return True

    def _rate(self) -> float:
        """Return the step of the next epoch."""
        if self.optimizer.own_scale:
            reach = max(self.sampling.curvature.rows, _TINY) ** 0.5
            return self.caution * _LENGTH * self.problem.pilot.deviation / reach
        return self.sampling.step(self.snapshot, self.caution * self.optimizer.damping)

    def _slack(self) -> Tensor:
        """Return by how much an epoch may raise the objective."""
        kinked = self.problem.objective.loss.kinked
        return _SMOOTHING * self.snapshot.value if kinked else _ROUNDING * self.first_value

    def _evaluate(self, u: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the objective and its gradient at u; None where they are out of range."""
        try:
            return self.problem.evaluate(u) if torch.isfinite(u).all() else None
        except OutOfRangeError:
            return None

    def _extrapolate(self, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Move on to where the last epochs lead, if the objective is lower there.

        Where directions are unevenly curved, an epoch reduces the error by little and this by much.

        Parameters
        ----------
        value, gradient : Tensor
            Of the objective, at the end of the epoch.

        Returns
        -------
        value, gradient : Tensor
            Where the descent is then.
        """
        self._epochs.append((self.snapshot.u, self.u.clone()))
        if len(self._epochs) < _EPOCHS_TO_EXTRAPOLATE:
            return value, gradient
        ahead, objective = extrapolated(self._epochs), self.problem.objective
        ahead = torch.where(self.u == 0, self.u, ahead)
        if objective.penalty.positive:
            ahead[: objective.n_features].clamp_(min=0)
        found = self._evaluate(ahead)
        if found is None:
            return value, gradient
        other, slope = found
        equal = (other - value).abs() <= _ROUNDING * value
        flatter = self.problem.norm(ahead, slope) < self.problem.norm(self.u, gradient)
        better = torch.where(equal, flatter, other < value)
        self.u.copy_(torch.where(better.to(self.u.device), ahead, self.u))
        return torch.where(better, other, value), torch.where(better, slope, gradient)

    def _restart(self) -> None:
        """Forget the momentum and the epochs so far, which belong to another way."""
        self.optimizer.restart()
        self._epochs.clear()

    # --- what changes from epoch to epoch ---

    def _narrow(self) -> None:
        """Narrow the bands of a smoothed loss, as far as an epoch can follow."""
        if not self.problem.smoothed:
            return
        loss, width = self.problem.objective.loss, self.problem.loss.width
        # Bands any narrower change the objective by less than its rounding.
        size = max(float(self.snapshot.value.max()), _EXACT_FIT * float(self.first_value.max()))
        rounding = torch.finfo(torch.float64).eps * size / loss.smoothed(1.0).bound
        least = max(self.sampling.narrowest(self.snapshot, width), rounding)
        narrower = min(width, max(_NARROWER * width, least))
        if narrower < width:
            self.problem = replace(self.problem, loss=loss.smoothed(narrower))
            self._epochs.clear()

    def _follow_curvature(self) -> None:
        """After 1, 2, 4, ... epochs, make the coordinates by the curvature that the loss has now.

        In those made for squared error, directions stay flat in which the loss of few rows is
        curved.
        """
        problem, doubling = self.problem, self.n_iter & (self.n_iter + 1) == 0
        objective, coordinates = problem.objective, problem.coordinates
        if objective.loss.quadratic or coordinates.factor is None or not doubling:
            return
        v = coordinates.to_v(self.u)
        made = curved_coordinates(objective, problem.loss, v)
        if made is None or made.size != coordinates.size:
            return
        made.metric = coordinates.metric
        self.problem = replace(problem, coordinates=made.to(self.u))
        before, optimality = self.snapshot, self.optimality
        curvature = Curvature(1.0, 0.0, before.curvature, before.weighted_curvature)
        coordinates = self.problem.coordinates
        squares = squared_norms(objective, coordinates, self.u.dtype, problem.loss, v)
        self.sampling = self._sampling(squares, curvature)
        self.u.copy_(coordinates.start(v))
        self._restart()
        self._take(before.value, before.gradient)
        # The norm is in other units now, and so must be the first one that it is relative to.
        self.first_norm = self.first_norm * self.snapshot.norm / before.norm.clamp(min=_TINY)
        self.optimality = optimality

    def _sampling(self, squares: Tensor, curvature: Curvature) -> Sampling:
        """Return the batches to draw, from the squared norm of each row times its curvature."""
        return Sampling(
            self.problem.objective,
            squares,
            curvature,
            self.batch_size,
            self.generator,
            self.u.dtype,
        )


def _lower(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the lower of two objectives for each target, with its point."""
    (value, v), (other, w) = first, second
    return torch.minimum(value, other), torch.where(value < other, v, w)

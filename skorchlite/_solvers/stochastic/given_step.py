"""Descent with a step that is given, until the objective no longer falls.

References
----------
Prechelt (1998), "Early stopping - but when?", Neural Networks: Tricks of the Trade. For the steps
see ``sgd``.
"""

from dataclasses import replace
from math import inf, isfinite, nan

import torch
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..base import Solution, SolverControl
from .early_stopping import Watch, mean_point
from .settings import Settings
from .sgd import Steps, make_loop
from .start import Start

_RISEN = 2.0  # times the objective of the first epoch: above it, the descent has diverged
_CLEAR = 0.9  # times the objective at zero: an epoch whose mean is below does not end above it
_ROUNDINGS = 100.0  # units of rounding by which the sum over batches may be off


class GivenStep:
    """Epochs until the objective, or the validation loss, no longer falls by ``tol``.

    Parameters
    ----------
    start : Start
    settings : Settings
    watch : Watch
    control : SolverControl
    """

    def __init__(self, start: Start, settings: Settings, watch: Watch, control: SolverControl):
        self.start, self.watch, self.control = start, watch, control
        self.patience = settings.n_iter_no_change
        self.loop = make_loop(start, settings)
        self.steps = Steps(self.loop, start.objective)
        self.batches = self.steps.batches(settings)
        self.curve: list[float] = []
        self._best, self._kept = inf, self.loop.u.clone()  # the point before the best epoch
        self._at_zero = torch.zeros(self.loop.u.shape[1], dtype=torch.float64)

    def run(self) -> Solution:
        """Return the solution after the last epoch, or the best one of a descent that diverged."""
        tol, schedule, idle, status = self.control.tol, self.loop.schedule, 0, "max_iter_epochs"
        epochs = self.steps.epochs(self.batches, self.control.max_iter, self._at_zero)
        while len(self.curve) < self.control.max_iter:
            before = self.loop.u.clone()
            value = next(epochs)
            if not isfinite(value):
                return self._diverged("diverged")
            self.curve.append(value)
            schedule.after_epoch(value)
            stop = self.watch.rows is not None and self.watch(self.steps.point())
            self.control.monitor(len(self.curve), value, nan, self._ended)
            if not self.watch.stops:
                slow = tol is not None and value > self._best - tol
                idle = idle + 1 if slow else 0
                stop = idle >= self.patience
            if value < self._best:
                self._best, self._kept = value, before
            if stop:
                if schedule.stalled():
                    status = "converged"
                    break
                idle = self.watch.idle = 0
        if tol is None and status != "converged":
            status = "completed"
        return self._judged(status)

    def _judged(self, status: str) -> Solution:
        """Return the solution with a status, unless the descent turns out to have diverged."""
        if not torch.isfinite(self.loop.u).all():
            return self._diverged("diverged")
        if self.curve[-1] > _RISEN * self.curve[0] + (self.control.tol or 0.0):
            return self._diverged("rising")
        if self.watch.point is None and self._above_zero():
            return self._diverged("above_zero")
        return self._ended(status)

    def _above_zero(self) -> bool:
        """Return whether, for some target, the objective is above that at zero coefficients."""
        objective, bound = self.start.objective, self._at_zero
        if len(bound) == 1 and self.curve[-1] < _CLEAR * objective.units.total(bound):
            return False  # the last epoch was far below it on average, which saves a pass
        try:
            value, _ = objective.evaluate(self.steps.point())
        except OutOfRangeError:
            return True
        rounding = _ROUNDINGS * torch.finfo(self.loop.u.dtype).eps
        return not bool((value <= bound * (1 + rounding)).all())

    def _ended(self, status: str = "completed") -> Solution:
        """Return the solution at the best point on the validation rows, else at the last one."""
        v = self.steps.point() if self.watch.point is None else self.watch.point
        return self._solution(v, status)

    def _diverged(self, status: str) -> Solution:
        """Return the point before the best epoch, or a constant model if that is better."""
        objective, v = self.start.objective, self.steps.point(self._kept)
        value, _ = objective.evaluate(v)
        constants = [torch.zeros_like(v)]
        if objective.fit_intercept:
            constants.append(mean_point(objective, objective.rows))
        for constant in constants:
            other, _ = objective.evaluate(constant)
            v, value = torch.where(other < value, constant, v), torch.minimum(other, value)
        self.loop.reset(self._kept)
        facts = self.steps.divergence(len(self.curve) + 1, self.batches.n_batch)
        self.curve.append(objective.units.total(value))
        return replace(self._solution(v, status), facts=facts)

    def _solution(self, v: Tensor, status: str) -> Solution:
        solution = self.start.solution(v, self.curve, status=status, n_updates=self.loop.t - 1)
        return self.watch.record(solution)

"""Stochastic descent with a given step along chunks: each is an epoch of the loop."""

from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..._sources.feature_map import FeatureMap
from ..._sources.origin import Origin
from ..base import Solution, SolverControl
from ..stochastic.schedules import make_schedule
from ..stochastic.settings import LearningRate, Settings
from ..stochastic.sgd import Loop, Steps, make_loop, proximal_of
from ..stochastic.start import check_kinks, make_start
from .learner import IncrementalLearner

# Settings that the state of the loop depends on.
_LASTING = ("solver", "solver_params", "preconditioner", "average")


class LoopStream(IncrementalLearner):
    """Stochastic descent with a given step.

    Parameters
    ----------
    settings : Settings
        The seed is that of the order of the next chunk.
    basis, fit_intercept
        See ``IncrementalLearner``.
    """

    def __init__(self, basis: FeatureMap, settings: Settings, fit_intercept: bool):
        super().__init__(basis, fit_intercept)
        self.settings = settings
        self.solver = settings.solver_name
        self.loop: Loop | None = None
        self.origin: Origin | None = None
        # (l1, positive) of the last chunk, and the factors of the penalty if there are any.
        self.kinks: tuple = (0.0, False)
        self._steps_changed = False

    def follow(self, settings: Settings) -> None:
        """Go on with another schedule or batch size; the optimizer cannot change."""
        before, self.settings = self.settings, replace(settings, seed=self.settings.seed)
        changed = [name for name in _LASTING if getattr(before, name) != getattr(settings, name)]
        if changed:
            raise ValueError(
                f"{' and '.join(changed)} changed after chunks that were learned with what it was "
                "before. Call fit to begin anew."
            )
        self._steps_changed = _scheduled(before) != _scheduled(settings)

    def _prepare(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Steps:
        """Return the steps along a chunk."""
        penalty = objective.penalty
        factors = () if penalty.factors is None else (tuple(penalty.factors.tolist()),)
        kind = penalty.l1, penalty.positive, *factors
        if self.loop is None:
            begun = make_start(objective, start, self.settings, control)
            self.loop = make_loop(begun, self.settings)
            self.origin, self.kinks = begun.objective.origin, kind
        loop = self.loop
        assert self.origin is not None
        objective = objective.at(self.origin)
        if kind != self.kinks:
            check_kinks(loop.optimizer, self.settings, objective)
            loop.proximal = proximal_of(loop, objective)
            self.kinks = kind
        if self._steps_changed:
            loop.schedule = make_schedule(self.settings, objective.loss, loop.optimizer)
            self._steps_changed = False
        return Steps(loop, objective)

    def learn(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
        """Take the steps of a chunk; return the point that they lead to."""
        steps = self._prepare(objective, start, control)
        loop, objective = steps.loop, steps.objective
        batches = steps.batches(self.settings)
        before, t = loop.u.clone(), loop.t
        self.settings.seed += 1  # the next chunk has an order of its own
        value, status, facts = steps.epoch(batches), "completed", {}
        if not (isfinite(value) and torch.isfinite(loop.u).all()):
            loop.reset(before)
            status, facts = "diverged", steps.divergence(1, batches.n_batch)
            values, _ = objective.evaluate(steps.point())
            value = objective.units.total(values)
        else:
            loop.schedule.after_epoch(value)
        v = steps.point()
        return Solution(
            objective=objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=1,
            loss_curve=[value],
            status=status,
            n_updates=loop.t - t,
            facts=facts,
        )


def _scheduled(settings: Settings) -> tuple[LearningRate, float, float, float | None]:
    """Return the settings that make a schedule."""
    alpha = settings.alpha if settings.learning_rate == "optimal" else None
    return settings.learning_rate, settings.eta0, settings.power_t, alpha

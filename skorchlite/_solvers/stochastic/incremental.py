"""Streams that keep moments, or a loop with a given step; for the third see ``averaged_sgd``.

A stream learns from one objective after the other, each over the rows of a chunk.
"""

from dataclasses import replace
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from ..._objective.moments_objective import (
    RunningMoments,
    SummedObjective,
    doubled_moments_of_chunk,
    moments_of_chunk,
)
from ..._objective.objective import Objective
from ..._sources.feature_map import FeatureMap
from ..._sources.origin import Origin
from ..base import IncrementalLearner, Solution, SolverControl
from ..newton.least_squares import BLURRED, CLEAR, quadratic_model
from ..newton.solver import newton
from .minibatches import Minibatches
from .settings import Settings
from .sgd import Loop, make_corners, make_loop, schedule_of
from .solver import divergence

Terms = tuple[np.ndarray, np.ndarray]  # columns in terms of others, in doubled precision
_FEW_PRODUCTS = 4_000_000  # which take milliseconds in doubled precision
_LASTING = ("solver", "solver_params", "preconditioner", "average")


class MomentStream(IncrementalLearner):
    """The moments of all chunks, which hold the answer for squared error.

    Parameters
    ----------
    basis : FeatureMap
        Of the row source.
    fit_intercept : bool
    moments : RunningMoments or None, default=None
        Of rows seen before.
    rank : int, default=0
        Of their columns.
    """

    solver, takes_other_terms = "newton", True

    def __init__(
        self,
        basis: FeatureMap,
        fit_intercept: bool,
        moments: RunningMoments | None = None,
        rank: int = 0,
    ):
        super().__init__(basis, fit_intercept)
        self.moments, self.rank = moments, rank

    def change_basis(
        self, basis: FeatureMap, terms: tuple[np.ndarray, np.ndarray], n_targets: int, centre: bool
    ) -> None:
        """Go on in the columns of another feature map; ``terms`` are these in the present ones."""
        if self.moments is not None:
            self.moments = self.moments.in_terms(n_targets, terms, centre)
        self.basis = basis

    def learn(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
        """Return the solution over all rows so far."""
        objective, chunk = moments_of_chunk(objective)
        summed, solution = self._solved(chunk, objective, control)
        few = objective.rows.n_rows * objective.n_features**2 <= _FEW_PRODUCTS
        known = 0 if few else summed.n_null
        if solution.metric.blurred(known) > CLEAR and objective.double == torch.float64:
            chunk = doubled_moments_of_chunk(objective)
            summed, solution = self._solved(chunk, objective, control)
        rank = solution.metric.rank
        # More rows can only add to the rank, unless they take digits from it.
        lost = max(solution.metric.blurred(summed.n_null), _unheld(solution))
        lost = 1.0 if rank < self.rank else lost
        solution = solution.knowing(lost=lost)
        if lost > BLURRED:
            solution = replace(solution, status="blurred")
        self.moments, self.rank = summed.moments, max(rank, self.rank)
        if not self.moments.rounded.any():  # then the rank is that of the rows
            self.moments = replace(self.moments, n_null=summed.n_features - self.rank)
        return solution

    def _solved(
        self, chunk: RunningMoments, objective: Objective, control: SolverControl
    ) -> tuple[SummedObjective, Solution]:
        """Return the objective over all rows so far and those of a chunk, and its solution."""
        moments = chunk
        if self.moments is not None:
            moments = self.moments.merged(chunk, objective.fit_intercept)
        summed = SummedObjective(
            moments,
            objective.rows.n_targets,
            self.basis,
            objective.loss,
            objective.penalty,
            objective.fit_intercept,
        )
        solution = newton(summed, None, control)
        if solution.metric is None:  # corners have no use for one
            metric = quadratic_model(summed, torch.float64, control.data_eps).metric
            solution = replace(solution, metric=metric)
        return summed, solution


def _unheld(solution: Solution) -> float:
    """Return the part of a target's deviation that rounding may make of predictions.

    Chunks that reach further stretch the interval of polynomials, which rows before are then a
    small part of, with large coefficients.
    """
    summed = solution.objective
    if not summed.basis.magnitude:
        return 0.0
    _, deviation, _ = summed.spread()
    rounding = torch.finfo(torch.float64).eps * solution.v[:-1].abs().sum(0)
    return float((rounding / deviation[: len(rounding)]).nan_to_num(0.0).max())


class LoopStream(IncrementalLearner):
    """The loop with a given step, which each chunk is an epoch of.

    Parameters
    ----------
    basis : FeatureMap
        Of the row source.
    settings : Settings
    fit_intercept : bool
    """

    solver = "sgd"

    def __init__(self, basis: FeatureMap, settings: Settings, fit_intercept: bool):
        super().__init__(basis, fit_intercept)
        self.settings = settings
        self.solver = settings.solver_name
        self.loop: Loop | None = None
        self.origin: Origin | None = None
        self.corner: tuple[float, bool] = 0.0, False  # of the penalty of the last chunk
        self._steps_changed = False

    @property
    def seed(self) -> int:
        """Of the order of the next chunk."""
        return self.settings.seed

    def follow(self, settings: Settings) -> None:
        """Go on as the caller has it now: with other steps, but with the same update."""
        before, self.settings = self.settings, settings
        changed = [name for name in _LASTING if getattr(before, name) != getattr(settings, name)]
        if changed:
            raise ValueError(
                f"{' and '.join(changed)} changed after chunks that were learned with what it was "
                "before. Call fit to begin anew."
            )
        self._steps_changed = _steps(before) != _steps(settings)

    def _prepare(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Loop:
        """Return the loop over a chunk."""
        kind = objective.penalty.corner, objective.penalty.positive
        if self.loop is None:
            of = control.dtype, control.data_eps
            self.loop = make_loop(objective, start, self.settings, *of)
            self.origin, self.corner = self.loop.objective.origin, kind
        loop = self.loop
        assert self.origin is not None
        loop.take(objective.at(self.origin))
        if kind != self.corner:
            try:
                loop.corners = make_corners(loop, self.settings)
            except ValueError:
                del loop.objective
                raise
            self.corner = kind
        if self._steps_changed:
            loop.schedule = schedule_of(self.settings, objective.loss, loop.optimizer)
            self._steps_changed = False
        return loop

    def learn(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
        """Take the steps of a chunk; return the point that they led to."""
        settings, loop = self.settings, self._prepare(objective, start, control)
        objective = loop.objective
        batches = Minibatches(
            objective,
            settings.batch_size,
            settings.generator,
            loop.u.dtype,
            whole=loop.optimizer.needs_closure or not objective.loss.separable,
        )
        before, t = loop.u.clone(), loop.t
        settings.seed += 1  # the next chunk has an order of its own
        value, status, facts = loop.epoch(batches), "completed", {}
        if not (isfinite(value) and torch.isfinite(loop.u).all()):
            loop.reset(before)
            status, facts = "diverged", divergence(loop, 1, batches.n_batch)
            values, _ = objective.evaluate(loop.point())
            value = objective.units.total(values)
        else:
            loop.schedule.after_epoch(value)
        v = loop.point()
        del loop.objective  # the rows are not kept
        solution = Solution(
            objective=objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=1,
            loss_curve=[value],
            status=status,
            n_updates=loop.t - t,
            facts=facts,
        )
        return solution


def _steps(settings: Settings) -> tuple:
    """Return what makes a schedule."""
    alpha = settings.alpha if settings.learning_rate == "optimal" else None
    return settings.learning_rate, settings.eta0, settings.power_t, alpha

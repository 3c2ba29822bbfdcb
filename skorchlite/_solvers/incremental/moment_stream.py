"""Moments of all chunks, which are all that a fit of squared error needs of them."""

from dataclasses import replace

import torch
from torch import Tensor

from ..._objective.moments_objective import (
    Pair,
    RunningMoments,
    SummedObjective,
    doubled_moments_of_chunk,
    moments_of_chunk,
)
from ..._objective.objective import Objective
from ..._sources.feature_map import FeatureMap
from ..base import Solution, SolverControl
from ..newton.least_squares import BLURRED
from ..newton.quadratic_model import CLEAR, quadratic_model
from ..newton.solver import newton
from ..newton.unpenalised_columns import with_unpenalised
from ..stochastic.settings import Settings
from .learner import IncrementalLearner

_FEW_PRODUCTS = 4_000_000  # so many take milliseconds in doubled precision


class MomentStream(IncrementalLearner):
    """Squared error, by the moments of all chunks so far.

    Parameters
    ----------
    basis, fit_intercept
        See ``IncrementalLearner``.
    moments : RunningMoments or None, default=None
        The moments of an earlier fit.
    rank : int, default=0
        The rank of its columns.
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

    def change_basis(self, basis: FeatureMap, terms: Pair, n_targets: int, centre: bool) -> None:
        """Go on in the columns of another feature map; see ``IncrementalLearner``."""
        if self.moments is not None:
            self.moments = self.moments.in_terms(n_targets, terms, centre)
        self.basis = basis

    def follow(self, settings: Settings) -> None:
        """Do nothing: moments do not depend on settings of steps."""

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
        lost = max(solution.metric.blurred(summed.n_null), _rounding_of_predictions(solution))
        if rank < self.rank:  # more rows can only add to the rank, unless sums have lost digits
            lost = 1.0
        solution = solution.knowing(lost=lost)
        if lost > BLURRED:
            solution = replace(solution, status="blurred")
        self.moments, self.rank = summed.moments, max(rank, self.rank)
        if not self.moments.rounded.any():  # the sums are exact, and so is the rank of the rows
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
        solution = with_unpenalised(summed, None, control, newton)
        if solution.metric is None:  # of a penalty with kinks, which is solved without one
            metric = quadratic_model(summed, torch.float64, control.data_eps).metric
            solution = replace(solution, metric=metric)
        return summed, solution


def _rounding_of_predictions(solution: Solution) -> float:
    """Return how large rounding of predictions may be, relative to the deviation of the target.

    Where a chunk reaches much further than those before, the interval of polynomials is stretched:
    earlier rows are in a small part of it, where predictions are differences of large terms.
    """
    summed = solution.objective
    if not summed.basis.rounding.least_size:
        return 0.0
    _, deviation, _ = summed.spread()
    rounding = torch.finfo(torch.float64).eps * solution.v[:-1].abs().sum(0)
    return float((rounding / deviation[: len(rounding)]).nan_to_num(0.0).max())

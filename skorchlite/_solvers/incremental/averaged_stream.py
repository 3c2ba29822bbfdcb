"""Averaged stochastic descent along chunks, of which each row is seen once.

The moments of the rows so far make the preconditioner, and curvature and noise the first step; the
steps shrink as more rows are seen. The answer is an average of the points in which later ones count
more. It is about as good as an answer can be for which each row is seen once.

References
----------
Polyak, Juditsky (1992), "Acceleration of stochastic approximation by averaging", SIAM Journal on
Control and Optimization 30(4). Shamir, Zhang (2013), "Stochastic gradient descent for non-smooth
optimization: convergence results and optimal averaging schemes".
"""

import torch
from torch import Tensor

from ..._objective.moments import MANY_COLUMNS
from ..._objective.moments_objective import RunningMoments, SummedObjective, moments_of_chunk
from ..._objective.objective import Objective
from ..._sources.feature_map import FeatureMap
from ..._sources.origin import Origin
from ..base import Solution, SolverControl
from ..newton.reparametrization import Coordinates, make_coordinates
from ..stochastic.averages import RecentAverage
from ..stochastic.curvature import squared_norms
from ..stochastic.minibatches import Minibatches
from ..stochastic.optimizers import GradientDescent
from ..stochastic.pilot import Pilot
from ..stochastic.preconditioned import constant_point
from ..stochastic.proximal import ProximalPenalty
from ..stochastic.schedules import Shrinking
from ..stochastic.settings import Settings
from ..stochastic.sgd import Loop, Steps
from .learner import IncrementalLearner

_BATCH = 32
_STEP = 0.5  # times the step that noise and curvature allow
_DECAY = 0.6  # steps shrink with this power of the number of rows seen
_RECENT = 2.0  # points count in the average with this power of the number of rows seen
_GROWTH = 1.05  # times the weight of rows: then the coordinates are made anew
_BAND = 0.3  # times the mean residual: the width of the smoothing whose curvature is measured


class AveragedStream(IncrementalLearner):
    """Averaged stochastic descent, with a step that it finds itself.

    Parameters
    ----------
    settings : Settings
    basis, fit_intercept
        See ``IncrementalLearner``.
    n_seen : int
        Rows that an earlier fit has seen, from whose solution the first chunk starts.
    """

    solver = "sgd"

    def __init__(self, basis: FeatureMap, settings: Settings, fit_intercept: bool, n_seen: int):
        super().__init__(basis, fit_intercept)
        self.follow(settings)
        self.seed, self.n_seen = settings.seed, n_seen
        self.moments: RunningMoments | None = None
        self.coordinates: Coordinates | None = None
        self.made_of = 0.0  # the weight of the rows that the coordinates were made of
        # The preconditioner that they were made for, and whether for a smooth penalty.
        self.made_for: tuple[str | None, bool] | None = None
        self.apart = 0.0  # the mean size of a residual
        # The mean curvature of the loss, and the mean weighted by itself; the largest curvature of
        # the mean over the rows, and the mean squared norm of a row, weighted by itself.
        self.curvature = torch.zeros(4, dtype=torch.float64)
        # The last point and the average, measured from zero.
        self.points: tuple[Tensor, Tensor] | None = None

    def follow(self, settings: Settings) -> None:
        """Go on with another preconditioner, batch size or order of rows."""
        self.preconditioner, self.shuffle = settings.preconditioner, settings.shuffle
        self.batch_size = settings.batch_size or _BATCH

    def learn(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
        """Take the steps of a chunk; return the average that they lead to."""
        if start is not None and self.points is None:
            v = _from_zero(objective, start)
            self.points = v, v
        objective = self._summed(objective)
        steps = Steps(self._loop(objective), objective)
        self.seed += 1  # the next chunk has an order of its own
        generator = torch.Generator().manual_seed(self.seed) if self.shuffle else None
        batches = Minibatches(objective, self.batch_size, generator, torch.float64)
        value, loop = steps.epoch(batches), steps.loop
        self.n_seen += batches.n_rows
        # A coefficient that is zero at the end stays zero: its average need not be.
        v = steps.point(torch.where(loop.u == 0, loop.u, loop.end))
        self.points = _from_zero(objective, steps.point(loop.u)), _from_zero(objective, v)
        return Solution(
            objective=objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=1,
            loss_curve=[value],
            n_updates=loop.t - 1,
        )

    def _summed(self, objective: Objective) -> Objective:
        """Add the moments of a chunk; return its objective, measured from our origin.

        The coordinates are made anew where more rows, or a parameter that has changed, ask for it.
        """
        many = objective.n_features > MANY_COLUMNS
        objective, moments = moments_of_chunk(objective, diagonal=many)
        if self.moments is not None:
            moments = self.moments.merged(moments, objective.fit_intercept)
        made_for = self.preconditioner, objective.penalty.smooth
        if made_for != self.made_for or moments.weight > _GROWTH * self.made_of:
            self._make_coordinates(objective, moments)
            self.made_of, self.made_for = moments.weight, made_for
        self.moments = moments
        return objective.at(self.origin)

    def _make_coordinates(self, objective: Objective, moments: RunningMoments) -> None:
        """Make the coordinates from the moments so far, with a ridge that shrinks as rows come in.

        Directions that few rows determine would get steps that are too long without one.
        """
        n_rows = self.n_seen + objective.rows.n_rows
        summed = SummedObjective(
            moments,
            objective.rows.n_targets,
            objective.basis,
            objective.loss,
            objective.penalty,
            objective.fit_intercept,
            ridge=objective.n_features / n_rows,
        )
        shift = summed.origin.shift.clone()
        if not objective.loss.residual:
            shift[: objective.rows.n_targets] = 0
        self.origin = Origin(shift)
        eps = torch.finfo(torch.float64).eps
        _, self.coordinates = make_coordinates(summed, self.preconditioner, torch.float64, eps)

    def _loop(self, objective: Objective) -> Loop:
        """Return the loop over a chunk, at the last point."""
        coordinates = self.coordinates
        assert coordinates is not None
        pilot = Pilot(objective, coordinates)
        if self.points is None:
            u = torch.zeros(coordinates.size, objective.rows.n_targets, dtype=torch.float64)
            u = constant_point(objective, pilot, u)
            mean = u.clone()
        else:
            zero = _zero(objective)
            n_rows = objective.n_features + objective.fit_intercept
            u, mean = (
                coordinates.start(objective.units.carried(v, zero)[:n_rows]) for v in self.points
            )
        first, later = self._step_sizes(objective, pilot, coordinates.to_v(mean))
        size = min(self.batch_size, objective.rows.n_rows)
        schedule = Shrinking(first, later, _DECAY, self.n_seen, size, _BATCH)
        average = RecentAverage(mean, self.n_seen, _RECENT)
        proximal = None
        if not objective.penalty.smooth:
            slope = coordinates.kink_slopes(objective)[: objective.n_features]
            proximal = ProximalPenalty(slope, objective.penalty.positive)
        return Loop(coordinates, GradientDescent(u, first), schedule, average, proximal)

    def _step_sizes(self, objective: Objective, pilot: Pilot, v: Tensor) -> tuple[float, float]:
        """Return the largest step, and the step that later ones shrink from.

        They go by curvatures that are averaged over the chunks, and measured here at v.
        """
        loss, n_rows = objective.loss, objective.rows.n_rows
        share = min((_RECENT + 1) * n_rows / (self.n_seen + n_rows), 1.0)
        self.apart += share * (float((pilot.y - pilot.Z @ v).abs().mean()) - self.apart)
        if loss.kinked:
            if not self.apart > 0:  # all residuals so far were zero
                return self._bounds(n_rows, 0.0)
            loss = loss.smoothed(_BAND * self.apart)
        squares = squared_norms(objective, pilot.coordinates, torch.float64)
        row = float((squares**2).sum() / squares.sum()) if squares.sum() > 0 else 1.0
        rows, penalty = pilot.largest(1.0, 0.0), pilot.largest(0.0, 1.0)
        measured = [*pilot.of_loss(loss, v), max(rows, 1.0), row]
        self.curvature.lerp_(torch.tensor(measured, dtype=torch.float64), share)
        return self._bounds(n_rows, penalty)

    def _bounds(self, n_rows: int, penalty: float) -> tuple[float, float]:
        """Return both steps for a chunk of so many rows and the curvature of the penalty."""
        mean, weighted, rows, row = self.curvature.tolist()
        curvature = mean * rows + penalty
        if not curvature > 0:
            return 0.0, 0.0
        return _STEP / (curvature + weighted * row / min(self.batch_size, n_rows)), 1 / curvature


def _from_zero(objective: Objective, v: Tensor) -> Tensor:
    """Return v, which is relative to the origin of the objective, relative to zero."""
    return objective.at(_zero(objective)).units.carried(v, objective.origin)


def _zero(objective: Objective) -> Origin:
    return Origin(torch.zeros_like(objective.origin.shift))

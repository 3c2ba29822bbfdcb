"""Stochastic descent along a stream, each row of which is seen once.

The moments of the rows so far make the metric, curvature and noise the first step, and the steps
shrink as more rows have been seen. The answer is an average of the points in which later ones count
for more, and which is about as good as rows seen once allow.

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
from ..base import IncrementalLearner, Solution, SolverControl
from ..newton.reparametrization import Coordinates, make_coordinates
from .minibatches import Minibatches
from .optimizers import GradientDescent, ProximalPenalty, RecentAverage
from .schedules import Shrinking
from .settings import Settings
from .sgd import Loop
from .step_size import Pilot, squared_norms

_BATCH = 32
_STEP = 0.5  # of the step that noise and curvature allow
_DECAY = 0.6  # the power of the number of steps by which they shrink
_RECENT = 2.0  # the power of their number with which points count in the average
_GROWTH = 1.05  # of the weight of rows, after which the metric is made anew
_BAND = 0.3  # of the mean residual: a loss is smoothed so far for its curvature to be measured


class AveragedStream(IncrementalLearner):
    """The descent; it keeps no row.

    Parameters
    ----------
    basis : FeatureMap
        Of the row source.
    settings : Settings
    fit_intercept : bool
    n_seen : int
        Rows that an earlier fit has seen, which the first chunk starts from.
    """

    solver = "sgd"

    def __init__(self, basis: FeatureMap, settings: Settings, fit_intercept: bool, n_seen: int):
        super().__init__(basis, fit_intercept)
        self.follow(settings)
        self.moments: RunningMoments | None = None
        self.coordinates: Coordinates | None = None
        self.n_seen, self.made_of = n_seen, 0.0
        self.made_for: tuple[str | None, bool] | None = None
        self.apart = 0.0  # the mean size of a residual
        # Mean curvature of the loss, the same weighted by itself, and of rows: mean and weighted.
        self.curvature = torch.zeros(4, dtype=torch.float64)
        # The last point and the average, measured from zero.
        self.points: tuple[Tensor, Tensor] | None = None

    def follow(self, settings: Settings) -> None:
        """Go on as the caller has it now."""
        self.preconditioner, self.shuffle = settings.preconditioner, settings.shuffle
        self.batch_size, self.seed = settings.batch_size or _BATCH, settings.seed

    def learn(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
        """Take the steps of a chunk; return the average that they led to."""
        zero = Origin(torch.zeros_like(objective.origin.shift))
        if start is not None and self.points is None:
            v = _from(zero, objective, start)
            self.points = v, v
        many = objective.n_features > MANY_COLUMNS
        objective, moments = moments_of_chunk(objective, diagonal=many)
        if self.moments is not None:
            moments = self.moments.merged(moments, objective.fit_intercept)
        made_for = self.preconditioner, objective.penalty.smooth
        if made_for != self.made_for or moments.weight > _GROWTH * self.made_of:
            self._make_coordinates(objective, moments)
            self.made_for = made_for
        self.moments, objective = moments, objective.at(self.origin)
        loop = self._loop(objective)
        self.seed += 1  # the next chunk has an order of its own
        generator = torch.Generator().manual_seed(self.seed) if self.shuffle else None
        batches = Minibatches(objective, self.batch_size, generator, torch.float64)
        value = loop.epoch(batches)
        self.n_seen += batches.n_rows
        mean = torch.where(loop.u == 0, loop.u, loop.average.mean)
        v = loop.point(mean)
        self.points = _from(zero, objective, loop.point(loop.u)), _from(zero, objective, v)
        solution = Solution(
            objective=objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=1,
            loss_curve=[value],
            n_updates=loop.t - 1,
        )
        return solution

    def _make_coordinates(self, objective: Objective, moments: RunningMoments) -> None:
        """Make the metric of the rows so far; few of them are made safe by a ridge."""
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
        self.made_of = moments.weight

    def _loop(self, objective: Objective) -> Loop:
        """Return the loop over a chunk, at the last point."""
        coordinates = self.coordinates
        assert coordinates is not None
        zero = Origin(torch.zeros_like(self.origin.shift))
        pilot = Pilot(objective, coordinates)
        if self.points is None:
            u = torch.zeros(coordinates.size, objective.rows.n_targets, dtype=torch.float64)
            if not objective.loss.residual and objective.fit_intercept:
                u[-1] = pilot.y.mean(0)
            mean = u.clone()
        else:
            n_rows = objective.n_features + objective.fit_intercept
            u, mean = (
                coordinates.start(objective.units.carried(v, zero)[:n_rows]) for v in self.points
            )
        first, later = self._steps(objective, pilot, coordinates.model(mean))
        size = min(self.batch_size, objective.rows.n_rows)
        schedule = Shrinking(first, later, _DECAY, self.n_seen, size, _BATCH)
        average = RecentAverage(mean, self.n_seen, _RECENT)
        corners = None
        if not objective.penalty.smooth:
            corner = coordinates.corner(objective)[: objective.n_features]
            corners = ProximalPenalty(corner, objective.penalty.positive)
        return Loop(
            objective, coordinates, u, GradientDescent(u, first), schedule, average, corners
        )

    def _steps(self, objective: Objective, pilot: Pilot, v: Tensor) -> tuple[float, float]:
        """Return the largest step, and the step that later ones shrink from."""
        loss, n_rows = objective.loss, objective.rows.n_rows
        share = min((_RECENT + 1) * n_rows / (self.n_seen + n_rows), 1.0)
        self.apart += share * (float((pilot.y - pilot.Z @ v).abs().mean()) - self.apart)
        if loss.corners:
            if not self.apart > 0:  # nothing is known of the size of a residual
                return self._bounds(n_rows, 0.0)
            loss = loss.smoothed(_BAND * self.apart)
        squares = squared_norms(objective, pilot.coordinates, torch.float64)
        row = float((squares**2).sum() / squares.sum()) if squares.sum() > 0 else 1.0
        rows, penalty = pilot.largest(1.0, 0.0), pilot.largest(0.0, 1.0)
        measured = [*pilot.of_loss(loss, v), max(rows, 1.0), row]
        self.curvature.lerp_(torch.tensor(measured, dtype=torch.float64), share)
        return self._bounds(n_rows, penalty)

    def _bounds(self, n_rows: int, penalty: float) -> tuple[float, float]:
        mean, weighted, rows, row = self.curvature.tolist()
        curvature = mean * rows + penalty
        if not curvature > 0:
            return 0.0, 0.0
        return _STEP / (curvature + weighted * row / min(self.batch_size, n_rows)), 1 / curvature


def _from(origin: Origin, objective: Objective, v: Tensor) -> Tensor:
    """Return v, which is relative to the origin of the objective, relative to another."""
    return objective.at(origin).units.carried(v, objective.origin)

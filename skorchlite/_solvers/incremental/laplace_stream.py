"""Newton steps on each chunk, with the chunks before as a quadratic.

A loss with a log link has no sums that hold the answer for all rows. But once a chunk has been
learned from, its loss is nearly a quadratic about the solution (Laplace's approximation), whose
matrix is a sum over rows. So the objective of a chunk is the loss of its own rows, and of those
before it what their quadratics add up to. Steps along gradients, which other losses take, need a
step size, with which rows of large means would diverge.

References
----------
Opper (1998), "A Bayesian approach to on-line learning", in On-Line Learning in Neural Networks.
"""

from math import log

import numpy as np
import torch
from torch import Tensor

from ..._objective.expansions import Trial
from ..._objective.log_link import LogLink
from ..._objective.objective import Objective
from ..._sources.feature_map import FeatureMap
from ..._sources.origin import Origin
from ..base import Solution, SolverControl
from ..newton.expanded_rows import HeldRows
from ..newton.kinks import Kinks
from ..newton.log_link import advance
from ..newton.log_link_descent import Descent, Form
from ..newton.reparametrization import Coordinates
from ..stochastic.settings import Settings
from .learner import IncrementalLearner

LARGEST = 500  # columns, whose matrix is kept for each target
_ROWS = 1.0  # that all is worth which is taken for granted before the first chunk
_CLOSER = 1e-4  # times the tolerance, where a step more costs next to nothing


class LaplaceStream(IncrementalLearner):
    """Newton steps on chunks of a loss with a log link.

    Before the first chunk the constant model counts as one row, so that a few rows, or targets of
    zero, do not lead to infinity.

    Parameters
    ----------
    basis, fit_intercept
        See ``IncrementalLearner``.
    n_seen : int
        Rows that an earlier fit has seen, from whose solution the first chunk starts.

    Attributes
    ----------
    origin : Origin or None
        What columns are measured from: the mean of the first chunk.
    weight, row : float
        The sum of the weights so far, and the mean weight of the first chunk.
    targets, constant : Tensor of shape (n_targets,)
        The sum of the targets, and the constant of what the chunks so far have lost,
        ``constant - right.v + 1/2 v.hessian.v``.
    squares : Tensor of shape (k,)
        Sums of squares of the columns, and of ones.
    hessian : Tensor of shape (n_targets, k, k)
    right, points : Tensor of shape (k, n_targets)
        ``points`` is the solution so far.
    """

    solver = "newton"
    targets: Tensor
    squares: Tensor
    points: Tensor

    def __init__(self, basis: FeatureMap, fit_intercept: bool, n_seen: int):
        super().__init__(basis, fit_intercept)
        self.n_seen, self.weight, self.row = n_seen, 0.0, 0.0
        self.origin: Origin | None = None

    def follow(self, settings: Settings) -> None:
        """Go on: there are no settings of its own."""

    def learn(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
        """Minimise the objective of a chunk and what is known of those before."""
        if self.origin is None:
            mean, _, _ = objective.spread()
            self.origin = objective.centred(mean).origin
        k = objective.n_features + objective.fit_intercept
        if start is not None and not self.weight:
            start = objective.at(self.origin).units.carried(start, objective.origin)[:k]
        objective = objective.at(self.origin)
        rows = HeldRows(objective, Coordinates(k))
        n_rows, weight = objective.rows.weighed()
        squares = weight * (rows.share @ rows.Z.square())
        targets = weight * (rows.y @ rows.share)
        if not self.weight:
            self._begin(rows, weight / n_rows, squares / weight, start)
        self.weight += weight
        self.squares = self.squares + squares
        self.targets = self.targets + targets
        unit = torch.where(self.squares > 0, (self.weight / self.squares).sqrt(), 0.0)
        rows.Z.mul_(unit)
        rows.part = weight / self.weight
        descents = [
            Descent(form, control, _CLOSER * control.gap, self._start(j, unit))
            for j, form in enumerate(self._forms(objective, unit))
        ]
        while any(advance(rows, descents)):
            pass
        self._add(rows, descents, unit)
        v = torch.zeros(objective.n_features + 1, len(descents), dtype=torch.float64)
        v[:k] = self.points
        return Solution(
            objective=objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=1,
            loss_curve=[sum(one.value for one in descents)],
            n_updates=1,
        )

    def _begin(self, rows: HeldRows, row: float, squares: Tensor, start: Tensor | None) -> None:
        """Begin with nothing known, or with the solution of an earlier fit.

        Of that it is known how many rows it is for. Their curvature is taken to be half that of the
        first chunk, whose rows may not have all directions, and half that of independent columns.
        """
        t, k = len(rows.y), rows.Z.shape[1]
        self.row = row
        self.hessian = torch.zeros(t, k, k, dtype=torch.float64)
        self.squares, self.right = torch.zeros(k).double(), torch.zeros(k, t).double()
        self.points, self.targets = self.right.clone(), torch.zeros(t).double()
        self.constant = torch.zeros(t).double()
        if start is None:
            for j in range(t):
                self.points[:, j] = torch.from_numpy(rows.constant(j))
            return
        self.weight, self.points = self.n_seen * row, start.clone()
        self.squares = self.weight * squares
        trials = {j: _at(start[:, j]) for j in range(t)}
        for j, about in rows.expanded(trials).items():
            scale = about.expected.diagonal() / squares.where(squares > 0, 1.0)
            mean = float(scale.max())
            self.hessian[j] = 0.5 * self.weight * (about.expected + (mean * squares).diag())
            self.right[:, j] = self.hessian[j] @ start[:, j]
            self.constant[j] = 0.5 * start[:, j] @ self.right[:, j]
            self.targets[j] = self.weight * float(rows.share @ rows.y[j])

    def _start(self, target: int, unit: Tensor) -> np.ndarray:
        point = torch.where(unit > 0, self.points[:, target] / unit, 0.0)
        return point.numpy()

    def _forms(self, objective: Objective, unit: Tensor) -> list[Form]:
        """Return what is minimised besides the loss of the rows of a chunk, for each target."""
        d, loss, total = objective.n_features, objective.loss, self.weight
        assert isinstance(loss, LogLink)
        penalty = torch.zeros(len(unit), len(unit), dtype=torch.float64)
        penalty[:d, :d] = objective.column_penalty.hessian_along(unit[:d].diag())
        penalty.diagonal().add_((unit == 0).double())  # what is constant so far stays at zero
        slope = torch.cat((objective.column_penalty.l1 * unit[:d], unit[d:] * 0)).numpy()
        bounded = np.arange(len(unit)) < (d if objective.penalty.positive else 0)
        forms = []
        for j in range(len(self.targets)):
            mean = float(self.targets[j]) / total or 0.5 * self.row / (total + self.row)
            level = torch.tensor(mean, dtype=torch.float64)
            ridge = _ROWS * self.row * float(loss.expected_curvature(level, level.log())) / total
            ridges = ridge * (unit > 0).double()
            curvature = unit[:, None] * self.hessian[j] * unit / total + penalty + ridges.diag()
            pulled = unit * self.right[:, j] / total
            constant = float(self.constant[j]) / total
            if self.fit_intercept:
                pulled[-1] += ridge * log(mean)
                constant += 0.5 * ridge * log(mean) ** 2
            kinks = Kinks(slope, bounded)
            forms.append(Form(objective, kinks, curvature.numpy(), pulled.numpy(), constant))
        return forms

    def _add(self, rows: HeldRows, descents: list[Descent], unit: Tensor) -> None:
        """Add the quadratics of the rows of a chunk, about the solutions."""
        back = torch.where(unit > 0, 1 / unit, 0.0)
        ends = [torch.from_numpy(descent.u) for descent in descents]
        self.points = torch.stack([unit * u for u in ends], 1)
        for j, about in rows.expanded({j: _at(u) for j, u in enumerate(ends)}).items():
            point, total = self.points[:, j], self.weight
            curvature = total * back[:, None] * about.expected * back
            gradient = total * back * about.gradient
            self.hessian[j] = self.hessian[j] + curvature
            self.right[:, j] = self.right[:, j] + curvature @ point - gradient
            rest = 0.5 * point @ curvature @ point - gradient @ point
            self.constant[j] = self.constant[j] + total * about.value + rest


def _at(point: Tensor) -> Trial:
    return Trial(point, torch.zeros_like(point), whole=False, curved=True)

"""The coordinates that models of an objective are minimised in.

Rows have like spread in all of their directions, which are those of least squares, with its rule of
rank and its minimum norm. Where the penalty has corners, which are those of single coefficients,
columns are scaled alone.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..._objective.local_model import Model
from ..._objective.objective import Objective
from .data_rounding import made_by_rounding
from .kinks import Kinks
from .quadratic_model import QuadraticModel, quadratic_model
from .reparametrization import Coordinates

_BLOCK = 8_192  # rows that are multiplied at a time
_NEAR_UNITS = 1e3  # times that least norm may move a direction
_EPS = torch.finfo(torch.float64).eps


class Frame:
    """The coordinates of the descent.

    Its ``objective`` is the given one with columns measured from their mean.

    Parameters
    ----------
    objective : Objective
    dtype : torch.dtype
    data_eps : float
    """

    def __init__(self, objective: Objective, dtype: torch.dtype, data_eps: float):
        self.objective = objective
        self.model: QuadraticModel | None = None
        self.rank: int | None = None
        self.resolved = True
        self.n_rows = objective.n_features + objective.fit_intercept
        self.whitened = objective.penalty.smooth
        (self._whiten if self.whitened else self._scale)(dtype, data_eps)

    def _whiten(self, dtype: torch.dtype, data_eps: float) -> None:
        """Take the directions that least squares tells apart; start at its solution."""
        self.model = model = quadratic_model(self.objective, dtype, data_eps)
        self.objective = objective = model.objective
        # Least norm from the start, where that is near: to look for it at the end moves what is
        # measured by then. Of a direction alone it may be far, though not of the solution.
        factor = model.least_norm(model.metric.factor, far=_NEAR_UNITS)
        self.rank = model.metric.rank
        self.deviation = model.metric.live * model.metric.scale
        start = -(factor.T @ model.quadratic.gradient)
        _, gradient = model.quadratic.at(factor @ start)
        self.resolved = model.resolves(factor @ start, gradient)
        curvature = objective.column_penalty.hessian_along(factor)
        if objective.fit_intercept:
            one = factor.new_ones(1, 1)
            factor, curvature = torch.block_diag(factor, one), torch.block_diag(curvature, 0 * one)
            start = torch.cat((start, 0 * start.new_ones(1, start.shape[1])))
        self.coordinates = Coordinates(self.n_rows, factor=factor)
        self.start, self.curvature = start, curvature
        nothing = torch.zeros(len(start), dtype=torch.float64)
        self.corners = Kinks(nothing, nothing.bool())

    def _scale(self, dtype: torch.dtype, data_eps: float) -> None:
        """Take the coefficients of columns of unit deviation; start at the mean."""
        t = self.objective.rows.n_targets
        mean, deviation, _ = self.objective.spread()
        self.objective = objective = self.objective.centred(mean)
        self.deviation = deviation[t:]
        live = deviation[t:] > made_by_rounding(objective, data_eps)
        unit = torch.where(live, 1 / deviation[t:], 0.0)
        free = unit.new_zeros(int(objective.fit_intercept))
        # A constant column has no curvature of its own, and stays at zero with any.
        curvature = torch.where(live, objective.column_penalty.curvature * unit**2, 1.0)
        bounded = torch.full((len(unit),), objective.penalty.positive)
        self.corners = Kinks(
            torch.cat((objective.column_penalty.corner * unit, free)),
            torch.cat((bounded, free > 0)),
        )
        unit = torch.cat((unit, free + 1))[:, None]
        self.coordinates = Coordinates(self.n_rows, unit=unit)
        self.start = torch.zeros(len(unit), t, dtype=torch.float64)
        self.curvature = torch.cat((curvature, free)).diag()

    def points(self, x: Tensor) -> Tensor:
        """Return the points at x in the coordinates of the objective."""
        v = self.coordinates.model(x)
        return v if self.objective.fit_intercept else torch.cat((v, 0 * x.new_ones(1, x.shape[1])))

    def solution(self, x: Tensor) -> Tensor:
        """Return the points at x, of minimum norm where the data leaves a choice."""
        v = self.points(x)
        if self.model is None or self.rank == self.objective.n_features:
            return v
        return torch.cat((self.model.least_norm(v[:-1]), v[-1:]))

    def made_of(self, x: Tensor) -> Tensor:
        """Return the sizes of what the coefficients at x are sums of."""
        factor, d = self.coordinates.factor, self.objective.n_features
        return (
            self.points(x[:, None])[:d, 0].abs() if factor is None else factor[:d].abs() @ x.abs()
        )

    def moved(self, sizes: Tensor, value: float) -> float:
        """Return what rounding of coefficients of such sizes changes in the objective there."""
        return self.objective.loss.change(_EPS * float(sizes @ self.deviation), value)

    def seen(self, model: Model, x: Tensor) -> Model:
        """Return a model in these coordinates, x being those of its point.

        The rows that it keeps change in place: a copy of them would be as large again.
        """
        n, coordinates = self.n_rows, self.coordinates
        gradient = coordinates.pull(model.gradient[:n, None])[:, 0]
        hessian = coordinates.pull(coordinates.pull(model.hessian[:n, :n]).T)
        unit, factor, Z = coordinates.unit, coordinates.factor, model.Z[:, :n]
        if factor is not None:
            for rows in Z.split(_BLOCK):
                rows[:, : factor.shape[1]] = rows @ factor
            Z = Z[:, : factor.shape[1]]
        elif unit is not None:
            Z.mul_(unit.T)
        return replace(model, point=x, gradient=gradient, hessian=hessian, Z=Z)

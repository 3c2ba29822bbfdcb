"""The coordinates that local models of an objective are minimised in.

Rows have like spread in all directions, which are those of least squares, with its rule of rank and
its minimum norm. A penalty with kinks has these in single coefficients: then columns are scaled
alone.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.local_model import Model
from ..._objective.loss import Loss
from ..._objective.objective import Objective
from .bounds import Bound
from .data_rounding import made_by_rounding
from .kinks import Kinks, no_kinks
from .local_model import LocalModel
from .quadratic_model import QuadraticModel, quadratic_model
from .reparametrization import Coordinates

Array = NDArray[np.float64]

_BLOCK = 8_192  # rows that are multiplied at a time
_NEAR_UNITS = 1e3  # times that least norm may move a direction
_EPS = torch.finfo(torch.float64).eps


class Frame:
    """Coordinates ``u`` for an objective, where a descent starts in them, and the penalty there.

    Parameters
    ----------
    objective : Objective
    dtype : torch.dtype
        Of the blocks in the pass that makes the Gram matrix.
    data_eps : float
        Relative rounding of the data itself.

    Attributes
    ----------
    objective : Objective
        The given one with columns measured from their mean.
    coordinates : Coordinates
    start : array of shape (k, n_targets)
    kinks : Kinks
        Of the penalty.
    curvature : array of shape (k, k)
        Of the penalty.
    deviation : Tensor of shape (n_features,)
        Of each column.
    rank : int or None
        None where it is not known.
    resolved : bool
        Whether the coordinates have all directions of the data.
    """

    def __init__(self, objective: Objective, dtype: torch.dtype, data_eps: float):
        self.objective = objective
        self.model: QuadraticModel | None = None
        self.rank: int | None = None
        self.resolved = True
        self.n_rows = objective.n_features + objective.fit_intercept
        self.whitened = objective.penalty.smooth
        if self.whitened:
            self._whiten(quadratic_model(objective, dtype, data_eps))
        else:
            self._scale(data_eps)

    def _whiten(self, model: QuadraticModel) -> None:
        """Take the directions that least squares resolves; start at its solution."""
        self.model, self.objective = model, model.objective
        # The directions have least norm from the start, where that moves them little: to look for
        # it at the end alone would move a solution whose gap is measured by then. It may move a
        # direction far, though hardly the solution.
        factor = torch.from_numpy(model.least_norm(model.metric.factor, far=_NEAR_UNITS))
        self.rank = model.metric.rank
        self.deviation = torch.from_numpy(model.metric.live * model.metric.scale)
        start = -(factor.T @ torch.from_numpy(model.quadratic.gradient))
        w = (factor @ start).numpy()
        _, gradient = model.quadratic.at(w)
        self.resolved = model.resolves(w, gradient)
        curvature = self.objective.column_penalty.hessian_along(factor)
        if self.objective.fit_intercept:
            one = factor.new_ones(1, 1)
            factor, curvature = torch.block_diag(factor, one), torch.block_diag(curvature, 0 * one)
            start = torch.cat((start, 0 * start.new_ones(1, start.shape[1])))
        self.coordinates = Coordinates(self.n_rows, factor=factor)
        self.start, self.curvature = start.numpy(), curvature.numpy()
        self.kinks = no_kinks(len(start))

    def _scale(self, data_eps: float) -> None:
        """Take the coefficients of columns of unit deviation; start at the mean."""
        t = self.objective.rows.n_targets
        mean, deviation, _ = self.objective.spread()
        self.objective = objective = self.objective.centred(mean)
        self.deviation = deviation[t:]
        live = deviation[t:] > torch.from_numpy(made_by_rounding(objective, data_eps))
        unit = torch.where(live, 1 / deviation[t:], 0.0)
        # A constant column has no curvature of its own, and stays at zero with any.
        curvature = torch.where(live, objective.column_penalty.curvature * unit**2, 1.0)
        free = unit.new_zeros(int(objective.fit_intercept))
        slope = torch.cat((objective.column_penalty.l1 * unit, free)).numpy()
        bounded = np.full(len(slope), objective.penalty.positive)
        bounded[len(unit) :] = False
        self.kinks = Kinks(slope, bounded)
        unit = torch.cat((unit, free + 1))[:, None]
        self.coordinates = Coordinates(self.n_rows, unit=unit)
        self.start = np.zeros((len(unit), t))
        self.curvature = torch.cat((curvature, free)).diag().numpy()

    def bound(self, loss: Loss) -> Bound:
        """Return what bounds the gap of a target; the least weight of a row is set later."""
        return Bound(
            loss,
            self.kinks,
            self.curvature if self.whitened else self.curvature.diagonal(),
            least_share=1.0,
            whitened=self.whitened,
            n_free=int(self.objective.fit_intercept),
        )

    def points(self, u: Array) -> Tensor:
        """Return the points at u in the coordinates of the objective."""
        v = self.coordinates.to_v(torch.from_numpy(u))
        return v if self.objective.fit_intercept else torch.cat((v, v.new_zeros(1, v.shape[1])))

    def solution(self, u: Array) -> Tensor:
        """Return the points at u, of minimum norm where the data leaves a choice."""
        v = self.points(u)
        if self.model is None or self.rank == self.objective.n_features:
            return v
        return torch.cat((torch.from_numpy(self.model.least_norm(v[:-1].numpy())), v[-1:]))

    def sizes_of_parts(self, u: Array) -> Tensor:
        """Return the sizes of the parts whose sums the coefficients of a target at u are."""
        factor, d = self.coordinates.factor, self.objective.n_features
        if factor is None:
            return self.points(u[:, None])[:d, 0].abs()
        return factor[:d].abs() @ torch.from_numpy(abs(u))

    def moved(self, sizes: Tensor, value: float) -> float:
        """Return how much rounding of coefficients of such sizes changes the objective there."""
        return self.objective.loss.change(_EPS * float(sizes @ self.deviation), value)

    def in_frame(self, model: Model, u: Array) -> LocalModel:
        """Return a local model in these coordinates, u being those of its point.

        The rows that it keeps change in place: a copy of them would be as large again.
        """
        n, coordinates = self.n_rows, self.coordinates
        gradient, hessian = np.zeros(len(u)), np.zeros((len(u), len(u)))
        if not model.exact:  # there are rows that are not kept
            gradient = coordinates.pull(model.gradient[:n, None])[:, 0].numpy()
            hessian = coordinates.pull(coordinates.pull(model.hessian[:n, :n]).T).numpy()
        return LocalModel(
            point=u,
            value=float(model.value),
            gradient=gradient,
            hessian=hessian,
            Z=self.rows_in_frame(model.Z),
            y=model.y.numpy(),
            share=model.share.numpy(),
            exact=model.exact,
        )

    def rows_in_frame(self, Z: Tensor) -> Array:
        """Return rows in these coordinates, in the memory that they have."""
        unit, factor, Z = self.coordinates.unit, self.coordinates.factor, Z[:, : self.n_rows]
        if factor is not None:
            for rows in Z.split(_BLOCK):
                rows[:, : factor.shape[1]] = rows @ factor
            Z = Z[:, : factor.shape[1]]
        elif unit is not None:
            Z.mul_(unit.T)
        return Z.numpy()

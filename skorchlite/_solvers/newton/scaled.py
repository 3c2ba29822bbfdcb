"""The objective in coordinates in which columns have like curvature."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.moments import MANY_COLUMNS
from ..._objective.objective import Objective
from ..base import is_near
from .bounds import Bound, least_share
from .data_rounding import made_by_rounding
from .kinks import Kinks, no_kinks
from .preconditioner import Metric
from .quadratic_model import quadratic_model


class Scaled:
    """The objective in coordinates ``u = v / unit``, in which columns have like curvature.

    Parameters
    ----------
    objective : Objective
    data_eps : float
        Relative rounding of the data itself.

    Attributes
    ----------
    objective : Objective
        With columns measured from their mean.
    unit : Tensor of shape (n_features + 1, 1)
        Zero for what stays zero: constant columns, and an intercept that is not fitted.
    kinks : Kinks
        Of the penalty, columns of shape (k, 1).
    kinked : Tensor of shape (k, 1), bool
        Which coordinates have a kink or bound at zero.
    metric : Metric or None
        By which the rank is known.
    resolved : bool
        Whether the coordinates have all directions of the data.
    """

    metric: Metric | None = None
    resolved = True

    def __init__(self, objective: Objective, data_eps: float):
        t = objective.rows.n_targets
        mean, deviation, self._covariance = objective.spread()
        self.target_mean, self.target_deviation = mean[:t].clone(), deviation[:t]
        self.deviation = deviation
        self.objective = objective = objective.centred(mean)
        live = deviation[t:] > torch.from_numpy(made_by_rounding(objective, data_eps))
        scale = (deviation[t:] ** 2 + objective.column_penalty.curvature).sqrt()
        wide = objective.basis.diagonal and objective.rows.fewer_than(objective.n_features + 1)
        if wide and objective.penalty.smooth:
            # In the caller's units steps stay in the span of the rows, where the solution is: the
            # one of minimum norm, where the rows leave a choice.
            scale = _in_span(objective, scale)
        unit = torch.where(live, 1 / scale, 0.0)
        self.unit = torch.cat((unit, unit.new_full((1,), objective.fit_intercept)))[:, None]
        self.positive = objective.penalty.positive
        slope = torch.cat((objective.column_penalty.l1 * unit, unit.new_zeros(1)))
        bounded = torch.cat((unit, unit.new_zeros(1))) > 0
        self.kinks = Kinks(slope[:, None], (bounded & self.positive)[:, None])
        self.kinked = self.kinks.rigid

    def start(self, w: Tensor | None) -> Tensor:
        """Return where to start: at the mean of the targets, with coefficients w if near."""
        u = self.kinks.slope.new_zeros(len(self.kinked), len(self.target_mean))
        if w is not None and is_near(w, self.deviation):
            u[:-1] = self.coordinates_of(w)
            u = u.clamp(min=0) if self.positive else u
        if not self.objective.loss.residual:
            u[-1] = self.objective.loss.link(self.target_mean)
        return u

    def point(self, u: Tensor) -> Tensor:
        """Return u in the coordinates of the objective."""
        return self.unit * u

    def pull(self, gradient: Tensor) -> Tensor:
        """Return the gradient in u from that in the coordinates of the objective."""
        return self.unit * gradient

    def coordinates_of(self, w: Tensor) -> Tensor:
        """Return coefficients in these coordinates."""
        return torch.where(self.unit[:-1] > 0, w / self.unit[:-1], 0.0)

    def solution(self, u: Tensor) -> Tensor:
        """Return the point at which a descent ended, in the coordinates of the objective."""
        return self.point(u)

    @cached_property
    def least_penalised(self) -> float:
        """The least curvature of the penalty in a coordinate that is not kept zero."""
        if not self.objective.penalty.curvature:
            return 0.0
        curvature = self.objective.column_penalty.curvature[:, None] * self.unit[:-1] ** 2
        curvature = curvature[self.unit[:-1] > 0]
        return float(curvature.min()) if len(curvature) else 0.0

    def gaps(self, gradient: Tensor, least: Tensor) -> Tensor:
        """Return how far each target may be above its least objective, if that is quadratic.

        It is a bound where no direction has less curvature than the smallest of the penalty's and
        of those that the steps have met.

        Parameters
        ----------
        gradient : Tensor of shape (k, n_targets)
        least : Tensor of shape (n_targets,)
            The least curvature that the steps have met; infinite before the first one.
        """
        norm, least = self.norm(gradient), least.clamp(min=self.least_penalised)
        gap = torch.where(norm > 0, 0.5 * norm**2 / least, 0.0)
        return torch.where(torch.isinf(least), torch.nan, gap)

    def relative_size(self, step: Tensor, u: Tensor) -> float:
        """Return about how large a step is beside u, the largest over the targets."""
        return float((step.abs().amax(0) / u.abs().amax(0)).nan_to_num(0.0).max())

    def dots(self, x: Tensor, y: Tensor) -> np.ndarray:
        """Return the products of the columns of x with those of y."""
        return np.einsum("ij,ij->j", x.numpy(), y.numpy())

    def norm(self, x: Tensor) -> Tensor:
        """Return the norm of each column."""
        return torch.linalg.vector_norm(x, dim=0)

    def norm_of_coef(self, u: Tensor) -> Tensor:
        """Return the norm of the coefficients, without the intercept."""
        return torch.linalg.vector_norm(u[:-1], dim=0)

    def evaluate(self, u: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the value for each target and the gradient of what is smooth."""
        value, gradient = self.objective.evaluate(self.point(u), loss=loss)
        return value, self.pull(gradient)

    def without_coefficients(self) -> tuple[Tensor, Tensor]:
        """Return the same at zero, of squared error; the pass that took the spread has the sums."""
        gradient = torch.cat((-self._covariance, torch.zeros_like(self._covariance[:1])))
        return 0.5 * self.target_deviation**2, self.pull(gradient)

    def hessian_product(self, u: Tensor) -> Tensor:
        """Return the Hessian times u, of squared error with a smooth penalty."""
        return self.pull(self.objective.hessian_product(self.point(u)))

    def size(self, u: Tensor) -> Tensor:
        """Return about how far the solution may be for each target, in these units."""
        return self.norm_of_coef(u) + self.target_deviation

    def bound(self) -> Bound:
        """Return what bounds the gap at a point."""
        objective, n_free = self.objective, int(self.objective.fit_intercept)
        fitted = slice(None) if n_free else slice(-1)
        penalty = objective.column_penalty.curvature
        curvature = torch.cat((penalty, penalty.new_zeros(1)))[:, None] * self.unit**2
        kinks = Kinks(self.kinks.slope[fitted, 0].numpy(), self.kinks.bounded[fitted, 0].numpy())
        diagonal = curvature[fitted, 0].numpy()
        least = least_share(objective)
        return Bound(objective.loss, kinks, diagonal, least, whitened=False, n_free=n_free)

    @cached_property
    def gram(self) -> Tensor:
        """The products of the columns in these coordinates, or zeros where they are many."""
        objective, k = self.objective, len(self.unit)
        gram = torch.zeros(k, k, dtype=torch.float64)
        if objective.n_features <= MANY_COLUMNS:
            gram[:-1, :-1] = torch.from_numpy(objective.quadratic(objective.double).hessian)
        return self.unit * gram * self.unit.T

    def subgradient(self, u: Tensor, gradient: Tensor) -> Tensor:
        """Return the subgradient of least norm."""
        return self.kinks.subgradient(u, gradient) if self.kinked.any() else gradient

    def orthant(self, u: Tensor, subgradient: Tensor) -> Tensor:
        """Return the sign that each coefficient may take in the next step."""
        return torch.where(u == 0, -subgradient, u).sign()

    def within(self, u: Tensor, orthant: Tensor) -> Tensor:
        """Return u with zero for kinked coordinates that left the orthant."""
        return torch.where(self.kinked & (u.sign() != orthant), 0.0, u)


def _in_span(objective: Objective, scale: Tensor) -> Tensor:
    """Return scales of columns in which steps along gradients stay where the solution is.

    Those are the caller's units, or units in which the penalty is round. With some columns that no
    penalty is on, it is on the span of the rows in these alone, and others are as they are.
    """
    penalty, unit = objective.penalty, objective.column_penalty.caller_unit
    among = penalty.free(len(scale))
    if penalty.curves_all:
        unit, among = objective.column_penalty.round_unit, ~among
    part = scale[among] / unit[among]
    scale = scale.clone()
    scale[among] = unit[among] * torch.linalg.vector_norm(part) / len(part) ** 0.5
    return scale


class Whitened(Scaled):
    """The objective in coordinates in which predictions change by as much as u does.

    They are those of the directions that least squares resolves, so that columns that depend on
    each other are no harder than others, and of all minima the one of minimum norm is found.

    Parameters
    ----------
    objective : Objective
        Its penalty is smooth.
    dtype : torch.dtype
        Of the blocks in the pass that makes the Gram matrix.
    data_eps : float
    """

    def __init__(self, objective: Objective, dtype: torch.dtype, data_eps: float):
        super().__init__(objective, data_eps)
        self.model = model = quadratic_model(self.objective, dtype, data_eps)
        self.objective, self.metric = model.objective, model.metric
        self.w_factor = factor = torch.from_numpy(model.metric.factor)
        free = factor.new_full((1, 1), objective.fit_intercept)
        self.factor = torch.block_diag(factor, free)
        w = -model.metric.apply(model.quadratic.gradient)
        self.resolved = model.resolves(w, model.quadratic.at(w)[1])
        self.curvature = self.objective.column_penalty.hessian_along(factor)
        none = self.factor.new_zeros(self.factor.shape[1], 1)
        self.kinks = Kinks(none, none > 0)
        self.kinked = self.kinks.rigid

    def coordinates_of(self, w: Tensor) -> Tensor:
        """Return coefficients in these coordinates."""
        curved = self.model.quadratic.hessian_product(w.numpy())
        return self.w_factor.T @ torch.from_numpy(curved)

    def point(self, u: Tensor) -> Tensor:
        """Return u in the coordinates of the objective."""
        return self.factor @ u

    def pull(self, gradient: Tensor) -> Tensor:
        """Return the gradient in u from that in the coordinates of the objective."""
        return self.factor.T @ gradient

    def solution(self, u: Tensor) -> Tensor:
        """Return the point at which a descent ended, of minimum norm."""
        v = self.point(u)
        if self.w_factor.shape[1] == self.objective.n_features:
            return v
        return torch.cat((torch.from_numpy(self.model.least_norm(v[:-1].numpy())), v[-1:]))

    def bound(self) -> Bound:
        """Return what bounds the gap at a point."""
        n_free = int(self.objective.fit_intercept)
        k = len(self.kinked) - 1 + n_free
        free = self.curvature.new_zeros(n_free, n_free)
        curvature = torch.block_diag(self.curvature, free).numpy()
        least, kinks = least_share(self.objective), no_kinks(k)
        return Bound(self.objective.loss, kinks, curvature, least, whitened=True, n_free=n_free)

"""The objective in coordinates in which columns have like curvature."""

from functools import cached_property

import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.moments import MANY_COLUMNS
from ..._objective.objective import Objective
from ..base import is_near
from .bounds import Bound, least_share
from .kinks import Corners
from .least_squares import least_norm, quadratic_model, resolves
from .preconditioner import Metric, made_by_rounding


class Scaled:
    """The objective in coordinates ``x = v / unit``, in which columns have like curvature.

    ``unit`` is zero for what stays zero: constant columns, and an intercept that is not fitted.
    """

    metric: Metric | None = None  # by which the rank is known
    resolved = True  # whether it has all directions

    def __init__(self, objective: Objective, data_eps: float):
        t = objective.rows.n_targets
        mean, deviation, _ = objective.spread()
        self.target_mean, self.target_deviation = mean[:t].clone(), deviation[:t]
        self.deviation = deviation
        self.objective = objective = objective.centred(mean)
        live = deviation[t:] > made_by_rounding(objective, data_eps)
        scale = (deviation[t:] ** 2 + objective.column_penalty.curvature).sqrt()
        diagonal = objective.basis.diagonal
        wide = diagonal and objective.rows.fewer_than(objective.n_features + 1)
        if wide and objective.penalty.smooth:
            # In the caller's units steps stay in the span of the rows, where the solution is: the
            # one of minimum norm, where the rows leave a choice.
            unit = objective.units.to_caller(torch.ones_like(scale)[:, None])[:, 0]
            scale = unit * torch.linalg.vector_norm(scale / unit) / len(scale) ** 0.5
        unit = torch.where(live, 1 / scale, 0.0)
        self.unit = torch.cat((unit, unit.new_full((1,), objective.fit_intercept)))[:, None]
        self.corner = torch.cat((objective.column_penalty.corner * unit, unit.new_zeros(1)))[
            :, None
        ]
        self.positive = objective.penalty.positive
        self.bounded = torch.cat((unit, unit.new_zeros(1)))[:, None] > 0
        self.bounded &= (self.corner > 0) | self.positive

    def start(self, w: Tensor | None) -> Tensor:
        """Return where to start: at the mean of the targets, with coefficients w if near."""
        x = self.corner.new_zeros(len(self.corner), len(self.target_mean))
        if w is not None and is_near(w, self.deviation):
            x[:-1] = self.coordinates_of(w)
            x = x.clamp(min=0) if self.positive else x
        if not self.objective.loss.residual:
            x[-1] = self.target_mean
        return x

    def point(self, x: Tensor) -> Tensor:
        """Return x in the coordinates of the objective."""
        return self.unit * x

    def pull(self, gradient: Tensor) -> Tensor:
        """Return a gradient of the objective in these coordinates."""
        return self.unit * gradient

    def solution(self, x: Tensor) -> Tensor:
        """Return the point at which a descent ended."""
        return self.point(x)

    def evaluate(self, x: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the value for each target and the gradient of what is smooth."""
        value, gradient = self.objective.evaluate(self.point(x), loss=loss)
        return value, self.pull(gradient)

    def hessian_product(self, x: Tensor) -> Tensor:
        """Return the Hessian times x, of squared error with a smooth penalty."""
        return self.pull(self.objective.hessian_product(self.point(x)))

    def size(self, x: Tensor) -> Tensor:
        """Return about how far the solution may be for each target, in these units."""
        return torch.linalg.vector_norm(x[:-1], dim=0) + self.target_deviation

    def bound(self) -> Bound:
        """Return what bounds the gap at a point."""
        objective, n_free = self.objective, int(self.objective.fit_intercept)
        live = slice(None) if n_free else slice(-1)
        curvature = torch.cat(
            (
                objective.column_penalty.curvature,
                objective.column_penalty.curvature[:0].new_zeros(1),
            )
        )
        curvature = (curvature[:, None] * self.unit**2)[live, 0]
        bounded = torch.cat(
            (torch.full_like(self.unit[:-1] > 0, self.positive), self.unit[-1:] < 0)
        )
        corners = Corners(self.corner[live, 0], bounded[live, 0])
        least = least_share(objective)
        return Bound(objective.loss, corners, curvature, least, whitened=False, n_free=n_free)

    @cached_property
    def gram(self) -> Tensor:
        """The products of the columns in these coordinates, or zeros where they are many."""
        objective, k = self.objective, len(self.unit)
        gram = torch.zeros(k, k, dtype=torch.float64)
        if objective.n_features <= MANY_COLUMNS:
            gram[:-1, :-1] = objective.quadratic(objective.double).hessian
        return self.unit * gram * self.unit.T

    def coordinates_of(self, w: Tensor) -> Tensor:
        """Return coefficients in these coordinates."""
        return torch.where(self.unit[:-1] > 0, w / self.unit[:-1], 0.0)

    def subgradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Return the subgradient of minimum norm."""
        corner = self.corner
        if self.positive:
            at_zero = (gradient + corner).clamp(max=0)
        else:
            at_zero = gradient - torch.minimum(torch.maximum(gradient, -corner), corner)
        beside = gradient + corner * x.sign()
        return torch.where(self.bounded & (x == 0), at_zero, beside)

    def orthant(self, x: Tensor, subgradient: Tensor) -> Tensor:
        """Return the sign that each coefficient may take in the next step."""
        return torch.where(x == 0, -subgradient, x).sign()

    def within(self, x: Tensor, orthant: Tensor) -> Tensor:
        """Return x with zero for what left the orthant."""
        return torch.where(self.bounded & (x.sign() != orthant), 0.0, x)


class Whitened(Scaled):
    """The objective in coordinates in which predictions change by as much as x does.

    They are those of the directions that least squares tells apart, so that columns that depend on
    each other are no harder than others, and of all minima the one of minimum norm is found.
    """

    def __init__(self, objective: Objective, dtype: torch.dtype, data_eps: float):
        super().__init__(objective, data_eps)
        model = quadratic_model(self.objective, dtype, data_eps)
        self.objective, self.quadratic, self.metric = model.objective, model.quadratic, model.metric
        self.w_factor = factor = self.metric.factor
        free = factor.new_full((1, 1), objective.fit_intercept)
        self.factor = torch.block_diag(factor, free)
        w = -self.metric.apply(self.quadratic.gradient)
        self.resolved = resolves(self.metric, self.quadratic, w, self.quadratic.at(w)[1])
        self.curvature = self.objective.column_penalty.hessian_along(factor)
        self.corner = self.factor.new_zeros(self.factor.shape[1], 1)
        self.bounded = self.corner > 0

    def coordinates_of(self, w: Tensor) -> Tensor:
        """Return coefficients in these coordinates."""
        return self.w_factor.T @ (self.quadratic.hessian @ w)

    def point(self, x: Tensor) -> Tensor:
        """Return x in the coordinates of the objective."""
        return self.factor @ x

    def pull(self, gradient: Tensor) -> Tensor:
        """Return a gradient of the objective in these coordinates."""
        return self.factor.T @ gradient

    def solution(self, x: Tensor) -> Tensor:
        """Return the point at which a descent ended, of minimum norm."""
        v = self.point(x)
        if self.w_factor.shape[1] == self.objective.n_features:
            return v
        assert self.metric is not None
        w = least_norm(self.objective, self.quadratic.hessian, self.metric, v[:-1])
        return torch.cat((w, v[-1:]))

    def bound(self) -> Bound:
        """Return what bounds the gap at a point."""
        n_free = int(self.objective.fit_intercept)
        k = len(self.corner) - 1 + n_free
        none = self.corner[:k, 0]
        free = none.new_zeros(n_free, n_free)
        curvature = torch.block_diag(self.curvature, free)
        corners, least = Corners(none, none > 0), least_share(self.objective)
        return Bound(self.objective.loss, corners, curvature, least, whitened=True, n_free=n_free)

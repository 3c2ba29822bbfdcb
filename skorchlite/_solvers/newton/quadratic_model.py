"""The objective of squared error about the mean of its columns, with its preconditioner."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..._linalg.products import quietly
from ..._objective.moments import FAR_MEAN, Moments, rounding_of_sums
from ..._objective.objective import Objective, Quadratic
from .data_rounding import rounded_part_of_any
from .preconditioner import FAR_UNITS, Metric, cholesky_metric
from .spectral_metric import spectral_metric
from .underdetermined import wide_metric, wide_quadratic

Array = NDArray[np.float64]

CLEAR = 1e-8  # of a curvature: what rounding may have made of it without an effect
CONTRACTION = 0.1  # the factor by which a step shrinks the error at least, or else sums are doubles
_SOME_COLUMNS = 600  # whose Gram matrix is factorised in a moment
SAFETY = 4.0  # rounding errors of a sum of products, in units of condition * eps
_PRODUCT = 100.0  # times eps: the rounding error of a quadratic form, relative to its diagonal
_SAME = 1e-6  # a relative change of the predictions that is made of rounding errors
_FLAT = 1e-6  # of the gradient at zero: more than that is a direction that was not resolved
_ROUNDED = 1e-12  # of the targets: a gradient that is made of rounding errors
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class QuadraticModel:
    """Least squares about the mean of the columns.

    Parameters
    ----------
    objective : Objective
        With columns measured from their mean.
    quadratic : Quadratic
    metric : Metric
        The preconditioner.
    dtype : torch.dtype
        Of the products that these are made of.
    """

    objective: Objective
    quadratic: Quadratic
    metric: Metric
    dtype: torch.dtype

    def least_norm(
        self,
        w: Array,
        far: float = FAR_UNITS,
        to_caller: Callable[[Array], Array] | None = None,
    ) -> Array:
        """Return the coefficients of least norm that predict what w does, if there are others.

        Where columns that are taken for constant are not quite, others would not; then it is w.

        Parameters
        ----------
        w : array of shape (n_features, n_targets)
        far : float
            See ``Metric.excess``.
        to_caller : callable, default=None
            Makes the caller's coefficients, where the columns are some of those of a basis.
        """
        quadratic = self.quadratic
        if self.metric.null is None:
            return w
        excess = self.metric.excess(w, to_caller or self.objective.units.to_caller, far)
        moved, size = ((part * quadratic.hessian_product(part)).sum(0) for part in (excess, w))
        # Beside a large excess the products have a rounding error of their own.
        rounding = (quadratic.hessian.diagonal()[:, None] * excess * excess).sum(0)
        same = _SAME**2 * size + _PRODUCT * _EPS * rounding
        return w - np.where(moved <= same, excess, 0.0)

    def resolves(self, w: Array, gradient: Array) -> bool:
        """Return whether the gradient at the minimum w that the metric leads to is next to zero.

        Where columns are of very different sizes, directions among the small ones may be lost.
        """
        metric, quadratic = self.metric, self.quadratic
        if metric.rank == len(w):
            return True
        first = metric.norm(quadratic.gradient)
        sizes = np.sqrt(np.maximum(quadratic.hessian.diagonal(), 0.0))
        rounding = len(sizes) ** 0.5 * SAFETY * _EPS * (sizes @ abs(w))
        made = _ROUNDED + len(sizes) ** 0.5 * metric.noise
        enough = np.maximum(_FLAT * first, made * np.sqrt(2 * quadratic.value))
        return bool((metric.norm(gradient) <= np.maximum(enough, rounding)).all())

    def left(self, gradient: Array) -> Array:
        """Return how much lower than at a point with this gradient each target may be.

        A Newton step gains half the squared gradient in the metric, and what it leaves of the
        gradient no more than against the curvature of the penalty alone.
        """
        step = self.metric.apply(gradient)
        left = 0.5 * np.maximum((gradient * step).sum(0), 0.0)
        if self.objective.penalty.curvature:
            curvature = self.objective.column_penalty.curvature.numpy()[:, None]
            rest = gradient - self.quadratic.hessian_product(step)
            left = left + 0.5 * np.where(curvature > 0, rest * rest / curvature, 0.0).sum(0)
        return left


@quietly
def quadratic_model(objective: Objective, dtype: torch.dtype, data_eps: float) -> QuadraticModel:
    """Return the quadratic objective about the mean of the columns, and its metric.

    Parameters
    ----------
    objective : Objective
    dtype : torch.dtype
        Of the products, unless doubles are needed.
    data_eps : float
        Relative rounding of the data itself.
    """
    if _is_wide(objective):
        model = _wide_model(objective, data_eps)
        # In the caller's units, directions among small columns are lost beside large ones.
        full = len(model.quadratic.hessian.Z) - objective.fit_intercept
        if model.metric.rank >= full or objective.n_features > _SOME_COLUMNS:
            return model
        objective = model.objective
    for precision in dict.fromkeys((dtype, objective.double)):
        objective, quadratic = measure(objective, precision)
        metric = _exact_enough(objective, quadratic, precision, data_eps)
        if metric is not None:
            return QuadraticModel(objective, quadratic, metric, precision)
    moments = quadratic.moments
    deviation = np.sqrt(moments.cross.diagonal() / moments.weight)[-objective.n_features :]
    rounding = rounded_part_of_any(objective, data_eps, deviation)
    metric = spectral_metric(objective, quadratic.hessian, rounding)
    return QuadraticModel(objective, quadratic, metric, precision)


def _is_wide(objective: Objective) -> bool:
    """Return whether the solution lies in the span of the rows, which are fewer than columns."""
    few = objective.rows.fewer_than(objective.n_features)
    return few and objective.basis.diagonal and objective.penalty.keeps_span


def measure(objective: Objective, dtype: torch.dtype) -> tuple[Objective, Quadratic]:
    """Return the objective about the mean of the columns, and as a quadratic."""
    quadratic = objective.quadratic(dtype)
    if not objective.fit_intercept:
        return objective, quadratic
    moments = quadratic.moments
    spread = moments.cross.diagonal()
    far = moments.mean**2 > (FAR_MEAN / moments.weight) * spread
    objective = objective.centred(torch.from_numpy(moments.mean))
    quadratic.moments = Moments(moments.weight, np.zeros_like(spread), moments.cross)
    again = far.any() and (far & (spread > 0)).any()  # a constant column is never far
    return objective, objective.quadratic(dtype) if again else quadratic


def _wide_model(objective: Objective, data_eps: float) -> QuadraticModel:
    """Return the model of fewer rows than columns."""
    objective, quadratic = wide_quadratic(objective)
    deviation = np.sqrt(quadratic.moments.cross[-objective.n_features :])
    rounding = rounded_part_of_any(objective, data_eps, deviation)
    metric = wide_metric(objective, quadratic, rounding)
    return QuadraticModel(objective, quadratic, metric, objective.double)


def _exact_enough(
    objective: Objective, quadratic: Quadratic, dtype: torch.dtype, data_eps: float
) -> Metric | None:
    """Return the metric by a Cholesky factorization, or None if that is not exact enough."""
    scale = np.sqrt(quadratic.hessian.diagonal())
    made = rounded_part_of_any(objective, data_eps, scale)
    # A column that rounding may have made is constant: its coefficient stays zero.
    live = made < 1
    if not live.all():
        made = np.where(live, made, 0.0)
        if dtype != objective.double or not live.any():
            return None
    metric = cholesky_metric(quadratic.hessian, live)
    if metric is None:
        return None
    metric.noise = float(made.max())
    if objective.rounded is not None:
        form = objective.rounded.numpy()
        summed = (form if form.ndim == 1 else form.diagonal()) / metric.scale**2
        if metric.condition * float(summed[live].max()) > CLEAR:
            return None
    elif metric.condition * rounding_of_sums(objective.rows.n_rows, dtype) >= 1:
        return None  # rounding may have made a curvature of what is none
    error = max(torch.finfo(dtype).eps, metric.noise**2)
    return metric if SAFETY * metric.condition * error < CONTRACTION else None

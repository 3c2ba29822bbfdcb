"""The objective: loss plus penalty over a row source, as sums in one pass.

Inside, columns are measured from an origin, ``z = (x - shift) / scale``, so that numbers far from
zero keep their digits. ``v`` stacks the coefficients of z and, in its last row, the intercept.
"""

import copy
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import isfinite, isqrt
from operator import methodcaller
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._exceptions import OutOfRangeError
from .._linalg.products import divided, product, quietly
from .._sources.origin import Origin
from .._sources.row_source import Rows, TargetRows
from . import reductions
from .column_penalty import ColumnPenalty
from .local_model import N_PARTS, Model, model_of
from .loss import Loss
from .moments import Moments, moments_of
from .penalties import Penalty
from .underflow import check_underflow
from .units import Units

Array = NDArray[np.float64]

_NEAR = 4.0  # deviations: products with columns so far from zero lose less than a digit


@dataclass
class Quadratic:
    """The objective of squared error: ``value + gradient.w + 1/2 w.hessian.w`` for each target.

    Parameters
    ----------
    hessian : array of shape (k, k), or what multiplies like one
    gradient : array of shape (k, n_targets)
        At zero.
    value : array of shape (n_targets,)
        At zero.
    moments : Moments
        Of targets and features, from which it was made.
    """

    hessian: Any
    gradient: Array
    value: Array
    moments: Moments

    def at(self, w: Array) -> tuple[Array, Array]:
        """Return value and gradient at w; rounding cannot make the value negative."""
        curved = self.hessian_product(w)
        value = self.value + ((self.gradient + 0.5 * curved) * w).sum(0)
        return np.maximum(value, 0.0), self.gradient + curved

    def hessian_product(self, w: Array) -> Array:
        """Return the Hessian times w."""
        hessian = self.hessian
        return product(hessian, w) if isinstance(hessian, np.ndarray) else hessian @ w


class Objective:
    """``(1 / sum s) sum_i s_i loss(y_i, raw_i) + alpha R(u)``, ``u`` in the caller's units.

    Parameters
    ----------
    rows : row source
    loss, penalty : object
    origin : Origin
    fit_intercept : bool
    column_penalty : ColumnPenalty or None, default=None
        The penalty in these coordinates, where it is known from others.
    """

    def __init__(
        self,
        rows: Rows,
        loss: Loss,
        penalty: Penalty,
        origin: Origin,
        fit_intercept: bool,
        column_penalty: ColumnPenalty | None = None,
    ):
        self.rows, self.loss, self.penalty = rows, loss, penalty
        self.origin, self.fit_intercept = origin, fit_intercept
        self.basis = rows.basis
        self.units = Units(origin, rows.basis, rows.n_targets, fit_intercept)
        if column_penalty is None:
            column_penalty = ColumnPenalty(penalty, self.units, rows.n_features)
        self.column_penalty = column_penalty

    @property
    def n_features(self) -> int:
        """The number of columns of the model."""
        return self.rows.n_features

    @property
    def rounded(self) -> Tensor | None:
        """What rounding may have made of the curvature along a direction, of sums that are kept.

        A quadratic form, or the diagonal of one; None where the rows are there for another pass.
        """
        return None

    @property
    def double(self) -> torch.dtype:
        """The most precise dtype that the device has."""
        return torch.float32 if self.rows.device.type == "mps" else torch.float64

    def mean_loss(self, v: Tensor, rows: Rows) -> Tensor:
        """Return the mean loss on other rows at v, for each target."""
        value, total = rows.total(
            partial(reductions.losses, origin=self.origin, dtype=self.double, loss=self.loss, v=v)
        )
        return value / total

    def centred(self, mean: Tensor, deviation: Tensor | None = None) -> Self:
        """Return the objective with columns measured from their mean, given in present units.

        It is this one where there is no intercept to take up the difference. Targets stay where
        they are if the loss depends on more than residuals. Where deviations are given, and show
        that columns are near zero as they are, products are with these.
        """
        shift, scale, t = self.origin.shift, self.origin.scale, self.rows.n_targets
        if self.fit_intercept:
            if not self.loss.residual:
                mean = mean.clone()
                mean[:t] = 0
            shift = shift + (mean if scale is None else mean * scale)
        near = False
        if deviation is not None and scale is None:
            near = bool((shift.abs() <= _NEAR * deviation)[t:].all())
        return self.at(Origin(shift, scale, near)) if self.fit_intercept or near else self

    def at(self, origin: Origin) -> Self:
        """Return the objective with columns measured from another origin, in the same units."""
        moved, units = copy.copy(self), self.units
        moved.origin = origin
        moved.units = Units(origin, units.basis, units.n_targets, units.fit_intercept)
        return moved

    def spread(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, deviation and covariance with the targets, in one pass and present units.

        Means and deviations are those of the targets, then the features; the covariances, of shape
        (n_features, n_targets), are about the mean, or about zero without an intercept.
        """
        t = self.rows.n_targets
        total, sums, squares = self.rows.total(
            partial(reductions.spread, origin=self.origin, dtype=self.double)
        )
        if not isfinite(float(sums.sum() + squares.sum())):
            raise OutOfRangeError
        # For a loss with kinks nothing depends on the squares of the targets.
        matter = slice(t if self.loss.kinked else 0, self._last_measured)
        measured = squares.numpy(), sums[:, 0].numpy()
        check_underflow(*measured, self.double, matter, self.rows, self.origin)
        mean = sums[:, 0] / total if self.fit_intercept else torch.zeros_like(squares)
        covariance = sums[t:, 1:] / total - torch.outer(mean[t:], mean[:t])
        return mean, (squares / total - mean**2).clamp(min=0).sqrt(), covariance

    @quietly
    def quadratic(self, dtype: torch.dtype, whiten: Tensor | None = None) -> Quadratic:
        """Return the quadratic objective in one pass, in coordinates ``w = whiten @ a`` if given.

        Raises
        ------
        OutOfRangeError
            If a sum is not finite, or of squares that are below the range of the dtype.
        """
        d = self.n_features if whiten is None else whiten.shape[1]
        t = self.rows.n_targets
        (sums,) = self.rows.total(
            partial(reductions.products, origin=self.origin, dtype=dtype, whiten=whiten)
        )
        products = sums.numpy()
        if not isfinite(products.sum()):
            raise OutOfRangeError
        moments = moments_of(products, t + d, self.fit_intercept)
        squares, rows = products.diagonal()[: t + d], self.rows if whiten is None else None
        matter = slice(self._last_measured)
        check_underflow(squares, moments.mean, dtype, matter, rows, self.origin)
        return self._quadratic_of(moments, whiten)

    @property
    def _last_measured(self) -> int | None:
        """Where the columns end whose squares must be in the range of doubles; None for all.

        Where a penalty is on combinations of coefficients, a column is nothing beside the penalty,
        or of a size with it.
        """
        return None if self.column_penalty.penalty_root is None else self.rows.n_targets

    def _quadratic_of(self, moments: Moments, whiten: Tensor | None) -> Quadratic:
        t, cross = self.rows.n_targets, divided(moments.cross, moments.weight)
        hessian = cross[t:, t:]
        if self.penalty.curvature:
            hessian += self.column_penalty.hessian_along(whiten).numpy()
        value = 0.5 * np.maximum(cross.diagonal()[:t], 0.0)  # rounding made what is below
        return Quadratic(hessian, -cross[t:, :t], value, moments)

    def evaluate(
        self, v: Tensor, v_low: Tensor | None = None, loss: Loss | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the value for each target and the gradient at ``v + v_low``, in one pass.

        The gradient is that of the smooth part, without an l1 penalty.

        Parameters
        ----------
        v, v_low : Tensor of shape (n_features + 1, n_targets)
            ``v_low``, what a double does not hold of the point, matters in doubled precision.
        loss : Loss, default=None
            In place of that of the objective.
        """
        value, gradient, total = self._sums(v, v_low, loss or self.loss)
        return self._penalised(v, value / total, gradient / total)

    def hessian_product(self, v: Tensor) -> Tensor:
        """Return the Hessian times v in one pass, of squared error with a smooth penalty."""
        product, total = self.rows.total(
            partial(reductions.hessian_products, origin=self.origin, dtype=self.double, v=v)
        )
        product /= total
        product[-1] *= self.fit_intercept
        if self.penalty.curvature:
            self.column_penalty.add_hessian_product(v[:-1], product[:-1])
        return product

    def _sums(self, v: Tensor, v_low: Tensor | None, loss: Loss) -> tuple[Tensor, Tensor, float]:
        if self.basis.doubled:
            add_up: Any = methodcaller("double_double_gradient", self.origin, v, v_low)
        else:
            add_up = partial(
                reductions.slopes, origin=self.origin, dtype=self.double, loss=loss, v=v
            )
        return self.rows.total(add_up)

    def over(self, index: Tensor) -> "Objective":
        """Return the objective over some of the columns; the others' coefficients are zero."""
        t, origin = self.rows.n_targets, self.origin
        keep = torch.cat((torch.arange(t), index + t))
        scale = None if origin.scale is None else origin.scale[keep]
        rows, origin = self.rows.columns(index), Origin(origin.shift[keep], scale)
        penalty = self.column_penalty.over(index)
        return Objective(rows, self.loss, penalty.penalty, origin, self.fit_intercept, penalty)

    def of_target(self, target: int) -> "Objective":
        """Return the objective of one target."""
        t, origin = self.rows.n_targets, self.origin
        keep = torch.cat((torch.tensor([target]), torch.arange(t, len(origin.shift))))
        scale = None if origin.scale is None else origin.scale[keep]
        rows, origin = TargetRows(self.rows, [target]), Origin(origin.shift[keep], scale)
        return Objective(rows, self.loss, self.penalty, origin, self.fit_intercept)

    def sampled(self, n_rows: int) -> "Objective":
        """Return the objective over about that many rows, evenly spaced.

        Where weights repeat every few rows, those rows may all be without weight. Then a prime
        number of rows is between them, which is in step with no shorter period.
        """
        step = max(self.rows.n_rows // n_rows, 1)
        rows = self.rows.every(step)
        if self.rows.indexed and not rows.mean_weight():
            rows = self.rows.every(_prime_from(step))
        return Objective(rows, self.loss, self.penalty, self.origin, self.fit_intercept)

    def models(
        self, points: Tensor, reach: dict[int, float], room: int
    ) -> tuple[float, dict[int, tuple[float, Model]]]:
        """Return the least relative weight of a row, and the value and local model of some targets.

        There are no models where no row has weight, as may be among a sample of the rows.

        Parameters
        ----------
        points : Tensor of shape (n_features + 1, n_targets)
        reach : dict of int to float
            The targets, and how close to a break of the loss a residual must be for its row to be
            kept.
        room : int
            How many rows may be kept for a target.
        """
        add_up = partial(
            reductions.models,
            origin=self.origin,
            dtype=self.double,
            loss=self.loss,
            points=points,
            reach=reach,
            room=room,
        )
        total, least, *parts = self.rows.total(add_up)
        if not total:
            return 0.0, {}
        penalty = self.column_penalty.value(points[:-1])
        models = {}
        for i, j in enumerate(reach):
            part = tuple(parts[i * N_PARTS : (i + 1) * N_PARTS])
            value, model = model_of(part, points[:, j], total)
            if not torch.isfinite(value + model.gradient.sum()):
                raise OutOfRangeError
            models[j] = float(value + penalty[j]), model
        return min(least) / total, models

    def _penalised(self, v: Tensor, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        if not isfinite(float(gradient.sum())):
            raise OutOfRangeError
        if not self.fit_intercept:
            gradient[-1] = 0
        if self.penalty.curvature or self.penalty.l1:
            value = value + self.column_penalty.value(v[:-1])
            self.column_penalty.add_hessian_product(v[:-1], gradient[:-1])
        return value, gradient


def _prime_from(least: int) -> int:
    """Return the least prime number that is not below a number."""
    numbers = count(max(least, 2))
    return next(n for n in numbers if all(n % k for k in range(2, isqrt(n) + 1)))

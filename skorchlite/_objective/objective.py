"""The objective: loss plus penalty over a row source, as sums in one pass.

Inside, columns are measured from an origin, ``z = (x - shift) / scale``, so that numbers far from
zero keep their digits. ``v`` stacks the coefficients of z and, in its last row, the intercept.
"""

import copy
from dataclasses import dataclass
from functools import cached_property, partial
from math import isfinite
from operator import methodcaller
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .._exceptions import OutOfRangeError
from .._sources.origin import Origin, plain_origin
from .._sources.row_source import TargetRows
from . import reductions
from .local_model import N_PARTS, Model, model_of
from .moments import Moments, moments_of

_HEAD_ROWS = 256
_UNDERFLOW = 1e9  # sums of squares within this of the smallest number have lost digits


@dataclass
class Quadratic:
    """The objective of squared error: ``value + gradient.w + 1/2 w.hessian.w`` for each target.

    Parameters
    ----------
    hessian : Tensor of shape (k, k), or what multiplies like one
    gradient : Tensor of shape (k, n_targets)
        At zero.
    value : Tensor of shape (n_targets,)
        At zero.
    moments : Moments
        Of targets and features, from which it was made.
    """

    hessian: Any
    gradient: Tensor
    value: Tensor
    moments: Moments

    def at(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return value and gradient at w; rounding cannot make the value negative."""
        bend = self.hessian @ w
        value = self.value + ((self.gradient + 0.5 * bend) * w).sum(0)
        return value.clamp(min=0), self.gradient + bend


class Objective:
    """``(1 / sum s) sum_i s_i loss(y_i, raw_i) + alpha R(u)``, ``u`` in the caller's units.

    Parameters
    ----------
    rows : row source
    loss, penalty : object
    origin : Origin
    fit_intercept : bool
    """

    def __init__(self, rows: Any, loss: Any, penalty: Any, origin: Origin, fit_intercept: bool):
        self.rows, self.loss, self.penalty = rows, loss, penalty
        self.origin, self.fit_intercept = origin, fit_intercept
        # Says how coefficients of the columns become the caller's; None where they are.
        self.basis = rows.basis

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

    def to_caller(self, w: Tensor) -> Tensor:
        """Return coefficients of z in the caller's units, the targets in units of their scale."""
        if self.origin.scale is not None:
            w = w / self._feature_scale
        return w if self.basis is None else self.basis.to_caller(w)

    def from_caller(self, coef: Tensor, intercept: Tensor) -> Tensor:
        """Return v from coefficients and intercept in the caller's units."""
        if self.basis is not None:
            coef, intercept = self.basis.from_caller(coef, intercept)
        shift, t = self.origin.shift, self.rows.n_targets
        v = torch.cat((coef, (intercept + shift[t:] @ coef - shift[:t])[None]))
        v[-1] *= self.fit_intercept
        if self.origin.scale is not None:
            v = torch.cat((v[:-1] * self._feature_scale, v[-1:])) / self._target_scale
        return v

    def carried(self, v: Tensor, origin: Origin) -> Tensor:
        """Return v, which is relative to an earlier origin, relative to the present one."""
        moved = (self.origin.shift - origin.shift) / origin.unit()
        t = self.rows.n_targets
        intercept = v[-1] + (moved[t:] @ v[:-1] - moved[:t]) * self.fit_intercept
        return torch.cat((v[:-1], intercept[None]))

    def mean_loss(self, v: Tensor, rows: Any) -> Tensor:
        """Return the mean loss on other rows at v, for each target."""
        value, total = rows.total(
            partial(reductions.losses, origin=self.origin, dtype=self.double, loss=self.loss, v=v)
        )
        return value / total

    def returned(self, v: Tensor, v_low: Tensor) -> Tensor:
        """Return the value for each target of a point as coefficients for the columns as they are.

        Far from zero these have fewer digits than those for columns about their mean.
        """
        if self.origin.scale is not None or self.basis is not None:
            return self.evaluate(v, v_low)[0]
        coef, intercept = self.solution(v, v_low)
        return self.value_from_zero(self.rows, coef, intercept, coef)

    def value_from_zero(
        self, rows: Any, coef: np.ndarray, intercept: np.ndarray, penalised: np.ndarray
    ) -> Tensor:
        """Return the value for each target of coefficients for rows as they are.

        Parameters
        ----------
        rows : row source
        coef : ndarray of shape (n_targets, n_columns)
        intercept : ndarray of shape (n_targets,)
        penalised : ndarray of shape (n_targets, n_features)
            The coefficients that the penalty is on.
        """
        plain = Objective(rows, self.loss, self.penalty, plain_origin(rows, True), True)
        point = torch.from_numpy(np.vstack((coef.T, intercept[None])))
        penalty = self.penalty.value(torch.from_numpy(penalised.T.copy()))
        return plain.mean_loss(point, rows) + penalty

    def solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef of shape (n_targets, n_features), intercept) for the columns, as NumPy."""
        v, v_low = self._unscaled(v), self._unscaled(v_low)
        shift, t = self.origin.shift, self.rows.n_targets
        coef = v[:-1] + v_low[:-1]
        intercept = shift[:t] - shift[t:] @ coef + v[-1] if self.fit_intercept else 0 * v[-1]
        return coef.T.contiguous().numpy(), intercept.numpy()

    def caller_solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients and intercept in the caller's units, as NumPy."""
        if self.basis is None or self.basis.diagonal:
            coef, intercept = self.solution(v, v_low)
            if self.basis is not None:
                coef = self.basis.to_caller(torch.from_numpy(coef.T)).numpy().T
            return np.ascontiguousarray(coef), intercept
        exact = self._unscaled(v), self._unscaled(v_low)
        return self.basis.caller_solution(*exact, self.origin.shift, self.fit_intercept)

    def _unscaled(self, v: Tensor) -> Tensor:
        if self.origin.scale is None:
            return v
        v = v * self._target_scale
        return torch.cat((v[:-1] / self._feature_scale, v[-1:]))

    def total(self, value: Tensor) -> float:
        """Return the sum over the targets of values in units of their scale."""
        if self.origin.scale is not None:
            value = value * self._target_scale**2
        return float(value.sum())

    @property
    def _target_scale(self) -> Tensor:
        return self.origin.unit()[: self.rows.n_targets]

    @property
    def _feature_scale(self) -> Tensor:
        return self.origin.unit()[self.rows.n_targets :, None]

    def amplification(self, w: Tensor) -> float:
        """Return by how much relative errors of w grow in the coefficients that are wanted."""
        return 1.0 if self.basis is None else self.basis.amplification(w)

    def relative_size(self, step: Tensor, w: Tensor, scale: Tensor) -> float:
        """Return the largest change of a coefficient by the step, relative to the largest."""
        if self.basis is not None and self.basis.doubled:
            return self.basis.relative_size(step, w)
        scale = scale[:, None]
        largest = (w * scale).abs().amax(0).clamp(min=torch.finfo(w.dtype).tiny)
        return float(((step * scale).abs().amax(0) / largest).max()) if len(w) else 0.0

    def centred(self, mean: Tensor) -> Self:
        """Return the objective with columns measured from their mean, given in present units.

        It is this one where there is no intercept to take up the difference. Targets stay where
        they are if the loss depends on more than residuals.
        """
        if not self.fit_intercept:
            return self
        scale = self.origin.scale
        if not self.loss.residual:
            mean = mean.clone()
            mean[: self.rows.n_targets] = 0
        shift = self.origin.shift + (mean if scale is None else mean * scale)
        return self.at(Origin(shift, scale))

    def at(self, origin: Origin) -> Self:
        """Return the objective with columns measured from another origin, in the same units."""
        moved = copy.copy(self)
        moved.origin = origin
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
        if not torch.isfinite(sums.sum() + squares.sum()):
            raise OutOfRangeError
        # A loss with corners has no use for the squares of the targets.
        first = t if self.loss.corners else 0
        self._check_underflow(squares, sums[:, 0], self.double, first)
        mean = sums[:, 0] / total if self.fit_intercept else torch.zeros_like(squares)
        covariance = sums[t:, 1:] / total - torch.outer(mean[t:], mean[:t])
        return mean, (squares / total - mean**2).clamp(min=0).sqrt(), covariance

    def distance(self) -> Tensor:
        """Return what the rounding of features is relative to, in present units.

        That is how far from zero they are measured or, of made columns, what they are made from.
        """
        distance = self.origin.shift.abs()
        if self.basis is not None:
            distance = distance.clamp(min=self.basis.magnitude)
        scale = self.origin.scale
        return (distance if scale is None else distance / scale)[self.rows.n_targets :]

    def followed(self) -> tuple[Tensor, Tensor] | None:
        """Return how far relative errors of the data move made columns, and the ``distance``.

        Of these columns in these rows, and in present units; None where that is not cheap.
        """
        found = None if self.basis is None else self.basis.followed()
        if found is None:
            return None
        moved, size = map(torch.from_numpy, found)
        unit, shift = self.origin.unit()[self.rows.n_targets :], self.origin.shift.abs()
        return moved / unit, torch.maximum(shift[self.rows.n_targets :], size) / unit

    def quadratic(self, dtype: torch.dtype, whiten: Tensor | None = None) -> Quadratic:
        """Return the quadratic objective in one pass, in coordinates ``w = whiten @ a`` if given.

        Raises
        ------
        OutOfRangeError
            If a sum is not finite, or of squares that are below the range of the dtype.
        """
        d = self.n_features if whiten is None else whiten.shape[1]
        t = self.rows.n_targets
        (products,) = self.rows.total(
            partial(reductions.products, origin=self.origin, dtype=dtype, whiten=whiten)
        )
        if not isfinite(float(products.sum())):
            raise OutOfRangeError
        moments = moments_of(products, t + d, self.fit_intercept)
        plain = whiten is None
        self._check_underflow(products.diagonal()[: t + d], moments.mean, dtype, plain=plain)
        return self._quadratic_of(moments, whiten)

    def _quadratic_of(self, moments: Moments, whiten: Tensor | None) -> Quadratic:
        t, cross = self.rows.n_targets, moments.cross / moments.weight
        hessian = cross[t:, t:]
        if self.penalty.curvature:
            hessian = hessian + self.bending(whiten)
        return Quadratic(hessian, -cross[t:, :t], 0.5 * cross.diagonal()[:t], moments)

    @property
    def corner(self) -> Tensor:
        """The slope that the penalty jumps to on either side of a zero coefficient of z."""
        return self.penalty.corner * self.unit

    @property
    def curvature(self) -> Tensor:
        """The curvature that the penalty has in each coefficient of z, where it has one."""
        if not self.penalty.curvature:  # nothing times a square that overflows is no number
            return torch.zeros_like(self.unit)
        return self.penalty.curvature * self.unit**2

    @cached_property
    def unit(self) -> Tensor:
        """What a coefficient of z is in the caller's units, where these differ in scale only.

        Ones where there is no penalty, which alone asks for it.
        """
        ones = self.origin.shift.new_ones(self.n_features, 1)
        penalty = self.penalty
        if not (penalty.curvature or penalty.corner or penalty.positive):
            return ones[:, 0]
        unit = self.to_caller(ones)[:, 0]
        if not torch.isfinite(unit).all():
            raise OutOfRangeError
        return unit

    def evaluate(
        self, v: Tensor, v_low: Tensor | None = None, loss: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return the value for each target and the gradient at ``v + v_low``, in one pass.

        The gradient is of what is smooth: the corner of a penalty is left out of it.

        Parameters
        ----------
        v, v_low : Tensor of shape (n_features + 1, n_targets)
            ``v_low``, what a double does not hold of the point, matters in doubled precision.
        loss : object, default=None
            In place of that of the objective.
        """
        value, gradient, total = self._sums(v, v_low, loss or self.loss)
        return self._penalised(v, value / total, gradient / total)

    def bend(self, v: Tensor) -> Tensor:
        """Return the Hessian times v in one pass, of squared error with a smooth penalty."""
        bend, total = self.rows.total(
            partial(reductions.bends, origin=self.origin, dtype=self.double, v=v)
        )
        bend /= total
        bend[-1] *= self.fit_intercept
        bend[:-1] += self.bent(v[:-1])
        return bend

    def bent(self, w: Tensor) -> Tensor:
        """Return the Hessian of the penalty times w."""
        if self._form_root is None:
            return self.curvature[:, None] * w
        scale = self.origin.unit()[self.rows.n_targets :, None]
        return self.penalty.curvature**0.5 * (self._form_root.T @ self.rooted(w)) / scale

    def bending(self, directions: Tensor | None = None) -> Tensor:
        """Return the Hessian of the penalty along directions, by default along each coefficient.

        As a product of what the penalty is half the square of: in one with the Hessian itself,
        rounding could make curvatures below zero.
        """
        if directions is None:
            if self._form_root is None:
                return self.curvature.diag()
            directions = torch.ones_like(self.curvature).diag()
        rooted = self.rooted(directions)
        return rooted.T @ rooted

    @property
    def _form_root(self) -> Tensor | None:
        """What the penalty multiplies coefficients by, where it is on others that they make."""
        return None if self.basis is None else self.basis.form_root

    def rooted(self, w: Tensor) -> Tensor:
        """Return what the smooth penalty is half the square of."""
        if self._form_root is None:
            return self.curvature.sqrt()[:, None] * w
        scale = self.origin.unit()[self.rows.n_targets :, None]
        return self.penalty.curvature**0.5 * (self._form_root @ (w / scale))

    def _sums(self, v: Tensor, v_low: Tensor | None, loss: Any) -> tuple[Tensor, Tensor, float]:
        if self.basis is not None and self.basis.doubled:
            add_up: Any = methodcaller("double_double_gradient", self.origin, v, v_low)
        else:
            add_up = partial(
                reductions.slopes, origin=self.origin, dtype=self.double, loss=loss, v=v
            )
        return self.rows.total(add_up)

    def over(self, index: Tensor) -> "Objective":
        """Return the objective over some of the columns, the others' coefficients being zero."""
        t, origin = self.rows.n_targets, self.origin
        keep = torch.cat((torch.arange(t), index + t))
        scale = None if origin.scale is None else origin.scale[keep]
        rows, origin = self.rows.columns(index), Origin(origin.shift[keep], scale)
        part = Objective(rows, self.loss, self.penalty, origin, self.fit_intercept)
        part.unit = self.unit[index]
        return part

    def of_target(self, target: int) -> "Objective":
        """Return the objective of one target."""
        t, origin = self.rows.n_targets, self.origin
        keep = torch.cat((torch.tensor([target]), torch.arange(t, len(origin.shift))))
        scale = None if origin.scale is None else origin.scale[keep]
        rows, origin = TargetRows(self.rows, target), Origin(origin.shift[keep], scale)
        return Objective(rows, self.loss, self.penalty, origin, self.fit_intercept)

    def sampled(self, n_rows: int) -> "Objective":
        """Return the objective over about that many rows, evenly spaced."""
        rows = self.rows.every(max(self.rows.n_rows // n_rows, 1))
        return Objective(rows, self.loss, self.penalty, self.origin, self.fit_intercept)

    def models(
        self, points: Tensor, reach: dict[int, float], room: int
    ) -> tuple[float, dict[int, tuple[float, Model]]]:
        """Return the least share of a row, and value and model of targets about their points.

        Parameters
        ----------
        points : Tensor of shape (n_features + 1, n_targets)
        reach : dict of int to float
            For these targets: rows with a residual this close to a break of the loss are kept.
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
        penalty = self._penalty_at(points[:-1])
        models = {}
        for i, j in enumerate(reach):
            part = tuple(parts[i * N_PARTS : (i + 1) * N_PARTS])
            value, model = model_of(part, points[:, j], total)
            if not torch.isfinite(value + model.gradient.sum()):
                raise OutOfRangeError
            models[j] = float(value + penalty[j]), model
        return min(least) / total, models

    def _penalised(self, v: Tensor, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        if not torch.isfinite(gradient).all():
            raise OutOfRangeError
        if not self.fit_intercept:
            gradient[-1] = 0
        if self.penalty.curvature or self.penalty.corner:
            value = value + self._penalty_at(v[:-1])
            gradient[:-1] += self.bent(v[:-1])
        return value, gradient

    def _penalty_at(self, w: Tensor) -> Tensor:
        if self._form_root is not None:
            return 0.5 * self.rooted(w).square().sum(0)
        return self.penalty.value(w * self.unit[:, None])

    def _check_underflow(
        self,
        squares: Tensor,
        sums: Tensor,
        dtype: torch.dtype,
        first: int = 0,
        plain: bool = True,
    ) -> None:
        """Raise if squares of a column that is not constant are below the range of the dtype.

        Parameters
        ----------
        squares, sums : Tensor of shape (n_columns,)
        dtype : torch.dtype
        first : int, default=0
            The first of the columns that matter.
        plain : bool, default=True
            Whether they are those of the rows, and no combinations.
        """
        small = squares < _UNDERFLOW * torch.finfo(dtype).tiny
        small[:first] = False
        if self._form_root is not None:
            # Such a column is nothing beside the penalty, and the others are of a size with it.
            small[self.rows.n_targets :] = False
        if small.any() and ((sums[small] != 0).any() or (plain and self._varies(small))):
            raise OutOfRangeError

    def _varies(self, columns: Tensor) -> bool:
        """Return whether some columns vary in the first rows, as those of tiny numbers do.

        Their squares vanish, and so does their sum about a mean that these rows gave.
        """
        if self.rows.sparse:
            return False
        head = self.rows.head(_HEAD_ROWS)
        if head is None:
            return False
        X, y, weight = head
        away = torch.cat((y.cpu().double(), X.cpu().double()), 1)[:, columns]
        away = away if weight is None else away[weight.cpu() > 0]
        return bool((away != self.origin.shift[columns]).any())

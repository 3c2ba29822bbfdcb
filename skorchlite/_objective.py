"""The objective: loss plus penalty over a row source, as sums in one pass.

Inside, columns are measured from an origin, ``z = (x - shift) / scale``, so that numbers far from
zero keep their digits. ``v`` stacks the coefficients of z and, in its last row, the intercept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._batches import Origin, OutOfRangeError, staged
from ._moments import Moments, moments_of, sum_products

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
    def double(self) -> torch.dtype:
        """The most precise dtype that the device has."""
        return torch.float32 if self.rows.device.type == "mps" else torch.float64

    def to_caller(self, w: Tensor) -> Tensor:
        """Return coefficients of z in the caller's units, the targets in units of their scale."""
        if self.origin.scale is not None:
            w = w / self._feature_scale
        return w if self.basis is None else self.basis.to_caller(w)

    def from_caller(self, u: Tensor) -> Tensor:
        """Return coefficients of z from those in the caller's units."""
        u = u if self.basis is None else self.basis.from_caller(u)
        return u if self.origin.scale is None else u * self._feature_scale / self._target_scale

    def solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef of shape (n_targets, n_features), intercept) for the columns, as NumPy."""
        v, v_low = self._unscaled(v), self._unscaled(v_low)
        shift, t = self.origin.shift, self.rows.n_targets
        coef = v[:-1] + v_low[:-1]
        intercept = shift[:t] - shift[t:] @ coef + v[-1] if self.fit_intercept else 0 * v[-1]
        return coef.T.contiguous().numpy(), intercept.numpy()

    def caller_solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients and intercept in the caller's units, as NumPy."""
        if self.basis is None:
            return self.solution(v, v_low)
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

    def move(self, mean: Tensor) -> None:
        """Measure the columns from their mean, given in present units."""
        scale = self.origin.scale
        shift = self.origin.shift + (mean if scale is None else mean * scale)
        self.origin = Origin(shift, scale)

    def distance(self) -> Tensor:
        """Return how far from zero the features are measured, in present units."""
        distance = self.origin.shift.abs()
        scale = self.origin.scale
        return (distance if scale is None else distance / scale)[self.rows.n_targets :]

    def quadratic(self, dtype: torch.dtype, whiten: Tensor | None = None) -> Quadratic:
        """Return the quadratic objective in one pass, in coordinates ``w = whiten @ a`` if given.

        Raises
        ------
        OutOfRangeError
            If a sum is not finite, or of squares that are below the range of the dtype.
        """
        d, t = self.n_features, self.rows.n_targets
        blocks: Iterable = staged(self.rows, self.origin, dtype)
        if whiten is not None:
            blocks = _whitened(blocks, whiten.to(self.rows.device, dtype), t)
            d = whiten.shape[1]
        products = sum_products(blocks).cpu()
        if not isfinite(float(products.sum())):
            raise OutOfRangeError
        moments = moments_of(products, t + d, self.fit_intercept)
        squares, smallest = products.diagonal()[: t + d], _UNDERFLOW * torch.finfo(dtype).tiny
        if float(squares.min()) < smallest and (moments.mean[squares < smallest] != 0).any():
            raise OutOfRangeError
        cross = moments.cross / moments.weight
        hessian = cross[t:, t:]
        if self.penalty.curvature:
            basis = self.to_caller(hessian.new_ones(d).diag() if whiten is None else whiten)
            hessian = hessian + self.penalty.curvature * (basis.T @ basis)
        return Quadratic(hessian, -cross[t:, :t], 0.5 * cross.diagonal()[:t], moments)

    def evaluate(self, v: Tensor, v_low: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value for each target and the gradient at ``v + v_low``, in one pass.

        Parameters
        ----------
        v, v_low : Tensor of shape (n_features + 1, n_targets)
            ``v_low``, what a double does not hold of the point, matters in doubled precision.
        """
        if self.basis is not None and self.basis.doubled:
            sums = self.basis.doubled_sums(self.rows, self.origin, v, v_low)
        else:
            sums = self._sums(v)
        value, gradient, total = sums
        return self._penalised(v, value / total, gradient / total)

    def _sums(self, v: Tensor) -> tuple[Tensor, Tensor, float]:
        t, k = self.rows.n_targets, self.rows.n_targets + self.n_features
        point = v.to(self.rows.device, self.double)
        value, gradient, total = v.new_zeros(t), torch.zeros_like(v), 0.0
        for A, weight in staged(self.rows, self.origin, self.double):
            Z, y = A[:, t : k + 1], A[:, :t]
            raw_prediction = Z @ point
            losses = self.loss.value(y, raw_prediction)
            slopes = self.loss.gradient(y, raw_prediction)
            if weight is not None:
                weight = weight[:, None].to(A.dtype)
                losses, slopes = losses * weight, slopes * weight
            value += losses.sum(0).cpu()
            gradient += (Z.T @ slopes).cpu()
            total += len(A) if weight is None else float(weight.sum())
        return value, gradient, total

    def _penalised(self, v: Tensor, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        if not torch.isfinite(gradient).all():
            raise OutOfRangeError
        if not self.fit_intercept:
            gradient[-1] = 0
        if self.penalty.curvature:
            # To the caller's units and back are the same where these differ in scale only.
            u = self.to_caller(v[:-1])
            value = value + self.penalty.value(u)
            gradient[:-1] += self.to_caller(self.penalty.gradient(u))
        return value, gradient


def _whitened(
    blocks: Iterable[tuple[Tensor, Tensor | None]], whiten: Tensor, t: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the blocks with their features multiplied by ``whiten``."""
    d, k = whiten.shape
    for A, weight in blocks:
        out = A.new_zeros(len(A), -(-(t + k + 1) // 4) * 4)
        out[:, :t], out[:, t + k] = A[:, :t], A[:, t + d]
        torch.mm(A[:, t : t + d], whiten, out=out[:, t : t + k])
        yield out, weight

"""Coefficients in the coordinates of an objective, and in the caller's units."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._linalg.products import quietly
from .._sources.feature_map import FeatureMap, from_zero
from .._sources.origin import Origin

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """Converts points between the coordinates of an objective and the caller's units.

    Parameters
    ----------
    origin : Origin
    basis : FeatureMap
        Says how coefficients of the columns become the caller's.
    n_targets : int
    fit_intercept : bool
    """

    origin: Origin
    basis: FeatureMap
    n_targets: int
    fit_intercept: bool

    @quietly
    def to_caller(self, w: Array) -> Array:
        """Return coefficients of z in the caller's units, the targets in units of their scale."""
        if self.origin.scale is not None:
            w = w / self._feature_scale.numpy()
        return self.basis.conversion.to_caller(w)

    @quietly
    def from_caller(self, coef: Array, intercept: Array) -> Tensor:
        """Return v from coefficients and intercept in the caller's units."""
        found = self.basis.conversion.from_caller(coef, intercept)
        (w, constant), t = map(torch.from_numpy, found), self.n_targets
        shift = self.origin.shift
        v = torch.cat((w, (constant + shift[t:] @ w - shift[:t])[None]))
        v[-1] *= self.fit_intercept
        if self.origin.scale is not None:
            v = torch.cat((v[:-1] * self._feature_scale, v[-1:])) / self._target_scale
        return v

    def carried(self, v: Tensor, origin: Origin) -> Tensor:
        """Return v, which is for columns measured from another origin, for the present one."""
        moved = (self.origin.shift - origin.shift) / origin.unit()
        t = self.n_targets
        intercept = v[-1] + (moved[t:] @ v[:-1] - moved[:t]) * self.fit_intercept
        return torch.cat((v[:-1], intercept[None]))

    @quietly
    def solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef of shape (n_targets, n_features), intercept) for the columns, as NumPy."""
        v, v_low = self._unscaled(v), self._unscaled(v_low)
        coef, intercept = from_zero(v, v_low, self.origin.shift, self.fit_intercept)
        return np.ascontiguousarray(coef.T), intercept

    @quietly
    def caller_solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients and intercept in the caller's units, as NumPy."""
        exact = self._unscaled(v), self._unscaled(v_low)
        return self.basis.conversion.caller_solution(*exact, self.origin.shift, self.fit_intercept)

    def _unscaled(self, v: Tensor) -> Tensor:
        if self.origin.scale is None:
            return v
        v = v * self._target_scale
        return torch.cat((v[:-1] / self._feature_scale, v[-1:]))

    def total(self, value: Tensor | Array) -> float:
        """Return the sum over the targets of values in units of their scale."""
        return self.totals(value[None])[0]

    def totals(self, values: Tensor | Array) -> list[float]:
        """Return the same for each row of values."""
        if self.origin.scale is not None:
            values = np.asarray(values) * self._target_scale.numpy() ** 2
        totals: list[float] = values.sum(1).tolist()
        return totals

    @property
    def _target_scale(self) -> Tensor:
        return self.origin.unit()[: self.n_targets]

    @property
    def _feature_scale(self) -> Tensor:
        return self.origin.unit()[self.n_targets :, None]

    def amplification(self, w: Array) -> float:
        """Return how much larger relative errors are in the caller's coefficients than in w."""
        return self.basis.conversion.amplification(w)

    def relative_size(self, step: Array, w: Array, scale: Array) -> float:
        """Return the largest change of a coefficient by the step, relative to the largest."""
        return self.basis.conversion.relative_size(step, w, scale)

    def distance(self) -> Array:
        """Return the size that the rounding of features is relative to, in present units.

        It is how far from zero the origin is and, for columns made of others, the size of these.
        """
        distance: Array = abs(self.origin.shift.numpy()[self.n_targets :])
        if least := self.basis.rounding.least_size:
            distance = np.maximum(distance, least)
        if self.origin.scale is None:
            return distance
        return distance / self._feature_scale.numpy()[:, 0]

    def propagated(self) -> tuple[Array, Array] | None:
        """Return how far relative errors of the data move each column, and its ``distance``.

        Both are for the very rows, and in present units; None where they are not cheap to have.
        """
        found = self.basis.rounding.propagated()
        if found is None:
            return None
        moved, size = found
        unit = self._feature_scale.numpy()[:, 0]
        shift = abs(self.origin.shift.numpy()[self.n_targets :])
        return moved / unit, np.maximum(shift, size) / unit

"""Coefficients in the coordinates of an objective, and in the caller's units."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .._sources.feature_map import FeatureMap, from_zero
from .._sources.origin import Origin


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

    def to_caller(self, w: Tensor) -> Tensor:
        """Return coefficients of z in the caller's units, the targets in units of their scale."""
        if self.origin.scale is not None:
            w = w / self._feature_scale
        return self.basis.conversion.to_caller(w)

    def from_caller(self, coef: Tensor, intercept: Tensor) -> Tensor:
        """Return v from coefficients and intercept in the caller's units."""
        coef, intercept = self.basis.conversion.from_caller(coef, intercept)
        shift, t = self.origin.shift, self.n_targets
        v = torch.cat((coef, (intercept + shift[t:] @ coef - shift[:t])[None]))
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

    def solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef of shape (n_targets, n_features), intercept) for the columns, as NumPy."""
        v, v_low = self._unscaled(v), self._unscaled(v_low)
        coef, intercept = from_zero(v, v_low, self.origin.shift, self.fit_intercept)
        return coef.T.contiguous().numpy(), intercept.numpy()

    def caller_solution(self, v: Tensor, v_low: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients and intercept in the caller's units, as NumPy."""
        exact = self._unscaled(v), self._unscaled(v_low)
        return self.basis.conversion.caller_solution(*exact, self.origin.shift, self.fit_intercept)

    def _unscaled(self, v: Tensor) -> Tensor:
        if self.origin.scale is None:
            return v
        v = v * self._target_scale
        return torch.cat((v[:-1] / self._feature_scale, v[-1:]))

    def total(self, value: Tensor) -> float:
        """Return the sum over the targets of values in units of their scale."""
        return self.totals(value[None])[0]

    def totals(self, values: Tensor) -> list[float]:
        """Return the same for each row of values."""
        if self.origin.scale is not None:
            values = values * self._target_scale**2
        totals: list[float] = values.sum(1).tolist()
        return totals

    @property
    def _target_scale(self) -> Tensor:
        return self.origin.unit()[: self.n_targets]

    @property
    def _feature_scale(self) -> Tensor:
        return self.origin.unit()[self.n_targets :, None]

    def amplification(self, w: Tensor) -> float:
        """Return how much larger relative errors are in the caller's coefficients than in w."""
        return self.basis.conversion.amplification(w)

    def relative_size(self, step: Tensor, w: Tensor, scale: Tensor) -> float:
        """Return the largest change of a coefficient by the step, relative to the largest."""
        return self.basis.conversion.relative_size(step, w, scale)

    def distance(self) -> Tensor:
        """Return the size that the rounding of features is relative to, in present units.

        It is how far from zero the origin is and, for columns made of others, the size of these.
        """
        distance, scale = self.origin.shift.abs(), self.origin.scale
        if least := self.basis.rounding.least_size:
            distance = distance.clamp(min=least)
        return (distance if scale is None else distance / scale)[self.n_targets :]

    def propagated(self) -> tuple[Tensor, Tensor] | None:
        """Return how far relative errors of the data move each column, and its ``distance``.

        Both are for the very rows, and in present units; None where they are not cheap to have.
        """
        found = self.basis.rounding.propagated()
        if found is None:
            return None
        moved, size = map(torch.from_numpy, found)
        unit, shift = self.origin.unit()[self.n_targets :], self.origin.shift.abs()
        return moved / unit, torch.maximum(shift[self.n_targets :], size) / unit

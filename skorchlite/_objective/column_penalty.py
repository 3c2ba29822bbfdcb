"""A penalty on the caller's coefficients, in the coordinates of an objective."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .._exceptions import OutOfRangeError
from .penalties import Penalty
from .units import Units


class ColumnPenalty:
    """A penalty in the coordinates of an objective, whatever origin its columns have.

    Parameters
    ----------
    penalty : Penalty
    units : Units
    n_features : int
    """

    def __init__(self, penalty: Penalty, units: Units, n_features: int):
        self.penalty, self.units, self.n_features = penalty, units, n_features

    def over(self, index: Tensor) -> "ColumnPenalty":
        """Return the penalty on some of the coefficients."""
        part = ColumnPenalty(self.penalty.over(index), self.units, len(index))
        part.unit = self.unit[index]
        return part

    @property
    def l1(self) -> Tensor:
        """The slope of the l1 penalty in each coefficient of z."""
        return self.penalty.l1 * self._factored(self.unit)

    @cached_property
    def curvature(self) -> Tensor:
        """The curvature of the penalty in each coefficient of z, without a ``penalty_root``."""
        if not self.penalty.curvature:  # zero times a square that overflows is NaN
            return torch.zeros_like(self.unit)
        return self.penalty.curvature * self._factored(self.unit**2)

    def _factored(self, part: Tensor) -> Tensor:
        """Return what each coefficient has times the factor of the penalty on it."""
        factors = self.penalty.factors
        return part if factors is None else factors * part

    @property
    def caller_unit(self) -> Tensor:
        """A coefficient of 1 for z in the caller's units."""
        return torch.from_numpy(self.units.to_caller(np.ones((self.n_features, 1)))[:, 0])

    @property
    def round_unit(self) -> Tensor:
        """The unit of coefficients in which a curvature of the penalty is the same along all.

        In the caller's units, but for the factors of the penalty, of which none is zero.
        """
        unit, factors = self.caller_unit, self.penalty.factors if self.penalty.curvature else None
        return unit if factors is None else unit * factors.sqrt()

    @cached_property
    def unit(self) -> Tensor:
        """A coefficient of 1 for z in the caller's units, where both differ in scale only.

        Ones where there is no penalty, since nothing else uses it.
        """
        penalty = self.penalty
        if not (penalty.curvature or penalty.l1 or penalty.positive):
            return torch.ones(self.n_features, dtype=torch.float64, device="cpu")
        unit = self.units.to_caller(np.ones((self.n_features, 1)))[:, 0]
        if not np.isfinite(unit).all():
            raise OutOfRangeError
        return torch.from_numpy(unit)

    def add_hessian_product(self, w: Tensor, total: Tensor) -> None:
        """Add the Hessian of the penalty times w to a total."""
        if self.penalty_root is None:
            total.addcmul_(self.curvature[:, None], w)
        else:
            root = self._root_of_curvature
            total += (self.penalty_root.T @ (root * self.rooted(w))) / self._scale

    def hessian_along(self, directions: Tensor | None = None) -> Tensor:
        """Return the Hessian of the penalty along directions, by default along each coefficient.

        It is made as a square, so that rounding makes no curvature negative.
        """
        if directions is None:
            if self.penalty_root is None:
                return self.curvature.diag()
            directions = torch.ones_like(self.curvature).diag()
        rooted = self.rooted(directions)
        return rooted.T @ rooted

    @property
    def penalty_root(self) -> Tensor | None:
        """The matrix whose product with the coefficients is penalised, where that is no scaling."""
        return self.units.basis.penalty_root

    def rooted(self, w: Tensor) -> Tensor:
        """Return the vector of which the smooth penalty is half the squared norm."""
        if self.penalty_root is None:
            return self.curvature.sqrt()[:, None] * w
        return self._root_of_curvature * (self.penalty_root @ (w / self._scale))

    @property
    def _root_of_curvature(self) -> Tensor | float:
        """The root of the curvature in each of the caller's coefficients."""
        return (self.penalty.curvature * self.penalty.factors_like(self._scale)) ** 0.5

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty at coefficients of z, for each target."""
        if self.penalty_root is not None:
            return 0.5 * self.rooted(w).square().sum(0)
        return self.penalty.value(w * self.unit[:, None])

    @property
    def _scale(self) -> Tensor:
        return self.units.origin.unit()[self.units.n_targets :, None]

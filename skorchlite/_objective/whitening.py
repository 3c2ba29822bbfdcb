"""Coordinates in which the columns of a model are orthonormal on the rows of a fit."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._linalg.products import product
from .._linalg.views import viewed
from .._sources.origin import Origin

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Whitening:
    """A root of the inverse of ``sum_i s_i z_i z_i^T``, for ``z = [x - shift, 1]``.

    In the coordinates ``u = turn^T z``, the weighted sum of ``u u^T`` over the rows is the
    identity. Of a fit with an intercept the shift is the mean, so that ones are orthogonal to the
    other columns.

    Parameters
    ----------
    shift : ndarray of shape (n_targets + n_columns,)
        What targets and columns are measured from.
    root : ndarray of shape (n_columns, n_columns)
        ``root @ root.T`` is the inverse of the products of the columns.
    weight : float
        The sum of the weights.
    n_rows : int or None
        How many rows have weight; None where that is not known.
    fit_intercept : bool
    error : float
        How large the relative error of the root may be.
    dependent : bool
        Whether the columns are so nearly dependent that products of them lose digits.
    squares : ndarray of shape (n_targets,) or None
        The weighted sums of squared residuals, where the fit made them.
    squares_error : float
        How large their relative error may be.
    """

    shift: Array
    root: Array
    weight: float
    n_rows: int | None
    fit_intercept: bool
    error: float
    dependent: bool = False
    squares: Array | None = None
    squares_error: float = 0.0

    @property
    def n_params(self) -> int:
        """The number of coefficients of a target, the intercept among them."""
        return len(self.root) + self.fit_intercept

    @property
    def origin(self) -> Origin:
        """What targets and columns are measured from."""
        return Origin(viewed(self.shift).clone())

    @cached_property
    def turn(self) -> Tensor:
        """The matrix that turns ``[columns, 1]`` to these coordinates."""
        d = len(self.root)
        turn = torch.zeros(d + 1, self.n_params, dtype=torch.float64, device="cpu")
        turn[:d, :d] = viewed(self.root)
        if self.fit_intercept:
            turn[d, d] = self.weight**-0.5
        return turn

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "turn"}

    def for_plain_targets(self, n_targets: int) -> "Whitening":
        """Return the same with targets that are measured from zero."""
        shift = self.shift.copy()
        shift[:n_targets] = 0
        return replace(self, shift=shift)

    def point(self, coef: Array, intercept: Array) -> Tensor:
        """Return coefficients for columns and targets from zero as those for ``[columns, 1]``.

        Parameters
        ----------
        coef : array of shape (n_targets, n_columns)
        intercept : array of shape (n_targets,)
        """
        t = len(intercept)
        level = intercept + product(coef, self.shift[t:]) - self.shift[:t]
        return torch.from_numpy(np.concatenate((coef.T, level[None])))

    def in_units(self, turned: Tensor) -> tuple[Array, Array]:
        """Return what coefficients in these coordinates are for columns that are not shifted.

        Parameters
        ----------
        turned : Tensor of shape (n_params, m)

        Returns
        -------
        coef : array of shape (n_columns, m)
        constant : array of shape (m,)
            Zeros without an intercept.
        """
        w = (self.turn @ turned).numpy()
        far = self.shift[len(self.shift) - len(self.root) :]
        return w[:-1], (w[-1] - product(w[:-1].T, far)) * self.fit_intercept

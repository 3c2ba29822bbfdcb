"""How the columns of a model are made of those of X, and what their coefficients are to the caller.

A linear model has the columns of X as they are. A polynomial has terms in their place, which
``_polynomials`` makes.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor


class CoefficientConversion(ABC):
    """Converts coefficients of the columns of a model to those that the caller asked for."""

    @abstractmethod
    def to_caller(self, w: Tensor) -> Tensor:
        """Return the caller's coefficients from those of the columns; float64 tensors."""

    @abstractmethod
    def from_caller(self, coef: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Return (coefficients of the columns, constant) from the caller's; float64 tensors."""

    def caller_solution(
        self, v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the caller's (coef, intercept).

        Parameters
        ----------
        v, v_low : Tensor of shape (n_columns + 1, n_targets)
            Coefficients of the columns, which are measured from ``shift``, and the intercept.
        shift : Tensor of shape (n_targets + n_columns,)
        fit_intercept : bool
        """
        w, intercept = from_zero(v, v_low, shift, fit_intercept)
        return np.ascontiguousarray(self.to_caller(w).numpy().T), intercept.numpy()

    def amplification(self, w: Tensor) -> float:
        """Return how much larger relative errors are in the caller's coefficients than in w."""
        return 1.0

    def relative_size(self, step: Tensor, w: Tensor, scale: Tensor) -> float:
        """Return the largest change of a coefficient by the step, relative to the largest.

        Parameters
        ----------
        step, w : Tensor of shape (n_columns, n_targets)
        scale : Tensor of shape (n_columns,)
            Of the columns; coefficients are compared times this.
        """
        if not len(w):
            return 0.0
        scale = scale[:, None]
        largest = (w * scale).abs().amax(0).clamp(min=torch.finfo(w.dtype).tiny)
        return float(((step * scale).abs().amax(0) / largest).max())


class FeatureMap(ABC):
    """What makes the columns of a model of those of X; the defaults are those of the identity.

    Attributes
    ----------
    made : bool
        Whether columns are made of others. Their coefficients then are for the package to choose,
        and they have rounding errors of their own.
    doubled : bool
        Whether sums over the rows are to be made in doubled precision.
    even : bool
        Whether the data covers the domain so evenly that Chebyshev's polynomials are far from
        dependent.
    seen : ndarray or None
        A sample of the rows of X, while a fit lasts.
    """

    made, doubled, even = False, False, False
    seen: np.ndarray | None = None

    @property
    def diagonal(self) -> bool:
        """Whether the coefficients differ from the caller's in scale only."""
        return True

    @property
    def alike(self) -> bool:
        """Whether rounding makes about as much of a column in each row."""
        return True

    @property
    def magnitude(self) -> float:
        """What the rounding of a column is relative to, where it is more than its own size."""
        return 0.0

    @property
    def rounding(self) -> Tensor | float:
        """How far the rounding of the data can be amplified in each column."""
        return 1.0

    @property
    def evaluated(self) -> Tensor | float:
        """How many roundings it takes to make each column."""
        return 0.0

    @property
    def digits_lost(self) -> float:
        """How many digits cancel where the columns make what is of size 1 on the data."""
        return 0.0

    @property
    def form_root(self) -> Tensor | None:
        """What makes the caller's coefficients, where a penalty on them is no diagonal here."""
        return None

    @property
    @abstractmethod
    def conversion(self) -> CoefficientConversion:
        """What makes the caller's coefficients of those of the columns, and the other way."""

    def plain(self) -> "FeatureMap":
        """Return the same for any rows, with sums in single doubles."""
        return self

    def followed(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what rounding makes of each column, row by row, where that is cheap to tell."""
        return None


class Identity(FeatureMap, CoefficientConversion):
    """The columns of X as they are."""

    @property
    def conversion(self) -> CoefficientConversion:
        """What makes the caller's coefficients of those of the columns, and the other way."""
        return self

    def to_caller(self, w: Tensor) -> Tensor:
        """Return the coefficients, which are the caller's."""
        return w

    def from_caller(self, coef: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients and the constant, which are those of the columns."""
        return coef, constant


IDENTITY = Identity()


def from_zero(
    v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool
) -> tuple[Tensor, Tensor]:
    """Return coefficients and intercept for columns, and targets, that are measured from zero.

    Parameters
    ----------
    v, v_low : Tensor of shape (n_columns + 1, n_targets)
        Coefficients of columns that are measured from ``shift``, and the intercept.
    shift : Tensor of shape (n_targets + n_columns,)
    fit_intercept : bool
    """
    t, w = v.shape[1], v[:-1] + v_low[:-1]
    return w, shift[:t] - shift[t:] @ w + v[-1] if fit_intercept else 0 * v[-1]

"""Terms in which a penalty on powers of columns far from zero is no harder than none.

Powers of such a column are dependent beyond what doubles hold, and the penalty is on them. In the
polynomials that the model is fitted in it is a quadratic form whose curvatures span far more than
doubles do. So the terms here are combinations of these polynomials in which that form and the
squares of the terms add up to one: what is left to solve has a small condition. The combinations
are made, and coefficients converted, in decimal arithmetic of as many digits as the powers cancel.
"""

from decimal import Context, Decimal, InvalidOperation, localcontext
from math import log10

import numpy as np
import torch
from torch import Tensor

from .._linalg.decimal_matrices import (
    as_decimals,
    cholesky,
    lower_gram,
    lower_inverse,
    lower_product,
)
from .._sources.feature_map import ColumnRounding
from .basis import Basis
from .basis_conversion import BasisConversion

_PRODUCTS_OF_DIGITS = 150_000_000
_DIGITS, _MORE = 40, 4  # besides those that cancel; times as many, where these do not do


def digits_for(base: Basis, alpha: float) -> int:
    """Return how many digits the arithmetic takes."""
    return _DIGITS + int(2 * base.digits_lost_in_powers + abs(log10(alpha)))


def is_cheap(base: Basis, alpha: float) -> bool:
    """Return whether that takes a fraction of a second."""
    return len(base.terms) ** 3 * digits_for(base, alpha) <= _PRODUCTS_OF_DIGITS


class PenalisedBasis(Basis):
    """Combinations ``psi = B^T [phi, 1]`` of the terms of another basis.

    Parameters
    ----------
    base : Basis
        Of kind "chebyshev" or "orthogonal", for powers.
    vanishing : ndarray of bool of shape (n_terms,)
        Which of its terms are nothing but rounding errors on the rows.
    alpha : float
        Curvature of the penalty on coefficients of the powers, above zero.
    intercept : bool
        Whether there is one, which takes up what the terms have of a constant.
    """

    def __init__(self, base: Basis, vanishing: np.ndarray, alpha: float, intercept: bool):
        vars(self).update(base.for_other_rows().__dict__)
        self.base, self.kind, self.intercept, self.slopes = base, "penalised", intercept, None
        self.digits = digits_for(base, alpha)
        try:
            self._combine(vanishing, alpha)
        except InvalidOperation:  # a pivot below zero: rare rows make polynomials with more digits
            self.digits *= _MORE
            self._combine(vanishing, alpha)

    def _combine(self, vanishing: np.ndarray, alpha: float) -> None:
        base, intercept = self.base, self.intercept
        with localcontext(Context(self.digits)):
            moved = (
                base.conversion.decimals_from_caller()
            )  # powers in ones and, from lower to higher, phi
            seen = moved.copy()
            seen[:, 1:][:, vanishing] = Decimal(0)
            triangle = cholesky(lower_gram(seen[:, int(intercept) :]), Decimal(alpha))
            self.to_powers = lower_inverse(triangle).T
            self.from_powers = triangle.T
            self.constants = moved[:, 0]
            parts = lower_product(self.to_powers.T, moved)
        self.parts, self.powers_of = (
            torch.from_numpy(matrix.astype(float)) for matrix in (parts, self.to_powers)
        )
        self.fitted = self.parts[:, int(intercept) :].clone()
        self.fitted[:, len(self.fitted[0]) - len(vanishing) :][:, torch.from_numpy(vanishing)] = 0

    @property
    def diagonal(self) -> bool:
        """Whether the coefficients differ from the caller's in scale only."""
        return False

    @property
    def penalty_root(self) -> Tensor:
        """What makes the caller's coefficients, which the penalty is on."""
        return self.powers_of

    @property
    def rounding(self) -> "CombinedRounding":
        """How large the rounding errors of the terms are."""
        return CombinedRounding(self)

    def can_move(self, fit_intercept: bool) -> bool:
        """Return False: the terms are those for the rows that they were made for."""
        return False

    def expand(self, X: Tensor, out: Tensor) -> Tensor:
        """Return the terms of a block, of shape (n_terms, n_rows)."""
        terms = self.base.expand(X, out)
        parts = self.fitted.to(terms)
        mixed = parts[:, -len(terms) :] @ terms
        return mixed if self.intercept else mixed.add_(parts[:, :1])

    def in_base(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef, intercept) for the terms of the other basis.

        Parameters
        ----------
        coef : ndarray of shape (n_targets, n_terms)
        intercept : ndarray of shape (n_targets,)
        """
        moved = coef @ self.parts.numpy()
        return np.ascontiguousarray(moved[:, 1:]), intercept + (not self.intercept) * moved[:, 0]

    @property
    def conversion(self) -> "PenalisedConversion":
        """What makes the caller's coefficients of those of the terms, and the other way."""
        return PenalisedConversion(self)


class CombinedRounding(ColumnRounding):
    """How large the rounding errors of combinations of terms are."""

    least_size = 1.0

    def __init__(self, basis: PenalisedBasis):
        self.basis = basis

    @property
    def amplification(self) -> Tensor:
        """By how much relative errors of the data can be amplified in each term."""
        parts = self.basis.fitted.abs()[:, -len(self.basis.terms) :]
        return parts @ self.basis.base.rounding.amplification


class PenalisedConversion(BasisConversion):
    """Writes coefficients of combined terms as those of powers, and these as those."""

    basis: PenalisedBasis

    def to_caller(self, w: Tensor) -> Tensor:
        """Return the caller's coefficients from those of the terms; float64 tensors."""
        return self.basis.powers_of @ w

    def from_caller(self, coef: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Return (coefficients of the terms, constant) from the caller's; float64 tensors."""
        with localcontext(Context(self.basis.digits)):
            powers = as_decimals(coef.numpy())
            w = (self.basis.from_powers @ powers).astype(float)
            moved = (self.basis.constants @ powers).astype(float) * self.basis.intercept
        return torch.from_numpy(w), constant + torch.from_numpy(moved)

    def caller_solution(
        self, v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the caller's (coef, intercept), converted without a rounding error."""
        t = v.shape[1]
        with localcontext(Context(self.basis.digits)):
            w = as_decimals(v.numpy()) + as_decimals(v_low.numpy())
            origin = as_decimals(shift.numpy())
            powers = self.basis.to_powers @ w[:-1]
            intercept = w[-1] + origin[:t] - origin[t:] @ w[:-1] - self.basis.constants @ powers
            coef = powers.astype(float)
            intercept = intercept.astype(float) * fit_intercept
        return np.ascontiguousarray(coef.T), intercept

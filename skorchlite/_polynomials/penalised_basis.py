"""Terms that keep a penalty on powers of columns far from zero as easy to solve as no penalty.

Powers of a column far from zero are more nearly dependent than doubles can hold, and the penalty is
on their coefficients. For the orthogonal polynomials that a model without a penalty is fitted in,
it is a quadratic form whose curvatures span more orders of magnitude than doubles can hold either.
So the terms here are combinations of these polynomials. The sum of the quadratic form and of the
Gram matrix of the combinations is the identity, as far as the polynomials are orthonormal on the
rows, and so the Hessian has a small condition number. The combinations are made, and coefficients
are converted, in decimal arithmetic with enough digits for those that cancel between powers.
"""

import copy
from decimal import Context, Decimal, InvalidOperation, localcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._linalg.decimal_matrices import (
    as_decimals,
    cholesky,
    lower_gram,
    lower_inverse,
    lower_product,
)
from .._linalg.products import product
from .._sources.feature_map import ColumnRounding
from .basis import Basis
from .basis_conversion import BasisConversion

Array = NDArray[np.float64]
Curvature = float | Array

_PRODUCTS_OF_DIGITS = 150_000_000  # as many as take a fraction of a second
_DIGITS = 40  # besides those that cancel
_MORE = 4  # times as many digits for a second attempt


def digits_for(base: Basis, curvature: Curvature) -> int:
    """Return how many digits the decimal arithmetic needs."""
    sizes = abs(np.log10(curvature))
    return _DIGITS + int(2 * base.digits_lost_in_powers + sizes.max())


def is_cheap(base: Basis, curvature: Curvature) -> bool:
    """Return whether it takes a fraction of a second to make the combinations."""
    return len(base.terms) ** 3 * digits_for(base, curvature) <= _PRODUCTS_OF_DIGITS


class PenalisedBasis(Basis):
    """Linear combinations of 1 and the terms of another basis.

    Parameters
    ----------
    base : Basis
        Of kind "chebyshev" or "orthogonal", with the powers as the caller's family.
    vanishing : ndarray of bool of shape (n_terms,)
        Which of its terms are nothing but rounding errors on the rows.
    curvature : float or ndarray of shape (n_terms,)
        Of the penalty on the coefficients of the powers, above zero.
    intercept : bool
        Whether there is an intercept. If so, the terms leave their constant parts to it.

    Attributes
    ----------
    to_powers, from_powers : ndarray of Decimal of shape (n_terms, n_terms)
        Multiply coefficients of the terms to those of the powers, and back.
    constants : ndarray of Decimal of shape (n_terms,)
        The part of 1 in each power, if written in the terms of ``base``.
    parts : Tensor of shape (n_terms, n_terms + 1)
        The parts of 1 and of the terms of ``base`` in each term.
    fitted_parts : Tensor of shape (n_terms, n_terms or n_terms + 1)
        Those that the rows are fitted with: without the vanishing terms and, if there is an
        intercept, without 1.
    """

    def __init__(self, base: Basis, vanishing: np.ndarray, curvature: Curvature, intercept: bool):
        vars(self).update(base.for_other_rows().__dict__)
        self.base, self.kind, self.intercept, self.slopes = base, "penalised", intercept, None
        self.digits = digits_for(base, curvature)
        try:
            self._combine(vanishing, curvature)
        except InvalidOperation:  # a pivot below zero, since rare rows make larger coefficients
            self.digits *= _MORE
            self._combine(vanishing, curvature)

    def _combine(self, vanishing: np.ndarray, curvature: Curvature) -> None:
        n_left_out = int(self.intercept)  # the part of 1
        with localcontext(Context(self.digits)):
            powers = self.base.conversion.decimals_from_caller()  # as parts of 1 and base terms
            on_rows = powers.copy()
            on_rows[:, 1:][:, vanishing] = Decimal(0)
            diagonal = as_decimals(np.broadcast_to(curvature, len(powers)).astype(float))
            factor = cholesky(lower_gram(on_rows[:, n_left_out:]), diagonal)
            self.to_powers = lower_inverse(factor).T
            self.from_powers = factor.T
            self.constants = powers[:, 0]
            parts = lower_product(self.to_powers.T, powers)
        self.parts, self._to_powers_in_doubles = (
            torch.from_numpy(matrix.astype(float)) for matrix in (parts, self.to_powers)
        )
        self.fitted_parts = self.parts[:, n_left_out:].clone()
        of_terms = self.fitted_parts[:, len(self.fitted_parts[0]) - len(vanishing) :]
        of_terms[:, torch.from_numpy(vanishing)] = 0

    def with_base(self, base: Basis) -> "PenalisedBasis":
        """Return the combinations of those terms of ``base`` that are the first ones of the own.

        They are the first ones here: a combination has parts in no term that comes after it.
        """
        found = copy.copy(self)
        n, constant = len(base.terms), int(not self.intercept)
        vars(found).update(base.for_other_rows().__dict__)
        found.base, found.kind, found.slopes = base, self.kind, None
        found.to_powers, found.from_powers = self.to_powers[:n, :n], self.from_powers[:n, :n]
        found.constants = self.constants[:n]
        found.parts = self.parts[:n, : n + 1]
        found.fitted_parts = self.fitted_parts[:n, : n + constant]
        found._to_powers_in_doubles = self._to_powers_in_doubles[:n, :n]
        return found

    @property
    def diagonal(self) -> bool:
        """Whether the coefficients differ from the caller's in scale only."""
        return False

    @property
    def penalty_root(self) -> Tensor:
        """The matrix that multiplies coefficients to those of the powers, which are penalised."""
        return self._to_powers_in_doubles

    @property
    def rounding(self) -> "CombinedRounding":
        """How large the rounding errors of the terms are."""
        return CombinedRounding(self)

    def can_move(self, fit_intercept: bool) -> bool:
        """Return False: the terms suit the rows that they were made for."""
        return False

    def expand(self, X: Tensor, out: Tensor) -> Tensor:
        """Return the terms of a block, of shape (n_terms, n_rows); see ``Expansion``."""
        terms = self.base.expand(X, out)
        parts = self.fitted_parts.to(terms)
        combined = parts[:, -len(terms) :] @ terms
        return combined if self.intercept else combined.add_(parts[:, :1])

    def in_base(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef, intercept) for the terms of ``base``.

        Parameters
        ----------
        coef : ndarray of shape (n_targets, n_terms)
        intercept : ndarray of shape (n_targets,)
        """
        in_base = coef @ self.parts.numpy()
        constants = (not self.intercept) * in_base[:, 0]
        return np.ascontiguousarray(in_base[:, 1:]), intercept + constants

    @property
    def conversion(self) -> "PenalisedConversion":
        """Converts coefficients of the terms to those of the powers, and back."""
        return PenalisedConversion(self)


class CombinedRounding(ColumnRounding):
    """How large the rounding errors of combinations of terms are."""

    least_size = 1.0

    def __init__(self, basis: PenalisedBasis):
        self.basis = basis

    @property
    def amplification(self) -> Array:
        """By how much relative errors of the data can be amplified in each term."""
        parts = abs(self.basis.fitted_parts.numpy())[:, -len(self.basis.terms) :]
        return parts @ self.basis.base.rounding.amplification


class PenalisedConversion(BasisConversion):
    """Converts coefficients of combinations of terms to those of powers, and back."""

    basis: PenalisedBasis

    def to_caller(self, w: Array) -> Array:
        """Return the caller's coefficients from those of the terms."""
        return product(self.basis.penalty_root.numpy(), w)

    def from_caller(self, coef: Array, constant: Array) -> tuple[Array, Array]:
        """Return (coefficients of the terms, constant) from the caller's."""
        with localcontext(Context(self.basis.digits)):
            exact = as_decimals(coef)
            w = (self.basis.from_powers @ exact).astype(float)
            added = (self.basis.constants @ exact).astype(float) * self.basis.intercept
        return w, constant + added

    def caller_solution(
        self, v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the caller's (coef, intercept), converted in decimal arithmetic."""
        t = v.shape[1]
        with localcontext(Context(self.basis.digits)):
            w = as_decimals(v.numpy()) + as_decimals(v_low.numpy())
            origin = as_decimals(shift.numpy())
            exact = self.basis.to_powers @ w[:-1]
            constant = w[-1] + origin[:t] - origin[t:] @ w[:-1] - self.basis.constants @ exact
            coef, intercept = exact.astype(float), constant.astype(float) * fit_intercept
        return np.ascontiguousarray(coef.T), intercept

"""Coefficients of the terms that a polynomial is fitted in, and those that the caller asked for."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._linalg.decimal_matrices import decimal_identity, rounded_to_decimals
from .._linalg.rational import Rationals, as_fractions, as_integers
from .._sources.feature_map import CoefficientConversion
from .change_of_basis import ChangeOfBasis, connections
from .column_functions import ColumnFunctions, Interval
from .families import Recurrence, family
from .kinds import Kind
from .multi_index import Terms

Array = NDArray[np.float64]


class ConvertibleBasis(Protocol):
    """What a conversion needs of a basis; see ``Basis``."""

    terms: Terms
    steps: Sequence[Recurrence]
    centre: np.ndarray
    half: np.ndarray
    caller: str
    doubled: bool

    @property
    def diagonal(self) -> bool: ...

    @property
    def definition(self) -> Kind: ...


class BasisConversion(CoefficientConversion):
    """Converts coefficients of the terms of a basis to those of the caller's family, and back.

    Parameters
    ----------
    basis : Basis
    """

    def __init__(self, basis: ConvertibleBasis):
        self.basis = basis

    @cached_property
    def unit(self) -> Array:
        """What coefficients are multiplied by if the terms are powers of scaled columns."""
        unit = np.ones(len(self.basis.terms))
        terms, columns, powers = self.basis.terms.entries
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply.at(unit, terms, self.basis.half[columns] ** -powers.astype(float))
        return unit

    def to_caller(self, w: Array) -> Array:
        """Return the caller's coefficients from those of the terms."""
        if self.basis.diagonal:
            return w * self.unit[:, None] if self.basis.caller == "power" else w
        return self._to_caller(w)[:-1]

    def to_caller_with_constant(self, w: Array, constant: Array) -> tuple[Array, Array]:
        """Return the caller's coefficients and constant, for terms measured from zero."""
        if self.basis.diagonal:
            return self.to_caller(w), constant
        found = self._to_caller(w, constant)
        return found[:-1], found[-1]

    def from_caller(self, coef: Array, constant: Array) -> tuple[Array, Array]:
        """Return (coefficients of the terms, constant) from the caller's."""
        if self.basis.diagonal:
            return (coef / self.unit[:, None] if self.basis.caller == "power" else coef), constant
        w = self._from_caller(coef, constant)
        return w[:-1], w[-1]

    def caller_solution(
        self, v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the caller's (coef, intercept), converted in rational arithmetic.

        Parameters
        ----------
        v, v_low : Tensor of shape (n_terms + 1, n_targets)
            Coefficients of the terms, which are measured from ``shift``, and the intercept.
        shift : Tensor of shape (n_targets + n_terms,)
        fit_intercept : bool
        """
        if self.basis.diagonal:
            return super().caller_solution(v, v_low, shift, fit_intercept)
        t = v.shape[1]
        (high, low, origin), whole = as_integers(v, v_low, shift)
        w, constant = (high + low)[:-1], 0 * origin[:t]
        if fit_intercept:
            constant = whole * ((high + low)[-1] + origin[:t]) - origin[t:] @ w
        exact = Rationals(np.concatenate((whole * w, constant[None])), whole * whole)
        coef = self._to_caller.exactly(exact)
        return np.ascontiguousarray(coef[:-1].T), coef[-1]

    def decimals_from_caller(self) -> np.ndarray:
        """Return the powers as combinations of 1 and the terms, of shape (n_terms, n_terms + 1).

        The numbers are decimal, in the precision of the context. The part of 1 comes first. A power
        has a part of no term that comes after it.
        """
        matrices = [rounded_to_decimals(parts) for parts in self._from_caller.connections]
        identity = decimal_identity(len(self.basis.terms))
        return np.roll(self._from_caller.moved(identity, Decimal(0), matrices), 1, 0).T

    def amplification(self, w: Array) -> float:
        """Return how much larger relative errors are in the caller's coefficients than in w."""
        if not self.basis.doubled or self.basis.diagonal:
            return 1.0
        coef, summands = self._sizes(w)
        return float((summands / coef).max())

    def relative_size(self, step: Array, w: Array, scale: Array) -> float:
        """Return the largest change of a coefficient, relative to the largest coefficient.

        In doubled precision, each of the caller's coefficients is to have all digits, so that its
        change is relative to itself. If it cancels to nothing, its change is relative to the
        rounding errors of what cancels.
        """
        if not self.basis.doubled:
            return super().relative_size(step, w, scale)
        coef, _ = self._sizes(w)
        return float((abs(self.to_caller(step)) / coef).max())

    def _sizes(self, w: Array) -> tuple[Array, Array]:
        """Return the sizes of the caller's coefficients, and the sums of those of their parts."""
        limits = np.finfo(np.float64)
        # The rounding of the data makes coefficients of this size in terms that hardly matter.
        rounded = np.ones_like(w) * np.maximum(limits.eps * abs(w).max(0), limits.tiny)
        summands, floor = self._summands(w), self._summands(rounded)
        return np.maximum(abs(self.to_caller(w)), floor), summands

    def _summands(self, w: Array) -> Array:
        """Return the sums of absolute values that make up each of the caller's coefficients."""
        if self.basis.diagonal:
            return abs(w)
        return self._to_caller.sizes(w)

    def coefficients_of(self, other: ConvertibleBasis) -> tuple[np.ndarray, np.ndarray]:
        """Return the terms of another basis, with as many terms, as combinations of those here.

        A pair of arrays of shape (n_terms + 1, n_terms), in doubled precision as moments are; each
        column is a term of the other basis, and the last row holds the constants.
        """
        change = self._change(ColumnFunctions.of(other), self._functions)
        matrices = [parts.fractions for parts in change.connections]
        identity = np.eye(len(self.basis.terms), dtype=int).astype(object)
        exact = change.moved(identity, 0, matrices)
        high = exact.astype(float)
        return high, (exact - as_fractions(high)).astype(float)

    @cached_property
    def _to_caller(self) -> ChangeOfBasis:
        return self._change(self._functions, self._family)

    @cached_property
    def _from_caller(self) -> ChangeOfBasis:
        return self._change(self._family, self._functions)

    def _change(self, functions: ColumnFunctions, others: ColumnFunctions) -> ChangeOfBasis:
        lowest = int(self.basis.definition.vanishes_at_zero)
        return ChangeOfBasis(self.basis.terms, connections(functions, others), lowest)

    @cached_property
    def _functions(self) -> ColumnFunctions:
        return ColumnFunctions.of(self.basis)

    @cached_property
    def _family(self) -> ColumnFunctions:
        """The caller's family: powers of the columns themselves, or polynomials on an interval."""
        intervals = self._functions.intervals
        if self.basis.caller == "power":
            intervals = [Interval(0.0, 1.0)] * len(intervals)
        steps = family(self.basis.caller, self.basis.terms.degree)
        return ColumnFunctions([steps] * len(intervals), intervals)

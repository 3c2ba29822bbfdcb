"""Coefficients of the terms that a polynomial is fitted in, and those that the caller asked for."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .._linalg.rational import Rationals, as_fractions, as_integers
from .._sources.feature_map import CoefficientConversion
from .change_of_basis import Conversion, connection
from .families import Step, family
from .kinds import Kind
from .multi_index import Terms

Interval = tuple[Any, Any]  # centre and half length, rational numbers

_CLASSES: dict[str, Any] = {
    "power": np.polynomial.Polynomial,
    "chebyshev": np.polynomial.Chebyshev,
    "legendre": np.polynomial.Legendre,
    "hermite": np.polynomial.Hermite,
}
_LETTERS = {"chebyshev": "T", "legendre": "P", "hermite": "H"}


class Converted(Protocol):
    """What a conversion asks of a basis; see ``Basis``."""

    terms: Terms
    steps: Sequence[tuple[Step, ...]]
    centre: np.ndarray
    half: np.ndarray
    caller: str
    doubled: bool

    @property
    def diagonal(self) -> bool: ...

    @property
    def domain(self) -> np.ndarray: ...

    @property
    def is_kind(self) -> Kind: ...


class BasisConversion(CoefficientConversion):
    """Writes coefficients of the terms of a basis in the caller's family, and these in the terms.

    Parameters
    ----------
    basis : Basis
    """

    def __init__(self, basis: "Converted"):
        self.basis = basis

    @cached_property
    def unit(self) -> Tensor:
        """What a coefficient of a term is in the caller's units, where only they differ."""
        unit = np.ones(len(self.basis.terms))
        terms, columns, powers = self.basis.terms.entries
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply.at(unit, terms, self.basis.half[columns] ** -powers.astype(float))
        return torch.from_numpy(unit)

    def to_caller(self, w: Tensor) -> Tensor:
        """Return the caller's coefficients from those of the terms; float64 tensors."""
        if self.basis.diagonal:
            return w * self.unit[:, None] if self.basis.caller == "power" else w
        return torch.from_numpy(self._to_caller(w.numpy())[:-1])

    def from_caller(self, coef: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Return (coefficients of the terms, constant) from the caller's; float64 tensors."""
        if self.basis.diagonal:
            return (coef / self.unit[:, None] if self.basis.caller == "power" else coef), constant
        w = torch.from_numpy(self._from_caller(coef.numpy(), constant.numpy()))
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
        """
        if self.basis.diagonal:
            return super().caller_solution(v, v_low, shift, fit_intercept)
        t = v.shape[1]
        (high, low, origin), whole = as_integers(v, v_low, shift)
        w, constant = (high + low)[:-1], 0 * origin[:t]
        if fit_intercept:
            constant = whole * ((high + low)[-1] + origin[:t]) - origin[t:] @ w
        exact = Rationals(np.concatenate((whole * w, constant[None])), whole * whole)
        u = self._to_caller.exactly(exact)
        return np.ascontiguousarray(u[:-1].T), u[-1]

    def numpy_polynomials(self, coef: np.ndarray, intercept: np.ndarray, name: str) -> list:
        """Return the polynomial of each target in one column as an object of numpy.polynomial.

        Parameters
        ----------
        coef : ndarray of shape (n_targets, n_terms)
        intercept : ndarray of shape (n_targets,)
        name : str
            Of the column.
        """
        make = _CLASSES[self.basis.caller]
        symbol = name if name.isidentifier() else "x"
        return [
            make(coefficients, domain=self.basis.domain[0], window=(-1, 1), symbol=symbol)
            for coefficients in self._in_family(coef, intercept)
        ]

    def decimals_from_caller(self) -> np.ndarray:
        """Return the powers in ones, the first column, and the terms; in decimal arithmetic.

        A power is made of terms that come no later.
        """
        matrices = [_as_decimals(parts) for parts in self._from_caller.connections]
        eye = np.full((len(self.basis.terms),) * 2, Decimal(0), dtype=object)
        np.fill_diagonal(eye, Decimal(1))
        return np.roll(self._from_caller.moved(eye, Decimal(0), matrices), 1, 0).T

    def amplification(self, w: Tensor) -> float:
        """Return how much larger relative errors are in the caller's coefficients than in w."""
        if not self.basis.doubled or self.basis.diagonal:
            return 1.0
        u, size = self._sizes(w)
        return float((size / u).max())

    def relative_size(self, step: Tensor, w: Tensor, scale: Tensor) -> float:
        """Return the largest change of a coefficient, relative to its size or to the largest.

        In doubled precision it is that of the caller's, each relative to itself; those that cancel
        to nothing are measured against the rounding of what cancels.
        """
        if not self.basis.doubled:
            return super().relative_size(step, w, scale)
        u, _ = self._sizes(w)
        return float((self.to_caller(step).abs() / u).max())

    def _sizes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return how large the caller's coefficients are, and what they are made of."""
        limits = torch.finfo(torch.float64)
        # Of a term that hardly matters, the data rounds away the coefficient.
        rounded = torch.ones_like(w) * (limits.eps * w.abs().amax(0)).clamp(min=limits.tiny)
        size, floor = self._sums(w), self._sums(rounded)
        return torch.maximum(self.to_caller(w).abs(), floor), size

    def _sums(self, w: Tensor) -> Tensor:
        return (
            w.abs() if self.basis.diagonal else torch.from_numpy(self._to_caller.sizes(w.numpy()))
        )

    def _in_family(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Return the coefficients, by degree, of the caller's family in one column.

        It is mapped from its domain to [-1, 1], powers too. Of shape (n_targets, degree + 1).
        """
        below = np.zeros((len(coef), self.basis.terms.n_below))
        values = np.concatenate((intercept[:, None], below, coef), 1)
        if self.basis.diagonal and self.basis.caller != "power":
            return values
        low, high = map(Fraction, self.basis.domain[0].tolist())
        domain = (low + high) / 2, (high - low) / 2
        ends = between(domain, intervals_of(self.basis)[0])
        parts = connection(self.basis.steps[0], self._theirs, *ends)
        (integers,), whole = as_integers(torch.from_numpy(values))
        return Rationals(integers @ parts.numerators, whole * parts.denominator).doubles

    @cached_property
    def _to_caller(self) -> Conversion:
        parts = [
            connection(steps, self._theirs, *between(*ends))
            for steps, *ends in zip(
                self.basis.steps, self._their_intervals, intervals_of(self.basis), strict=True
            )
        ]
        return Conversion(self.basis.terms, parts, self._lowest)

    @cached_property
    def _from_caller(self) -> Conversion:
        parts = [
            connection(self._theirs, steps, *between(*ends))
            for steps, *ends in zip(
                self.basis.steps, intervals_of(self.basis), self._their_intervals, strict=True
            )
        ]
        return Conversion(self.basis.terms, parts, self._lowest)

    @property
    def _theirs(self) -> tuple[Step, ...]:
        """The steps of the caller's family."""
        return family(self.basis.caller, self.basis.terms.degree)

    @property
    def _their_intervals(self) -> list[Interval]:
        """Where the caller's family has [-1, 1]."""
        return (
            [(0, 1)] * self.basis.terms.n_features
            if self.basis.caller == "power"
            else intervals_of(self.basis)
        )

    def terms_of(self, other: "Converted") -> tuple[np.ndarray, np.ndarray]:
        """Return the terms of another basis, with as many terms, in terms of this one.

        In doubled precision, which moments have: a pair of arrays of shape (n_terms + 1, n_terms);
        the last row holds the constants.
        """
        parts = [
            connection(theirs, ours, *between(*ends))
            for theirs, ours, *ends in zip(
                other.steps,
                self.basis.steps,
                intervals_of(self.basis),
                intervals_of(other),
                strict=True,
            )
        ]
        matrices = [part.fractions for part in parts]
        eye = np.eye(len(self.basis.terms), dtype=int).astype(object)
        exact = Conversion(self.basis.terms, parts, self._lowest).moved(eye, 0, matrices)
        high = exact.astype(float)
        return high, (exact - as_fractions(high)).astype(float)

    def name_of(self, powers: np.ndarray, names: Sequence[str]) -> str:
        """Return the name of a term, of powers as PolynomialFeatures spells it."""
        return " ".join(
            _spelled(self.basis.caller, n, k) for n, k in zip(names, powers, strict=True) if k
        )

    @property
    def _lowest(self) -> int:
        """The least degree that polynomials of a column begin with; 0 with a constant part."""
        return int(self.basis.is_kind.from_zero)


def intervals_of(basis: "Converted") -> list[Interval]:
    """Return the centre and the half length of the interval of each column, exactly."""
    return [
        (Fraction(centre), Fraction(half))
        for centre, half in zip(basis.centre.tolist(), basis.half.tolist(), strict=True)
    ]


def between(own: Interval, other: Interval) -> tuple[Any, Any]:
    """Return the slope and the offset of t in the other interval as a function of t in this one."""
    (centre, half), (other_centre, other_half) = own, other
    return Fraction(half) / other_half, Fraction(centre - other_centre) / other_half


def _as_decimals(parts: Rationals) -> np.ndarray:
    whole = Decimal(parts.denominator)
    decimals = np.empty(parts.numerators.size, dtype=object)
    decimals[:] = [Decimal(number) / whole for number in parts.numerators.ravel().tolist()]
    return decimals.reshape(parts.numerators.shape)


def _spelled(caller: str, name: str, degree: int) -> str:
    """Return the name of a function of one column."""
    if caller == "power":
        return name if degree == 1 else f"{name}^{degree}"
    return f"{_LETTERS[caller]}{degree}({name})"

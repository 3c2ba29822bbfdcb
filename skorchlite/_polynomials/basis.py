"""The functions that a polynomial is fitted in, and their conversion to those asked for.

Powers of raw columns are nearly dependent, so that the model is fitted in terms that are not:
products of polynomials ``phi_k`` of each column mapped to [-1, 1]. Their coefficients are then
converted in rational arithmetic, exactly.
"""

import copy
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._linalg.rational import Rationals, as_fractions, as_integers
from .._sources.origin import power_of_two
from .change_of_basis import Conversion, connection
from .evaluation import Expansion
from .families import Step, family, rooted
from .multi_index import Terms
from .term_rounding import followed

_CLASSES: dict[str, Any] = {
    "power": np.polynomial.Polynomial,
    "chebyshev": np.polynomial.Chebyshev,
    "legendre": np.polynomial.Legendre,
    "hermite": np.polynomial.Hermite,
}
SAMPLE_ROWS = 4_096  # from which on some stand for all
_FAR_SLOPE = 1e3  # a slope that terms have beside a row that is far from the others
_LETTERS = {"chebyshev": "T", "legendre": "P", "hermite": "H"}
_DERIVED = ("unit", "_to_caller", "_from_caller", "seen")

Interval = tuple[Any, Any]  # centre and half length, rational numbers


class Basis(Expansion):
    """Products of polynomials of the columns mapped to [-1, 1], and what they are converted to.

    Parameters
    ----------
    terms : Terms
    caller : {"power", "chebyshev", "legendre", "hermite"}
        The family that the coefficients are wanted for: powers of the columns as they are, or
        polynomials of the columns mapped from their domain to [-1, 1].
    kind : str
        What ``phi_k(t)`` is: that family; "chebyshev", ``T_k(t)``; "orthogonal", as ``steps`` has
        it; for powers also "rooted", which vanishes with x like the least power that a term may
        have, and "raw", powers of columns that are not scaled.
    low, high : ndarray of shape (n_features,)
        The ends of each column in the data.
    steps : list of tuple of Step, default=None
        The recurrence of each column for kind "orthogonal", or "rooted" where it is uneven.
    slopes : list of ndarray of shape (degree,), default=None
        By how much an error in t is amplified in each ``phi_k``, k from 1, for each column; None
        for the degree of the polynomial.
    doubled : bool, default=False
        Whether the sums over the rows are to be made in doubled precision.
    even : bool, default=False
        Whether the data covers the intervals so evenly that Chebyshev's polynomials are far from
        dependent.
    """

    # Rows of the data, all of them if fewer than SAMPLE_ROWS, to tell why it determines fewer terms
    # and what its rounding makes of them; kept in the process of a fit only.
    seen: np.ndarray | None = None

    def __init__(
        self,
        terms: Terms,
        caller: str,
        kind: str,
        low: np.ndarray,
        high: np.ndarray,
        *,
        steps: Sequence[tuple[Step, ...]] | None = None,
        slopes: Sequence[np.ndarray] | None = None,
        doubled: bool = False,
        even: bool = False,
    ):
        if steps is None:
            steps = [_steps_of(kind, terms)] * terms.n_features
        super().__init__(terms, steps, *_centre_and_half(kind, low, high))
        self.caller, self.kind, self.doubled, self.even = caller, kind, doubled, even
        self.low, self.high = low, high
        self.slopes = slopes

    def __getstate__(self) -> dict:
        # Without what is derived: a basis travels with each pass to where the rows are.
        return {name: value for name, value in vars(self).items() if name not in _DERIVED}

    @property
    def powers(self) -> np.ndarray:
        """The degree of each column in each term; see ``Terms``."""
        return self.terms.powers

    @property
    def domain(self) -> np.ndarray:
        """The interval of each column that is mapped to [-1, 1], of shape (n_features, 2).

        As in ``numpy.polynomial``, of a column that is constant it is one to either side of it.
        """
        apart = np.where(self.low == self.high, np.maximum(2 * np.spacing(np.abs(self.low)), 1), 0)
        return np.stack((self.low - apart, self.high + apart), 1)

    def followed(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what rounding makes of each term, row by row; None unless all are seen."""
        if self.seen is None or len(self.seen) >= SAMPLE_ROWS:
            return None
        return followed(self, self.seen)

    def plain(self) -> "Basis":
        """Return the same for any rows, with sums in single doubles."""
        plain = copy.copy(self)
        plain.doubled = plain.even = False
        return plain

    @property
    def diagonal(self) -> bool:
        """Whether the coefficients differ from the caller's in scale only."""
        return self.kind in (self.caller, "raw")

    @property
    def rounding(self) -> Tensor:
        """How far the rounding of the data can be amplified in each term."""
        return self._amplified(lambda slopes: slopes)

    @property
    def alike(self) -> bool:
        """Whether rounding makes about as much of a term in each row."""
        slopes = [0.0] if self.slopes is None else np.concatenate(self.slopes)
        steepest = np.max(slopes, where=np.isfinite(slopes), initial=0.0)
        return self.kind != "rooted" and steepest <= _FAR_SLOPE

    @property
    def evaluated(self) -> Tensor:
        """How many roundings it takes to make each term, of a t that is exact.

        Infinite for polynomials that vanish on the data.
        """
        return self._amplified(lambda slopes: np.where(np.isinf(slopes), slopes, 0))

    def _amplified(self, amplify: Callable[[np.ndarray], np.ndarray]) -> Tensor:
        far = 1 + np.abs(self.centre) / self.half
        degrees = np.arange(1.0 + self.terms.degree)
        slopes = [degrees[1:]] * len(far) if self.slopes is None else self.slopes
        table = np.array([np.r_[0, np.maximum(amplify(part), degrees[1:])] for part in slopes])
        terms, columns, powers = self.terms.entries
        amplified = table[columns, powers] * far[columns]
        return torch.from_numpy(np.bincount(terms, amplified, len(self.terms)))

    @property
    def magnitude(self) -> float:
        """What the rounding of a term is relative to, where it is more than its own size.

        Powers, and Hermite's polynomials, which grow like them, are relative to themselves, while
        others are differences.
        """
        return 0.0 if self.kind in ("power", "raw", "hermite") else 1.0

    @property
    def form_root(self) -> Tensor | None:
        """What makes the caller's coefficients, where a penalty on them is no diagonal here."""
        return None

    @property
    def cancelling(self) -> float:
        """How many digits cancel where powers of the columns make what is of size 1 on the data.

        That is the size of the coefficients of Chebyshev's polynomials in columns scaled to 1.
        """
        centre, half = np.abs(self.low / 2 + self.high / 2), self.high / 2 - self.low / 2
        far = 1 + 2 * centre / np.where(half > 0, half, np.inf)
        degrees = np.minimum(self.terms.degrees.of_columns, self.terms.degrees.most)
        digits = degrees * np.log10(far + np.sqrt(far * far + 1))
        return float(np.where(half > 0, digits, 0).max())

    def decimals_from_caller(self) -> np.ndarray:
        """Return the powers in ones, the first column, and the terms; in decimal arithmetic.

        A power is made of terms that come no later.
        """
        matrices = [_as_decimals(parts) for parts in self._from_caller.connections]
        eye = np.full((len(self.terms),) * 2, Decimal(0), dtype=object)
        np.fill_diagonal(eye, Decimal(1))
        return np.roll(self._from_caller.moved(eye, Decimal(0), matrices), 1, 0).T

    def over(self, low: np.ndarray, high: np.ndarray, own: bool = False) -> "Basis":
        """Return the terms on other intervals of the columns, in the ``own`` family if asked for.

        Polynomials that are orthogonal on some of the data are none to go on with.
        """
        kind = "chebyshev" if self.kind == "orthogonal" else self.kind
        if own and not self.diagonal:
            kind = self.caller
        return Basis(self.terms, self.caller, kind, low, high)

    def is_like(self, other: "Basis") -> bool:
        """Return whether the terms of another basis, with as many terms, are the same."""
        mapped = np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)
        return mapped and self.kind == other.kind and list(self.steps) == list(other.steps)

    def seen_to(self, low: np.ndarray, high: np.ndarray) -> "Basis":
        """Return the same terms, mapped as before, for data that reaches further.

        Of families but powers, whose map is the caller's too, the domain stays.
        """
        if self.caller != "power":
            return self
        basis = copy.copy(self)
        basis.low, basis.high = low, high
        return basis

    def can_move(self, fit_intercept: bool) -> bool:
        """Return whether terms on other intervals are made of those on these."""
        bound = self.kind not in ("power", "raw", "rooted")
        return not bound or (fit_intercept and self.terms.degrees.least <= 1)

    def terms_of(self, other: "Basis") -> tuple[np.ndarray, np.ndarray]:
        """Return the terms of another basis, with as many terms, in terms of this one.

        In doubled precision, which moments have: a pair of arrays of shape (n_terms + 1, n_terms);
        the last row holds the constants.
        """
        parts = [
            connection(theirs, ours, *_between(*ends))
            for theirs, ours, *ends in zip(
                other.steps, self.steps, self._intervals, other._intervals, strict=True
            )
        ]
        matrices = [part.fractions for part in parts]
        eye = np.eye(len(self.terms), dtype=int).astype(object)
        exact = Conversion(self.terms, parts, self._lowest).moved(eye, 0, matrices)
        high = exact.astype(float)
        return high, (exact - as_fractions(high)).astype(float)

    def name_of(self, powers: np.ndarray, names: Sequence[str]) -> str:
        """Return the name of a term, of powers as PolynomialFeatures spells it."""
        return " ".join(
            _spelled(self.caller, n, k) for n, k in zip(names, powers, strict=True) if k
        )

    def numpy_polynomials(self, coef: np.ndarray, intercept: np.ndarray, name: str) -> list:
        """Return the polynomial of each target in one column as an object of numpy.polynomial.

        Parameters
        ----------
        coef : ndarray of shape (n_targets, n_terms)
        intercept : ndarray of shape (n_targets,)
        name : str
            Of the column.
        """
        make = _CLASSES[self.caller]
        symbol = name if name.isidentifier() else "x"
        return [
            make(coefficients, domain=self.domain[0], window=(-1, 1), symbol=symbol)
            for coefficients in self._in_family(coef, intercept)
        ]

    # --- conversion ---

    @cached_property
    def unit(self) -> Tensor:
        """What a coefficient of a term is in the caller's units, where only they differ."""
        unit = np.ones(len(self.terms))
        terms, columns, powers = self.terms.entries
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply.at(unit, terms, self.half[columns] ** -powers.astype(float))
        return torch.from_numpy(unit)

    def to_caller(self, w: Tensor) -> Tensor:
        """Return the caller's coefficients from those of the terms; float64 tensors."""
        if self.diagonal:
            return w * self.unit[:, None] if self.caller == "power" else w
        return torch.from_numpy(self._to_caller(w.numpy())[:-1])

    def from_caller(self, u: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Return (coefficients of the terms, constant) from the caller's; float64 tensors."""
        if self.diagonal:
            return (u / self.unit[:, None] if self.caller == "power" else u), constant
        w = torch.from_numpy(self._from_caller(u.numpy(), constant.numpy()))
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
        t = v.shape[1]
        (high, low, origin), whole = as_integers(v, v_low, shift)
        w, constant = (high + low)[:-1], 0 * origin[:t]
        if fit_intercept:
            constant = whole * ((high + low)[-1] + origin[:t]) - origin[t:] @ w
        exact = Rationals(np.concatenate((whole * w, constant[None])), whole * whole)
        u = self._to_caller.exactly(exact)
        return np.ascontiguousarray(u[:-1].T), u[-1]

    def _in_family(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Return the coefficients, by degree, of the caller's family in one column.

        It is mapped from its domain to [-1, 1], powers too. Of shape (n_targets, degree + 1).
        """
        below = np.zeros((len(coef), self.terms.n_below))
        values = np.concatenate((intercept[:, None], below, coef), 1)
        if self.diagonal and self.caller != "power":
            return values
        low, high = map(Fraction, self.domain[0].tolist())
        domain = (low + high) / 2, (high - low) / 2
        between = _between(domain, self._intervals[0])
        parts = connection(self.steps[0], self._theirs, *between)
        (integers,), whole = as_integers(torch.from_numpy(values))
        return Rationals(integers @ parts.numerators, whole * parts.denominator).doubles

    def amplification(self, w: Tensor) -> float:
        """Return how much larger relative errors are in the caller's coefficients than in w."""
        if not self.doubled or self.diagonal:
            return 1.0
        u, size = self._sizes(w)
        return float((size / u).max())

    def relative_size(self, step: Tensor, w: Tensor) -> float:
        """Return the largest relative change of a coefficient of the caller's.

        Coefficients that cancel to nothing are measured against the rounding of what cancels.
        """
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
        return w.abs() if self.diagonal else torch.from_numpy(self._to_caller.sizes(w.numpy()))

    @property
    def _lowest(self) -> int:
        return 1 if self.kind in ("rooted", "power", "raw") else 0

    @cached_property
    def _to_caller(self) -> Conversion:
        parts = [
            connection(steps, self._theirs, *_between(*ends))
            for steps, *ends in zip(self.steps, self._their_intervals, self._intervals, strict=True)
        ]
        return Conversion(self.terms, parts, self._lowest)

    @cached_property
    def _from_caller(self) -> Conversion:
        parts = [
            connection(self._theirs, steps, *_between(*ends))
            for steps, *ends in zip(self.steps, self._intervals, self._their_intervals, strict=True)
        ]
        return Conversion(self.terms, parts, self._lowest)

    @property
    def _theirs(self) -> tuple[Step, ...]:
        """The steps of the caller's family."""
        return family(self.caller, self.terms.degree)

    @property
    def _their_intervals(self) -> list[Interval]:
        """Where the caller's family has [-1, 1]."""
        return [(0, 1)] * self.terms.n_features if self.caller == "power" else self._intervals

    @property
    def _intervals(self) -> list[Interval]:
        """The centre and the half length of the interval of each column, exactly."""
        return [
            (Fraction(centre), Fraction(half))
            for centre, half in zip(self.centre.tolist(), self.half.tolist(), strict=True)
        ]


def _between(own: Interval, other: Interval) -> tuple[Any, Any]:
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


def _steps_of(kind: str, terms: Terms) -> tuple[Step, ...]:
    if kind == "rooted":
        return rooted(terms.degree, max(terms.degrees.least, 1))
    return family("power" if kind == "raw" else kind, terms.degree)


def _centre_and_half(kind: str, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and the half length of the interval that a kind of basis has."""
    if kind == "raw":
        return np.zeros_like(low), np.ones_like(low)
    if kind in ("power", "rooted"):
        centre, half = np.zeros_like(low), np.maximum(np.abs(low), np.abs(high))
        half = power_of_two(torch.from_numpy(half)).numpy() if kind == "power" else half
    else:
        centre, half = low / 2 + high / 2, high / 2 - low / 2
    return centre, np.where(half == 0, 1.0, half)

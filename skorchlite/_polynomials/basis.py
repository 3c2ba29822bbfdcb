"""The functions that a polynomial is fitted in.

Powers of raw columns are nearly dependent, so that the model is fitted in terms that are not:
products of polynomials ``phi_k`` of each column mapped to [-1, 1]. ``basis_conversion`` has what
their coefficients are to the caller.
"""

import copy
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._sources.origin import power_of_two
from .basis_conversion import BasisConversion, Interval
from .evaluation import Expansion
from .families import Step, family, rooted
from .multi_index import Terms
from .term_rounding import followed

SAMPLE_ROWS = 4_096  # from which on some stand for all
_FAR_SLOPE = 1e3  # a slope that terms have beside a row that is far from the others
_DERIVED = ("conversion", "seen")


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
        plain = self._copied()
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
        basis = self._copied()
        basis.low, basis.high = low, high
        return basis

    def _copied(self) -> "Basis":
        """Return a copy without the conversion, which is that of this basis."""
        copied = copy.copy(self)
        vars(copied).pop("conversion", None)
        return copied

    def can_move(self, fit_intercept: bool) -> bool:
        """Return whether terms on other intervals are made of those on these."""
        bound = self.kind not in ("power", "raw", "rooted")
        return not bound or (fit_intercept and self.terms.degrees.least <= 1)

    @cached_property
    def conversion(self) -> Any:
        """What makes the caller's coefficients of those of the terms, and the other way."""
        return BasisConversion(self)

    @property
    def intervals(self) -> list[Interval]:
        """The centre and the half length of the interval of each column, exactly."""
        return [
            (Fraction(centre), Fraction(half))
            for centre, half in zip(self.centre.tolist(), self.half.tolist(), strict=True)
        ]


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

"""The functions that a polynomial is fitted in.

Powers of raw columns are nearly dependent, so that the model is fitted in terms that are not:
products of polynomials ``phi_k`` of each column mapped to [-1, 1]. ``basis_conversion`` has what
their coefficients are to the caller.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .._sources.feature_map import FeatureMap
from .basis_conversion import BasisConversion
from .evaluation import Expansion
from .families import Step
from .kinds import KINDS, Kind
from .multi_index import Terms
from .term_rounding import followed

SAMPLE_ROWS = 4_096  # from which on some stand for all
_FAR_SLOPE = 1e3  # a slope that terms have beside a row that is far from the others
_DERIVED = ("conversion", "seen")


class Basis(Expansion, FeatureMap):
    """Products of polynomials of the columns mapped to [-1, 1], and what they are converted to.

    Parameters
    ----------
    terms : Terms
    caller : {"power", "chebyshev", "legendre", "hermite"}
        The family that the coefficients are wanted for: powers of the columns as they are, or
        polynomials of the columns mapped from their domain to [-1, 1].
    kind : str
        What ``phi_k(t)`` is: that family, or another of ``KINDS``.
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

    made = True
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
            steps = [KINDS[kind].steps(terms)] * terms.n_features
        super().__init__(terms, steps, *KINDS[kind].interval(low, high))
        self.caller, self.kind, self.doubled, self.even = caller, kind, doubled, even
        self.low, self.high = low, high
        self.slopes = slopes

    def __getstate__(self) -> dict:
        # Without what is derived: a basis travels with each pass to where the rows are.
        return {name: value for name, value in vars(self).items() if name not in _DERIVED}

    @property
    def is_kind(self) -> Kind:
        """What all bases of this kind have."""
        return KINDS[self.kind]

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
        return followed(self, self.is_kind, self.seen)

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
        return self.is_kind.alike and steepest <= _FAR_SLOPE

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
        """What the rounding of a term is relative to, where it is more than its own size."""
        return self.is_kind.magnitude

    @property
    def digits_lost(self) -> float:
        """How many digits cancel where the terms are powers that make what is of size 1."""
        return self.cancelling if self.kind == "power" else 0.0

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
        """Return the terms on other intervals, in the caller's ``own`` family if asked for."""
        kind = self.is_kind.lasting or self.kind
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
        constant_left = fit_intercept and self.terms.degrees.least <= 1
        return constant_left or self.is_kind.from_zero

    @cached_property
    def conversion(self) -> BasisConversion:
        """What makes the caller's coefficients of those of the terms, and the other way."""
        return BasisConversion(self)

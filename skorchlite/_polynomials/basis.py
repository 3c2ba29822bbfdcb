"""The functions that a polynomial is fitted in.

Powers of raw columns are nearly linearly dependent. So the model is fitted in other terms: products
of polynomials ``phi_k`` of each column, which is mapped to [-1, 1]. ``basis_conversion`` makes the
caller's coefficients of those of the terms.
"""

import copy
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .._sources.feature_map import ColumnRounding, FeatureMap
from .basis_conversion import BasisConversion
from .cancellation import digits_lost_in_powers
from .degrees import Degrees
from .evaluation import Expansion
from .families import Recurrence
from .kinds import KINDS, Kind
from .multi_index import Terms, terms_of
from .sampling import SAMPLE_ROWS
from .term_rounding import TermRounding

_NOT_PICKLED = ("conversion", "sampled_rows", "_rounded_steps")


class Basis(Expansion, FeatureMap):
    """Products of polynomials of the columns, each mapped to [-1, 1].

    Parameters
    ----------
    terms : Terms
    caller : {"power", "chebyshev", "legendre", "hermite"}
        The family that the caller wants coefficients of: powers of the columns as they are, or
        polynomials of the columns mapped from their domain to [-1, 1].
    kind : str
        The key in ``KINDS`` of the polynomials ``phi_k`` that the terms are products of.
    low, high : ndarray of shape (n_features,)
        The least and the largest number of each column in the data.
    steps : list of Recurrence, default=None
        The recurrence of each column, where it is adapted to the data ("orthogonal", "rooted").
        None for that of the kind.
    slopes : list of ndarray of shape (degree,), default=None
        The median slope of each ``phi_k``, k from 1, on the data, for each column: an error in t is
        amplified by it. None for the degree k.
    doubled : bool, default=False
        Whether sums over the rows are made in doubled precision.
    even : bool, default=False
        Whether the data covers the range of each column so evenly that Chebyshev's polynomials are
        far from dependent on it.
    """

    derived = True
    sampled_rows: np.ndarray | None = None

    def __init__(
        self,
        terms: Terms,
        caller: str,
        kind: str,
        low: np.ndarray,
        high: np.ndarray,
        *,
        steps: Sequence[Recurrence] | None = None,
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
        # Each pass sends the basis to where the rows are, and so it is kept small.
        return {name: value for name, value in vars(self).items() if name not in _NOT_PICKLED}

    @property
    def definition(self) -> Kind:
        """The properties that all bases of this kind share."""
        return KINDS[self.kind]

    @property
    def powers(self) -> np.ndarray:
        """The degree of each column in each term; see ``Terms``."""
        return self.terms.powers

    @property
    def domain(self) -> np.ndarray:
        """The range of each column, of shape (n_features, 2).

        As in ``numpy.polynomial``, the domain of a constant column is wider by one on either side.
        """
        apart = np.where(self.low == self.high, np.maximum(2 * np.spacing(np.abs(self.low)), 1), 0)
        return np.stack((self.low - apart, self.high + apart), 1)

    @property
    def diagonal(self) -> bool:
        """Whether the coefficients differ from the caller's in scale only."""
        return self.kind in (self.caller, "raw")

    @cached_property
    def conversion(self) -> BasisConversion:
        """Converts coefficients of the terms to those of the caller's family, and back."""
        return BasisConversion(self)

    @property
    def rounding(self) -> ColumnRounding:
        """How large the rounding errors of the terms are."""
        all_known = self.sampled_rows is not None and len(self.sampled_rows) < SAMPLE_ROWS
        rows = self.sampled_rows if all_known else None
        return TermRounding(self, self.definition, self.slopes, rows)

    @property
    def digits_lost(self) -> float:
        """How many digits cancel if the terms are powers, and zero if they are not."""
        return self.digits_lost_in_powers if self.kind == "power" else 0.0

    @property
    def digits_lost_in_powers(self) -> float:
        """How many digits cancel where powers of the columns add up to numbers of size 1."""
        degrees = np.minimum(self.terms.degrees.of_columns, self.terms.degrees.most)
        return float(digits_lost_in_powers(self.low, self.high, degrees))

    def for_other_rows(self) -> "Basis":
        """Return the same terms, for rows that no fit has seen, with sums in doubles."""
        basis = self._copied()
        basis.doubled = basis.even = False
        return basis

    def with_range(self, low: np.ndarray, high: np.ndarray) -> "Basis":
        """Return the same terms for data of another range, without mapping the columns anew.

        The domain is the new range if the caller's coefficients are of powers. Those of the other
        families are of polynomials on the domain, which has to stay.
        """
        if self.caller != "power":
            return self
        basis = self._copied()
        basis.low, basis.high = low, high
        return basis

    def moved_to(self, low: np.ndarray, high: np.ndarray, in_family: bool = False) -> "Basis":
        """Return a basis of the same degrees whose columns are mapped from another range.

        Parameters
        ----------
        low, high : ndarray of shape (n_features,)
        in_family : bool, default=False
            Whether its terms are to be those of the caller's family, which a penalty is on.
        """
        kind = self.definition.continued_as or self.kind
        if in_family and not self.diagonal:
            kind = self.caller
        return Basis(self.terms, self.caller, kind, low, high)

    def leading(self, degrees: Degrees) -> "Basis":
        """Return the same terms up to lower degrees, which are the first ones here."""
        terms = terms_of(degrees)
        cut = {id(steps): steps[: terms.degree] for steps in self.steps}
        slopes = self.slopes
        return Basis(
            terms,
            self.caller,
            self.kind,
            self.low,
            self.high,
            steps=[cut[id(steps)] for steps in self.steps],
            slopes=None if slopes is None else [part[: terms.degree] for part in slopes],
            doubled=self.doubled,
            even=self.even,
        )

    def can_move(self, fit_intercept: bool) -> bool:
        """Return whether terms on another range are combinations of those on this one."""
        has_constant = fit_intercept and self.terms.degrees.least <= 1
        return has_constant or self.definition.vanishes_at_zero

    def has_same_terms(self, other: "Basis") -> bool:
        """Return whether the terms of another basis, of the same degrees, are the same."""
        mapped = np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)
        return mapped and self.kind == other.kind and list(self.steps) == list(other.steps)

    def _copied(self) -> "Basis":
        """Return a copy without the conversion, which refers to this basis."""
        copied = copy.copy(self)
        vars(copied).pop("conversion", None)
        return copied

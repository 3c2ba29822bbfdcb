"""Which basis a polynomial is fitted in."""

from dataclasses import dataclass

import numpy as np

from .._sources.row_source import Rows
from .adapted_basis import adapted_rooted_basis, orthogonal_basis
from .basis import Basis
from .cancellation import MANY_DIGITS
from .degrees import Degrees
from .multi_index import terms_of
from .penalised_basis import Curvature, PenalisedBasis, is_cheap
from .sampling import SAMPLE_ROWS, ColumnRanges, column_ranges

_MANY_TERMS = 500  # up to here the Gram matrix of the terms takes a fraction of a second
_DOUBLED_ENTRIES = 1_000_000  # rows times terms, up to which doubled precision takes little time
_FEW_CANCELLED = 3.0  # where no row can be read again


@dataclass(frozen=True)
class BasisRequest:
    """What the basis of a fit depends on, besides the rows.

    Parameters
    ----------
    degrees : Degrees
    family : str
        The family that the caller wants the coefficients of.
    fit_intercept : bool
    penalised : bool
        Whether there is a penalty or a bound on these coefficients.
    least_squares : bool
    unscaled : bool, default=False
        Whether the terms are to be those of a textbook, which scales no column.
    incremental : bool, default=False
        Whether more rows may follow, which may leave the ranges of the columns.
    curvature : float or ndarray of shape (n_terms,), default=0.0
        Of the penalty on each coefficient, if it is smooth and curves all of them, and the solver
        takes any quadratic form; else zero.
    """

    degrees: Degrees
    family: str
    fit_intercept: bool
    penalised: bool
    least_squares: bool
    unscaled: bool = False
    incremental: bool = False
    curvature: Curvature = 0.0


def fitted_basis(rows: Rows, request: BasisRequest) -> Basis:
    """Return the basis that a polynomial is fitted in; it takes a pass over the columns.

    1. If every basis gives the same fit, it is the one that is easiest to solve in: Chebyshev's
       polynomials or, of columns that do not cover their range evenly, orthogonal polynomials.
    2. If the fit depends on the coefficients of the caller's family, the basis is that family. The
       exception are powers that cancel each other under a smooth penalty: then combinations of the
       polynomials of 1 keep the digits; see ``PenalisedBasis``.
    3. If terms are missing (the constant, or those of low degree), powers are replaced by
       polynomials of the same span ("rooted"), and other families are kept.

    No basis is adapted to the rows if more may follow, which it might not suit.
    """
    terms, in_family = terms_of(request.degrees), _needs_family(rows, request)
    # If it does not, and no term is missing, every basis gives the same fit.
    any_basis = not in_family and request.fit_intercept and request.degrees.least <= 1
    kind = "chebyshev" if any_basis else _kind_of(request, in_family)
    may_combine = _may_combine(rows, request)
    ranges = column_ranges(rows, terms.degrees.most > 1 and (may_combine or not request.penalised))
    doubled = _is_doubled(rows, request)
    basis = Basis(terms, request.family, kind, ranges.low, ranges.high, doubled=doubled)
    if (
        may_combine
        and basis.digits_lost_in_powers >= MANY_DIGITS
        and is_cheap(basis, request.curvature)
    ):
        return _penalised_basis(rows, ranges, request)
    if terms.degree > 1 and not request.incremental:
        if any_basis:
            basis = orthogonal_basis(rows, ranges, basis)
        elif kind == "rooted":
            basis = adapted_rooted_basis(ranges, basis)
    basis.sampled_rows = ranges.sample
    return basis


def _needs_family(rows: Rows, request: BasisRequest) -> bool:
    """Return whether a fit depends on the coefficients of the caller's family.

    It does if a penalty or a bound is on them, if the steps of a solver are to be those in unscaled
    columns, and if there are so many more terms than rows that the coefficients of least norm are
    computed in the span of the rows.
    """
    if request.unscaled or request.penalised:
        return True
    n_terms = len(terms_of(request.degrees))
    return n_terms > _MANY_TERMS and rows.fewer_than(n_terms)


def _kind_of(request: BasisRequest, in_family: bool) -> str:
    """Return the kind of basis, see ``KINDS``, where the fit is not the same in any basis."""
    if request.family != "power":
        return request.family
    if request.unscaled:
        return "raw"
    # All powers from some degree on have the span of the lowest times polynomials. Among products
    # of several columns this holds only if all degrees from 1 are there.
    one_column = len(request.degrees.of_columns) == 1
    same_span = request.degrees.least <= 1 or one_column
    return "rooted" if same_span and not in_family else "power"


def _is_doubled(rows: Rows, request: BasisRequest) -> bool:
    """Return whether sums over the rows are made in doubled precision."""
    if request.penalised or request.unscaled or request.incremental or not request.least_squares:
        return False
    one_column = len(request.degrees.of_columns) == 1
    return one_column and rows.n_rows * terms_of(request.degrees).degree <= _DOUBLED_ENTRIES


def _may_combine(rows: Rows, request: BasisRequest) -> bool:
    """Return whether the basis may be a ``PenalisedBasis``, if powers cancel."""
    degrees, terms = request.degrees, terms_of(request.degrees)
    if request.incremental or request.unscaled or not np.any(request.curvature):
        return False
    if request.family != "power" or terms.degree == 1 or degrees.least > 1:
        return False
    # With fewer rows than terms of several columns, the penalty alone determines some.
    return terms.n_features == 1 or not rows.fewer_than(len(terms) + 1)


def _penalised_basis(rows: Rows, ranges: ColumnRanges, request: BasisRequest) -> PenalisedBasis:
    """Return combinations of orthogonal polynomials that suit the penalty."""
    terms = terms_of(request.degrees)
    chebyshev = Basis(terms, request.family, "chebyshev", ranges.low, ranges.high)
    base = orthogonal_basis(rows, ranges, chebyshev)
    return combinations(rows, base, request.curvature, request.fit_intercept)


def may_combine(base: Basis, curvature: Curvature) -> bool:
    """Return whether powers cancel so that combinations are better, and take little time to make.

    Parameters
    ----------
    base : Basis
        Of kind "chebyshev" or "orthogonal".
    curvature : float or ndarray of shape (n_terms,)
        The least of the penalties.
    """
    cancel = base.caller == "power" and base.digits_lost_in_powers >= _FEW_CANCELLED
    return cancel and is_cheap(base, curvature)


def combinations(rows: Rows, base: Basis, curvature: Curvature, intercept: bool) -> PenalisedBasis:
    """Return combinations of orthogonal polynomials that suit a penalty on powers."""
    return PenalisedBasis(base, _vanishing(rows, base), curvature, intercept)


def _vanishing(rows: Rows, basis: Basis) -> np.ndarray:
    """Return which terms are known to be nothing but rounding errors on the rows."""
    if basis.slopes is None or not rows.fewer_than(SAMPLE_ROWS):
        return np.zeros(len(basis.terms), bool)
    terms, columns, powers = basis.terms.entries
    table = np.array([np.r_[0, slopes] for slopes in basis.slopes])
    return np.bincount(terms, np.isinf(table[columns, powers]), len(basis.terms)) > 0

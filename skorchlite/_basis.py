"""The terms of a polynomial, and their conversion to powers.

Powers of raw columns are nearly dependent, so that the model is fitted in terms that are not:
products of polynomials ``phi_k`` of each column mapped to [-1, 1]. Their coefficients are then
converted to powers in rational arithmetic, exactly.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _doubled
from ._rational import as_doubles, as_fractions, power_coefficients, triangular_inverse
from ._staging import Origin, power_of_two

_SCAN_ROWS = 65_536


@lru_cache(maxsize=32)
def exponents(n_features: int, degree: int, interaction_only: bool) -> np.ndarray:
    """Return the exponents of the terms, one row a term, in PolynomialFeatures' order."""
    choose: Any = combinations if interaction_only else combinations_with_replacement
    chosen = [c for k in range(1, degree + 1) for c in choose(range(n_features), k)]
    powers = np.zeros((len(chosen), n_features), dtype=np.int64)
    for term, columns in zip(powers, chosen, strict=True):
        np.add.at(term, list(columns), 1)
    powers.flags.writeable = False
    return powers


@dataclass(frozen=True)
class Product:
    """Consecutive terms, each a lower term times the same polynomial of one column."""

    terms: slice
    lower: slice
    factor: int  # the term that is this polynomial alone


@lru_cache(maxsize=32)
def products(n_features: int, degree: int, interaction_only: bool) -> list[Product]:
    """Return the products that make all terms of several columns, in order.

    Each term costs one multiplication: the polynomial of its first column times a term in the
    columns after it.
    """
    powers = exponents(n_features, degree, interaction_only)
    index = {term: i for i, term in enumerate(map(tuple, powers.tolist()))}
    found: list[tuple[slice, slice, int]] = []
    for term, i in index.items():
        first = next(j for j, p in enumerate(term) if p)
        rest = (*term[:first], 0, *term[first + 1 :])
        if not any(rest):
            continue
        lower, factor = index[rest], index[tuple(np.subtract(term, rest))]
        last = found[-1] if found else None
        if last and last[2] == factor and last[0].stop == i and last[1].stop == lower:
            found[-1] = (slice(last[0].start, i + 1), slice(last[1].start, lower + 1), factor)
        else:
            found.append((slice(i, i + 1), slice(lower, lower + 1), factor))
    return [Product(*entry) for entry in found]


class Basis:
    """Products of ``phi_k((x_j - centre_j) / half_j)``, and how they become powers of x.

    Parameters
    ----------
    kind : {"chebyshev", "rooted", "power"}
        ``phi_k(t)`` is ``T_k(t)``; ``t T_{k-1}(t)``, which vanishes with t, for models without
        an intercept; or ``t^k``, whose coefficients differ from the caller's in scale only.
    degree : int
    interaction_only : bool
    centre, half : ndarray of shape (n_features,)
        Of the interval of each column.
    doubled : bool
        Whether the sums over the rows are to be made in doubled precision.
    """

    def __init__(
        self,
        kind: str,
        degree: int,
        interaction_only: bool,
        centre: np.ndarray,
        half: np.ndarray,
        doubled: bool = False,
    ):
        self.kind, self.degree, self.interaction_only = kind, degree, interaction_only
        self.centre, self.half, self.doubled = centre, half, doubled
        shape = (len(centre), degree, interaction_only)
        self.powers = exponents(*shape)
        self._products = products(*shape)
        alone = (self.powers > 0).sum(1) == 1
        self._alone = {  # the terms of one column only, by degree, the columns in order
            k: np.flatnonzero(alone & (self.powers.max(1, initial=0) == k))
            for k in range(1, degree + 1)
        }

    def plain(self) -> "Basis":
        """Return the same with its sums in single doubles."""
        plain = copy.copy(self)
        plain.doubled = False
        return plain

    @property
    def diagonal(self) -> bool:
        """Whether the coefficients differ from the caller's in scale only."""
        return self.kind == "power"

    @property
    def rounding(self) -> float:
        """How far the rounding of the data can be amplified in a term."""
        return float((1 + np.abs(self.centre) / self.half).max()) * self.degree

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest number of each column that it was made for."""
        return self.centre - self.half, self.centre + self.half

    def over(self, low: np.ndarray, high: np.ndarray) -> "Basis":
        """Return the same terms on other intervals of the columns."""
        centre, half = centre_and_half(self.kind, low, high)
        return Basis(self.kind, self.degree, self.interaction_only, centre, half)

    def terms_of(self, other: "Basis") -> np.ndarray:
        """Return the terms of another basis of the same kind in terms of this one.

        Of shape (n_terms + 1, n_terms); the last row holds the constants.
        """
        matrices = [
            as_doubles(theirs @ triangular_inverse(ours))
            for theirs, ours in zip(other._to_powers_exact, self._to_powers_exact, strict=True)
        ]
        return self._converted(np.eye(len(self.powers)), matrices)

    def expand(self, X: Tensor, out: Tensor) -> None:
        """Write the terms of a block into ``out`` of shape (n_terms, n_rows)."""
        centre, half = torch.from_numpy(self.centre), torch.from_numpy(self.half)
        t = ((X.to(out.dtype) - centre.to(out)) / half.to(out)).T
        for k, column_terms in self._columns(t):
            out[self._alone[k]] = column_terms
        for product in self._products:
            torch.mul(out[product.lower], out[product.factor], out=out[product.terms])

    def _columns(self, t: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(k, phi_k(t))`` for the degrees that single columns take."""
        before, last = torch.ones_like(t), t
        for k in range(1, self.degree + 1):
            if not len(self._alone[k]):
                return
            if k == 1:
                yield 1, t
                continue
            if self.kind == "rooted":
                yield k, t * last
            if self.kind == "power":
                last = last * t
            else:
                before, last = last, 2 * t * last - before
            if self.kind != "rooted":
                yield k, last

    def to_caller(self, w: Tensor) -> Tensor:
        """Return coefficients of powers from those of the terms; float64 tensors."""
        return torch.from_numpy(self._converted(w.numpy(), self._to_powers)[:-1])

    def from_caller(self, u: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Return (coefficients of the terms, constant) from those of powers; float64 tensors."""
        w = torch.from_numpy(self._converted(u.numpy(), self._from_powers, constant.numpy()))
        return w[:-1], w[-1]

    def caller_solution(
        self, v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (coef, intercept) in powers, converted in rational arithmetic.

        Parameters
        ----------
        v, v_low : Tensor of shape (n_terms + 1, n_targets)
            Coefficients of the terms, which are measured from ``shift``, and the intercept.
        shift : Tensor of shape (n_targets + n_terms,)
        """
        t = v.shape[1]
        exact, origin = as_fractions(v) + as_fractions(v_low), as_fractions(shift)
        w, constant = exact[:-1], np.full(t, Fraction())
        if fit_intercept:
            constant = exact[-1] + origin[:t] - origin[t:] @ w
        u = self._converted(w, self._to_powers_exact, constant)
        u = as_doubles(u)
        return np.ascontiguousarray(u[:-1].T), u[-1]

    def amplification(self, w: Tensor) -> float:
        """Return how much larger relative errors are in the powers' coefficients than in w."""
        if not self.doubled:
            return 1.0
        u, size = self._sizes(w)
        return float((size / u).max())

    def relative_size(self, step: Tensor, w: Tensor) -> float:
        """Return the largest relative change of a coefficient of a power.

        Coefficients that cancel to nothing are measured against the rounding of what cancels.
        """
        u, _ = self._sizes(w)
        return float((self.to_caller(step).abs() / u).max())

    def _sizes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        sums = self._converted(w.abs().numpy(), [np.abs(m) for m in self._to_powers])[:-1]
        size = torch.from_numpy(sums).clamp(min=torch.finfo(torch.float64).tiny)
        floor = size * torch.finfo(torch.float64).eps
        return torch.maximum(self.to_caller(w).abs(), floor), size

    def doubled_sums(
        self, rows: Any, origin: Origin, v: Tensor, v_low: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        """Return value, gradient and sum of weights at a point, in doubled precision.

        For squared error and one column. The result is rounded to doubles.
        """
        t = v.shape[1]
        value, total = v.new_zeros(t), 0.0
        gradient = torch.zeros_like(v), torch.zeros_like(v)
        scale = origin.unit()
        for X, y, weight in rows.source.blocks(_SCAN_ROWS):
            X, y = X.to("cpu", v.dtype), y.to("cpu", v.dtype)
            Z = self._doubled_terms(X, origin.shift[t:], scale[t:])
            for k in range(t):
                high, low = _doubled.two_sum(-y[:, k], origin.shift[k])
                target = high / scale[k], low / scale[k]
                point = v[:, k : k + 1], v_low[:, k : k + 1]
                residual = _doubled.add(_doubled.total(_doubled.multiply(Z, point), 0), target)
                slope = residual
                if weight is not None:
                    slope = _doubled.multiply(
                        residual, (weight.cpu(), torch.zeros_like(residual[0]))
                    )
                value[k] += 0.5 * (residual[0] * slope[0]).sum()
                part = _doubled.total(_doubled.multiply(Z, slope), 1)
                high, low = _doubled.add((gradient[0][:, k], gradient[1][:, k]), part)
                gradient[0][:, k], gradient[1][:, k] = high, low
            total += len(X) if weight is None else float(weight.sum())
        return value, gradient[0] + gradient[1], total

    def _doubled_terms(self, X: Tensor, shift: Tensor, scale: Tensor) -> _doubled.Pair:
        """Return the terms of one column and, last, ones; pairs of shape (n_terms + 1, n_rows)."""
        x = X[:, 0]
        centre, half = x.new_tensor(self.centre[0]), x.new_tensor(self.half[0])
        t = _doubled.divide(_doubled.two_sum(x, -centre), half)
        ones = torch.ones_like(x), torch.zeros_like(x)
        terms, before, last = [t], ones, t
        for _ in range(2, len(self.powers) + 1):
            if self.kind == "rooted":
                terms.append(_doubled.multiply(t, last))
            twice = 2 * last[0], 2 * last[1]
            product = _doubled.multiply(t, twice)
            before, last = last, _doubled.add(product, (-before[0], -before[1]))
            if self.kind != "rooted":
                terms.append(last)
        high, low = (torch.stack([term[i] for term in terms]) for i in (0, 1))
        high, low = _doubled.add((high, low), (-shift[:, None], torch.zeros_like(shift)[:, None]))
        high, low = high / scale[:, None], low / scale[:, None]
        return torch.cat((high, ones[0][None])), torch.cat((low, ones[1][None]))

    def _converted(
        self, values: np.ndarray, matrices: Sequence[np.ndarray], constant: Any = 0
    ) -> np.ndarray:
        """Return coefficients in another basis, converted one column of X after the other.

        ``matrices[j][p, q]`` is the part of the q-th function of column j in its p-th. The last
        coefficient, in and out, is that of the constant.
        """
        values = np.concatenate((values, np.zeros_like(values[:1]) + constant))
        for (source, target, p, q), matrix in zip(self._moves, matrices, strict=True):
            moved = values.copy()
            moved[source] = 0
            np.add.at(moved, target, matrix[p, q][:, None] * values[source])
            values = moved
        return values

    @cached_property
    def _moves(self) -> list[np.ndarray]:
        """For each column, arrays (source term, target term, p, q) of what x^q takes from phi_p."""
        index = {term: i for i, term in enumerate(map(tuple, self.powers.tolist()))}
        index[(0,) * self.powers.shape[1]] = len(index)
        lowest = 0 if self.kind == "chebyshev" else 1
        moves = []
        for j in range(self.powers.shape[1]):
            entries = [
                (i, index[(*term[:j], q, *term[j + 1 :])], term[j], q)
                for term, i in index.items()
                for q in range(lowest, term[j] + 1)
                if term[j]
            ]
            moves.append(np.array(entries, dtype=np.int64).reshape(-1, 4).T)
        return moves

    @cached_property
    def _to_powers_exact(self) -> list[np.ndarray]:
        return [
            power_coefficients(self.kind, self.degree, float(centre), float(half))
            for centre, half in zip(self.centre, self.half, strict=True)
        ]

    @cached_property
    def _to_powers(self) -> list[np.ndarray]:
        return [as_doubles(matrix) for matrix in self._to_powers_exact]

    @cached_property
    def _from_powers(self) -> list[np.ndarray]:
        return [as_doubles(triangular_inverse(matrix)) for matrix in self._to_powers_exact]


def centre_and_half(kind: str, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and the half length of the interval that a kind of basis has."""
    if kind == "chebyshev":
        centre, half = low / 2 + high / 2, high / 2 - low / 2
    else:
        centre, half = np.zeros_like(low), np.maximum(np.abs(low), np.abs(high))
        half = power_of_two(torch.from_numpy(half)).numpy() if kind == "power" else half
    return centre, np.where(half == 0, 1.0, half)

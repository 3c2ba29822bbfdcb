"""Products of polynomials of single columns, made block by block."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._linalg.views import viewed
from .families import Step
from .multi_index import Terms

_MANY_SLICES = 2_000  # of products, which take longer to begin than to compute


class Expansion:
    """Products of ``phi_k((x_j - centre_j) / half_j)``.

    Parameters
    ----------
    terms : Terms
    steps : list of tuple of Step
        The recurrence of phi for each column.
    centre, half : ndarray of shape (n_features,)
    """

    def __init__(
        self, terms: Terms, steps: Sequence[tuple[Step, ...]], centre: np.ndarray, half: np.ndarray
    ):
        self.terms, self.steps, self.centre, self.half = terms, steps, centre, half
        self._rounded_steps = [_alike(of_columns) for of_columns in zip(*steps, strict=True)]

    def expand(self, X: Tensor, out: Tensor) -> Tensor:
        """Write the terms of a block into ``out`` of shape (n_made, n_rows); return the wanted."""
        t = self._mapped(X, out)
        if len(t) == 1:  # to write by index takes longer than to compute
            for _ in self._columns(t, out):
                pass
            return out[self.terms.n_below :]
        for k, column_terms in self._columns(t):
            columns, numbers = self.terms.alone[k]
            out[numbers] = column_terms if len(columns) == len(t) else column_terms[columns]
        self._multiply(out, self.terms.degrees.most)
        return out[self.terms.n_below :]

    def lower(self, X: Tensor, out: Tensor) -> Tensor:
        """Write the terms that are not of the largest degree; return the others of one column."""
        terms, powers = self.terms, out[:0]
        for k, column_terms in self._columns(self._mapped(X, out)):
            columns, numbers = terms.alone[k]
            if k == terms.degrees.most:
                powers = column_terms[columns]
            else:
                out[numbers] = column_terms[columns]
        self._multiply(out, terms.degrees.most - 1)
        return powers

    def _multiply(self, out: Tensor, most: int) -> None:
        """Write the terms of several columns up to a total degree."""
        terms = self.terms
        if len(terms.products) > _MANY_SLICES:
            for numbers in terms.by_degree[: most - 1]:
                own, lower, factor = (torch.from_numpy(part).to(out.device) for part in numbers)
                out[own] = out[lower] * out[factor]
            return
        for product in terms.products:
            if most == terms.degrees.most or product.terms.start < terms.top.n_lower:
                torch.mul(out[product.lower], out[product.factor], out=out[product.terms])

    def _mapped(self, X: Tensor, like: Tensor) -> Tensor:
        """Return the columns mapped to [-1, 1], of shape (n_features, n_rows)."""
        centre, half = viewed(self.centre), viewed(self.half)
        return ((X.to(like.dtype) - centre.to(like)) / half.to(like)).T

    def _columns(self, t: Tensor, room: Tensor | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(k, phi_k(t))`` for the degrees that single columns take.

        Those of one column are made in the rows of ``room``, where there is some.
        """
        before, last = t.new_ones(()), t.new_ones(())
        scaled, made_of = t, None
        for k, (a, b, c) in enumerate(self._rounded_steps):
            if made_of != (a, b):
                scaled, made_of = _scaled(t, a, b), (a, b)
            new = torch.mul(scaled, last, out=None if room is None else room[k : k + 1])
            if k and isinstance(c, tuple):
                new.sub_(_factor(c, t) * before)
            elif k and c:
                new.sub_(before, alpha=c)
            before, last = last, new
            yield k + 1, new


def _alike(steps: Sequence[Step]) -> tuple[Any, Any, Any]:
    """Return one step of all columns as numbers or, where they differ, a tuple of them."""
    a, b, c = (
        float(parts[0]) if len(set(parts)) == 1 else tuple(map(float, parts))
        for parts in zip(*steps, strict=True)
    )
    return a, b, c


def _factor(number: Any, t: Tensor) -> Any:
    return t.new_tensor(number)[:, None] if isinstance(number, tuple) else number


def _scaled(t: Tensor, a: Any, b: Any) -> Tensor:
    """Return ``a t + b``; t itself where that is the same."""
    scaled = t if a == 1 else _factor(a, t) * t
    return scaled + _factor(b, t) if np.any(b) else scaled

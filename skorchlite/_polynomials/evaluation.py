"""Evaluates the terms of a polynomial block by block: products of polynomials of single columns."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._linalg.views import viewed
from .families import Recurrence, in_doubles
from .multi_index import Terms

_MANY_SLICES = 2_000  # of products, each of which takes longer to start than to compute


class Expansion:
    """Products of ``phi_k((x_j - centre_j) / half_j)`` over the columns j.

    Parameters
    ----------
    terms : Terms
    steps : list of Recurrence
        The recurrence of phi for each column.
    centre, half : ndarray of shape (n_features,)
    """

    def __init__(
        self, terms: Terms, steps: Sequence[Recurrence], centre: np.ndarray, half: np.ndarray
    ):
        self.terms, self.steps, self.centre, self.half = terms, steps, centre, half

    @cached_property
    def _rounded_steps(self) -> list[tuple[Any, Any, Any]]:
        """The steps in doubles, of all columns together."""
        different = {id(of_column): of_column for of_column in self.steps}  # most often one
        rounded = {number: in_doubles(of_column) for number, of_column in different.items()}
        numbers = different if len(different) == 1 else map(id, self.steps)
        of_columns = [rounded[number] for number in numbers]
        return [_of_all_columns(step) for step in zip(*of_columns, strict=True)]

    def expand(self, X: Tensor, out: Tensor) -> Tensor:
        """Return the terms of a block, of shape (n_terms, n_rows).

        Parameters
        ----------
        X : Tensor of shape (n_rows, n_features)
        out : Tensor of shape (n_formed, n_rows)
            Where all terms are written that are formed.
        """
        t = self._mapped(X, out)
        if len(t) == 1:  # to write by index takes longer than to compute
            for _ in self._univariate(t, out):
                pass
            return out[self.terms.n_below :]
        for k, of_degree in self._univariate(t):
            columns, numbers = self.terms.univariate[k]
            of_degree = of_degree if len(columns) == len(t) else of_degree[columns]
            out.index_copy_(0, torch.from_numpy(numbers).to(out.device), of_degree)
        self._multiply(out, self.terms.degrees.most)
        return out[self.terms.n_below :]

    def lower(self, X: Tensor, out: Tensor) -> Tensor:
        """Write all terms below the largest degree; return those of that degree in one column.

        Parameters
        ----------
        X : Tensor of shape (n_rows, n_features)
        out : Tensor of shape (n_lower, n_rows)
        """
        terms, univariate = self.terms, out[:0]
        for k, of_degree in self._univariate(self._mapped(X, out)):
            columns, numbers = terms.univariate[k]
            if k == terms.degrees.most:
                univariate = of_degree[columns]
            else:
                out[numbers] = of_degree[columns]
        self._multiply(out, terms.degrees.most - 1)
        return univariate

    def _multiply(self, out: Tensor, most: int) -> None:
        """Write the terms of several columns up to a total degree."""
        terms = self.terms
        if len(terms.products) > _MANY_SLICES:
            for table in terms.products_by_degree[: most - 1]:
                written, lower, factor = (
                    torch.from_numpy(numbers).to(out.device)
                    for numbers in (table.terms, table.lower, table.factor)
                )
                out[written] = out[lower] * out[factor]
            return
        for product in terms.products:
            if most == terms.degrees.most or product.terms.start < terms.top.n_lower:
                torch.mul(out[product.lower], out[product.factor], out=out[product.terms])

    def _mapped(self, X: Tensor, like: Tensor) -> Tensor:
        """Return the columns mapped to [-1, 1], of shape (n_features, n_rows)."""
        centre, half = (viewed(part[:, None]).to(like) for part in (self.centre, self.half))
        t = like.new_empty(X.shape[::-1])
        return torch.sub(X.T.to(like.dtype), centre, out=t).div_(half)

    def _univariate(self, t: Tensor, out: Tensor | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(k, phi_k(t))`` for all degrees k that a single column takes.

        Those of one column are written to the rows of ``out``, if it is given.
        """
        before, last = t.new_ones(()), t.new_ones(())
        scaled, scaled_by = t, None
        for k, (a, b, c) in enumerate(self._rounded_steps):
            if scaled_by != (a, b):
                scaled, scaled_by = _scaled(t, a, b), (a, b)
            new = torch.mul(scaled, last, out=None if out is None else out[k : k + 1])
            if k and isinstance(c, tuple):
                new.sub_(_factor(c, t) * before)
            elif k and c:
                new.sub_(before, alpha=c)
            before, last = last, new
            yield k + 1, new


def _of_all_columns(steps: Sequence[tuple[float, float, float]]) -> tuple[Any, Any, Any]:
    """Return (a, b, c) of one step, each a number or, where columns differ, a tuple of numbers."""
    a, b, c = (parts[0] if len(set(parts)) == 1 else parts for parts in zip(*steps, strict=True))
    return a, b, c


def _factor(number: Any, t: Tensor) -> Any:
    return viewed(np.array(number)[:, None]).to(t) if isinstance(number, tuple) else number


def _scaled(t: Tensor, a: Any, b: Any) -> Tensor:
    """Return ``a t + b``; t itself where that is the same."""
    scaled = t if a == 1 else _factor(a, t) * t
    shifted = any(b) if isinstance(b, tuple) else b
    return scaled + _factor(b, t) if shifted else scaled

"""Terms that are multiplied by without being formed.

Most terms have the largest degree, and they are products of a lower term and a polynomial of one
column. Grouped by that polynomial, a sum over them is a sum over the lower terms. So two products
with the matrix of the lower terms take the place of one with that of all terms.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .._linalg.operators import DesignOperator
from .multi_index import Terms


@dataclass
class UnformedTerms(DesignOperator):
    """``[(terms - shift) / scale, 1]`` of some rows, multiplied by without being formed.

    Parameters
    ----------
    terms : Terms
    lower : Tensor of shape (n_lower, n_rows)
        All terms below the largest degree that are formed.
    univariate : Tensor of shape (n_univariate, n_rows)
        The terms of the largest degree in one column.
    shift : Tensor of shape (n_terms,)
    scale : Tensor of shape (n_terms,) or None
    """

    terms: Terms
    lower: Tensor
    univariate: Tensor
    shift: Tensor
    scale: Tensor | None

    def __len__(self) -> int:
        return self.lower.shape[1]

    @property
    def width(self) -> int:
        """The number of columns, with the ones."""
        return len(self.shift) + 1

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[:-1] if self.scale is None else v[:-1] / self.scale[:, None]
        constant = v[-1] - (self.shift[:, None] * w).sum(0)
        w = torch.cat((w.new_zeros(self.terms.n_below, w.shape[1]), w))
        top, products = self.terms.top, self.terms.top.products
        result = self.lower.T @ w[: len(self.lower)]
        result = result + self.univariate.T @ w[top.univariate] + constant
        for j in range(w.shape[1]):
            by_factor = w.new_zeros(len(self.lower), len(top.factors))
            by_factor[products.lower, top.factor_index] = w[products.terms, j]
            result[:, j] += (self._factors * (by_factor.T @ self.lower)).sum(0)
        return result

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        top, products, total = self.terms.top, self.terms.top.products, s.sum(0)
        result = s.new_empty(self.terms.n_formed, s.shape[1])
        result[: len(self.lower)] = self.lower @ s
        result[top.univariate] = self.univariate @ s
        for j in range(s.shape[1]):
            by_factor = self.lower @ (self._factors * s[:, j]).T
            result[products.terms, j] = by_factor[products.lower, top.factor_index]
        result = result[self.terms.n_below :] - self.shift[:, None] * total
        result = result if self.scale is None else result / self.scale[:, None]
        return torch.cat((result, total[None]))

    @cached_property
    def _factors(self) -> Tensor:
        return self.lower[self.terms.top.factors]

    @property
    def _like(self) -> dict:
        return {"dtype": self.lower.dtype, "device": self.lower.device}

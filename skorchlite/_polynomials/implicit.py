"""Terms that are multiplied by without being formed.

Those of the largest degree, which most are, are products of a lower term and a polynomial of one
column. A sum over them is a sum over lower terms for each such polynomial: two matrix products.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .._linalg.operators import DesignOperator
from .multi_index import Terms


@dataclass
class UnformedTerms(DesignOperator):
    """``[(terms - shift) / scale, 1]`` of some rows, of which only the products are formed.

    Parameters
    ----------
    terms : Terms
    lower : Tensor of shape (n_lower, n_rows)
        The terms that are not of the largest degree, also those made on the way.
    powers : Tensor of shape (n_powers, n_rows)
        The terms of the largest degree in one column.
    shift : Tensor of shape (n_terms,)
    scale : Tensor of shape (n_terms,) or None
    """

    terms: Terms
    lower: Tensor
    powers: Tensor
    shift: Tensor
    scale: Tensor | None

    def __len__(self) -> int:
        return self.lower.shape[1]

    @property
    def width(self) -> int:
        """The number of columns, that of the ones among them."""
        return len(self.shift) + 1

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[:-1] if self.scale is None else v[:-1] / self.scale[:, None]
        constant = v[-1] - (self.shift[:, None] * w).sum(0)
        w = torch.cat((w.new_zeros(self.terms.n_below, w.shape[1]), w))
        top = self.terms.top
        product = self.lower.T @ w[: len(self.lower)] + self.powers.T @ w[top.alone] + constant
        for j in range(w.shape[1]):
            spread = w.new_zeros(len(self.lower), len(top.factors))
            spread[top.lower, top.factor] = w[top.terms, j]
            product[:, j] += (self._factors * (spread.T @ self.lower)).sum(0)
        return product

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with columns of numbers, one for each row."""
        top, total = self.terms.top, s.sum(0)
        product = s.new_empty(self.terms.n_made, s.shape[1])
        product[: len(self.lower)] = self.lower @ s
        product[top.alone] = self.powers @ s
        for j in range(s.shape[1]):
            across = self.lower @ (self._factors * s[:, j]).T
            product[top.terms, j] = across[top.lower, top.factor]
        product = product[self.terms.n_below :] - self.shift[:, None] * total
        product = product if self.scale is None else product / self.scale[:, None]
        return torch.cat((product, total[None]))

    @cached_property
    def _factors(self) -> Tensor:
        return self.lower[self.terms.top.factors]

    @property
    def _like(self) -> dict:
        return {"dtype": self.lower.dtype, "device": self.lower.device}

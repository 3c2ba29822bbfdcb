"""A fitted model as a module of torch that predicts the same."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._polynomials.basis import Basis
from .._polynomials.families import in_doubles


class PredictionModule(nn.Module):
    """Multiplies the columns of a model with its coefficients.

    Parameters
    ----------
    columns : Module
        Makes the columns of the model from those of X.
    coef : Tensor of shape (n_targets, n_columns)
    intercept : Tensor of shape (n_targets,)
    log_link : bool
        Whether predictions are the exponentials of this.
    single : bool
        Whether there is one prediction a row.
    """

    def __init__(
        self, columns: nn.Module, coef: Tensor, intercept: Tensor, *, log_link: bool, single: bool
    ):
        super().__init__()
        self.columns = columns
        self.coef = nn.Parameter(coef, requires_grad=False)
        self.intercept = nn.Parameter(intercept, requires_grad=False)
        self.log_link, self.single = log_link, single

    def forward(self, X: Tensor) -> Tensor:
        """Return the predictions on rows, of shape (n_rows,) or (n_rows, n_targets)."""
        columns = self.columns(X).to(self.coef.dtype)
        predicted = columns @ self.coef.T + self.intercept
        if self.log_link:
            predicted = predicted.exp()
        if self.single:
            return predicted[:, 0]
        return predicted


class PolynomialTerms(nn.Module):
    """Forms the terms that a polynomial was fitted in; see ``Expansion``.

    Parameters
    ----------
    basis : Basis
    outside : {"allow", "nan", "clip"}
        What is done with rows outside of the domain.
    dtype : torch.dtype
        Of the terms. Columns are mapped to [-1, 1] in double precision, where the device has it.
    device : torch.device
    """

    centre: Tensor
    half_length: Tensor
    low: Tensor
    high: Tensor
    steps: Tensor
    factors: Tensor

    def __init__(self, basis: Basis, outside: str, dtype: torch.dtype, device: torch.device):
        super().__init__()
        mapped = dtype if device.type == "mps" else torch.float64

        def kept(name: str, array: Any, dtype: torch.dtype) -> None:
            self.register_buffer(name, torch.tensor(np.asarray(array)).to(device, dtype))

        kept("centre", basis.centre, mapped)
        kept("half_length", basis.half, mapped)
        used = basis.terms.used
        low, high = basis.domain.T
        kept("low", np.where(used, low, -np.inf), mapped)
        kept("high", np.where(used, high, np.inf), mapped)
        steps = np.array([in_doubles(of_column) for of_column in basis.steps])
        kept("steps", steps.transpose(2, 1, 0), dtype)  # of shape (3, degree, n_features)
        kept("factors", _factors(basis), torch.int64)
        self.degree, self.n_factors = basis.terms.degree, self.factors.shape[0]
        self.outside = outside

    def forward(self, X: Tensor) -> Tensor:
        """Return the terms of rows, of shape (n_rows, n_terms)."""
        X = X.to(self.centre.dtype)
        if self.outside == "clip":
            X = torch.minimum(torch.maximum(X, self.low), self.high)
        t = ((X - self.centre) / self.half_length).to(self.steps.dtype)
        before, last = torch.zeros_like(t), torch.ones_like(t)
        functions = [last]
        for k in range(self.degree):
            a, b, c = self.steps[0, k], self.steps[1, k], self.steps[2, k]
            new = (a * t + b) * last - c * before
            before, last = last, new
            functions.append(new)
        values = torch.cat(functions, 1)
        terms = values[:, self.factors[0]]
        for i in range(1, self.n_factors):
            terms = terms * values[:, self.factors[i]]
        if self.outside == "nan":
            beyond = ((self.low > X) | (self.high < X)).any(1)
            terms = torch.where(beyond[:, None], torch.nan, terms)
        return terms


def _factors(basis: Basis) -> np.ndarray:
    """Return the factors of each term, as numbers of the polynomials of single columns.

    Of shape (n_factors, n_terms). The polynomial of degree k of column j is number
    ``k * n_features + j``; terms of fewer factors have ones, those of degree zero, in their place.
    """
    terms, columns, degrees = basis.terms.entries
    counts = np.bincount(terms, minlength=len(basis.terms))
    place = np.arange(len(terms)) - np.repeat(np.cumsum(counts) - counts, counts)
    factors = np.zeros((counts.max(), len(counts)), dtype=np.int64)
    factors[place, terms] = degrees * basis.terms.n_features + columns
    return factors


def prediction_module(
    basis: Basis | None,
    coef: Any,
    intercept: Any,
    outside: str,
    dtype: torch.dtype,
    device: torch.device,
    *,
    log_link: bool,
    single: bool,
) -> PredictionModule:
    """Return the module of a model.

    Parameters
    ----------
    basis : Basis or None
        None for the columns of X.
    coef : array of shape (n_targets, n_columns)
    intercept : array of shape (n_targets,)
    outside : str
        As of ``PolynomialTerms``.
    dtype, device
        Of the numbers.
    log_link, single
        As of ``PredictionModule``.
    """
    columns = nn.Identity() if basis is None else PolynomialTerms(basis, outside, dtype, device)
    w, b = (torch.tensor(np.asarray(part)).to(device, dtype) for part in (coef, intercept))
    return PredictionModule(columns, w, b, log_link=log_link, single=single)

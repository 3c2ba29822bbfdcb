"""A polynomial of one column as objects of numpy.polynomial."""

from typing import Any

import numpy as np
import torch

from .._linalg.rational import Rationals, as_integers
from .basis import Basis
from .change_of_basis import connections
from .column_functions import ColumnFunctions, Interval
from .families import family

_CLASSES: dict[str, Any] = {
    "power": np.polynomial.Polynomial,
    "chebyshev": np.polynomial.Chebyshev,
    "legendre": np.polynomial.Legendre,
    "hermite": np.polynomial.Hermite,
}


def numpy_polynomials(basis: Basis, coef: np.ndarray, intercept: np.ndarray, name: str) -> list:
    """Return the polynomial of each target, in the caller's family on the domain of the column.

    Parameters
    ----------
    basis : Basis
        Of one column.
    coef : ndarray of shape (n_targets, n_terms)
        Coefficients of the terms of the basis.
    intercept : ndarray of shape (n_targets,)
    name : str
        The name of the column, which the polynomials take as their symbol if it is an identifier.
    """
    make = _CLASSES[basis.caller]
    symbol = name if name.isidentifier() else "x"
    return [
        make(coefficients, domain=basis.domain[0], window=(-1, 1), symbol=symbol)
        for coefficients in _on_domain(basis, coef, intercept)
    ]


def _on_domain(basis: Basis, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Return the coefficients of the caller's family with the domain mapped to [-1, 1].

    Of shape (n_targets, degree + 1), by degree. Powers are mapped too, unlike those of ``coef_``.
    """
    below = np.zeros((len(coef), basis.terms.n_below))
    coefficients = np.concatenate((intercept[:, None], below, coef), 1)
    if basis.diagonal and basis.caller != "power":
        return coefficients
    domain = Interval.from_ends(*basis.domain[0].tolist())
    wanted = ColumnFunctions([family(basis.caller, basis.terms.degree)], [domain])
    (parts,) = connections(ColumnFunctions.of(basis), wanted)
    (integers,), whole = as_integers(torch.from_numpy(coefficients))
    return Rationals(integers @ parts.numerators, whole * parts.denominator).doubles

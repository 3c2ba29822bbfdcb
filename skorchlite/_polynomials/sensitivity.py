"""How much the predictions of a polynomial vary with each column.

References
----------
Sobol (2001), "Global sensitivity indices for nonlinear mathematical models and their Monte Carlo
estimates", Mathematics and Computers in Simulation 55. Sudret (2008), "Global sensitivity analysis
using polynomial chaos expansions", Reliability Engineering and System Safety 93(7).
"""

from dataclasses import replace

import numpy as np

from .basis import Basis
from .change_of_basis import ChangeOfBasis, connections
from .column_functions import ColumnFunctions, Interval
from .families import family
from .multi_index import terms_of


def total_indices(basis: Basis, coef: np.ndarray) -> np.ndarray:
    """Return the total Sobol index of each column.

    It is the part of the variance of the predictions that is due to terms with the column, over
    columns that are independent and uniform on their domains. Products of Legendre's polynomials
    are orthogonal there, and the variance is the sum of their squared coefficients, scaled. All
    indices are zero for a constant.

    Parameters
    ----------
    basis : Basis
    coef : ndarray of shape (n_targets, n_terms)
        Coefficients of the terms of the basis.

    Returns
    -------
    indices : ndarray of shape (n_features,)
        For all targets together.
    """
    # Terms have parts of lower degree in the other basis.
    terms = terms_of(replace(basis.terms.degrees, least=1))
    domain = [Interval.from_ends(*ends) for ends in basis.domain.tolist()]
    legendre = ColumnFunctions([family("legendre", terms.degree)] * terms.n_features, domain)
    parts = connections(ColumnFunctions.of(basis), legendre)
    below = np.zeros((len(terms) - coef.shape[1], len(coef)))
    values = ChangeOfBasis(terms, parts, 0)(np.concatenate((below, coef.T)))[:-1]
    largest = np.abs(values).max(initial=0.0)
    if not largest > 0:
        return np.zeros(terms.n_features)
    variances = ((values / largest) ** 2).sum(1) / np.prod(2 * terms.powers + 1.0, 1)
    return (terms.powers > 0).T @ variances / variances.sum()

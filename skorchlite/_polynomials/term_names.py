"""The names of the terms of a polynomial."""

from collections.abc import Sequence

import numpy as np

_LETTERS = {"chebyshev": "T", "legendre": "P", "hermite": "H"}


def term_name(family: str, degrees: np.ndarray, names: Sequence[str]) -> str:
    """Return the name of a term; terms of powers are named as in PolynomialFeatures.

    Parameters
    ----------
    family : str
        The family that the term is a product of.
    degrees : ndarray of shape (n_features,)
        The degree of the term in each column.
    names : sequence of str
        The names of the columns.
    """
    factors = zip(names, degrees, strict=True)
    return " ".join(_factor_name(family, name, degree) for name, degree in factors if degree)


def _factor_name(family: str, name: str, degree: int) -> str:
    if family == "power":
        return name if degree == 1 else f"{name}^{degree}"
    return f"{_LETTERS[family]}{degree}({name})"

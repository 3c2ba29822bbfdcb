"""Coefficients with their standard errors, as a table of pandas or one that prints itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]

_WIDTH = 12  # of a column, in characters


class CoefTable(Mapping):
    """A table with named rows and columns, where pandas is not installed.

    ``table["std_error"]`` is a column, as an array.

    Parameters
    ----------
    index : sequence of str or of tuple
    columns : mapping of str to ndarray
    """

    def __init__(self, index: Sequence[Any], columns: Mapping[str, Array]):
        self.index, self.columns = list(index), dict(columns)

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        names = [" ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in self.index]
        width = max(map(len, names), default=0)
        lines = [" " * width + "".join(f" {name:>{_WIDTH}}" for name in self.columns)]
        for name, row in zip(names, zip(*self.columns.values(), strict=True), strict=True):
            lines.append(f"{name:<{width}}" + "".join(f" {value:>{_WIDTH}.5g}" for value in row))
        return "\n".join(lines)


def coef_table(names: Sequence[str], estimates: Array, errors: Array, df: int, level: float) -> Any:
    """Return a data frame of pandas or, without it, a CoefTable.

    Parameters
    ----------
    names : sequence of str
        Of the parameters of a target.
    estimates, errors : array of shape (n_params,) or (n_targets, n_params)
    df : int
        Degrees of freedom of Student's t.
    level : float
        Of the confidence intervals.
    """
    index: Sequence[Any] = list(names)
    if estimates.ndim == 2:
        index = [(target, name) for target in range(len(estimates)) for name in names]
    estimate, error = estimates.reshape(-1), errors.reshape(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = estimate / error
    reach = float(stdtrit(df, (1 + level) / 2)) * error
    columns = {
        "estimate": estimate,
        "std_error": error,
        "t": t,
        "p": 2 * stdtr(df, -abs(t)),
        "lower": estimate - reach,
        "upper": estimate + reach,
    }
    try:
        from pandas import DataFrame, MultiIndex
    except ImportError:
        return CoefTable(index, columns)
    if estimates.ndim == 2:
        index = MultiIndex.from_tuples(index, names=["target", "parameter"])
    return DataFrame(columns, index=index)

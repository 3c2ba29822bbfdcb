"""The models of groups as a table of pandas or polars, where one of them is installed."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def models_frame(
    keys: Sequence[tuple[str, np.ndarray]],
    n_samples: np.ndarray,
    coef: np.ndarray,
    intercept: np.ndarray,
    features: Sequence[str],
) -> Any:
    """Return a table with a row for each model.

    Parameters
    ----------
    keys : list of (str, ndarray of shape (n_groups,))
    n_samples : ndarray of shape (n_groups,)
    coef : ndarray of shape (n_groups, n_features) or (n_groups, n_targets, n_features)
    intercept : ndarray of shape (n_groups,) or (n_groups, n_targets)
    features : list of str
    """
    several = intercept.ndim == 2
    times = intercept.shape[1] if several else 1
    columns = [(name, np.repeat(column, times)) for name, column in keys]
    if several:
        columns.append(("target", np.tile(np.arange(times), len(coef))))
    columns.append(("n_samples", np.repeat(n_samples, times)))
    columns.append(("intercept", intercept.reshape(-1)))
    columns.extend(zip(features, coef.reshape(-1, coef.shape[-1]).T, strict=True))
    return _frame_of(columns)


def _frame_of(columns: Sequence[tuple[str, np.ndarray]]) -> Any:
    """Return a data frame of pandas or, where only that is installed, of polars.

    Raises
    ------
    ValueError
        If two columns have the same name.
    """
    names = [name for name, _ in columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"Expected unique column names, and {twice!r} would be those of two columns each. "
            "Rename these columns of X and call fit again, or use coef_ and intercept_."
        )
    try:
        from pandas import DataFrame
    except ImportError:
        try:
            from polars import DataFrame
        except ImportError as error:
            raise ImportError("coef_frame() needs pandas or polars: pip install pandas.") from error
    return DataFrame(dict(columns))

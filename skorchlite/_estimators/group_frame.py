"""The models of groups as a table of pandas or polars, where one of them is installed."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def frame_of(columns: Sequence[tuple[str, np.ndarray]]) -> Any:
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

"""The models of groups as a table of pandas or polars, where one of them is installed."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def frame_of(columns: Mapping[str, np.ndarray]) -> Any:
    """Return a data frame of pandas or, where only that is installed, of polars."""
    try:
        from pandas import DataFrame
    except ImportError:
        try:
            from polars import DataFrame
        except ImportError as error:
            raise ImportError("coef_frame() needs pandas or polars: pip install pandas.") from error
    return DataFrame(dict(columns))

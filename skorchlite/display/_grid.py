"""Samples along one column, with the other columns held at one value each."""

from typing import Any

import numpy as np
from sklearn.utils import check_array


def column_of(X: Any, feature: Any) -> tuple[str, np.ndarray]:
    """Return the name and the numbers of one column of an array or a data frame.

    Parameters
    ----------
    X : array-like or data frame
    feature : int or str
        Its number or, of a data frame, its name.
    """
    names = names_of(X)
    number = feature
    if isinstance(feature, str):
        if feature not in names:
            raise ValueError(f"X has no column {feature!r}. Its columns are {names}.")
        number = names.index(feature)
    if not -len(names) <= number < len(names):
        raise ValueError(f"feature={feature} is none of the {len(names)} columns of X.")
    name = names[number]
    values = X[name] if hasattr(X, "columns") else X[:, number]
    return name, np.asarray(values, dtype=float)


def names_of(X: Any) -> list[str]:
    """Return the names of the columns, x0, x1, ... where they have none."""
    return list(X.columns) if hasattr(X, "columns") else [f"x{j}" for j in range(X.shape[1])]


def checked(X: Any) -> Any:
    """Return X if it is a data frame, else as an array with two axes."""
    return X if hasattr(X, "columns") else check_array(X, dtype="numeric")


def along(X: Any, name: str, grid: np.ndarray) -> Any:
    """Return samples like those of X, of which one column is the grid.

    Other columns are at their means or, where they are no numbers, at what is most frequent.
    """
    columns = {
        other: grid if other == name else np.repeat(_typical(np.asarray(values)), len(grid))
        for other, values in _columns(X).items()
    }
    if hasattr(X, "columns"):
        return type(X)(columns)
    return np.stack(list(columns.values()), 1)


def _columns(X: Any) -> dict[str, Any]:
    names = names_of(X)
    return {name: X[name] if hasattr(X, "columns") else X[:, j] for j, name in enumerate(names)}


def _typical(values: np.ndarray) -> Any:
    if values.dtype.kind in "iuf":
        return values.mean()
    found, counts = np.unique(values, return_counts=True)
    return found[counts.argmax()]

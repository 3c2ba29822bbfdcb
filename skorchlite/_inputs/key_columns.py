"""Columns of X that say which group a row belongs to, taken from the others."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch

from .no_tables import check_is_table
from .tables import Checked


class ChosenColumns(Checked):
    """Some of the columns of an array, of which slices of rows are copied and not the whole.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_columns)
    columns : ndarray of int
    """

    def __init__(self, array: np.ndarray, columns: np.ndarray):
        self._array, self._columns, self.dtype = array, columns, array.dtype
        self.shape = len(array), len(columns)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self._array[rows][:, self._columns]


def as_columns(X: Any, has_keys: bool) -> Any:
    """Return X as what columns can be taken from; lists may hold keys of any kind."""
    if has_keys and not hasattr(X, "shape"):
        check_is_table(X)
        X = np.array(X, dtype=object if isinstance(X, list | tuple) else None)
    if has_keys and hasattr(X, "tocsr"):
        X = X.tocsr()
    if has_keys and len(getattr(X, "shape", ())) != 2:
        raise ValueError(
            f"Expected 2D array, got {type(X).__name__} of shape {getattr(X, 'shape', None)} "
            "instead. The column of keys is one of the columns of X."
        )
    return X


def key_positions(X: Any, groups: Any) -> list[int]:
    """Return the numbers of the columns of keys.

    Parameters
    ----------
    X : array, tensor, sparse matrix or frame
    groups : str, int, list of these, or None
        The parameter of the estimator.
    """
    if groups is None:
        return []
    if not X.shape[1]:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={tuple(X.shape)}) while a minimum of 1 is "
            "required."
        )
    many = isinstance(groups, list | tuple | np.ndarray)
    positions = [_position(X, name) for name in (groups if many else [groups])]
    if len(set(positions)) < len(positions) or not positions:
        raise ValueError(
            f"groups={groups!r} must name at least one column, and none of them twice."
        )
    if len(positions) == X.shape[1]:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={tuple(X.shape)}, of which groups={groups!r} "
            "are keys) while a minimum of 1 is required."
        )
    return positions


def _position(X: Any, name: Any) -> int:
    """Return the number of a column, by its name or number."""
    names = column_names(X)
    if names is not None and name in names:
        return names.index(name)
    if isinstance(name, Integral) and not isinstance(name, bool):
        if -X.shape[1] <= name < X.shape[1]:
            return int(name) % X.shape[1]
        raise ValueError(f"groups={name!r} is no column of X, which has {X.shape[1]}.")
    if names is None:
        raise ValueError(
            "Specifying the columns using strings is only supported for dataframes, and groups="
            f"{name!r} is given with a {type(X).__name__}. Give the number of the column."
        )
    raise ValueError(f"A given column is not a column of the dataframe: groups={name!r}.")


def column_names(X: Any) -> list | None:
    """Return the names of the columns of a frame or table; None for an array."""
    if hasattr(type(X), "columns"):
        return list(X.schema.names if hasattr(type(X), "schema") and _is_arrow(X) else X.columns)
    return None


def without_columns(X: Any, positions: Sequence[int]) -> Any:
    """Return X without some columns; of arrays and frames no row is copied where that can be."""
    if not positions:
        return X
    names = column_names(X)
    if names is not None and not hasattr(X, "iloc"):
        dropped = [names[j] for j in positions]
        return X.drop_columns(dropped) if _is_arrow(X) else X.drop(dropped)
    rest = [j for j in range(X.shape[1]) if j not in set(positions)]
    chosen = _as_slice(rest)
    if hasattr(X, "iloc"):
        return X.iloc[:, chosen]
    if isinstance(X, np.ndarray) and not isinstance(chosen, slice) and X.dtype.kind == "f":
        return ChosenColumns(X, np.array(rest))
    return X[:, chosen]


def key_columns(X: Any, positions: Sequence[int]) -> list[Any]:
    """Return the columns of keys, each as a series or an array with one dimension."""
    return [_column(X, j) for j in positions]


def _column(X: Any, j: int) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[:, j]
    if _is_arrow(X):
        return X.column(j).to_numpy(zero_copy_only=False)
    if hasattr(type(X), "columns"):
        return X.to_series(j)
    if isinstance(X, torch.Tensor):
        return X[:, j].numpy(force=True)
    column = X[:, [j]]
    return column.toarray()[:, 0] if hasattr(column, "toarray") else np.asarray(column)[:, 0]


def _as_slice(numbers: list[int]) -> slice | list[int]:
    """Return ascending numbers as a slice, if they follow each other."""
    whole = numbers[-1] - numbers[0] + 1 == len(numbers)
    return slice(numbers[0], numbers[-1] + 1) if whole else numbers


def _is_arrow(X: Any) -> bool:
    return hasattr(type(getattr(X, "schema", None)), "types")

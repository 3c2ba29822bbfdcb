"""Validation of what the user passed, without a copy of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    validate_data,
)

from .._compat import check_sample_weight
from .conversion import native, to_numpy
from .memory_map import as_mapped
from .tables import NUMERIC_KINDS, Checked, SparseTable, as_frame

_BLOCK_ENTRIES = 1 << 20  # that are searched at a time


def check_fit(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    reset: bool = True,
    whole: bool = True,
    weightless: bool = False,
) -> tuple[Any, Any, Any]:
    """Return X, y and sample_weight to fit, checked, as they will be read block by block.

    Whether the numbers are finite is not checked: the sums of the first pass show it.

    Parameters
    ----------
    estimator : object
    X, y, sample_weight : array
    reset : bool, default=True
        Whether to set ``n_features_in_`` and ``feature_names_in_`` of the estimator; else X must
        have the columns that it was fitted to.
    whole : bool, default=True
        Whether this is all of the data. A part of it may have no rows, and only weights of zero.
    weightless : bool, default=False
        Whether all weights may be zero.
    """
    # X is checked before its columns are counted: scikit-learn counts none if X is no table.
    table = None if y is None else _check_table(estimator, X, least=int(whole))
    if reset and table is not None and type(X) is np.ndarray:
        # There are no names, and scikit-learn takes a tenth of a small fit to look for some.
        vars(estimator).pop("feature_names_in_", None)
        estimator.n_features_in_ = table.shape[1]
    else:
        validate_data(estimator, X, y, reset=reset, skip_check_array=True)
    X, y = table, _check_target(estimator, y, least=int(whole))
    if X.shape[:1] != y.shape[:1]:
        check_consistent_length(X, y)  # raises scikit-learn's error
    weight = _check_weight(estimator, sample_weight, X.shape[0], whole, weightless or not whole)
    return X, as_mapped(y), weight


def check_validation(
    estimator: Any,
    X: Any,
    y: Any,
    y_fit: Any,
    sample_weight: Any = None,
    whole: bool = True,
) -> tuple[Any, Any, Any] | None:
    """Return X, y and sample_weight to validate on, checked; None if neither X nor y was passed.

    Parameters
    ----------
    estimator : object
    X, y : array
    y_fit : array
        The training targets.
    sample_weight : array, default=None
    whole : bool, default=True
        Whether this is all of the data. A part of it may have no rows.
    """
    if X is None and y is None:
        return None
    if X is None or y is None:
        raise ValueError("X_val and y_val go together: only one of them was given.")
    X = check_predict(estimator, X, least=int(whole))
    y = _check_target(estimator, y, least=int(whole))
    if X.shape[0] != y.shape[0] or y.shape[1:] != y_fit.shape[1:]:
        raise ValueError(
            f"X_val has {X.shape[0]} samples and y_val the shape {tuple(y.shape)}; the training "
            f"targets have the shape {tuple(y_fit.shape)}."
        )
    check_finite(type(estimator).__name__, X, y)
    return X, y, _check_weight(estimator, sample_weight, X.shape[0])


def check_whole(estimator: Any, names: Any, X: Any, *columns: Any, reset: bool) -> None:
    """Check the shapes and dtypes of data in partitions, as outlines of the whole show them.

    Parameters
    ----------
    estimator : object
    names : frame or None
        A frame with the names of the columns of X, if they have names.
    X, *columns : ndarray or None
        Outlines of X and, to fit or score, of y and sample_weight: arrays of the same shapes and
        dtypes.
    reset : bool
        Whether to set ``n_features_in_`` and ``feature_names_in_`` of the estimator; else X must
        have the columns that it was fitted to.
    """
    X = _check_table(estimator, X)
    y, weight = columns or (None, None)
    needs_y = () if not columns else (y,)
    validate_data(
        estimator, X if names is None else names, *needs_y, reset=reset, skip_check_array=True
    )
    if y is None:
        return
    _check_target(estimator, y)
    check_consistent_length(X, y)
    if weight is not None and weight.shape != X.shape[:1]:
        raise ValueError(
            f"sample_weight.shape == {weight.shape}, expected {X.shape[:1]}: one for each sample."
        )


def check_part(name: str, X: Any, y: Any = None, sample_weight: Any = None) -> tuple:
    """Return a partition of X, y and sample_weight, checked; see ``check_whole``.

    It may have no rows. ``name`` is that of the estimator, for errors.
    """
    X = _check_table(name, X, least=0)
    y = None if y is None else _check_target(name, y, least=0)
    if y is not None and X.shape[:1] != y.shape[:1]:
        check_consistent_length(X, y)
    return X, y, _check_weight(name, sample_weight, X.shape[0], whole=False, weightless=True)


def check_predict(estimator: Any, X: Any, least: int = 1) -> Any:
    """Return X to predict on, checked against the columns that the estimator was fitted to."""
    table = _check_table(estimator, X, least)
    validate_data(estimator, X, reset=False, skip_check_array=True)
    return table


def check_score(estimator: Any, y: Any, sample_weight: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return the targets that predictions are scored against, and their weights, checked."""
    y = _check_target(estimator, y)
    check_consistent_length(y_pred, y)
    n_targets, n_predicted = (int(np.prod(array.shape[1:])) for array in (y, y_pred))
    if n_targets != n_predicted:
        raise ValueError(f"y has {n_targets} targets, and the model predicts {n_predicted}.")
    check_finite(type(estimator).__name__, None, y)
    return y, _check_weight(estimator, sample_weight, y.shape[0])


def check_finite(
    name: str,
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    first: int = 0,
    names: Sequence[str] | None = None,
) -> None:
    """Raise scikit-learn's error if a number is not finite, and say where it is.

    Parameters
    ----------
    name : str
        Of the estimator.
    X, y, sample_weight : array or None
        Searched block by block.
    first : int, default=0
        The number of the first row.
    names : sequence of str, default=None
        The names of the columns, if X does not have them.
    """
    names = getattr(X, "names", names)
    for array, label in ((X, "X"), (y, "y"), (sample_weight, "sample_weight")):
        if array is None:
            continue
        numbers = array.matrix.data if isinstance(array, SparseTable) else array
        size = max(_BLOCK_ENTRIES // (numbers.shape[1] if len(numbers.shape) == 2 else 1), 1)
        for start in range(0, numbers.shape[0], size):
            if _is_finite_on_card(numbers[start : start + size]):
                continue
            block = np.asarray(to_numpy(numbers[start : start + size]))
            try:
                with np.errstate(invalid="ignore"):  # infinities of both signs add up to NaN
                    assert_all_finite(block, estimator_name=name, input_name=label)
            except ValueError as error:
                place = _place(array, start, block, first, names if label == "X" else None)
                raise ValueError(f"{error}\n{place}") from error


def _is_finite_on_card(numbers: Any) -> bool:
    """Return whether numbers are on a card, and finite; their sum shows it without a copy."""
    there = isinstance(numbers, torch.Tensor) and numbers.is_cuda
    return there and bool(torch.isfinite(numbers.sum()))


def _place(
    array: Any,
    start: int,
    block: np.ndarray,
    first: int = 0,
    names: Sequence[str] | None = None,
) -> str:
    """Return where the first number is that is not finite.

    Parameters
    ----------
    array : array
        What the block is of.
    start : int
        The number of the block's first row or, of a sparse matrix, of its first stored entry.
    block : ndarray
    first : int, default=0
        The number of the array's first row.
    names : sequence of str, default=None
        The names of the columns.
    """
    bad, *column = (int(index[0]) for index in np.nonzero(~np.isfinite(block.astype(float))))
    row = start + bad
    if isinstance(array, SparseTable):
        matrix = array.matrix
        column = [int(matrix.indices[row])]
        row = int(np.searchsorted(matrix.indptr, row, side="right")) - 1
    of_column = "".join(f", column {j if names is None else repr(names[j])}" for j in column)
    return f"The first of them is in row {first + row}{of_column}, counted from 0."


def _is_plain(array: Any, dims: tuple[int, ...]) -> bool:
    """Return whether an array needs no check but that of its numbers.

    Most arrays are such, and ``check_array`` would take a tenth of the time of a small fit.
    """
    plain = type(array) is np.ndarray and array.dtype in (np.float32, np.float64)
    return plain and array.ndim in dims and array.size > 0


def _check_table(estimator: Any, X: Any, least: int = 1) -> Any:
    """Return X with at least ``least`` rows, checked; ``estimator`` may be the name of one."""
    if _is_plain(X, (2,)) or isinstance(X, Checked):
        return as_mapped(X)
    X = native(X)
    if isinstance(X, torch.Tensor):
        return _check_tensor(estimator, X, least)
    frame = as_frame(X)
    if frame is not None:
        check_array(  # raises scikit-learn's error for an empty table; the array takes no memory
            np.broadcast_to(np.float64(0), frame.shape),
            ensure_all_finite=False,
            ensure_min_samples=least,
            estimator=estimator,
            input_name="X",
        )
        return frame
    X = check_array(
        X,
        accept_sparse="csr",
        dtype="numeric",
        ensure_all_finite=False,
        ensure_min_samples=least,
        estimator=estimator,
        input_name="X",
    )
    X = _numeric(X, "X")
    return as_mapped(X) if isinstance(X, np.ndarray) else SparseTable(X)


def _name_of(estimator: Any) -> str:
    return estimator if isinstance(estimator, str) else type(estimator).__name__


def _check_numbers(estimator: Any, tensor: torch.Tensor, label: str) -> None:
    """Check that a tensor is dense, and holds real numbers."""
    if tensor.layout != torch.strided:
        raise TypeError(
            f"Sparse data was passed for {label}, but dense data is required by "
            f"{_name_of(estimator)}. Use '.to_dense()' to convert it to a dense tensor."
        )
    if tensor.is_meta:
        raise ValueError(
            f"{label} is on device 'meta', which holds no numbers. Give a tensor on a real device."
        )
    if tensor.is_complex():
        raise ValueError(f"Complex data not supported\n{label} has dtype {tensor.dtype}")


def _check_tensor(estimator: Any, X: torch.Tensor, least: int) -> torch.Tensor:
    name = _name_of(estimator)
    _check_numbers(estimator, X, "X")
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D tensor instead. Reshape your data either using "
            "X.reshape(-1, 1) if it has a single feature or X.reshape(1, -1) if it contains a "
            "single sample."
        )
    for axis, what, needed in ((0, "sample", least), (1, "feature", 1)):
        if X.shape[axis] < needed:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={tuple(X.shape)}) while a minimum of 1 is "
                f"required by {name}."
            )
    return X


def _check_target(estimator: Any, y: Any, least: int = 1) -> Any:
    if _is_plain(y, (1, 2)) or isinstance(y, Checked):
        return y
    y = native(y)
    if isinstance(y, torch.Tensor):
        _check_numbers(estimator, y, "y")
        if y.ndim not in (1, 2):
            raise ValueError(f"y should be a 1d or 2d tensor, got {y.ndim} dimensions instead.")
        return y
    y = check_array(
        y,
        dtype="numeric",
        ensure_2d=False,
        ensure_all_finite=False,
        ensure_min_samples=least,
        estimator=estimator,
        input_name="y",
    )
    return _numeric(y, "y")


def _check_weight(
    estimator: Any,
    sample_weight: Any,
    n_samples: int,
    whole: bool = True,
    weightless: bool = False,
) -> np.ndarray | None:
    if sample_weight is None:
        return None
    sample_weight = native(sample_weight)
    if isinstance(sample_weight, torch.Tensor):
        _check_numbers(estimator, sample_weight, "sample_weight")
    if not n_samples and not len(sample_weight):
        return np.zeros(0)
    try:
        weight = check_sample_weight(
            to_numpy(sample_weight),
            np.broadcast_to(np.float64(0), (n_samples, 1)),
            dtype=np.float64,
            ensure_non_negative=True,
            allow_all_zero_weights=weightless,
        )
    except ValueError as error:
        if not str(error).startswith("Input sample_weight contains"):
            raise
        weight = np.asarray(to_numpy(sample_weight), dtype=np.float64)
        raise ValueError(f"{error}\n{_place(weight, 0, weight)}") from error
    if not whole:
        return weight
    # Only ratios of weights matter, as the objective is a mean. Their sums must not overflow.
    largest = weight.max()
    return weight if 1e-100 < largest < 1e100 or not largest else weight / largest


def _numeric(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of real numbers, converted if they are Python objects; else raise."""
    if array.dtype.kind == "O":
        return array.astype(np.float64)
    if array.dtype.kind not in NUMERIC_KINDS:
        raise ValueError(
            f"{name} has dtype {array.dtype}, which holds no real numbers. Convert it to a "
            "numeric dtype first."
        )
    return array

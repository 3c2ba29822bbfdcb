"""The data of a fit, from whatever it was given: rows, and what must be known of them."""

import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._exceptions import NoWeightError
from .._sources.arrays import ArrayRows
from .._sources.iterable import StreamRows
from .._sources.partitioned import SpreadRows
from .._sources.row_source import Rows
from .block_reader import BlockReader
from .conversion import is_dask, is_single
from .dask_collections import read_chunks
from .dataset_items import as_arrays, has_numbered_rows
from .device import resolve_device, resolve_dtype
from .in_memory import rows_in_memory
from .streams import check_readable, is_stream
from .validation import check_finite, check_fit, check_predict, check_validation


@dataclass
class Data:
    """Checked data.

    Parameters
    ----------
    rows, validation : Rows or None
    single : bool
        Whether the numbers of X carry single precision.
    single_target : bool
        Whether y has one dimension.
    weighted : bool
    device : torch.device
    dtype : torch.dtype
        Of the blocks that the sums are made from.
    """

    rows: Rows
    validation: Any
    single: bool
    single_target: bool
    weighted: bool
    device: torch.device
    dtype: torch.dtype

    @property
    def eps(self) -> float:
        """The relative rounding of the data itself."""
        return torch.finfo(torch.float32 if self.single else torch.float64).eps

    @property
    def form(self) -> tuple:
        """What must be alike in all places."""
        rows = self.rows
        return rows.n_features, rows.n_targets, self.single_target, self.weighted

    @property
    def n_entries(self) -> float:
        """The size of X, infinite where it is not known."""
        known = self.rows.indexed and not self.rows.spread
        return self.rows.n_rows * self.rows.n_features if known else torch.inf

    def check_finite(self, estimator: Any) -> None:
        """Raise scikit-learn's error if a number is not finite, or all weights are zero."""
        self.rows.total(partial(check_rows_finite, name=type(estimator).__name__))
        if self.weighted and not self.rows.mean_weight() > 0:
            raise NoWeightError

    def weights(self) -> Tensor | None:
        """Return the weights of all rows, where they have any."""
        if not self.weighted:
            return None
        (parts,) = self.rows.total(_weights)
        return torch.cat(parts)


def check_rows_finite(rows: Rows, name: str) -> tuple:
    """Raise the error, which names the estimator, if a number is not finite."""
    if isinstance(rows, ArrayRows):  # a stream is checked as it comes
        check_finite(name, *rows.arrays, first=rows.first)
    return ()


def _weights(rows: Rows) -> tuple[list[Tensor]]:
    blocks = rows.blocks(rows.bound(rows.n_features, 8))
    return ([weight.cpu() for _, _, weight in blocks if weight is not None],)


def read(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    *,
    reset: bool = True,
    chunk: bool = False,
) -> Data:
    """Return the data of a fit, checked; set ``n_features_in_`` and ``feature_names_in_``.

    Without ``reset`` the columns must be those of the chunks before. A ``chunk`` may be without
    weight.
    """
    if is_dask(X):
        chunks, X, y, sample_weight = read_chunks(estimator, X, y, sample_weight, reset)
        return _data(estimator, SpreadRows(chunks), X, y, sample_weight, X_val, y_val)
    check_readable(X)
    if is_stream(X):
        _refuse_beside(X, y=y, sample_weight=sample_weight)
        if not has_numbered_rows(X):
            reader = BlockReader.opened(estimator, X, reset=reset)
            X, y, sample_weight = reader.ahead(1)[0]
            device = _device(estimator, X)
            rows: Rows = StreamRows(reader, device)
            return _data(estimator, rows, X, y, sample_weight, X_val, y_val)
        X, y, sample_weight = as_arrays(X)
    whole = not estimator.distributed
    X, y, sample_weight = check_fit(estimator, X, y, sample_weight, reset, whole, chunk)
    rows = rows_in_memory(X, y, sample_weight, _device(estimator, X))
    return _data(estimator, rows, X, y, sample_weight, X_val, y_val)


def _data(
    estimator: Any, rows: Rows, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any
) -> Data:
    return Data(
        rows=rows,
        validation=_validation(estimator, X_val, y_val, y, rows.device),
        single=is_single(X),
        single_target=len(y.shape) == 1,
        weighted=sample_weight is not None,
        device=rows.device,
        dtype=resolve_dtype(estimator.dtype, X, rows.device),
    )


def _refuse_beside(X: Any, **given: Any) -> None:
    """Raise if arrays were given beside what has them in its blocks."""
    for name, array in given.items():
        if array is not None:
            raise ValueError(
                f"{name} goes with arrays. What yields blocks, as {type(X).__name__} does, has it "
                "in them: (X, y[, sample_weight])."
            )


def _validation(estimator: Any, X: Any, y: Any, y_fit: Any, device: torch.device) -> Any:
    """Return the rows to validate on, checked against the training data; None without any."""
    if is_dask(X):
        return _validation_chunks(estimator, X, y, y_fit)
    weight = None
    if X is not None and is_stream(X):
        _refuse_beside(X, y_val=y)
        if not has_numbered_rows(X):
            reader = BlockReader.opened(estimator, X)
            if reader.form.target_shape != tuple(y_fit.shape[1:]):
                raise ValueError(
                    f"X_val yields other targets than the training targets, which have the shape "
                    f"{tuple(y_fit.shape)}."
                )
            return StreamRows(reader, device)
        X, y, weight = as_arrays(X)
    held = check_validation(estimator, X, y, y_fit, weight, whole=not estimator.distributed)
    return None if held is None else rows_in_memory(*held, device)


def _validation_chunks(estimator: Any, X: Any, y: Any, y_fit: Any) -> SpreadRows:
    check_alone(estimator, "X_val")
    chunks, _, y, _ = read_chunks(estimator, X, y, None, reset=False)
    if y.shape[1:] != y_fit.shape[1:]:
        raise ValueError(
            f"y_val has the shape {y.shape}, and the training targets {tuple(y_fit.shape)}."
        )
    rows = SpreadRows(chunks)
    rows.total(partial(check_rows_finite, name=type(estimator).__name__))
    return rows


def check_alone(estimator: Any, label: str) -> None:
    """Refuse a dask collection where the processes of torchrun have rows of their own."""
    if estimator.distributed:
        raise ValueError(
            f"distributed=True is for the processes of torchrun, each with rows of its own, and "
            f"{label} is a dask collection, whose chunks dask spreads over its workers. Set "
            "distributed=False."
        )


def _device(estimator: Any, X: Any) -> torch.device:
    device = resolve_device(estimator.device, X)
    if estimator.distributed and device.type == "cuda" and device.index is None:
        # torchrun gives every process of a machine a number, and each has a card of its own.
        index = int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count()
        device = torch.device("cuda", index)
    return device


def read_to_predict(estimator: Any, X: Any) -> tuple[Any, bool]:
    """Return the rows to predict on, checked, and whether they carry single precision."""
    check_readable(X)
    if is_stream(X):
        if not has_numbered_rows(X):
            reader = BlockReader.opened(estimator, X, targets=False)
            return StreamRows(reader, torch.device("cpu")), reader.form.single
        X = as_arrays(X)[0]
    X = check_predict(estimator, X)
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    return rows_in_memory(X, None, None, device), is_single(X)

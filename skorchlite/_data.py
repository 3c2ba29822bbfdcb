"""The data of a fit, from whatever it was given: rows, and what must be known of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ._arrays import (
    check_finite,
    check_fit,
    check_validation,
    is_single,
    resolve_device,
    resolve_dtype,
)
from ._batches import ArrayRows, Rows
from ._distributed import Ranks
from ._readers import BlockReader, as_arrays, is_stream
from ._spread import SpreadRows
from ._streams import StreamRows


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

    rows: Any
    validation: Any
    single: bool
    single_target: bool
    weighted: bool
    device: torch.device
    dtype: torch.dtype

    @property
    def form(self) -> tuple:
        """What must be alike in all places."""
        rows = self.rows
        return rows.n_features, rows.n_targets, self.single_target, self.weighted

    @property
    def n_entries(self) -> float:
        """The size of X, infinite where it is not known."""
        return self.rows.n_rows * self.rows.n_features if self.rows.indexed else torch.inf

    def check_finite(self, estimator: Any) -> None:
        """Raise scikit-learn's error if a number is not finite."""
        self.rows.total(partial(_check_finite, estimator=type(estimator).__name__))


def _check_finite(rows: Any, estimator: str) -> tuple:
    if isinstance(rows, ArrayRows):  # a stream is checked as it comes
        check_finite(estimator, *rows.arrays)
    return ()


def weights(rows: Rows) -> Tensor | None:
    """Return the weights of all rows, where they have any."""
    (parts,) = rows.total(_weights)
    return None if parts[0] is None else torch.cat(parts)


def _weights(rows: Any) -> tuple[list[Any]]:
    return ([weight for *_, weight in rows.blocks(rows.bound(rows.n_features, 8))],)


def read(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    X_val: Any = None,
    y_val: Any = None,
    *,
    reset: bool = True,
) -> Data:
    """Return the data of a fit; set ``n_features_in_`` and ``feature_names_in_``."""
    whole = not estimator.distributed
    if y is None and is_stream(X):
        if sample_weight is not None:
            raise ValueError(
                "sample_weight goes with arrays. What yields blocks has it in them: "
                "(X, y, sample_weight)."
            )
        arrays = as_arrays(X)
        if arrays is None:
            return _read_stream(estimator, X, X_val, y_val, reset)
        X, y, sample_weight = arrays
    X, y, sample_weight = check_fit(estimator, X, y, sample_weight, reset, whole)
    device = resolve_device(estimator.device, X)
    return Data(
        rows=ArrayRows(X, y, sample_weight, device),
        validation=_validation(estimator, X_val, y_val, y.shape[1:], device),
        single=is_single(X),
        single_target=len(y.shape) == 1,
        weighted=sample_weight is not None,
        device=device,
        dtype=resolve_dtype(estimator.dtype, X, device),
    )


def _read_stream(estimator: Any, source: Any, X_val: Any, y_val: Any, reset: bool) -> Data:
    reader = BlockReader(estimator, source, reset)
    X, y, _ = reader.ahead(1)[0]
    device = resolve_device(estimator.device, X)
    return Data(
        rows=StreamRows(reader, device),
        validation=_validation(estimator, X_val, y_val, y.shape[1:], device),
        single=reader.single,
        single_target=reader.single_target,
        weighted=reader.weighted,
        device=device,
        dtype=resolve_dtype(estimator.dtype, X, device),
    )

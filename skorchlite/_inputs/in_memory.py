"""Arrays and tables, whose rows are sliced where they lie."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._compat import check_same_namespace
from .._sources.arrays import ArrayRows
from .._sources.row_source import Rows
from .._sources.sparse import SparseRows
from .conversion import attributes_like, is_single, result_like
from .device import resolve_device
from .no_tables import check_is_table
from .tables import SparseTable
from .user_input import LocalInput
from .validation import check_fit, check_predict, check_validation


class ArrayInput(LocalInput):
    """An X that is an array, a tensor, a data frame or a sparse matrix."""

    def _read_rows(self, estimator: Any, reset: bool, chunk: bool) -> tuple[Rows, Any, bool, bool]:
        check_is_table(self.X)
        distributed = estimator.distributed
        X, y, weight = check_fit(
            estimator, self.X, self.y, self.sample_weight, reset, not distributed, chunk
        )
        rows = rows_in_memory(X, y, weight, resolve_device(estimator.device, X, distributed))
        return rows, y, is_single(X), weight is not None

    def read_validation(self, estimator: Any, y_fit: Any, device: torch.device) -> Rows | None:
        """Return the rows to validate on, checked; see ``Input``."""
        whole = not estimator.distributed
        held = check_validation(estimator, self.X, self.y, y_fit, self.sample_weight, whole)
        return None if held is None else rows_in_memory(*held, device)

    def _read_to_predict(self, estimator: Any) -> tuple[Rows, bool]:
        check_is_table(self.X)
        check_same_namespace(self.X, estimator, attribute="coef_", method="predict")
        return rows_to_predict(estimator, self.X)

    def attributes_for_caller(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of an estimator, fitted arrays in the namespace of X."""
        return attributes_like(attributes, self.X)

    def _prediction_for_caller(self, y_pred: Tensor) -> Any:
        return result_like(y_pred, self.X)


def rows_in_memory(
    X: Any, y: Any, sample_weight: Any, device: torch.device, first: int = 0
) -> ArrayRows:
    """Return the rows of checked arrays, sparse ones among them; see ``ArrayRows``."""
    # Apple's cards have neither double precision nor sparse products: there blocks are dense.
    sparse = isinstance(X, SparseTable) and device.type != "mps"
    kind = SparseRows if sparse else ArrayRows
    return kind(X, y, sample_weight, device, first)


def rows_to_predict(estimator: Any, X: Any) -> tuple[Rows, bool]:
    """Return the rows of an array to predict on, and whether it carries single precision."""
    X = check_predict(estimator, X)
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    return rows_in_memory(X, None, None, device), is_single(X)

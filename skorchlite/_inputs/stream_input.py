"""Streams as the data of a fit, read block by block in an order of their own."""

from typing import Any

import torch

from .._sources.iterable import SparseStreamRows, StreamRows
from .._sources.row_source import Rows
from .block_reader import BlockReader
from .device import resolve_device
from .streams import refuse_arrays_beside
from .user_input import LocalInput


class StreamInput(LocalInput):
    """An X that yields blocks, or single rows."""

    def _read_rows(self, estimator: Any, reset: bool, chunk: bool) -> tuple[Rows, Any, bool, bool]:
        refuse_arrays_beside(self.X, y=self.y, sample_weight=self.sample_weight)
        reader = BlockReader.opened(estimator, self.X, reset=reset)
        X, y, weight = reader.ahead(1)[0]
        rows = _rows_of(reader, resolve_device(estimator.device, X, estimator.distributed))
        return rows, y, reader.form.single, weight is not None

    def read_validation(self, estimator: Any, y_fit: Any, device: torch.device) -> Rows:
        """Return the rows to validate on, of which the first block is checked; see ``Input``."""
        refuse_arrays_beside(self.X, y_val=self.y)
        reader = BlockReader.opened(estimator, self.X)
        if reader.form.target_shape != tuple(y_fit.shape[1:]):
            raise ValueError(
                f"X_val yields other targets than the training targets, which have the shape "
                f"{tuple(y_fit.shape)}."
            )
        return _rows_of(reader, device)

    def _read_to_predict(self, estimator: Any) -> tuple[Rows, bool]:
        reader = BlockReader.opened(estimator, self.X, targets=False)
        return _rows_of(reader, torch.device("cpu")), reader.form.single

    @property
    def scored_by_rows(self) -> bool:
        """Whether a score is summed over the rows, as where they bring their targets."""
        return self.y is None


def _rows_of(reader: BlockReader, device: torch.device) -> StreamRows:
    """Return the rows of a stream, sparse if its first block is."""
    kind = StreamRows if reader.form.sparse_kind is None else SparseStreamRows
    return kind(reader, device)

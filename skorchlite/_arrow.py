"""Blocks of an Arrow dataset: Parquet, CSV, Feather, and whatever else pyarrow reads."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_BLOCK_BYTES = 8 << 20
_LEAST_ROWS = 1_024
_BATCHES_AHEAD = 4  # that Arrow reads; its own default may take gigabytes
_BUFFER_BYTES = 64 << 10  # of a column of a file


def arrow_blocks(
    source: Any,
    target: str | Sequence[str] | None,
    features: Sequence[str] | None = None,
    *,
    sample_weight: str | None = None,
    format: str | None = None,
    filter: Any = None,
) -> Any:
    """Blocks of an Arrow dataset that an estimator can be fitted to, or predict on.

    The files are read batch by batch, decoded by Arrow's threads while the estimator computes with
    the batches before. Only the columns that are named are read. Of Parquet, some row groups are in
    memory at a time: hundred thousand rows are a good size for one.

    Parameters
    ----------
    source : str, path, list of them, or pyarrow.dataset.Dataset
        Files or a directory of them, or a dataset that was opened with options of its own, such as
        a partitioning or a filter.
    target : str, list of str or None
        The column, or columns, to predict. None yields blocks to predict on.
    features : list of str, default=None
        The columns to predict from, in the order that ``coef_`` will have; None for all others.
    sample_weight : str, default=None
        The column that weighs the samples.
    format : str, default=None
        The format of the files, as ``pyarrow.dataset.dataset`` has it: "parquet" (the default
        there), "csv", "feather", ...
    filter : pyarrow.compute.Expression, default=None
        Which rows to read.

    Returns
    -------
    blocks : iterable of tuple
        Of Arrow tables of the features, and arrays of the rest: ``(X, y[, sample_weight])``, or
        ``(X,)`` without a target. It begins anew each time it is iterated.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If a column is not there, or is named twice.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, pyarrow.parquet as pq
    >>> from skorchlite import TorchSGDRegressor, arrow_blocks
    >>> table = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "z": [1, 0, 0, 1], "y": [3.0, 4.0, 6.0, 9.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pq.write_table(table, folder + "/part.parquet")
    ...     model = TorchSGDRegressor().fit(arrow_blocks(folder, target="y"))
    >>> model.feature_names_in_
    array(['x', 'z'], dtype=object)
    >>> model.coef_.round(9)
    array([2., 1.])
    """
    try:
        from pyarrow import dataset
    except ImportError as error:
        raise ImportError(
            "arrow_blocks needs pyarrow. Install it with pip install 'skorchlite[arrow]'."
        ) from error
    if not isinstance(source, dataset.Dataset):
        source = dataset.dataset(source, format=format)
    names = source.schema.names
    targets = [target] if isinstance(target, str) else list(target or ())
    apart = [*targets, *([sample_weight] if sample_weight else [])]
    features = [n for n in names if n not in apart] if features is None else list(features)
    wanted = [*features, *apart]
    missing = [name for name in wanted if name not in names]
    if missing or len(set(wanted)) < len(wanted):
        problem = f"There are no columns {missing}" if missing else f"{wanted} has a name twice"
        raise ValueError(f"{problem}; the dataset has the columns {names}.")
    return _ArrowBlocks(source, features, target, sample_weight, filter)


class _ArrowBlocks:
    """What ``arrow_blocks`` returns; it begins anew each time it is iterated."""

    def __init__(
        self,
        source: Any,
        features: list[str],
        target: str | Sequence[str] | None,
        sample_weight: str | None,
        filter: Any,
    ):
        self.source, self.features, self.filter = source, features, filter
        self.target, self.sample_weight = target, sample_weight
        self.targets = [target] if isinstance(target, str) else list(target or ())

    def __iter__(self) -> Iterator[tuple]:
        apart = [*self.targets, *([self.sample_weight] if self.sample_weight else [])]
        columns = [*self.features, *apart]
        batches = self.source.to_batches(
            columns=columns,
            filter=self.filter,
            batch_size=max(_BLOCK_BYTES // (8 * len(columns)), _LEAST_ROWS),
            batch_readahead=_BATCHES_AHEAD,
            fragment_readahead=1,
            **_options(self.source),
        )
        for batch in batches:
            if batch.num_rows:
                yield self._block(batch)

    def _block(self, batch: Any) -> tuple:
        from pyarrow import Table

        X = Table.from_batches([batch.select(self.features)])  # which has names for scikit-learn
        if not self.targets:
            return (X,)
        y = [_numbers(batch, name) for name in self.targets]
        target = y[0] if isinstance(self.target, str) else np.stack(y, 1)
        if self.sample_weight is None:
            return X, target
        return X, target, _numbers(batch, self.sample_weight)


def _options(source: Any) -> dict[str, Any]:
    """Return what has Arrow read Parquet as it is needed: else it holds files until their end."""
    from pyarrow.dataset import ParquetFileFormat
    from pyarrow.fs import LocalFileSystem

    local = isinstance(getattr(source, "filesystem", None), LocalFileSystem)
    if not local or not isinstance(source.format, ParquetFileFormat):
        return {}  # what is far away comes faster in large parts
    given = source.format.default_fragment_scan_options
    if given.parquet_decryption_config or given.decryption_properties:
        return {}  # which a copy would be without
    options = copy.copy(given)
    options.pre_buffer, options.use_buffered_stream = False, True
    options.buffer_size = max(options.buffer_size, _BUFFER_BYTES)
    return {"fragment_scan_options": options}


def _numbers(batch: Any, name: str) -> np.ndarray:
    return batch.column(name).to_numpy(zero_copy_only=False)

"""Blocks of an Arrow dataset: Parquet, CSV, Feather, and whatever else pyarrow reads."""

import copy
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from .parquet_readahead import decoded_ahead, prefetched

_BLOCK_BYTES = 8 << 20
_LEAST_ROWS = 1_024  # of a block, however wide they are
_BATCHES_AHEAD = 4  # that Arrow reads; with its own default it may hold gigabytes
_BUFFER_BYTES = 64 << 10  # that are read of a column of a file at once


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
    the batches before. Only the columns that are named are read.

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
        If a column is not there, is named twice, or holds no numbers.

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
    for name in wanted:
        if not _is_numeric(source.schema.field(name).type):
            raise ValueError(
                f"Column {name!r} has the Arrow type {source.schema.field(name).type}, which holds "
                "no real numbers. Name the features without it, or encode it as numbers first."
            )
    return _ArrowBlocks(source, features, target, sample_weight, filter)


def _is_numeric(dtype: Any) -> bool:
    from pyarrow import types

    dtype = dtype.value_type if types.is_dictionary(dtype) else dtype
    kinds = types.is_boolean, types.is_integer, types.is_floating, types.is_decimal
    return any(is_kind(dtype) for is_kind in kinds)


class _ArrowBlocks:
    """The blocks of a dataset, read anew each time they are iterated over."""

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
        size = max(_BLOCK_BYTES // (8 * len(columns)), _LEAST_ROWS)
        size = 1 << (size.bit_length() - 1)  # as a solver's blocks are, so that none is cut again
        for batch in decoded_ahead(_batches(self.source, columns, self.filter, size)):
            if batch.num_rows:
                yield self._block(batch)

    def _block(self, batch: Any) -> tuple:
        from pyarrow import Table

        # A table, as scikit-learn finds the names of columns in a table but not in a batch.
        X = Table.from_batches([batch.select(self.features)])
        if not self.targets:
            return (X,)
        y = [_numbers(batch, name) for name in self.targets]
        target = y[0] if isinstance(self.target, str) else np.stack(y, 1)
        if self.sample_weight is None:
            return X, target
        return X, target, _numbers(batch, self.sample_weight)


def _batches(source: Any, columns: list[str], filter: Any, size: int) -> Generator[Any, None, None]:
    """Yield batches of at most ``size`` rows.

    Parquet on a disk of this machine is read page by page if it can be. A scanner of Arrow holds
    several row groups in memory, and with its defaults all that it has read of a file.
    """
    given: dict[str, Any] = {
        "columns": columns,
        "filter": filter,
        "batch_size": size,
        "batch_readahead": _BATCHES_AHEAD,
        "fragment_readahead": 1,
    }
    options = _options(source)
    if options is None:
        yield from source.to_batches(**given)
        return
    try:
        fragments = source.get_fragments(filter)
    except ValueError:  # the dataset has a filter of its own, or computes columns
        yield from source.to_batches(**given, fragment_scan_options=options)
        return
    for fragment in fragments:
        if filter is None and all(
            name in fragment.physical_schema.names
            and fragment.physical_schema.field(name).type == source.schema.field(name).type
            for name in columns
        ):
            yield from _pages(fragment, columns, size, options)
        else:
            yield from fragment.to_batches(source.schema, **given, fragment_scan_options=options)


def _options(source: Any) -> Any:
    """Return options to read Parquet page by page; None for other formats or file systems."""
    from pyarrow.dataset import ParquetFileFormat
    from pyarrow.fs import LocalFileSystem

    local = isinstance(getattr(source, "filesystem", None), LocalFileSystem)
    if not local or not isinstance(source.format, ParquetFileFormat):
        return None
    given = source.format.default_fragment_scan_options
    if given.parquet_decryption_config or given.decryption_properties:
        return None  # a copy of the options would lack the keys
    options = copy.copy(given)
    options.pre_buffer, options.use_buffered_stream = False, True
    options.buffer_size = max(options.buffer_size, _BUFFER_BYTES)
    return options


def _pages(fragment: Any, columns: list[str], size: int, options: Any) -> Iterator[Any]:
    """Yield batches of a Parquet file, read page by page."""
    from pyarrow import cpu_count
    from pyarrow.parquet import ParquetFile

    with ParquetFile(
        fragment.path,
        filesystem=fragment.filesystem,
        buffer_size=options.buffer_size,
        pre_buffer=False,
        thrift_string_size_limit=options.thrift_string_size_limit,
        thrift_container_size_limit=options.thrift_container_size_limit,
        page_checksum_verification=options.page_checksum_verification,
    ) as file:
        groups = [group.id for group in fragment.row_groups]
        # One core computes and another one reads: decoding in threads would take from both.
        spare = cpu_count() > 2
        batches = file.iter_batches(size, groups, columns, use_threads=spare)
        yield from prefetched(batches, fragment.path, file.metadata, groups, columns)


def _numbers(batch: Any, name: str) -> np.ndarray:
    """Return a column of a batch as an array."""
    return batch.column(name).to_numpy(zero_copy_only=False)

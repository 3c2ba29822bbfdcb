"""Dask arrays and data frames: rows in chunks, which stay where dask has them.

A pass is one task a chunk, and a tree of tasks that adds up their sums; what comes back is as large
as the sums of one chunk. dask is imported only where there is a collection of its own.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._runtime import torch_settings
from .._sources.arrays import ArrayRows
from .._sources.partitioned import PartitionedRows
from .._sources.row_source import Rows
from .conversion import is_single, to_numpy
from .device import resolve_device
from .fit_data import check_rows_finite
from .in_memory import rows_in_memory
from .tables import as_frame
from .user_input import Input
from .validation import check_part, check_whole

_SUMMED_AT_ONCE = 8  # sums of a worker, before they travel


class DaskInput(Input):
    """An X that is a dask array or data frame; y and sample_weight may be of dask too."""

    def _read_rows(self, estimator: Any, reset: bool, chunk: bool) -> tuple[Rows, Any, bool, bool]:
        chunks, X, y, weight = read_chunks(estimator, self.X, self.y, self.sample_weight, reset)
        return PartitionedRows(chunks), y, is_single(X), weight is not None

    def read_validation(self, estimator: Any, y_fit: Any, device: torch.device) -> Rows:
        """Return the rows to validate on, checked in a pass over them; see ``Input``."""
        if estimator.distributed:
            self.check_ranks_can_read("X_val")
        chunks, _, y, _ = read_chunks(estimator, self.X, self.y, None, reset=False)
        if y.shape[1:] != y_fit.shape[1:]:
            raise ValueError(
                f"y_val has the shape {y.shape}, and the training targets {tuple(y_fit.shape)}."
            )
        rows = PartitionedRows(chunks)
        rows.total(partial(check_rows_finite, name=type(estimator).__name__))
        return rows

    def predicted(self, estimator: Any) -> Any:
        """Return the predictions as a dask array, which are made when that is computed."""
        return predicted_chunks(estimator, self.X)

    @property
    def scored_by_rows(self) -> bool:
        """Whether a score is summed over the rows, as where these stay in their chunks."""
        return True

    def check_ranks_can_read(self, label: str) -> None:
        """Raise an error: each rank would read the rows of all of them."""
        raise ValueError(
            f"distributed=True is for the processes of torchrun, each with rows of its own, and "
            f"{label} is a dask collection, whose chunks dask spreads over its workers. Set "
            "distributed=False."
        )


class Chunks:
    """The chunks of rows of dask collections: places to send functions to; see ``Partitions``.

    Parameters
    ----------
    parts : sequence of tuple
        For each chunk X, y and sample_weight, delayed; sample_weight may be None.
    lengths : sequence of int
        The number of rows of each.
    outline : tuple
        X, y and sample_weight as a whole, without content.
    name : str
        Of the estimator, for errors.
    device : str or torch.device
        To compute on, where the chunk is.
    """

    def __init__(
        self, parts: Sequence[tuple], lengths: Sequence[int], outline: tuple, name: str, device: Any
    ):
        self.parts, self.outline = parts, outline
        self.edges = [0, *accumulate(lengths)]
        self.name, self.device = name, device

    def total(self, add_up: Callable[[Rows], tuple], among: Sequence[int] | None = None) -> tuple:
        """Return the sum of ``add_up(rows)`` over the chunks, or some of them."""
        import dask

        # A task of its own, so that it travels once to each worker and not with each chunk.
        work = dask.delayed(_ChunkPass(add_up, self.name, self.device), traverse=False)
        run, add = dask.delayed(_run), dask.delayed(_total)
        among = range(len(self.parts)) if among is None else among
        sums = [run(work, self.edges[i], *self.parts[i]) for i in among]
        while len(sums) > 1:
            groups = range(0, len(sums), _SUMMED_AT_ONCE)
            sums = [add(*sums[i : i + _SUMMED_AT_ONCE]) for i in groups]
        (result,) = dask.compute(sums[0])
        return result

    def outlined(self, add_up: Callable[[Rows], tuple]) -> tuple:
        """Return the same of rows without content, which none has to be read for."""
        parts = []
        for start, stop in pairwise(self.edges):
            X, y, weight = (None if c is None else c[start:stop] for c in self.outline)
            parts.append(ArrayRows(X, y, weight, torch.device("cpu"), start))
        return _total(*map(add_up, parts))


def _run(work: Callable, *chunk: Any) -> tuple:
    return work(*chunk)


@dataclass(frozen=True)
class _ChunkPass:
    """What a worker does with a chunk: read it, check it, and add up.

    Parameters
    ----------
    add_up : callable
    name : str
        Of the estimator, for errors.
    device : str or torch.device
    """

    add_up: Callable[[Rows], tuple]
    name: str
    device: Any

    def __call__(self, first: int, X: Any, y: Any, sample_weight: Any) -> tuple:
        """Return the sums over a chunk, whose first row has the number ``first``."""
        with torch_settings():
            X, y, sample_weight = check_part(self.name, X, y, sample_weight)
            device = resolve_device(self.device, X)
            return self.add_up(rows_in_memory(X, y, sample_weight, device, first))


def _total(*sums: tuple) -> tuple:
    return reduce(added, sums)


def added(a: tuple, b: tuple) -> tuple:
    """Return two sums added: lists end to end, all else as numbers."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def read_chunks(
    estimator: Any, X: Any, y: Any, sample_weight: Any, reset: bool
) -> tuple[Chunks, Any, Any, Any]:
    """Return the chunks of a dask X and what goes with it; X, y and weights without content.

    y and the weights may be dask collections, of any chunks, or in memory. Lengths of chunks that
    are not known are worked out in a pass over the data.
    """
    columns = [None if c is None else _of_whole_rows(c) for c in (X, y, sample_weight)]
    parts = [_delayed(column) for column in columns]
    lengths = _lengths(columns, parts)
    outlines = [
        None if c is None else _outline(c, sum(n)) for c, n in zip(columns, lengths, strict=True)
    ]
    check_whole(estimator, _names(columns[0]), *outlines, reset=reset)
    wanted = [n for n in lengths[0] if n]  # a chunk without rows has nothing to add
    aligned = map(partial(_aligned, wanted=wanted), parts, lengths, outlines)
    chunks = Chunks(
        parts=list(zip(*aligned, strict=True)),
        lengths=wanted,
        outline=tuple(outlines),
        name=type(estimator).__name__,
        device=estimator.device,
    )
    X, y, sample_weight = outlines
    return chunks, X, y, sample_weight


def _of_whole_rows(column: Any) -> Any:
    """Return a collection, or array, whose chunks hold all columns."""
    from dask import is_dask_collection

    if not is_dask_collection(column):
        return np.asarray(to_numpy(column))
    if not hasattr(column, "to_delayed") or not hasattr(column, "ndim"):
        raise TypeError(
            f"A {type(column).__module__}.{type(column).__qualname__} has no rows and columns. "
            "Give a dask array or data frame."
        )
    return column.rechunk({1: -1}) if _is_array(column) and column.ndim > 1 else column


def _delayed(column: Any) -> Any:
    """Return the chunks of a collection, delayed; what is in memory as it is."""
    if column is None or isinstance(column, np.ndarray):
        return column
    # Of a frame they may be fewer than its partitions, since dask reads small files together.
    parts = column.to_delayed()
    return list(parts.ravel()) if _is_array(column) else parts


def _lengths(columns: Sequence[Any], parts: Sequence[Any]) -> Sequence[Sequence[int]]:
    """Return the lengths of the chunks of each column; all unknown ones at once."""
    import dask

    sizes: list[list[Any]] = []
    for column, chunks in zip(columns, parts, strict=True):
        if column is None:
            sizes.append([])
        elif isinstance(column, np.ndarray):
            sizes.append([len(column)])
        elif _is_array(column) and not np.isnan(column.chunks[0]).any():
            sizes.append(list(column.chunks[0]))
        else:
            sizes.append([dask.delayed(_n_rows)(chunk) for chunk in chunks])
    return dask.compute(*sizes)


def _n_rows(chunk: Any) -> int:
    return chunk.shape[0]


def _outline(column: Any, n_rows: int) -> np.ndarray:
    """Return an array like a column as a whole that takes no memory."""
    if _is_frame(column):
        width, frame = (len(column.columns),), as_frame(column)
        single = frame is not None and frame.dtype == np.float32
    else:
        width, kind = column.shape[1:], column.dtype
        single = getattr(kind, "kind", "O") == "f" and kind.itemsize <= 4
    dtype = np.float32 if single else np.float64
    return np.broadcast_to(np.zeros((), dtype), (n_rows, *width))


def _is_array(column: Any) -> bool:
    return hasattr(column, "chunks")


def _is_frame(column: Any) -> bool:
    return not _is_array(column) and column.ndim == 2


def _names(X: Any) -> Any:
    """Return a frame of one row with the names of the columns; None for an array."""
    return X.dtypes.to_frame().T if _is_frame(X) else None


def _aligned(
    parts: Any, lengths: Sequence[int], outline: Any, wanted: Sequence[int]
) -> Sequence[Any]:
    """Return the chunks of a column, delayed, in the lengths that are wanted."""
    import dask.array as da
    from dask import delayed

    if parts is None:
        return [None] * len(wanted)
    if isinstance(parts, np.ndarray):
        ends = pairwise(accumulate(wanted, initial=0))
        return [delayed(parts[slice(*rows)], traverse=False) for rows in ends]
    filled = [(part, n) for part, n in zip(parts, lengths, strict=True) if n]
    if [n for _, n in filled] == wanted:
        return [part for part, _ in filled]
    arrays = [
        da.from_delayed(delayed(np.asarray)(part), (n, *outline.shape[1:]), outline.dtype)
        for part, n in filled
    ]
    return list(da.concatenate(arrays).rechunk({0: tuple(wanted)}).to_delayed().ravel())


def predicted_chunks(estimator: Any, X: Any) -> Any:
    """Return the predictions on a dask X as a dask array, computed when that is."""
    X = _of_whole_rows(X)
    outline = _outline(X, 1)
    check_whole(estimator, _names(X), outline, reset=False)
    model = copy.copy(estimator)
    for name in ("_stream", "feature_names_in_"):  # moments; and the names have been checked
        vars(model).pop(name, None)
    targets = np.shape(estimator.intercept_)
    meta = np.empty((0, *targets), outline.dtype)
    predict = partial(_predicted, model=model, meta=meta)
    if _is_frame(X):
        return X.map_partitions(predict, meta=meta)
    if not targets:
        return X.map_blocks(predict, drop_axis=1, meta=meta)
    return X.map_blocks(predict, chunks=(X.chunks[0], targets), meta=meta)


def _predicted(X: Any, model: Any, meta: np.ndarray) -> np.ndarray:
    X, *_ = check_part(type(model).__name__, X)
    if not X.shape[0]:
        return meta
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    with torch_settings():
        return to_numpy(model._predict(ArrayRows(X, None, None, device), is_single(X)))

"""Dask arrays and data frames, whose rows stay in the partitions that dask has of them.

A pass is one task for each partition, and a tree of tasks that adds up their sums, so that what
comes back is as large as the sums of one partition. dask is imported only if the user passed one of
its collections.
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

_SUMMED_AT_ONCE = 8  # sums that one task of the tree adds up


class DaskInput(Input):
    """An X that is a dask array or data frame; y and sample_weight may be of dask too."""

    def _read_rows(self, estimator: Any, reset: bool, chunk: bool) -> tuple[Rows, Any, bool, bool]:
        partitions, X, y, weight = read_partitions(
            estimator, self.X, self.y, self.sample_weight, reset
        )
        return PartitionedRows(partitions), y, is_single(X), weight is not None

    def read_validation(self, estimator: Any, y_fit: Any, device: torch.device) -> Rows:
        """Return the rows to validate on, checked in a pass over them; see ``Input``."""
        if estimator.distributed:
            self.check_ranks_can_read("X_val")
        partitions, _, y, _ = read_partitions(estimator, self.X, self.y, None, reset=False)
        if y.shape[1:] != y_fit.shape[1:]:
            raise ValueError(
                f"y_val has the shape {y.shape}, and the training targets {tuple(y_fit.shape)}."
            )
        rows = PartitionedRows(partitions)
        rows.total(partial(check_rows_finite, name=type(estimator).__name__))
        return rows

    def predicted(self, estimator: Any, method: str = "_predict") -> Any:
        """Return the predictions as a dask array, which is computed when the user asks for it."""
        X = _with_whole_rows(self.X)
        outline = _outline(X, 1)
        check_whole(estimator, _names(X), outline, reset=False)
        model = copy.copy(estimator)
        # Not sent to the workers: moments for later chunks, and names, which have been checked.
        plain = method == "_predict"
        for name in ("_stream", "feature_names_in_", *(["_whitening"] if plain else [])):
            vars(model).pop(name, None)
        targets = (*np.shape(estimator.intercept_), *(() if plain else (2,)))
        meta = np.empty((0, *targets), outline.dtype)
        predict = partial(_predicted, model=model, method=method, meta=meta)
        if _is_frame(X):
            return X.map_partitions(predict, meta=meta)
        if not targets:
            return X.map_blocks(predict, drop_axis=1, meta=meta)
        chunks, added = (X.chunks[0], *((n,) for n in targets)), list(range(2, 1 + len(targets)))
        return X.map_blocks(predict, chunks=chunks, new_axis=added or None, meta=meta)

    @property
    def scored_by_rows(self) -> bool:
        """Whether a score is summed over the rows: they stay in their partitions."""
        return True

    def check_ranks_can_read(self, label: str) -> None:
        """Raise an error: each rank would read the rows of all ranks."""
        raise ValueError(
            f"distributed=True is for the processes of torchrun, each with rows of its own, and "
            f"{label} is a dask collection, whose chunks dask spreads over its workers. Set "
            "distributed=False."
        )


class DaskPartitions:
    """The partitions of dask collections; see ``Partitions``.

    Parameters
    ----------
    parts : sequence of tuple
        X, y and sample_weight of each partition, delayed; sample_weight may be None.
    lengths : sequence of int
        The number of rows of each partition.
    outline : tuple of (ndarray or None)
        Arrays in shape and dtype like the whole X, y and sample_weight, which take no memory.
    name : str
        Of the estimator, for errors.
    device : str or torch.device
        What a worker computes on.
    """

    kept = False

    def __init__(
        self, parts: Sequence[tuple], lengths: Sequence[int], outline: tuple, name: str, device: Any
    ):
        self.parts, self.outline = parts, outline
        self.edges = [0, *accumulate(lengths)]
        self.name, self.device = name, device

    def total(self, add_up: Callable[[Rows], tuple], among: Sequence[int] | None = None) -> tuple:
        """Return the sum of ``add_up(rows)`` over the partitions; see ``Partitions``."""
        import dask

        # A task of its own, so that it is sent once to each worker and not with each partition.
        work = dask.delayed(_PartitionPass(add_up, self.name, self.device), traverse=False)
        run, add = dask.delayed(_run), dask.delayed(_total)
        among = range(len(self.parts)) if among is None else among
        sums = [run(work, self.edges[i], *self.parts[i]) for i in among]
        while len(sums) > 1:
            groups = range(0, len(sums), _SUMMED_AT_ONCE)
            sums = [add(*sums[i : i + _SUMMED_AT_ONCE]) for i in groups]
        (result,) = dask.compute(sums[0])
        return result

    def outlined(self, add_up: Callable[[Rows], tuple]) -> tuple:
        """Return the same sum from outlines of the partitions, so that none is read."""
        parts = []
        for start, stop in pairwise(self.edges):
            X, y, weight = (None if c is None else c[start:stop] for c in self.outline)
            parts.append(ArrayRows(X, y, weight, torch.device("cpu"), start))
        return _total(*map(add_up, parts))


def _run(work: Callable, *partition: Any) -> tuple:
    return work(*partition)


@dataclass(frozen=True)
class _PartitionPass:
    """What a worker does with a partition: it checks the rows, and adds up.

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
        """Return the sums over a partition, whose first row has the number ``first``."""
        with torch_settings():
            X, y, sample_weight = check_part(self.name, X, y, sample_weight)
            device = resolve_device(self.device, X)
            return self.add_up(rows_in_memory(X, y, sample_weight, device, first))


def _total(*sums: tuple) -> tuple:
    return reduce(added, sums)


def added(a: tuple, b: tuple) -> tuple:
    """Return the sum of two results of ``add_up``; see ``Rows.total``."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def read_partitions(
    estimator: Any, X: Any, y: Any, sample_weight: Any, reset: bool
) -> tuple[DaskPartitions, Any, Any, Any]:
    """Return the partitions of a dask X, y and sample_weight, and an outline of each of the three.

    y and sample_weight may be dask collections, of any partitions, or in memory. Lengths that dask
    does not know are counted in a pass over the data.
    """
    columns = [None if c is None else _with_whole_rows(c) for c in (X, y, sample_weight)]
    parts = [_delayed(column) for column in columns]
    lengths = _lengths(columns, parts)
    outlines = [
        None if c is None else _outline(c, sum(n)) for c, n in zip(columns, lengths, strict=True)
    ]
    check_whole(estimator, _names(columns[0]), *outlines, reset=reset)
    wanted = [n for n in lengths[0] if n]  # a partition without rows has nothing to add
    aligned = map(partial(_aligned, wanted=wanted), parts, lengths, outlines)
    partitions = DaskPartitions(
        parts=list(zip(*aligned, strict=True)),
        lengths=wanted,
        outline=tuple(outlines),
        name=type(estimator).__name__,
        device=estimator.device,
    )
    X, y, sample_weight = outlines
    return partitions, X, y, sample_weight


def _with_whole_rows(column: Any) -> Any:
    """Return a dask collection in partitions of whole rows, and anything else as an array."""
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
    """Return the partitions of a collection, delayed; an array in memory is returned as it is."""
    if column is None or isinstance(column, np.ndarray):
        return column
    # Fewer than a frame says it has, where dask reads small files together.
    parts = column.to_delayed()
    return list(parts.ravel()) if _is_array(column) else parts


def _lengths(columns: Sequence[Any], parts: Sequence[Any]) -> Sequence[Sequence[int]]:
    """Return the lengths of the partitions of each column, counting those that are not known."""
    import dask

    sizes: list[list[Any]] = []
    for column, partitions in zip(columns, parts, strict=True):
        if column is None:
            sizes.append([])
        elif isinstance(column, np.ndarray):
            sizes.append([len(column)])
        elif _is_array(column) and not np.isnan(column.chunks[0]).any():
            sizes.append(list(column.chunks[0]))
        else:
            sizes.append([dask.delayed(_n_rows)(partition) for partition in partitions])
    return dask.compute(*sizes)


def _n_rows(partition: Any) -> int:
    return partition.shape[0]


def _outline(column: Any, n_rows: int) -> np.ndarray:
    """Return an array in shape and dtype like a column of ``n_rows``, which takes no memory."""
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
    in_memory = isinstance(column, np.ndarray)  # as targets may be
    return not in_memory and not _is_array(column) and column.ndim == 2


def _names(X: Any) -> Any:
    """Return a frame of one row with the names of the columns; None for an array."""
    return X.dtypes.to_frame().T if _is_frame(X) else None


def _aligned(
    parts: Any, lengths: Sequence[int], outline: Any, wanted: Sequence[int]
) -> Sequence[Any]:
    """Return the partitions of a column, delayed, cut again to the lengths that are wanted."""
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


def _predicted(X: Any, model: Any, method: str, meta: np.ndarray) -> np.ndarray:
    """Return the predictions of a model on a partition, of dtype and shape like ``meta``."""
    X, *_ = check_part(type(model).__name__, X)
    if not X.shape[0]:
        return meta
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    with torch_settings():
        rows = ArrayRows(X, None, None, device)
        return to_numpy(getattr(model, method)(rows, is_single(X)))

"""The data of one regression a group: the features, and the group of each row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, validate_data

from .._inputs.conversion import is_dask, to_numpy
from .._inputs.fit_data import Data
from .._inputs.group_table import GroupTable, group_table, joined
from .._inputs.input_kinds import input_of
from .._inputs.key_columns import as_columns, key_columns, key_positions, without_columns
from .._inputs.keyed_stream import KeyedStream, KeyNumbers
from .._inputs.streams import is_stream
from .._inputs.validation import check_finite
from .._polynomials.local_powers import LocalPowers
from .._sources.arrays import ArrayRows
from .._sources.blocks import Block
from .._sources.group_batches import GroupedRows
from .._sources.row_source import Rows
from .group_fits import GroupFits, GroupModel, fit_groups
from .group_stream import HELD_ENTRIES, GroupedStream


@dataclass
class GroupData:
    """The data of a fit, read and checked.

    Parameters
    ----------
    data : Data
        Of the features.
    table : GroupTable
        Of the groups that have rows with weight.
    grouped : GroupedRows or GroupedStream
        The same rows by group.
    positions : list of int
        Which columns of X hold keys.
    """

    data: Data
    table: GroupTable
    grouped: GroupedRows | GroupedStream
    positions: list[int]

    def fit(self, model: GroupModel, check_finite: Callable[[], None]) -> GroupFits:
        """Return the fits of all groups; see ``fit_groups``."""
        if isinstance(self.grouped, GroupedStream):
            return self.grouped.fit(self.data, model)
        return fit_groups(self.grouped, self.data, model, check_finite)

    def check_finite(self, estimator: Any) -> None:
        """Raise scikit-learn's error if a number is not finite, with the column as X has it."""
        rows = self.data.rows
        names = getattr(estimator, "feature_names_in_", range(estimator.n_features_in_))
        rest = np.delete(np.array(names, object), self.positions).tolist()
        if isinstance(rows, ArrayRows):  # the blocks of a stream are checked as they are read
            check_finite(type(estimator).__name__, *rows.arrays, names=rest)


def read_groups(estimator: Any, X: Any, y: Any, sample_weight: Any) -> GroupData:
    """Return the data of a fit; set ``n_features_in_`` and ``feature_names_in_``.

    Parameters
    ----------
    estimator : object
    X, y, sample_weight : object
        As the user passed them.
    """
    reader, name = like(estimator), type(estimator).__name__
    if is_stream(X) and not is_dask(X):
        if estimator.groups is not None:
            return _read_stream(estimator, X, y, sample_weight)
        data = input_of(X, y, sample_weight).read(reader)
        columns: list[Any] = []
        positions: list[int] = []
        data.rows = _in_memory(data, list(_blocks(data.rows)))
    else:
        if y is None:
            validate_data(estimator, X, y, skip_check_array=True)  # raises scikit-learn's error
        features, columns, positions = split(estimator, X, reset=True)
        data = input_of(features, y, sample_weight).read(reader)
    if estimator.groups is None:
        _copy_columns(reader, estimator)
        table = GroupTable([np.array([None])], [])
        codes: NDArray[np.integer] = np.zeros(data.rows.n_rows, np.int32)
    else:
        check_consistent_length(columns[0], np.empty(data.rows.n_rows))
        table, codes = group_table(columns, labels_of(estimator, positions), name)
    return _by_group(estimator, data, table, codes, positions)


def _by_group(
    estimator: Any,
    data: Data,
    table: GroupTable,
    codes: NDArray[np.integer],
    positions: list[int],
) -> GroupData:
    """Return data in memory by group."""
    weight = to_numpy(data.weights()) if data.weighted else None
    table, grouped = _with_weight(data.rows, table, codes, weight)
    grouped.terms = terms_for(estimator, data.rows.n_features)
    return GroupData(data, table, grouped, positions)


def _read_stream(estimator: Any, X: Any, y: Any, sample_weight: Any) -> GroupData:
    """Return the data of a stream: in memory if it is small, or can be read only once."""
    name, again = type(estimator).__name__, not isinstance(X, Iterator)
    source = KeyedStream(estimator, X)
    given = source if again else iter(source)
    data = input_of(given, y, sample_weight).read(like(estimator))
    labels = labels_of(estimator, source.positions)
    kept, entries, keys = [], 0, []
    for block in _blocks(data.rows):
        kept.append(block)
        keys.append(source.take(len(block[0])))
        entries += block[0].numel() + block[1].numel()
        if again and entries > HELD_ENTRIES:
            break
    else:
        columns = [joined(pieces) for pieces in zip(*keys, strict=True)]
        table, codes = group_table(columns, labels, name)
        data.rows = _in_memory(data, kept)
        return _by_group(estimator, data, table, codes, source.positions)
    kept.clear()
    own = KeyedStream(estimator, X)
    rows = input_of(own, y, sample_weight).read(like(estimator)).rows
    squared = estimator.loss == "squared_error" and estimator.fit_intercept
    smooth = estimator.penalty in (None, "l2") and not estimator.positive
    with_sums = squared and smooth and estimator.degree == 1
    terms = terms_for(estimator, rows.n_features)
    grouped = GroupedStream(rows, own, KeyNumbers(labels, name), with_sums, terms)
    source = KeyedStream(estimator, X, keeping=False)
    data.rows = input_of(source, y, sample_weight).read(like(estimator)).rows
    return GroupData(data, grouped.table, grouped, own.positions)


def _blocks(rows: Rows) -> Iterator[Block]:
    return rows.blocks(rows.bound(rows.n_features, 8))


def _in_memory(data: Data, blocks: list[Block]) -> ArrayRows:
    """Return the rows of blocks as one array."""
    features, targets, weight = (
        None if parts[0] is None else torch.cat(parts) for parts in zip(*blocks, strict=True)
    )
    if data.single_target and targets is not None:
        targets = targets[:, 0]
    return ArrayRows(features, targets, to_numpy(weight), data.device)


def terms_for(estimator: Any, n_features: int) -> LocalPowers | None:
    """Return what makes the terms of a polynomial; None for a linear model.

    What is penalised are coefficients of powers of the columns as they are.
    """
    if estimator.degree == 1:
        return None
    plain = estimator.penalty is None and not (estimator.positive or estimator.shrinkage)
    return LocalPowers(int(estimator.degree), n_features, plain, bool(estimator.fit_intercept))


def like(estimator: Any) -> Any:
    """Return an estimator like another, for the features alone, as which these are read."""
    return type(estimator)(**estimator.get_params(deep=False))


def split(estimator: Any, X: Any, reset: bool) -> tuple[Any, list[Any], list[int]]:
    """Return the features, the columns of keys, and the numbers of the latter.

    Columns are counted here, and their names read; what the features hold is checked later.

    Parameters
    ----------
    estimator : object
    X : object
    reset : bool
        Whether the columns may differ from those that the estimator was fitted to.
    """
    if is_dask(X):
        raise TypeError(
            f"{type(estimator).__name__} takes no dask collections, since a group may have rows in "
            "each of their parts. Give what yields these parts: an iterable of (X, y)."
        )
    keyed = estimator.groups is not None if reset else bool(estimator._key_positions)
    X = as_columns(X, has_keys=keyed)
    if keyed:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    positions = key_positions(X, estimator.groups) if reset else estimator._key_positions
    return without_columns(X, positions), key_columns(X, positions), positions


def labels_of(estimator: Any, positions: list[int]) -> list[Any]:
    """Return the names of columns, or their numbers where they have no names."""
    names = getattr(estimator, "feature_names_in_", None)
    return [position if names is None else str(names[position]) for position in positions]


def _copy_columns(reader: Any, estimator: Any) -> None:
    """Give an estimator the columns that a reader has counted."""
    vars(estimator).pop("feature_names_in_", None)
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(reader, name):
            setattr(estimator, name, getattr(reader, name))


def _with_weight(
    rows: Rows, table: GroupTable, codes: NDArray[np.integer], weight: Any
) -> tuple[GroupTable, GroupedRows]:
    """Return the groups that have weight, which the others are no part of the problem beside."""
    grouped = GroupedRows(rows, codes, len(table), weight)
    there = grouped.counts > 0
    if there.all():
        return table, grouped
    codes = (np.cumsum(there) - 1).astype(codes.dtype)[codes]
    table = table.taken(there)
    return table, GroupedRows(rows, codes, len(table), weight)

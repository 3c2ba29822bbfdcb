"""The groups that keys make: numbers for keys of any kind, of one column or several."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SPREAD = 4  # times as many integers as rows, up to which a table holds which ones there are
_EXACT = 2**53  # up to here doubles hold all integers, and so these can be compared as doubles

Codes = NDArray[np.integer]


class GroupTable:
    """The keys of all groups, in order.

    Parameters
    ----------
    values : list of ndarray
        The distinct keys of each column, sorted where they can be.
    pairs : list of ndarray of int64
        For each column after the first, the combinations that there are: the number of the
        combination of the columns before, times the number of values of this one, plus that of its
        value; sorted.
    """

    def __init__(self, values: list[np.ndarray], pairs: list[np.ndarray]):
        self.values, self.pairs = values, pairs

    def __len__(self) -> int:
        return len(self.pairs[-1] if self.pairs else self.values[0])

    @property
    def columns(self) -> list[np.ndarray]:
        """The key of each group, column by column."""
        codes, found = np.arange(len(self)), []
        for values, pairs in zip(self.values[:0:-1], self.pairs[::-1], strict=True):
            codes, own = np.divmod(pairs[codes], len(values))
            found.append(values[own])
        return [self.values[0][codes], *found[::-1]]

    @property
    def keys(self) -> np.ndarray:
        """The key of each group, of shape (n_groups,) or, of several columns, (n_groups, n)."""
        columns = self.columns
        if len(columns) == 1:
            return columns[0]
        kinds = {column.dtype.kind for column in columns}
        numbers = kinds <= set("iuf") and all(map(_holds_doubles, columns))
        mixed = len(kinds) > 1 and not numbers
        return np.stack([_objects(c) if mixed else c for c in columns], 1)

    def taken(self, groups: NDArray[np.bool_]) -> "GroupTable":
        """Return the table of some of the groups."""
        columns = [column[groups] for column in self.columns]
        return group_table(columns, [""] * len(columns), "")[0]

    def find(self, columns: Sequence[Any], labels: Sequence[Any], name: str) -> NDArray[np.int64]:
        """Return the number of the group of each row; -1 where there is no such group.

        Parameters
        ----------
        columns : sequence of series or array of shape (n_rows,)
        labels : sequence
            The names of the columns, for errors.
        name : str
            Of the estimator, for errors.
        """
        total: NDArray[np.int64] | None = None
        for j, (column, label) in enumerate(zip(columns, labels, strict=True)):
            own, values = encoded(column, label, name)
            codes = _places(values, self.values[j])[own]
            if total is None:
                total = codes
                continue
            pairs = total * len(self.values[j]) + codes
            total = np.where((total < 0) | (codes < 0), -1, _places(pairs, self.pairs[j - 1]))
        assert total is not None, "there is a column of keys"
        return total


def group_table(
    columns: Sequence[Any], labels: Sequence[Any], name: str
) -> tuple[GroupTable, Codes]:
    """Return the groups that columns of keys make, and the number of the group of each row.

    Parameters
    ----------
    columns, labels, name
        As of ``GroupTable.find``.
    """
    total, values = encoded(columns[0], labels[0], name)
    table = GroupTable([values], [])
    for column, label in zip(columns[1:], labels[1:], strict=True):
        codes, values = encoded(column, label, name)
        pairs, total = np.unique(total.astype(np.int64) * len(values) + codes, return_inverse=True)
        table.values.append(values)
        table.pairs.append(pairs)
    return table, _narrow(total, len(table))


def encoded(column: Any, label: Any, name: str) -> tuple[Codes, np.ndarray]:
    """Return the number of the key of each row, and the keys, sorted where they can be.

    Raises
    ------
    ValueError
        If a key is missing, or infinite.
    """
    plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM"
    if hasattr(column, "factorize") and not plain:
        try:
            codes, values = column.factorize()
        except TypeError as error:
            raise _unhashable(error, label) from error
        _refuse(codes < 0, "NaN", label, name)
        return _sorted(codes, np.asarray(values))
    if hasattr(column, "null_count"):
        _refuse(column.is_null().to_numpy(), "NaN", label, name)
        if column.dtype.is_nested():
            raise _unhashable(f"{column.dtype} is no such type", label)
        if not column.dtype.is_numeric():
            codes = column.rank("dense").to_numpy().astype(np.int64) - 1
            first = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
            first[codes[::-1]] = np.arange(len(codes))[::-1]
            return _sorted(codes, column.gather(first).to_numpy())
        column = column.to_numpy()
    return _encoded_array(np.asarray(column), label, name)


def _encoded_array(column: np.ndarray, label: Any, name: str) -> tuple[Codes, np.ndarray]:
    """Return the same for an array."""
    kind = column.dtype.kind
    if kind == "O":
        return _encoded_objects(column, label, name)
    if kind == "f":
        _refuse(np.isnan(column), "NaN", label, name)
        _refuse(np.isinf(column), "infinity", label, name)
    if kind in "mM":
        _refuse(np.isnat(column), "NaN", label, name)
    if len(column) and (column[1:] >= column[:-1]).all():
        new = np.concatenate(([False], column[1:] != column[:-1]))
        values = column[np.concatenate(([0], new.nonzero()[0]))]
        return np.cumsum(new, dtype=_kind_for(len(values))), values
    if kind in "iuf" and (found := _encoded_integers(column)) is not None:
        return found
    values, codes = np.unique(column, return_inverse=True)
    return _narrow(codes, len(values)), values


def _encoded_integers(column: np.ndarray) -> tuple[Codes, np.ndarray] | None:
    """Return the same for integers that lie close together, None for other numbers."""
    if not len(column):
        return None
    low, high = column.min(), column.max()
    if not float(high) - float(low) <= _SPREAD * len(column):
        return None
    whole = column.dtype.kind != "f" or (np.floor(column) == column).all()
    if not whole or (column.dtype.kind == "f" and not _holds_doubles(column)):
        return None
    wide = np.uint64 if column.dtype.kind == "u" else np.int64  # small ones would overflow
    numbers = (column.astype(wide, copy=False) - wide(low)).astype(np.int64, copy=False)
    there = np.zeros(int(high) - int(low) + 1, bool)
    there[numbers] = True
    (values,) = there.nonzero()
    places = np.cumsum(there, dtype=_kind_for(len(values))) - 1
    return places[numbers], (values.astype(wide) + wide(low)).astype(column.dtype)


def _encoded_objects(column: np.ndarray, label: Any, name: str) -> tuple[Codes, np.ndarray]:
    """Return the same for objects, in their order if they can be compared."""
    missing = np.fromiter((v is None or v != v for v in column), bool, len(column))
    _refuse(missing, "NaN", label, name)
    numbers: dict[Any, int] = {}
    try:
        codes = np.fromiter((numbers.setdefault(v, len(numbers)) for v in column), np.int64)
    except TypeError as error:
        raise _unhashable(error, label) from error
    values = np.empty(len(numbers), object)
    values[:] = list(numbers)
    return _sorted(codes, values)


def _unhashable(what: Any, label: Any) -> TypeError:
    return TypeError(
        f"A key argument must be a string or a number, or another value that can be hashed: "
        f"{what} in column {label!r}."
    )


def _sorted(codes: Codes, values: np.ndarray) -> tuple[Codes, np.ndarray]:
    """Return codes and values in the order of the values, if these can be compared."""
    try:
        order = np.argsort(values, kind="stable")
    except TypeError:
        return _narrow(codes, len(values)), values
    places = np.empty(len(order), _kind_for(len(order)))
    places[order] = np.arange(len(order))
    return places[codes], values[order]


def _objects(values: np.ndarray) -> np.ndarray:
    """Return values as Python's own; of times these have microseconds."""
    if values.dtype.kind in "mM":
        values = values.astype(f"{values.dtype.kind}8[us]")
    return values.astype(object)


def _places(values: np.ndarray, among: np.ndarray) -> NDArray[np.int64]:
    """Return where values are among others, which are sorted if they are no objects; or -1."""
    kinds = {values.dtype.kind, among.dtype.kind}
    in_doubles = kinds <= set("biuf") and _holds_doubles(values) and _holds_doubles(among)
    if in_doubles or (len(kinds) == 1 and kinds <= set("biufmMU")):
        at = np.searchsorted(among, values).clip(0, max(len(among) - 1, 0))
        return np.where(among[at] == values, at, -1) if len(among) else np.full(len(values), -1)
    numbers = {value: i for i, value in enumerate(among.tolist())}
    found = (numbers.get(value, -1) for value in values.tolist())
    return np.fromiter(found, np.int64, len(values))


def _holds_doubles(values: np.ndarray) -> bool:
    """Return whether numbers are the same as doubles, if they are whole."""
    return not len(values) or -_EXACT <= values.min().item() <= values.max().item() <= _EXACT


def joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Return pieces of a column of keys as one; as objects where another type would round them."""
    kinds = {piece.dtype.kind for piece in pieces}
    if len(kinds) > 1 and kinds <= set("biuf") and not all(map(_holds_doubles, pieces)):
        pieces = [piece.astype(object) for piece in pieces]
    return np.concatenate(pieces)


def _refuse(wrong: NDArray[np.bool_], what: str, label: Any, name: str) -> None:
    """Raise if a key is missing, or infinite."""
    if not wrong.any():
        return
    beyond = "" if what == "NaN" else " or a value too large for dtype('float64')"
    raise ValueError(
        f"Input X contains {what}{beyond}.\n{name} takes no such key: the first one is in row "
        f"{int(wrong.argmax())}, column {label!r}, counted from 0. Leave these rows out, or give "
        "them a key of their own."
    )


def _kind_for(n_values: int) -> np.dtype:
    """Return the type of integers that hold the numbers of so many values, and -1."""
    return np.dtype(np.int32 if n_values < 2**31 else np.int64)


def _narrow(codes: Codes, n_values: int) -> Codes:
    return codes.astype(_kind_for(n_values), copy=False)

"""Refusal of what is no table of rows yet, with what to give in its place."""

from collections.abc import Mapping, Set
from os import PathLike
from typing import Any

# What pyarrow has for files that are not in memory.
_UNREAD = {
    *("Dataset", "FileSystemDataset", "InMemoryDataset", "UnionDataset", "Scanner"),
    *("ParquetFile", "ParquetDataset"),
}


def check_is_table(X: Any) -> None:
    """Raise if X is what scikit-learn would take for one number, or for a list of keys."""
    home = type(X).__module__.partition(".")[0]
    if home == "polars" and type(X).__name__ == "LazyFrame":
        raise TypeError(
            "X is a LazyFrame, whose rows have not been computed. Give X.collect(), or write it to "
            "files (sink_parquet), which arrow_blocks(path, target) reads block by block."
        )
    if home == "pyarrow" and type(X).__name__ in _UNREAD:
        raise TypeError(
            f"X is a {type(X).__name__} of pyarrow, whose rows have not been read. Give "
            "arrow_blocks(source, target), of which the source is a pyarrow.dataset.Dataset or a "
            "path, and which reads it block by block; or a table (to_table(), read())."
        )
    if isinstance(X, str | bytes | PathLike | Mapping | Set) and not hasattr(X, "shape"):
        raise TypeError(
            f"X is a {type(X).__name__}. Give an array, a data frame, or what yields blocks of "
            "them; arrow_blocks(path, target) reads files."
        )

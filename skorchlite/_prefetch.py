"""Tell the system which parts of a Parquet file come next, for it to read them beside the work.

It cannot see that coming, since the pages of all columns, far apart, are read in turn.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

_PART_BYTES = 16 << 20
_PARTS = 3  # that the system is told of ahead


def prefetched(
    batches: Iterable[Any], path: str, metadata: Any, groups: list[int], columns: list[str]
) -> Iterator[Any]:
    """Yield the batches of a file.

    Parameters
    ----------
    batches : iterable of RecordBatch
    path : str
    metadata : pyarrow.parquet.FileMetaData
    groups : list of int
        The row groups that the batches are of.
    columns : list of str
        The columns that they are of.
    """
    if not hasattr(os, "posix_fadvise"):
        yield from batches
        return
    parts, n_rows = _parts(metadata, groups, columns), 0
    with open(path, "rb", buffering=0) as file:
        told = deque(_told(file.fileno(), islice(parts, _PARTS)))
        for batch in batches:
            yield batch
            n_rows += batch.num_rows
            while told and told[0] <= n_rows:
                told.popleft()
                told.extend(_told(file.fileno(), islice(parts, 1)))


def _told(file: int, parts: Iterable[tuple[int, list]]) -> Iterator[int]:
    """Tell the system of parts; yield the number of the first row of each."""
    for first, places in parts:
        for start, size in places:
            os.posix_fadvise(file, start, size, os.POSIX_FADV_WILLNEED)
        yield first


def _parts(metadata: Any, groups: list[int], columns: list[str]) -> Iterator[tuple[int, list]]:
    """Yield the first row of each part, and about where each column is in it: start and size."""
    wanted = [i for i, name in enumerate(metadata.schema.names) if name in columns]
    first = 0
    for number in groups:
        group = metadata.row_group(number)
        places = [_place(group.column(i)) for i in wanted]
        n_parts = max(sum(size for _, size in places) // _PART_BYTES, 1)
        for part in range(n_parts):
            yield (
                first + group.num_rows * part // n_parts,
                [(start + size * part // n_parts, size // n_parts + 1) for start, size in places],
            )
        first += group.num_rows


def _place(chunk: Any) -> tuple[int, int]:
    pages = chunk.data_page_offset
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else pages
    return start, chunk.total_compressed_size

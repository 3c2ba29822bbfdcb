"""Prefetch of a Parquet file into the page cache of the operating system.

A batch takes a few pages of each column, which are far apart in the file. The system cannot foresee
such reads, and small ones are slow. So a thread reads the file in large parts before: these are
thrown away, but the system keeps them in its cache, where the batches then find their pages.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from typing import Any

_PART_BYTES = 64 << 20
_PARTS = 2  # that are read ahead of the batches
_GAP_BYTES = 256 << 10  # between spans that are read as one
_PIECE_BYTES = 256 << 10  # that are read at once, into memory that stays in the cache of a core

Span = tuple[int, int]  # of a file: where it starts and ends, in bytes


def prefetched(
    batches: Iterable[Any], path: str, metadata: Any, groups: list[int], columns: list[str]
) -> Iterator[Any]:
    """Yield the batches of a file while a thread reads ahead of them.

    Parameters
    ----------
    batches : iterable of RecordBatch
    path : str
    metadata : pyarrow.parquet.FileMetaData
    groups : list of int
        The numbers of the row groups in the batches.
    columns : list of str
        The names of the columns in the batches.
    """
    parts, n_rows = _parts(metadata, groups, columns), 0
    reader = ThreadPoolExecutor(1, "skorchlite-reader")
    begun: deque[int] = deque()  # the first row of each part that was begun

    def begin(count: int) -> None:
        for first, spans in islice(parts, count):
            begun.append(first)
            reader.submit(_read, path, spans)

    try:
        begin(_PARTS)
        for batch in batches:
            yield batch
            n_rows += batch.num_rows
            while begun and begun[0] <= n_rows:
                begun.popleft()
                begin(1)
    finally:
        reader.shutdown(cancel_futures=True)


def decoded_ahead(batches: Generator[Any, None, None]) -> Iterator[Any]:
    """Yield the batches; a thread decodes the next one meanwhile.

    To decode takes about as long as to convert and check a batch and to compute with it together.
    No more than one waits, so that little memory is held.
    """
    with ThreadPoolExecutor(1, "skorchlite-decoder") as decoder, closing(batches):
        coming = decoder.submit(next, batches, None)
        try:
            while (batch := coming.result()) is not None:
                coming = decoder.submit(next, batches, None)
                yield batch
        finally:
            wait([coming])  # a generator that is at work cannot be closed


def _read(path: str, spans: Iterable[Span]) -> None:
    """Read spans of a file, and throw away what was read."""
    piece = memoryview(bytearray(_PIECE_BYTES))
    with open(path, "rb", buffering=0) as file:
        for start, end in spans:
            file.seek(start)
            while start < end and (got := file.readinto(piece[: end - start])):
                start += got


def _parts(metadata: Any, groups: list[int], columns: list[str]) -> Iterator[tuple[int, list]]:
    """Yield the first row of each part, and the spans of the file that hold its columns, about."""
    wanted = [i for i, name in enumerate(metadata.schema.names) if name in columns]
    first = 0
    for number in groups:
        group = metadata.row_group(number)
        wanted_of_group = [group.column(i) for i in wanted]
        n_bytes = sum(column.total_compressed_size for column in wanted_of_group)
        n_parts = max(n_bytes // _PART_BYTES, 1)
        for part in range(n_parts):
            spans = sorted(_span(column, part, n_parts) for column in wanted_of_group)
            yield first + group.num_rows * part // n_parts, _joined(spans)
        first += group.num_rows


def _span(column: Any, part: int, n_parts: int) -> Span:
    """Return one of ``n_parts`` equal spans of the column of a row group."""
    start, size = column.data_page_offset, column.total_compressed_size
    if column.has_dictionary_page:
        start = column.dictionary_page_offset
    return start + size * part // n_parts, start + size * (part + 1) // n_parts


def _joined(spans: list[Span]) -> list[Span]:
    """Return the spans, those that are near each other joined to one."""
    joined = spans[:1]
    for start, end in spans[1:]:
        if start - joined[-1][1] <= _GAP_BYTES:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined

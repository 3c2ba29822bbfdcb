"""Read ahead in a Parquet file, into the page cache of the system.

Batches are made of pages that are far apart, one of each column. The system cannot see them coming,
and it reads least when it is asked for little; whole row groups it reads at the speed of the disk.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

_PART_BYTES = 64 << 20
_PARTS = 2  # that are read ahead
_GAP_BYTES = 256 << 10  # between places that are read as one
_PIECE_BYTES = 256 << 10  # stays in the cache of a core: it is the system that keeps what was read

Place = tuple[int, int]  # start and end


def prefetched(
    batches: Iterable[Any], path: str, metadata: Any, groups: list[int], columns: list[str]
) -> Iterator[Any]:
    """Yield the batches of a file, which a thread reads ahead.

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
    parts, n_rows = _parts(metadata, groups, columns), 0
    reader = ThreadPoolExecutor(1, "skorchlite-reader")
    begun: deque[int] = deque()  # the numbers of the first rows of parts

    def begin(count: int) -> None:
        for first, places in islice(parts, count):
            begun.append(first)
            reader.submit(_read, path, places)

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


def _read(path: str, places: Iterable[Place]) -> None:
    piece = memoryview(bytearray(_PIECE_BYTES))
    with open(path, "rb", buffering=0) as file:
        for start, end in places:
            file.seek(start)
            while start < end and (got := file.readinto(piece[: end - start])):
                start += got


def _parts(metadata: Any, groups: list[int], columns: list[str]) -> Iterator[tuple[int, list]]:
    """Yield the first row of each part, and about where its columns are in the file."""
    wanted = [i for i, name in enumerate(metadata.schema.names) if name in columns]
    first = 0
    for number in groups:
        group = metadata.row_group(number)
        chunks = [group.column(i) for i in wanted]
        n_parts = max(sum(chunk.total_compressed_size for chunk in chunks) // _PART_BYTES, 1)
        for part in range(n_parts):
            places = sorted(_place(chunk, part, n_parts) for chunk in chunks)
            yield first + group.num_rows * part // n_parts, _joined(places)
        first += group.num_rows


def _place(chunk: Any, part: int, n_parts: int) -> Place:
    start, size = chunk.data_page_offset, chunk.total_compressed_size
    if chunk.has_dictionary_page:
        start = chunk.dictionary_page_offset
    return start + size * part // n_parts, start + size * (part + 1) // n_parts


def _joined(places: list[Place]) -> list[Place]:
    """Return the places with those that are near each other as one."""
    joined = places[:1]
    for start, end in places[1:]:
        if start - joined[-1][1] <= _GAP_BYTES:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined

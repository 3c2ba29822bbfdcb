"""Parquet is read page by page where it can be, and as Arrow scans it where it cannot."""

import numpy as np
import pytest

from skorchlite import TorchSGDRegressor, arrow_blocks
from skorchlite._inputs import parquet_readahead

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import compute, dataset, parquet  # noqa: E402

N_ROWS = 5_000


@pytest.fixture(name="table")
def make_table():
    rng = np.random.default_rng(0)
    columns = {name: rng.standard_normal(N_ROWS) for name in ("a", "b", "c")}
    y = columns["a"] - 2 * columns["b"] + 3 * columns["c"] + rng.standard_normal(N_ROWS)
    return pyarrow.table(columns | {"y": y, "g": np.arange(N_ROWS) % 3})


def write(table, folder, **options):
    folder.mkdir(exist_ok=True)
    half = table.num_rows // 2
    parquet.write_table(table.slice(0, half), folder / "0.parquet", **options)
    parquet.write_table(table.slice(half), folder / "1.parquet", **options)
    return folder


def assert_fits_as(blocks, table, names=("a", "b", "c")):
    X = np.column_stack([table[name].to_numpy().astype(float) for name in names])
    model = TorchSGDRegressor().fit(blocks)
    expected = TorchSGDRegressor().fit(X, table["y"].to_numpy())
    assert model.feature_names_in_.tolist() == list(names)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-10)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, rtol=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 700},
        {"use_dictionary": False, "compression": "zstd"},
        {"data_page_size": 1000, "data_page_version": "2.0"},
    ],
    ids=lambda options: ",".join(options) or "plain",
)
def test_files_of_any_layout_are_read_whole(options, table, tmp_path):
    folder = write(table, tmp_path / "files", **options)
    assert_fits_as(arrow_blocks(folder, "y", ["a", "b", "c"]), table)
    assert_fits_as(arrow_blocks(folder, "y", ["c", "a"]), table, ("c", "a"))
    assert_fits_as(arrow_blocks(str(folder / "0.parquet"), "y", ["b"]), table[: N_ROWS // 2], "b")


@pytest.mark.parametrize("columns", [["y"], ["a", "c"], ["a", "b", "c", "y", "g"]])
@pytest.mark.parametrize("group_size", [300, N_ROWS])
@pytest.mark.parametrize("part_bytes", [1 << 12, 1 << 14, 1 << 26])
def test_all_that_is_wanted_is_read_ahead_and_nothing_else(
    columns, group_size, part_bytes, table, tmp_path, monkeypatch
):
    path = tmp_path / "table.parquet"
    parquet.write_table(table, path, row_group_size=group_size)
    ahead = []
    monkeypatch.setattr(parquet_readahead, "_PART_BYTES", part_bytes)
    monkeypatch.setattr(parquet_readahead, "_GAP_BYTES", 0)
    monkeypatch.setattr(parquet_readahead, "_read", lambda _, places: ahead.extend(places))
    monkeypatch.setattr(parquet_readahead, "ThreadPoolExecutor", AtOnce)
    with parquet.ParquetFile(path) as file:
        groups = list(range(0, file.num_row_groups, 2))
        batches = file.iter_batches(100, groups, columns)
        read = list(parquet_readahead.prefetched(batches, path, file.metadata, groups, columns))
        of_groups = [file.metadata.row_group(group) for group in groups]
    assert sum(batch.num_rows for batch in read) == sum(group.num_rows for group in of_groups)
    wanted = np.zeros(path.stat().st_size, int)
    for group in of_groups:
        for chunk in map(group.column, range(table.num_columns)):
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            wanted[start : start + chunk.total_compressed_size] = chunk.path_in_schema in columns
    counted = np.zeros_like(wanted)
    for start, end in ahead:
        counted[start:end] += 1
    np.testing.assert_array_equal(counted, wanted)


class AtOnce:
    """An executor that leaves nothing to be cancelled."""

    def __init__(self, *_):
        self.submit = lambda function, *arguments: function(*arguments)

    def shutdown(self, **_):
        pass


def test_filters_choose_rows(table, tmp_path):
    folder = write(table, tmp_path / "files")
    wanted = compute.field("g") > 0
    assert_fits_as(arrow_blocks(folder, "y", ["a", "b", "c"], filter=wanted), table.filter(wanted))
    filtered = dataset.dataset(folder).filter(wanted)
    assert_fits_as(arrow_blocks(filtered, "y", ["a", "b", "c"]), table.filter(wanted))


def test_folders_that_stand_for_a_column_are_read(table, tmp_path):
    parquet.write_to_dataset(table, tmp_path / "parts", partition_cols=["g"])
    source = dataset.dataset(tmp_path / "parts", partitioning="hive")
    shuffled = table.take(np.argsort(np.arange(N_ROWS) % 3, kind="stable"))
    assert_fits_as(arrow_blocks(source, "y", ["a", "b", "c", "g"]), shuffled, ("a", "b", "c", "g"))


def test_files_with_other_types_are_read_as_the_dataset_has_them(table, tmp_path):
    folder = write(table, tmp_path / "files")
    part = table.slice(0, 100).set_column(4, "g", pyarrow.array(np.arange(100) % 3, "int32"))
    parquet.write_table(part, folder / "2.parquet")
    source = dataset.dataset(folder, schema=table.schema)
    whole = pyarrow.concat_tables([table, part.cast(table.schema)])
    assert_fits_as(arrow_blocks(source, "y", ["a", "b", "c", "g"]), whole, ("a", "b", "c", "g"))


def test_row_groups_that_were_left_out_stay_out(table, tmp_path):
    file = tmp_path / "file.parquet"
    parquet.write_table(table, file, row_group_size=1_000)
    (fragment,) = dataset.dataset(file).get_fragments()
    source = dataset.FileSystemDataset(
        [fragment.subset(row_group_ids=[1, 3])], table.schema, fragment.format, fragment.filesystem
    )
    chosen = pyarrow.concat_tables([table.slice(1_000, 1_000), table.slice(3_000, 1_000)])
    assert_fits_as(arrow_blocks(source, "y", ["a", "b", "c"]), chosen)


def test_a_file_that_was_cut_short_is_an_error(table, tmp_path):
    folder = write(table, tmp_path / "files")
    blocks = arrow_blocks(folder, "y", ["a", "b", "c"])
    content = (folder / "1.parquet").read_bytes()
    (folder / "1.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises((ValueError, OSError), match=r"(?i)parquet"):
        TorchSGDRegressor().fit(blocks)


def test_missing_values_are_an_error_that_says_where(table, tmp_path):
    values = table["b"].to_pylist()
    values[4_000] = None
    folder = write(table.set_column(1, "b", pyarrow.array(values)), tmp_path / "files")
    with pytest.raises(ValueError, match=r"NaN(.|\n)*in row \d+"):
        TorchSGDRegressor().fit(arrow_blocks(folder, "y", ["a", "b", "c"]))

"""Arrow datasets and tables: files of every format, columns of every type, errors with names."""

import datetime
import decimal
import threading

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from skorchlite import TorchPolyRegressor, TorchSGDRegressor, arrow_blocks
from skorchlite._inputs.parquet_readahead import decoded_ahead

EXACT = 1e-11
N = 900
rng = np.random.default_rng(0)
x, z = rng.standard_normal(N), rng.integers(0, 3, N)
w = rng.integers(1, 4, N)
y = 2 * x + z + 0.1 * rng.standard_normal(N)
TABLE = pa.table({"x": x, "z": z, "y": y, "w": w, "q": x - y})
X = np.column_stack((x, z))
FEATURES = ["x", "z"]


@pytest.fixture(name="path")
def parquet(tmp_path):
    pq.write_table(TABLE, tmp_path / "part.parquet", row_group_size=100)
    return tmp_path / "part.parquet"


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield  # Arrow and other libraries have threads of their own
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("skorchlite")]


def directory(tmp_path):
    (tmp_path / "parts").mkdir()
    for i in range(3):
        pq.write_table(TABLE[300 * i : 300 * i + 300], tmp_path / "parts" / f"{i}.parquet")
    return tmp_path / "parts"


def csv(tmp_path):
    pyarrow.csv.write_csv(TABLE, tmp_path / "a.csv")
    return {"source": tmp_path / "a.csv", "format": "csv"}


def feather(tmp_path):
    pyarrow.feather.write_feather(TABLE, tmp_path / "a.feather")
    return {"source": str(tmp_path / "a.feather"), "format": "feather"}


def partitioned(tmp_path):
    partitioning = ds.partitioning(pa.schema([("z", pa.int64())]), flavor="hive")
    ds.write_dataset(TABLE, tmp_path / "h", format="parquet", partitioning=partitioning)
    return {"source": ds.dataset(tmp_path / "h", partitioning="hive")}


SOURCES = {
    "directory": lambda tmp_path: {"source": directory(tmp_path)},
    "list": lambda tmp_path: {"source": sorted(map(str, directory(tmp_path).iterdir()))},
    "csv": csv,
    "feather": feather,
    "partitioned": partitioned,
    "in memory": lambda tmp_path: {"source": ds.dataset(TABLE)},
    "batches": lambda tmp_path: {"source": TABLE.to_batches(max_chunksize=70)},
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_fit_is_that_of_the_arrays(tmp_path, kind, loss):
    source = SOURCES[kind](tmp_path)
    model = TorchSGDRegressor(loss).fit(arrow_blocks(target="y", features=FEATURES, **source))
    whole = TorchSGDRegressor(loss).fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-7 if loss == "huber" else EXACT)
    assert model.feature_names_in_.tolist() == FEATURES


def test_weights_targets_and_filter(path):
    blocks = arrow_blocks(path, "y", FEATURES, sample_weight="w")
    np.testing.assert_allclose(
        TorchSGDRegressor().fit(blocks).coef_, TorchSGDRegressor().fit(X, y, w).coef_, rtol=EXACT
    )
    model = TorchSGDRegressor().fit(arrow_blocks(path, ["y", "q"], FEATURES))
    both = TorchSGDRegressor().fit(X, np.column_stack((y, x - y)))
    np.testing.assert_allclose(model.coef_, both.coef_, rtol=EXACT)
    assert TorchSGDRegressor().fit(arrow_blocks(path, ["y"], FEATURES)).coef_.shape == (1, 2)
    blocks = arrow_blocks(path, "y", FEATURES, filter=pc.field("x") > 0)
    some = TorchSGDRegressor().fit(X[x > 0], y[x > 0])
    np.testing.assert_allclose(TorchSGDRegressor().fit(blocks).coef_, some.coef_, rtol=EXACT)


def test_features_have_the_order_that_they_are_named_in(path):
    model = TorchSGDRegressor().fit(arrow_blocks(path, "y", ["z", "x"]))
    whole = TorchSGDRegressor().fit(X[:, ::-1], y)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=EXACT)
    others = TorchSGDRegressor().fit(arrow_blocks(path, "y", sample_weight="w"))
    assert others.feature_names_in_.tolist() == ["x", "z", "q"]


def test_files_with_columns_in_another_order(tmp_path):
    pq.write_table(TABLE[:500], tmp_path / "a.parquet")
    pq.write_table(TABLE[500:].select(["y", "z", "x"]), tmp_path / "b.parquet")
    model = TorchSGDRegressor().fit(arrow_blocks(tmp_path, "y", FEATURES))
    np.testing.assert_allclose(model.coef_, TorchSGDRegressor().fit(X, y).coef_, rtol=EXACT)


@pytest.mark.parametrize("cls", [TorchSGDRegressor, TorchPolyRegressor])
def test_predict_and_score(cls, path):
    model = cls().fit(arrow_blocks(path, "y", FEATURES))
    blocks = arrow_blocks(path, None, FEATURES)
    expected = model.predict(TABLE.select(FEATURES))
    np.testing.assert_allclose(model.predict(blocks), expected, rtol=0, atol=EXACT)
    np.testing.assert_allclose(model.predict(list(blocks)), expected, rtol=0, atol=EXACT)
    blocks = arrow_blocks(path, "y", FEATURES)
    np.testing.assert_allclose(model.predict(blocks), expected, rtol=0, atol=EXACT)
    assert model.score(blocks) == pytest.approx(model.score(TABLE.select(FEATURES), y), rel=1e-12)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(arrow_blocks(path, None))
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(arrow_blocks(path, None, ["z", "x"]))
    with pytest.raises(ValueError, match="no targets in block 0"):
        model.fit(blocks_without_targets := arrow_blocks(path, None, FEATURES))
    assert blocks_without_targets.target is None


def column_of(values, kind):
    return pa.array([None if value is None else kind(value) for value in values])


NUMBERS = {
    "int8": lambda: pa.array(z, pa.int8()),
    "uint64": lambda: pa.array(z, pa.uint64()),
    "bool": lambda: pa.array(z > 1),
    "float32": lambda: pa.array(z, pa.float32()),
    "float16": lambda: pa.array(z.astype(np.float16)),
    "decimal": lambda: column_of(z.tolist(), decimal.Decimal),
    "decimal256": lambda: column_of(z.tolist(), decimal.Decimal).cast(pa.decimal256(40, 2)),
    "dictionary": lambda: pa.array(z).dictionary_encode(),
}


def fits(column, tmp_path, **more):
    """Fit from a file, and from the table itself."""
    table = TABLE.set_column(1, "z", column)
    pq.write_table(table, tmp_path / "a.parquet")
    yield lambda: TorchSGDRegressor().fit(arrow_blocks(tmp_path, "y", FEATURES, **more))
    yield lambda: TorchSGDRegressor().fit(arrow_blocks(ds.dataset(table), "y", FEATURES, **more))
    yield lambda: TorchSGDRegressor().fit(table.select(FEATURES), y)


@pytest.mark.parametrize("kind", NUMBERS)
def test_columns_that_hold_numbers(kind, tmp_path):
    values = z > 1 if kind == "bool" else z
    expected = TorchSGDRegressor().fit(np.column_stack((x, values)), y)
    for fit in fits(NUMBERS[kind](), tmp_path):
        np.testing.assert_allclose(fit().coef_, expected.coef_, rtol=EXACT)
    target = TABLE.set_column(2, "y", NUMBERS[kind]())
    model = TorchSGDRegressor().fit(arrow_blocks(ds.dataset(target), "y", ["x", "q"]))
    expected = TorchSGDRegressor().fit(np.column_stack((x, x - y)), values.astype(float))
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)


OTHERS = {
    "string": lambda: pa.array(["1"] * N),
    "dictionary of strings": lambda: pa.array(["1"] * N).dictionary_encode(),
    "timestamp": lambda: pa.array([datetime.datetime(2020, 1, 1)] * N),
    "date": lambda: pa.array([datetime.date(2020, 1, 1)] * N),
    "duration": lambda: pa.array([datetime.timedelta(1)] * N),
    "list": lambda: pa.array([[1.0]] * N),
    "struct": lambda: pa.array([{"a": 1}] * N),
    "null": lambda: pa.nulls(N),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_columns_that_hold_no_numbers_are_named(kind, tmp_path):
    for fit in fits(OTHERS[kind](), tmp_path):
        with pytest.raises(ValueError, match=r"Column 'z' has the Arrow type .* no real numbers"):
            fit()
    source = ds.dataset(TABLE.append_column("s", OTHERS[kind]()))
    for more in ({"target": "s"}, {"target": ["y", "s"]}, {"target": "y", "sample_weight": "s"}):
        with pytest.raises(ValueError, match=r"Column 's' has the Arrow type .* no real numbers"):
            arrow_blocks(source, features=FEATURES, **more)
    arrow_blocks(source, "y", FEATURES)  # without it they can be used


@pytest.mark.parametrize("kind", [int, float, bool, decimal.Decimal])
def test_nulls_are_refused_where_they_are(kind, tmp_path):
    column = column_of([1] * 700 + [None] + [0] * (N - 701), kind)
    from_file, from_memory, from_table = fits(column, tmp_path)
    for fit in (from_file, from_memory):
        with pytest.raises(ValueError, match=r"X contains NaN(.|\n)*in block 0.*in row 700 of it"):
            fit()
    with pytest.raises(ValueError, match="X contains NaN"):
        from_table()
    source = ds.dataset(TABLE.append_column("s", column))
    with pytest.raises(ValueError, match=r"y contains NaN(.|\n)*in row 700"):
        TorchSGDRegressor().fit(arrow_blocks(source, "s", FEATURES))
    with pytest.raises(ValueError, match=r"sample_weight contains NaN(.|\n)*in block 0"):
        TorchSGDRegressor().fit(arrow_blocks(source, "y", FEATURES, sample_weight="s"))


def test_column_that_a_file_is_without_is_missing_there(tmp_path):
    pq.write_table(TABLE[:500], tmp_path / "a.parquet")
    pq.write_table(TABLE[500:].select(["x", "y"]), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"X contains NaN(.|\n)*in block 1.*begins with row 500"):
        TorchSGDRegressor().fit(arrow_blocks(tmp_path, "y", FEATURES))


@pytest.mark.parametrize(
    "arguments, wording",
    [
        (("k",), r"no columns \['k'\]; the dataset has the columns"),
        (("y", ["x", "k"]), r"no columns \['k'\]"),
        (("y", ["x", "y"]), "has a name twice"),
        (("y", ["x", "x"]), "has a name twice"),
        ((["y", "y"],), "has a name twice"),
    ],
)
def test_columns_that_are_not_there_are_named(path, arguments, wording):
    with pytest.raises(ValueError, match=wording):
        arrow_blocks(path, *arguments)


def test_no_features_and_no_rows(path, tmp_path):
    with pytest.raises(ValueError, match="0 feature"):
        TorchSGDRegressor().fit(arrow_blocks(path, "y", []))
    with pytest.raises(ValueError, match="yields no rows"):
        TorchSGDRegressor().fit(arrow_blocks(path, "y", FEATURES, filter=pc.field("x") > 99))
    pq.write_table(TABLE[:0], tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="yields no rows"):
        TorchSGDRegressor().fit(arrow_blocks(tmp_path / "none.parquet", "y"))


def test_damaged_files_leave_the_earlier_fit(path, tmp_path):
    model = TorchSGDRegressor().fit(arrow_blocks(path, "y", FEATURES))
    coef = model.coef_.copy()
    whole = path.read_bytes()
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "b.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(pa.ArrowInvalid, match=r"b\.parquet"):
        arrow_blocks(tmp_path / "short", "y")
    (tmp_path / "short" / "a.parquet").write_bytes(whole)
    with pytest.raises(pa.ArrowInvalid, match=r"b\.parquet"):
        model.fit(arrow_blocks(tmp_path / "short", "y", FEATURES))
    size = len(whole) // 2
    (tmp_path / "zeros.parquet").write_bytes(whole[:4] + bytes(size) + whole[size + 4 :])
    with pytest.raises(OSError):
        model.fit(arrow_blocks(tmp_path / "zeros.parquet", "y", FEATURES))
    np.testing.assert_array_equal(model.coef_, coef)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        arrow_blocks(tmp_path / "nowhere.parquet", "y")


def test_tables_are_arrays_like_any_other(path):
    whole = TorchSGDRegressor().fit(X, y)
    table = TABLE.select(FEATURES)
    for rows in (table, table.to_batches()[0], pa.concat_tables([table[:5], table[5:]])):
        for target in (y, TABLE["y"], pa.array(y)):
            model = TorchSGDRegressor().fit(rows, target)
            np.testing.assert_allclose(model.coef_, whole.coef_, rtol=EXACT)
    assert model.feature_names_in_.tolist() == FEATURES
    with pytest.raises(ValueError, match="requires y to be passed"):
        TorchSGDRegressor().fit(TABLE)


def test_partial_fit_and_validation(path):
    blocks = arrow_blocks(path, "y", FEATURES)
    model = TorchSGDRegressor().partial_fit(blocks)
    whole = TorchSGDRegressor().fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=EXACT)
    model = TorchSGDRegressor().fit(blocks, X_val=blocks)
    assert model.validation_loss_curve_ == pytest.approx(model.loss_curve_[-1:], rel=1e-12)


class Batches:
    """Batches that note how many were begun, and whether they were closed."""

    begun, closed = 0, False

    def __call__(self, count):
        try:
            for number in range(count):
                self.begun += 1
                yield number
            raise OSError("the file ends here")
        finally:
            self.closed = True


def test_batches_are_decoded_one_ahead_and_closed_where_reading_ends_early():
    batches = Batches()
    ahead = decoded_ahead(batches(5))
    assert next(ahead) == 0 and next(ahead) == 1
    ahead.close()
    assert batches.begun == 3 and batches.closed


def test_error_of_decoding_comes_after_the_batches_before_it():
    batches, found = Batches(), []
    with pytest.raises(OSError, match="ends here"):
        for number in decoded_ahead(batches(3)):
            found.append(number)
    assert found == [0, 1, 2] and batches.closed

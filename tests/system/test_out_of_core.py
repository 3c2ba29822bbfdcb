"""Fits of files that are larger than the memory that the process may take."""

import sys
from functools import cache

import numpy as np
import pytest

from skorchlite import TorchSGDRegressor
from skorchlite._inputs.memory_map import as_mapped
from tests.support import capped
from tests.support.processes import outcome_of

N_ROWS = 400_000
SCALE = np.logspace(-2, 2, capped.N_COLUMNS)
ROOM = 260_000_000  # bytes, some of them for stacks of threads of Arrow; X has 307 million
OTHERS = ["huber", "absolute_error", "log_cosh"]  # curved in a part, with kinks, curved everywhere

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a limit"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, capped.N_COLUMNS)) * SCALE + 3
    y = X @ rng.standard_normal(capped.N_COLUMNS) + rng.standard_normal(N_ROWS)
    X.tofile(folder / "X.dat")
    y.tofile(folder / "y.dat")
    yield folder
    for file in ("X.dat", "y.dat"):
        (folder / file).unlink()


@pytest.fixture(scope="module")
def parquet(files):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = files / "parquet"
    folder.mkdir()
    X, y = capped.mapped(files)
    for number, rows in enumerate(np.array_split(np.arange(N_ROWS), 2)):
        part = slice(rows[0], rows[-1] + 1)
        names = [f"x{j}" for j in range(capped.N_COLUMNS)]
        columns = {n: np.array(column) for n, column in zip(names, X[part].T, strict=True)}
        table = pyarrow.table(columns | {"y": np.array(y[part])})
        file = folder / f"{number}.parquet"
        parquet.write_table(table, file, row_group_size=capped.PARQUET_ROWS, use_dictionary=False)
    yield folder
    for file in folder.iterdir():
        file.unlink()


def fit_capped(kind, folder, loss="squared_error"):
    return outcome_of(capped.measure, kind, folder, ROOM, loss)


@pytest.fixture(scope="module")
def rows(files):
    return [np.array(array) for array in capped.mapped(files)]


@pytest.fixture(scope="module")
def fit_of_rows(rows):
    """Return a function that fits all rows in memory, once for each loss."""
    return cache(lambda loss: TorchSGDRegressor(loss).fit(*rows))


def assert_fits(kind, folder, expected, loss="squared_error"):
    answer, said = fit_capped(kind, folder, loss)
    assert answer, said
    intercept, *coef = answer
    scale = SCALE[-len(coef) :]
    largest = np.max(np.abs(expected.coef_) * scale)
    assert np.max(np.abs(coef - expected.coef_) * scale) <= 1e-10 * largest
    np.testing.assert_allclose(intercept, expected.intercept_, rtol=1e-9)


@pytest.mark.parametrize("kind", ["mapped", "stream"])
def test_fits_in_less_memory_than_the_rows_take(kind, files, fit_of_rows):
    assert_fits(kind, files, fit_of_rows("squared_error"))


def test_columns_of_one_map_are_fitted_in_little_memory(files, rows):
    X, _ = rows
    assert_fits("columns_of_one_map", files, TorchSGDRegressor().fit(X[:, 1:], X[:, 0]))


def test_parquet_is_fitted_in_little_memory(files, fit_of_rows, parquet):
    assert_fits("parquet", files, fit_of_rows("squared_error"))


@pytest.mark.parametrize("kind", ["mapped", "parquet"])
def test_another_loss_is_fitted_in_little_memory(kind, files, fit_of_rows, parquet):
    assert_fits(kind, files, fit_of_rows("huber"), "huber")


@pytest.mark.parametrize(
    "loss",
    [
        "huber",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS if name != "huber"),
    ],
)
def test_what_other_losses_keep_is_not_scattered_over_memory(loss, files):
    """Rows kept between blocks that go again would hold the memory of these, up to all of X."""
    answer, said = fit_capped("longer_stream", files, loss)
    assert answer, said
    np.testing.assert_allclose(answer, [0, *capped.Longer.coef], rtol=0, atol=0.01)


@pytest.mark.parametrize("step", [2, 7, 90])
@pytest.mark.parametrize("columns", [np.s_[:], np.s_[3:11], np.s_[1::5], 0], ids=str)
def test_rows_far_apart_are_read_without_the_pages_about_them(step, columns, files):
    X, _ = capped.mapped(files)
    X = X[:1000, columns]
    rows = as_mapped(X)[5:998:step]
    np.testing.assert_array_equal(rows, X[5:998:step])
    assert not np.shares_memory(rows, X)  # a view of the map would keep what it has read


def test_the_limit_is_one(files):
    answer, said = fit_capped("copy", files)
    assert not answer
    assert "MemoryError" in said

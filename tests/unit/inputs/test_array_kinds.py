"""Arrays and frames of any kind give the fit of plain NumPy, and none is copied whole."""

import os

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from skorchlite import TorchSGDRegressor
from tests.support import memory
from tests.support.processes import outcome_of

N_SAMPLES = 60
NAMES = ["a", "b", "c"]
RNG = np.random.default_rng(0)
X = RNG.integers(0, 9, (N_SAMPLES, 3))
y = X @ [1, 2, 3] + RNG.integers(-3, 4, N_SAMPLES)
weight = RNG.integers(1, 5, N_SAMPLES)

WAYS = {
    "fit": ("fit", {}),
    "partial_fit": ("partial_fit", {}),
    "batches": ("fit", {"batch_size": 16, "max_iter": 5, "tol": None, "random_state": 0}),
    "huber": ("fit", {"loss": "huber"}),
}
every_way = pytest.mark.parametrize("way", WAYS)


def fitted(way, *data):
    method, parameters = WAYS[way]
    return getattr(TorchSGDRegressor(**parameters), method)(*data)


def assert_same_fit(way, data, expected=(X, y, weight)):
    estimator, plain = fitted(way, *data), fitted(way, *(np.asarray(a, float) for a in expected))
    rtol = 1e-9 if way in ("fit", "partial_fit") else 1e-5
    np.testing.assert_allclose(estimator.coef_, plain.coef_, rtol=rtol)
    np.testing.assert_allclose(estimator.intercept_, plain.intercept_, rtol=rtol, atol=1e-9)
    np.testing.assert_allclose(
        np.asarray(estimator.predict(data[0])), plain.predict(expected[0].astype(float)), rtol=1e-5
    )
    assert estimator.score(*data) == pytest.approx(plain.score(*expected), rel=1e-5)


def field_of_records(array):
    """A column whose rows are not aligned."""
    kind = np.dtype([("flag", "i1"), ("value", "f8", array.shape[1:])])
    records = np.zeros(len(array), kind)
    records["value"] = array
    return records["value"]


def lazily_negated(array):
    parts = torch.complex(torch.zeros(array.shape).double(), -torch.from_numpy(array).double())
    tensor = parts.conj().imag
    assert tensor.is_neg()
    return tensor


def read_only(array):
    array = array.astype(float)
    array.flags.writeable = False
    return array


ARRAYS = {
    dtype: lambda array, dtype=dtype: array.astype(dtype)
    for dtype in ("i1", "u4", "f2", "f4", ">f8", ">f4", ">i2", "O")
}
ARRAYS |= {
    "negative strides": lambda array: array[::-1].copy()[::-1],
    "every other row": lambda array: np.repeat(array, 2, 0)[::2],
    "read-only": read_only,
    "field of records": field_of_records,
    "lazily negated tensor": lazily_negated,
}
ARRAYS |= {
    str(dtype): lambda array, dtype=dtype: torch.from_numpy(array).to(dtype)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.int8, torch.int64)
}

FRAME_DTYPES = ["Int64", "Int8", "Float64", "Float32", "int64[pyarrow]", "double[pyarrow]", "int32"]
SERIES = {d: lambda array, d=d: pd.Series(array).astype(d) for d in FRAME_DTYPES}
SERIES |= {str(d): lambda a, d=d: pl.Series(a).cast(d) for d in (pl.Int16, pl.Float32, pl.UInt64)}
FRAMES = {d: lambda d=d: pd.DataFrame(X, columns=NAMES).astype(d) for d in FRAME_DTYPES}
FRAMES |= {
    str(d): lambda d=d: pl.DataFrame(X, schema=NAMES).cast(d)
    for d in (pl.Int16, pl.UInt64, pl.Float32, pl.Decimal(10, 2))
}
FRAMES |= {
    "categories": lambda: pd.DataFrame(X, columns=NAMES).astype("category"),
    "chunks": lambda: pl.concat([pl.DataFrame(X[:9]), pl.DataFrame(X[9:])], rechunk=False),
}


@every_way
@pytest.mark.parametrize("kind", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_of_any_kind_are_rows_targets_and_weights(kind, way):
    for data in ((kind(X), y, weight), (X, kind(y), weight), (X, y, kind(weight))):
        assert_same_fit(way, data)


@every_way
@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES.keys())
def test_series_of_any_kind_are_targets_and_weights(series, way):
    targets = np.abs(y)  # of the dtypes, some have no sign
    for data in ((X, series(targets), weight), (X, targets, series(weight))):
        assert_same_fit(way, data, (X, targets, weight))


@every_way
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_frames_of_any_kind_are_rows(frame, way):
    assert_same_fit(way, (frame(), y, weight))


@every_way
@pytest.mark.parametrize(
    "table",
    [
        np.asarray,
        torch.from_numpy,
        pd.DataFrame,
        lambda flags: pd.DataFrame(flags).astype("boolean"),
        lambda flags: pd.DataFrame(flags).astype("bool[pyarrow]"),
        lambda flags: pl.DataFrame(flags, schema=NAMES),
    ],
    ids=["numpy", "torch", "pandas", "pandas nullable", "pandas arrow", "polars"],
)
def test_flags_of_any_kind_are_zeros_and_ones(table, way):
    assert_same_fit(way, (table(X > 4), y, weight), (X > 4, y, weight))


@every_way
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("dtype, order", [("f8", "C"), ("f4", "F"), (">i2", "C")])
def test_memory_maps_of_any_mode_are_read(tmp_path, dtype, order, mode, way):
    on_disk = []
    for name, array in {"X": X, "y": y, "weight": weight}.items():
        path = tmp_path / f"{name}.npy"
        np.save(path, np.asarray(array, dtype, order=order))
        on_disk.append(np.load(path, mmap_mode=mode))
    assert_same_fit(way, on_disk)


@every_way
@pytest.mark.parametrize("rows", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_some_columns_of_a_wider_table_are_rows(rows, way):
    wide = np.zeros((N_SAMPLES, 9))
    wide[:, 1::3] = X
    assert_same_fit(way, (rows(wide)[:, 1::3], y, weight))


# --- missing values ----------------------------------------------------------------------


def without(series, kind):
    """A series of a kind of which one value is missing."""
    if isinstance(kind, str):
        flags = "bool" in kind
        values = pd.Series(series > 4 if flags else series).astype(kind)
        values[7] = pd.NA
        return values
    values = pl.Series(series > 4 if kind == pl.Boolean else series).cast(kind)
    return pl.concat([values[:7], pl.Series([None], dtype=kind), values[8:]])


MISSING = ["Int64", "Float64", "boolean", "int64[pyarrow]", "bool[pyarrow]"]
MISSING += [pl.Int64, pl.Float64, pl.Boolean]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", MISSING, ids=str)
def test_missing_values_are_refused_as_nan(kind, method):
    frame = pd.DataFrame if isinstance(kind, str) else pl.DataFrame
    table = frame({"a": without(X[:, 0], kind), "b": X[:, 1], "c": X[:, 2]})
    estimator = TorchSGDRegressor()
    for data, name in (
        ((table, y), "X"),
        ((X, without(y, kind)), "y"),
        ((X, y, without(weight, kind)), "sample_weight"),
    ):
        with pytest.raises(ValueError, match=f"Input {name} contains NaN"):
            getattr(estimator, method)(*data)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nan_in_a_half_precision_tensor_is_found(dtype):
    for position, name in enumerate(["X", "y", "sample_weight"]):
        data = [torch.from_numpy(array).to(dtype) for array in (X, y, weight)]
        data[position].view(-1)[7] = torch.nan
        with pytest.raises(ValueError, match=f"Input {name} contains NaN"):
            TorchSGDRegressor().fit(*data)


# --- memory ------------------------------------------------------------------------------

MB = 1_000_000


measures_peaks = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK),
    reason="peaks of memory are measured in Linux's way",
)


@pytest.mark.slow
@measures_peaks
@pytest.mark.parametrize("kind", memory.ARRAYS)
def test_no_copy_of_the_whole_is_made(kind):
    found = outcome_of(memory.measure, kind, 128 * MB, memory.light)
    assert found.pop("copy") > 120 * MB  # the measure sees one
    assert {call: peak for call, peak in found.items() if peak > 64 * MB} == {}


@pytest.mark.slow
@measures_peaks
@pytest.mark.parametrize(
    "kind",
    [
        "pandas mixed",
        "memory map",
        *(
            pytest.param(kind, marks=pytest.mark.exhaustive)
            for kind in ("C order", "int32", "polars")
        ),
    ],
)
def test_no_copy_of_the_whole_is_made_by_other_ways_to_fit(kind):
    found = outcome_of(memory.measure, kind, 400 * MB, memory.heavy)
    assert found.pop("copy") > 390 * MB
    assert {call: peak for call, peak in found.items() if peak > 200 * MB} == {}

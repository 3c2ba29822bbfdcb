"""Inputs: which are taken or refused, what predict returns, and what a fit leaves unchanged."""

import contextlib
import copy
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

# Tables as small as some of these do not determine all terms of a polynomial.
pytestmark = pytest.mark.filterwarnings("ignore:The data determines:numpy.exceptions.RankWarning")

N_SAMPLES, N_FEATURES = 60, 3


def problem(seed=0, n_targets=None):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N_SAMPLES, N_FEATURES))
    shape = (N_SAMPLES,) if n_targets is None else (N_SAMPLES, n_targets)
    return X, 1 + X @ rng.uniform(1, 2, (N_FEATURES, *shape[1:])) + rng.standard_normal(shape)


def integers(seed=0):
    """Counts that every dtype from bool's neighbour int8 to float64 holds exactly."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 9, (N_SAMPLES, N_FEATURES))
    return X, X @ [1, 2, 3] + rng.integers(-3, 4, N_SAMPLES)


def assert_same_fit(first, second, rtol=1e-10):
    np.testing.assert_allclose(first.coef_, second.coef_, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(first.intercept_, second.intercept_, rtol=rtol, atol=1e-12)


def fitted_attributes(estimator):
    return {name: value for name, value in vars(estimator).items() if name.endswith("_")}


# --- NumPy -------------------------------------------------------------------------------


def negative_strides(X):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def every_other(X):
    wide = np.zeros((2 * X.shape[0], 2 * X.shape[1]))
    wide[::2, ::2] = X
    return wide[::2, ::2]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X):
    buffer = np.zeros(X.nbytes + 1, np.uint8)
    view = buffer[1:].view(np.float64).reshape(X.shape)
    view[...] = X
    return view


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "negative strides": negative_strides,
    "every other element": every_other,
    "transposed": lambda X: np.ascontiguousarray(X.T).T,
    "read-only": read_only,
    "broadcast": lambda X: np.broadcast_to(X, (1, *X.shape))[0],
    "unaligned": unaligned,
    "big endian": lambda X: X.astype(">f8"),
    "nested lists": lambda X: X.tolist(),
    "longdouble": lambda X: X.astype(np.longdouble),
    "objects that are numbers": lambda X: X.astype(object),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_memory_layout_of_the_rows_does_not_matter(Estimator, layout):
    X, y = problem()
    expected = Estimator().fit(X, y)
    estimator = Estimator().fit(layout(X), y)
    assert_same_fit(estimator, expected)
    np.testing.assert_allclose(estimator.predict(layout(X)), expected.predict(X), rtol=1e-10)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_memory_layout_of_y_and_of_the_weights_does_not_matter(Estimator, layout):
    X, Y = problem(n_targets=2)
    sample_weight = np.random.default_rng(1).uniform(0.5, 2.0, (N_SAMPLES, 1))
    expected = Estimator().fit(X, Y, sample_weight[:, 0])
    weights = np.asarray(layout(sample_weight))[:, 0]
    assert_same_fit(Estimator().fit(X, layout(Y), weights), expected)


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "float32",
        "float64",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
    ],
)
def test_dtype_of_whole_numbers_does_not_matter(Estimator, dtype):
    X, y = integers()
    expected = Estimator().fit(X.astype(float), y.astype(float))
    estimator = Estimator().fit(X.astype(dtype), y.astype(float))
    assert_same_fit(estimator, expected, rtol=1e-5 if dtype in ("float16", "float32") else 1e-10)
    assert estimator.coef_.dtype == np.float64


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "float32", "bool"])
def test_dtype_of_the_target_does_not_matter(Estimator, dtype):
    X, _ = problem()
    y = np.arange(N_SAMPLES) % 2 if dtype == "bool" else np.arange(N_SAMPLES) + 20
    expected = Estimator().fit(X, y.astype(float))
    assert_same_fit(Estimator().fit(X, y.astype(dtype)), expected)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float32"])
def test_dtype_of_the_weights_does_not_matter(Estimator, dtype):
    X, y = problem()
    sample_weight = (np.arange(N_SAMPLES) % 3 > 0).astype(dtype)
    expected = Estimator().fit(X, y, sample_weight.astype(float))
    assert_same_fit(Estimator().fit(X, y, sample_weight), expected)
    assert_same_fit(Estimator().fit(X, y, sample_weight.tolist()), expected)


def test_unsigned_columns_are_not_wrapped_when_they_are_centred(Estimator):
    X, y = integers()
    expected = Estimator().fit(X.astype(float), y)
    estimator = Estimator().fit((X[::-1] + 240).astype(np.uint8)[::-1], y)
    np.testing.assert_allclose(
        estimator.predict((X + 240).astype(np.uint8)), expected.predict(X.astype(float)), rtol=1e-8
    )


def test_boolean_columns_are_zeros_and_ones():
    X, y = integers()
    flags = X > 4
    expected = TorchSGDRegressor().fit(flags.astype(float), y)
    estimator = TorchSGDRegressor().fit(flags, y)
    assert_same_fit(estimator, expected)
    np.testing.assert_allclose(estimator.predict(flags), expected.predict(flags.astype(float)))


def test_memory_mapped_files_are_read(Estimator, tmp_path):
    X, y = problem()
    expected = Estimator().fit(X, y)
    for name, array in {"X": X, "y": y}.items():
        np.save(tmp_path / f"{name}.npy", array)
    on_disk = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy"}
    estimator = Estimator().fit(on_disk["X"], on_disk["y"])
    assert_same_fit(estimator, expected)
    np.testing.assert_allclose(estimator.predict(on_disk["X"]), expected.predict(X), rtol=1e-10)


@pytest.mark.parametrize(
    "given, returned",
    [("float32", "float32"), ("float64", "float64"), ("int64", "float64"), ("bool", "float64")],
)
def test_predictions_are_float32_for_float32_rows_and_float64_otherwise(Estimator, given, returned):
    X, y = integers()
    estimator = Estimator().fit(X.astype(float), y)
    prediction = estimator.predict((X > 4).astype(given))
    assert type(prediction) is np.ndarray
    assert prediction.dtype == returned


@pytest.mark.parametrize("n_targets", [None, 1, 2])
def test_predictions_have_the_shape_of_the_target(Estimator, n_targets):
    X, y = problem(n_targets=n_targets)
    assert Estimator().fit(X, y).predict(X[:7]).shape == (7, *y.shape[1:])


def test_column_vector_target_is_two_dimensional_as_for_linear_regression():
    X, y = problem(n_targets=1)
    peer, estimator = LinearRegression().fit(X, y), TorchSGDRegressor().fit(X, y)
    assert estimator.coef_.shape == peer.coef_.shape
    assert estimator.intercept_.shape == peer.intercept_.shape


# --- data frames -------------------------------------------------------------------------


def mixed_columns():
    rng = np.random.default_rng(2)
    return {
        "whole": rng.integers(0, 100, N_SAMPLES),
        "real": rng.standard_normal(N_SAMPLES),
        "flag": rng.integers(0, 2, N_SAMPLES).astype(bool),
        "single": rng.standard_normal(N_SAMPLES).astype(np.float32),
    }


def mixed_array():
    return np.column_stack([column.astype(float) for column in mixed_columns().values()])


def frames():
    columns = mixed_columns()
    return {
        "pandas": pd.DataFrame(columns),
        "pandas with an index of its own": pd.DataFrame(
            columns, index=range(900, 900 - N_SAMPLES, -1)
        ),
        "pandas nullable": pd.DataFrame(columns).convert_dtypes(),
        "polars": pl.DataFrame(columns),
    }


@pytest.mark.parametrize("frame", frames().values(), ids=frames().keys())
def test_mixed_columns_of_a_frame_are_numbers(frame):
    expected_X, y = mixed_array(), problem()[1]
    expected = TorchSGDRegressor().fit(expected_X, y)
    estimator = TorchSGDRegressor().fit(frame, y)
    assert_same_fit(estimator, expected)
    assert list(estimator.feature_names_in_) == ["whole", "real", "flag", "single"]
    prediction = estimator.predict(frame)
    assert type(prediction) is np.ndarray
    np.testing.assert_allclose(prediction, expected.predict(expected_X), rtol=1e-10)
    assert estimator.score(frame, y) == pytest.approx(expected.score(expected_X, y), rel=1e-10)


@pytest.mark.parametrize(
    "kind",
    [pd.Series, pl.Series, list, tuple],
    ids=lambda kind: kind.__module__ + "." + kind.__name__,
)
def test_series_and_sequences_are_targets_and_weights(Estimator, kind):
    X, y = problem()
    sample_weight = np.random.default_rng(3).uniform(0.5, 2.0, N_SAMPLES)
    expected = Estimator().fit(X, y, sample_weight)
    estimator = Estimator().fit(X, kind(y), kind(sample_weight))
    assert_same_fit(estimator, expected)
    assert estimator.coef_.ndim == 1


def test_series_with_an_index_in_another_order_is_taken_by_position(Estimator):
    X, y = problem()
    y_series = pd.Series(y, index=range(N_SAMPLES)[::-1])
    assert_same_fit(Estimator().fit(pd.DataFrame(X), y_series), Estimator().fit(X, y))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_are_targets(Estimator, kind):
    X, Y = problem(n_targets=2)
    estimator = Estimator().fit(X, kind({"first": Y[:, 0], "second": Y[:, 1]}))
    assert_same_fit(estimator, Estimator().fit(X, Y))
    assert estimator.coef_.shape[0] == 2


def test_unnamed_columns_leave_no_names(Estimator):
    X, y = problem()
    assert not hasattr(Estimator().fit(X, y), "feature_names_in_")
    assert not hasattr(Estimator().fit(pd.DataFrame(X), y), "feature_names_in_")


def test_names_of_columns_are_forgotten_where_a_fit_is_given_none(Estimator):
    X, y = problem()
    names = [f"x{j}" for j in range(X.shape[1])]
    model = Estimator().fit(pd.DataFrame(X, columns=names), y)
    assert list(model.feature_names_in_) == names
    model.fit(X[:, :-1], y)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == len(names) - 1


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_columns_in_another_order_are_refused_in_predict(Estimator, kind):
    X, y = problem()
    frame = kind({name: X[:, j] for j, name in enumerate("abc")})
    estimator = Estimator().fit(frame, y)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        estimator.predict(frame[["b", "a", "c"]])


def test_columns_of_another_name_are_refused_in_predict(Estimator):
    X, y = problem()
    estimator = Estimator().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- d"):
        estimator.predict(pd.DataFrame(X, columns=["a", "b", "d"]))


def test_columns_without_names_after_a_fit_with_names_warn(Estimator):
    X, y = problem()
    estimator = Estimator().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.predict(X)


def test_columns_with_names_after_a_fit_without_names_warn(Estimator):
    X, y = problem()
    estimator = Estimator().fit(X, y)
    with pytest.warns(UserWarning, match="X has feature names, but .* was fitted without"):
        estimator.predict(pd.DataFrame(X, columns=["a", "b", "c"]))


# --- tensors -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensor_in_tensor_of_the_same_dtype_out(Estimator, dtype):
    X, y = (torch.from_numpy(array).to(dtype) for array in problem())
    estimator = Estimator().fit(X, y)
    prediction = estimator.predict(X)
    assert type(prediction) is torch.Tensor
    assert prediction.dtype == dtype
    assert prediction.device == X.device
    assert prediction.shape == y.shape
    assert type(estimator.coef_) is np.ndarray
    assert estimator.coef_.dtype == np.float64


def test_tensors_give_the_fit_of_the_same_arrays(Estimator):
    X, y = problem()
    sample_weight = np.random.default_rng(4).uniform(0.5, 2.0, N_SAMPLES)
    expected = Estimator().fit(X, y, sample_weight)
    tensors = [torch.from_numpy(array) for array in (X, y, sample_weight)]
    estimator = Estimator().fit(*tensors)
    assert_same_fit(estimator, expected)
    np.testing.assert_allclose(
        estimator.predict(tensors[0]).numpy(), expected.predict(X), rtol=1e-10
    )


def test_tensor_rows_with_array_target_and_weights(Estimator):
    X, y = problem()
    sample_weight = np.linspace(0.5, 2.0, N_SAMPLES)
    expected = Estimator().fit(X, y, sample_weight)
    assert_same_fit(Estimator().fit(torch.from_numpy(X), y, sample_weight), expected)
    assert_same_fit(
        Estimator().fit(X, torch.from_numpy(y), torch.from_numpy(sample_weight)), expected
    )


def test_fit_on_arrays_predicts_tensors_and_the_other_way_round(Estimator):
    X, y = problem()
    tensor = torch.from_numpy(X)
    from_array, from_tensor = Estimator().fit(X, y), Estimator().fit(tensor, torch.from_numpy(y))
    assert type(from_array.predict(tensor)) is torch.Tensor
    assert type(from_tensor.predict(X)) is np.ndarray


def test_tensors_that_require_gradients_are_data(Estimator):
    X, y = (torch.from_numpy(array).requires_grad_() for array in problem())
    estimator = Estimator().fit(X, y)
    assert_same_fit(estimator, Estimator().fit(*problem()))
    prediction = estimator.predict(X)
    assert not prediction.requires_grad
    assert X.requires_grad
    assert X.grad is None


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64],
)
def test_tensor_dtype_of_whole_numbers_does_not_matter(Estimator, dtype):
    X, y = integers()
    expected = Estimator().fit(X.astype(float), y.astype(float))
    estimator = Estimator().fit(torch.from_numpy(X).to(dtype), torch.from_numpy(y))
    assert_same_fit(estimator, expected, rtol=1e-5 if dtype.is_floating_point else 1e-10)


def test_boolean_tensor_is_zeros_and_ones():
    X, y = integers()
    flags = torch.from_numpy(X > 4)
    expected = TorchSGDRegressor().fit((X > 4).astype(float), y)
    estimator = TorchSGDRegressor().fit(flags, y)
    assert_same_fit(estimator, expected)
    assert type(estimator.predict(flags)) is torch.Tensor


TENSOR_LAYOUTS = {
    "transposed": lambda X: X.t().contiguous().t(),
    "every other element": lambda X: X.repeat_interleave(2, 0)[::2],
    "expanded": lambda X: X.unsqueeze(0).expand(2, -1, -1)[1],
    "lazily negated": lambda X: torch.view_as_complex(torch.stack([X, -X], -1)).conj().imag,
}


@pytest.mark.parametrize("layout", TENSOR_LAYOUTS.values(), ids=TENSOR_LAYOUTS.keys())
def test_memory_layout_of_a_tensor_does_not_matter(Estimator, layout):
    X, y = problem()
    tensor = layout(torch.from_numpy(X))
    estimator = Estimator().fit(tensor, torch.from_numpy(y))
    assert_same_fit(estimator, Estimator().fit(X, y))
    assert type(estimator.predict(tensor)) is torch.Tensor


def test_two_dimensional_tensor_target_has_one_row_a_target(Estimator):
    X, Y = problem(n_targets=2)
    estimator = Estimator().fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert_same_fit(estimator, Estimator().fit(X, Y))
    assert estimator.predict(torch.from_numpy(X)).shape == (N_SAMPLES, 2)


def test_score_of_tensors_is_the_score_of_arrays(Estimator):
    X, y = problem()
    estimator = Estimator().fit(X, y)
    score = estimator.score(torch.from_numpy(X), torch.from_numpy(y))
    assert float(score) == pytest.approx(estimator.score(X, y), rel=1e-12)


# --- refused in fit ----------------------------------------------------------------------


def with_value(array, value):
    array = np.array(array, dtype=float)
    array[(7, *[0] * (array.ndim - 1))] = value
    return array


X, y = problem()
ones = np.ones(N_SAMPLES)

# name: (arguments of fit, exception, wording)
BAD_DATA = {
    "NaN in X": ((with_value(X, np.nan), y), ValueError, "Input X contains NaN"),
    "inf in X": ((with_value(X, np.inf), y), ValueError, "Input X contains infinity"),
    "-inf in X": ((with_value(X, -np.inf), y), ValueError, "Input X contains infinity"),
    "NaN in float32 X": (
        (with_value(X, np.nan).astype(np.float32), y),
        ValueError,
        "Input X contains NaN",
    ),
    "NaN in a tensor": (
        (torch.from_numpy(with_value(X, np.nan)), torch.from_numpy(y)),
        ValueError,
        "Input X contains NaN",
    ),
    "inf in a float32 tensor": (
        (torch.from_numpy(with_value(X, np.inf)).float(), torch.from_numpy(y).float()),
        ValueError,
        "Input X contains infinity",
    ),
    "NaN in a row of weight zero": (
        (with_value(X, np.nan), y, with_value(ones, 0.0)),
        ValueError,
        "Input X contains NaN",
    ),
    "missing in pandas": (
        (pd.DataFrame(with_value(X, np.nan)), y),
        ValueError,
        "Input X contains NaN",
    ),
    "missing in a nullable column": (
        (pd.DataFrame({"a": pd.array([1, None] * 30, dtype="Int64"), "b": X[:, 0]}), y),
        ValueError,
        "Input X contains NaN",
    ),
    "missing in polars": (
        (pl.DataFrame({"a": [1.0, None] * 30, "b": X[:, 0]}), y),
        ValueError,
        "Input X contains NaN",
    ),
    "NaN in y": ((X, with_value(y, np.nan)), ValueError, "Input y contains NaN"),
    "inf in y": ((X, with_value(y, np.inf)), ValueError, "Input y contains infinity"),
    "NaN in y of two columns": (
        (X, np.column_stack([y, with_value(y, np.nan)])),
        ValueError,
        "Input y contains NaN",
    ),
    "NaN in a tensor y": (
        (torch.from_numpy(X), torch.from_numpy(with_value(y, np.nan))),
        ValueError,
        "Input y contains NaN",
    ),
    "NaN weight": (
        (X, y, with_value(ones, np.nan)),
        ValueError,
        "Input sample_weight contains NaN",
    ),
    "inf weight": (
        (X, y, with_value(ones, np.inf)),
        ValueError,
        "Input sample_weight contains infinity",
    ),
    "negative weight": (
        (X, y, with_value(ones, -1.0)),
        ValueError,
        "Negative values in data passed to `sample_weight`",
    ),
    "weights all zero": (
        (X, y, np.zeros(N_SAMPLES)),
        ValueError,
        "Sample weights must contain at least one non-zero number",
    ),
    "weights of two dimensions": (
        (X, y, ones[:, None]),
        ValueError,
        "Sample weights must be 1D array or scalar",
    ),
    "too few weights": (
        (X, y, ones[:-1]),
        ValueError,
        r"sample_weight.shape == \(59,\), expected \(60,\)",
    ),
    "X of one dimension": ((X[:, 0], y), ValueError, "Expected 2D array, got 1D array instead"),
    "tensor X of one dimension": (
        (torch.from_numpy(X[:, 0].copy()), torch.from_numpy(y)),
        ValueError,
        "Expected 2D array, got 1D",
    ),
    "X a number": ((3.0, y), ValueError, "Expected 2D array, got scalar array instead"),
    "X of three dimensions": ((X[None], y[:1]), ValueError, "Found array with dim 3"),
    "y of three dimensions": ((X, y[:, None, None]), ValueError, "Found array with dim 3"),
    "y a number": (
        (X, 3.0),
        (TypeError, ValueError),
        "Input should have at least 1 dimension|Singleton array",
    ),
    "y missing": ((X, None), ValueError, "requires y to be passed, but the target y is None"),
    "no rows": ((X[:0], y[:0]), ValueError, r"Found array with 0 sample\(s\)"),
    "no rows of tensors": (
        (torch.from_numpy(X[:0]), torch.from_numpy(y[:0])),
        ValueError,
        r"Found array with 0 sample\(s\)",
    ),
    "empty selection of a frame": (
        (pd.DataFrame(X)[X[:, 0] > 1e9], y[:0]),
        ValueError,
        r"Found array with 0 sample\(s\)",
    ),
    "no columns": ((X[:, :0], y), ValueError, r"Found array with 0 feature\(s\)"),
    "one target too few": (
        (X, y[:-1]),
        ValueError,
        r"inconsistent numbers of samples: \[60, 59\]",
    ),
    "one tensor target too few": (
        (torch.from_numpy(X), torch.from_numpy(y[:-1])),
        ValueError,
        r"inconsistent numbers of samples: \[60, 59\]",
    ),
    "words in X": (
        (np.array([["low", "high"]] * N_SAMPLES, dtype=object), y),
        ValueError,
        "could not convert string to float",
    ),
    "words in a frame": (
        (pd.DataFrame({"a": ["low", "high"] * 30, "b": X[:, 0]}), y),
        ValueError,
        "could not convert string to float",
    ),
    "words in polars": (
        (pl.DataFrame({"a": ["low", "high"] * 30, "b": X[:, 0]}), y),
        ValueError,
        "could not convert string to float",
    ),
    "words in y": (
        (X, np.array(["low", "high"] * 30, dtype=object)),
        ValueError,
        "could not convert string to float",
    ),
    "complex X": ((X + 1j, y), ValueError, "Complex data not supported"),
    "complex y": ((X, y + 1j), ValueError, "Complex data not supported"),
    "complex tensor": (
        (torch.from_numpy(X + 1j), torch.from_numpy(y)),
        ValueError,
        "Complex data not supported",
    ),
    "sparse tensor": ((torch.from_numpy(X).to_sparse(), y), TypeError, "Sparse data was passed"),
    "sparse y": ((X, scipy.sparse.csr_array(y[:, None])), TypeError, "Sparse data was passed"),
}

BAD_PARAMETERS = {
    "loss": ({"loss": "cubic"}, ValueError, "The 'loss' parameter"),
    "penalty": ({"penalty": "l7"}, ValueError, "The 'penalty' parameter"),
    "negative alpha": ({"penalty": "l2", "alpha": -1.0}, ValueError, "The 'alpha' parameter"),
    "alpha not a number": ({"penalty": "l2", "alpha": float("nan")}, ValueError, "alpha"),
    "infinite alpha": ({"penalty": "l2", "alpha": float("inf")}, ValueError, "alpha"),
    "fit_intercept": ({"fit_intercept": "yes"}, ValueError, "The 'fit_intercept' parameter"),
    "solver": ({"solver": "simplex"}, ValueError, "The 'solver' parameter"),
    "max_iter": ({"max_iter": 0}, ValueError, "The 'max_iter' parameter"),
    "max_iter a fraction": ({"max_iter": 1.5}, ValueError, "The 'max_iter' parameter"),
    "negative tol": ({"tol": -1e-3}, ValueError, "The 'tol' parameter"),
    "warm_start": ({"warm_start": "yes"}, ValueError, "The 'warm_start' parameter"),
    "verbose": ({"verbose": "loud"}, ValueError, "The 'verbose' parameter"),
    "dtype": ({"dtype": "float99"}, ValueError, "The 'dtype' parameter"),
    "integer dtype": ({"dtype": "int32"}, ValueError, "The 'dtype' parameter"),
    "device of no kind": ({"device": "nonsense"}, (ValueError, RuntimeError), "nonsense"),
    "device not a string": ({"device": 3.5}, ValueError, "The 'device' parameter"),
}


@pytest.mark.parametrize("arguments, exception, wording", BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data_are_refused_and_nothing_is_half_fitted(Estimator, arguments, exception, wording):
    estimator = Estimator()
    with pytest.raises(exception, match=wording):
        estimator.fit(*arguments)
    assert fitted_attributes(estimator) == {}
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.parametrize("arguments, exception, wording", BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data_leave_the_earlier_fit_as_it_was(Estimator, arguments, exception, wording):
    estimator = Estimator().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    before = copy.deepcopy(fitted_attributes(estimator))
    with pytest.raises(exception, match=wording):
        estimator.fit(*arguments)
    assert_attributes_equal(fitted_attributes(estimator), before)


WARM = [
    "NaN in X",
    "inf in X",
    "NaN in a tensor",
    "NaN in y",
    "inf in y",
    "NaN weight",
    "words in y",
]


@pytest.mark.parametrize("name", WARM)
@pytest.mark.parametrize("columns", [[0, 1, 2], [0]], ids=["three columns", "one column"])
def test_bad_data_leave_the_fit_that_a_warm_start_begins_from(Estimator, name, columns):
    arguments, exception, wording = BAD_DATA[name]
    estimator = Estimator(warm_start=True).fit(X[:, columns], y)
    before = copy.deepcopy(fitted_attributes(estimator))
    with pytest.raises(exception, match=wording):
        estimator.fit(arguments[0][:, columns], *arguments[1:])
    assert_attributes_equal(fitted_attributes(estimator), before)


def assert_attributes_equal(attributes, expected):
    assert attributes.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(attributes[name], value, err_msg=name, strict=True)


@pytest.mark.parametrize(
    "parameters, exception, wording", BAD_PARAMETERS.values(), ids=BAD_PARAMETERS.keys()
)
def test_bad_parameters_are_refused_in_fit_and_leave_everything_as_it_was(
    Estimator, parameters, exception, wording
):
    estimator = Estimator(**parameters)
    with pytest.raises(exception, match=wording):
        estimator.fit(X, y)
    assert fitted_attributes(estimator) == {}
    estimator = Estimator().fit(X, y)
    before = copy.deepcopy(fitted_attributes(estimator))
    with pytest.raises(exception, match=wording):
        estimator.set_params(**parameters).fit(X, y)
    assert_attributes_equal(fitted_attributes(estimator), before)


@pytest.mark.parametrize("degree", [0, -1, 1.5, "2", None])
def test_bad_degree_is_refused(degree):
    with pytest.raises(ValueError, match="The 'degree' parameter"):
        TorchPolyRegressor(degree).fit(X, y)


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="device cuda:7 is there")
def test_device_that_is_not_there_is_named_and_a_remedy_given(Estimator):
    estimator = Estimator(device="cuda:7")
    with pytest.raises((ValueError, RuntimeError), match="cuda:7") as raised:
        estimator.fit(X, y)
    assert "device=" in str(raised.value)
    assert fitted_attributes(estimator) == {}


def test_numbers_too_large_to_square_are_refused_or_fitted_but_never_give_nan(Estimator):
    estimator = Estimator()
    with contextlib.suppress(ValueError):
        estimator.fit(X * 1e300, y)
        assert np.isfinite(estimator.coef_).all()
        assert np.isfinite(estimator.intercept_)
    refused = fitted_attributes(estimator) == {}
    assert refused or np.isfinite(estimator.predict(X)).all()


# --- refused in predict ------------------------------------------------------------------


def test_predict_before_fit_is_refused(Estimator):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        Estimator().predict(X)


@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize(
    "kind", [np.asarray, torch.as_tensor, pd.DataFrame], ids=["numpy", "torch", "pandas"]
)
def test_predict_on_another_number_of_columns_is_refused(Estimator, kind, columns):
    estimator = Estimator().fit(X, y)
    wording = f"X has {columns} features, but {Estimator.__name__} is expecting 3 features"
    with pytest.raises(ValueError, match=wording):
        estimator.predict(kind(np.zeros((5, columns))))


@pytest.mark.parametrize(
    "bad, exception, wording",
    [
        (with_value(X, np.nan), ValueError, "Input X contains NaN"),
        (with_value(X, np.inf), ValueError, "Input X contains infinity"),
        (torch.from_numpy(with_value(X, np.nan)), ValueError, "Input X contains NaN"),
        (X[0], ValueError, "Expected 2D array, got 1D array instead"),
        (X[:0], ValueError, r"Found array with 0 sample\(s\)"),
        (X + 1j, ValueError, "Complex data not supported"),
        (torch.from_numpy(X).to_sparse(), TypeError, "Sparse data was passed"),
        (scipy.sparse.csr_array(with_value(X, np.nan)), ValueError, "Input X contains NaN"),
    ],
    ids=["NaN", "inf", "NaN in a tensor", "1-d", "no rows", "complex", "sparse tensor", "sparse"],
)
def test_bad_rows_are_refused_in_predict(Estimator, bad, exception, wording):
    with pytest.raises(exception, match=wording):
        Estimator().fit(X, y).predict(bad)


# --- left as it was ----------------------------------------------------------------------


def global_state():
    return {
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch generator": torch.get_rng_state().tolist(),
        "numpy generator": [np.asarray(part).tolist() for part in np.random.get_state()],
        "python generator": random.getstate(),
        "numpy errors": np.geterr(),
    }


@pytest.mark.parametrize("parameters", [{}, {"dtype": "float32"}, {"penalty": "l2"}], ids=str)
def test_fit_and_predict_leave_no_global_state_changed(Estimator, parameters):
    before = global_state()
    Estimator(**parameters).fit(X, y).predict(X)
    Estimator(**parameters).fit(torch.from_numpy(X), torch.from_numpy(y)).predict(
        torch.from_numpy(X)
    )
    assert global_state() == before


def test_failed_fit_leaves_no_global_state_changed(Estimator):
    before = global_state()
    with pytest.raises(ValueError, match="Input X contains NaN"):
        Estimator().fit(with_value(X, np.nan), y)
    assert global_state() == before


def threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_fits_side_by_side_agree_and_leave_the_number_of_threads(Estimator):
    expected = Estimator().fit(X, y)
    before = threads_of_a_new_thread()
    with ThreadPoolExecutor(8) as pool:
        fits = list(pool.map(lambda _: Estimator().fit(X, y), range(200)))
    try:
        assert threads_of_a_new_thread() == before
    finally:
        torch.set_num_threads(before)
    for estimator in fits:
        np.testing.assert_array_equal(estimator.coef_, expected.coef_)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_default_dtype_of_torch_does_not_matter(Estimator, dtype):
    expected = Estimator().fit(X, y)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        estimator = Estimator().fit(X, y)
        prediction = estimator.predict(X)
    finally:
        torch.set_default_dtype(default)
    np.testing.assert_array_equal(estimator.coef_, expected.coef_)
    assert prediction.dtype == np.float64


def test_default_device_of_torch_does_not_matter_to_a_named_device(Estimator):
    expected = Estimator().fit(X, y)
    # "meta" stands for a GPU that some other part of the program made the default.
    with torch.device("meta"):
        estimator = Estimator(device="cpu").fit(X, y)
        prediction = estimator.predict(X)
    np.testing.assert_array_equal(estimator.coef_, expected.coef_)
    np.testing.assert_array_equal(prediction, expected.predict(X))


def test_fit_and_predict_work_in_inference_mode(Estimator):
    expected = Estimator().fit(X, y)
    with torch.inference_mode():
        estimator = Estimator().fit(torch.from_numpy(X), torch.from_numpy(y))
        estimator.predict(torch.from_numpy(X))
    assert_same_fit(estimator, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("kind", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_data_are_unchanged_by_fit_and_predict(Estimator, kind, dtype):
    arrays = [
        (10 * X).astype(dtype),
        (10 * y).astype(dtype),
        np.arange(1, N_SAMPLES + 1).astype(dtype),
    ]
    given = [kind(array) for array in arrays]
    Estimator().fit(*given).predict(given[0])
    for array, after in zip(arrays, given, strict=True):
        np.testing.assert_array_equal(np.asarray(after), array, strict=True)


def test_frame_is_unchanged_by_fit_and_predict(Estimator):
    frame = pd.DataFrame(mixed_columns())
    before = frame.copy(deep=True)
    Estimator().fit(frame, y).predict(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_predictions_share_no_memory_with_the_estimator(Estimator):
    estimator = Estimator().fit(X, y)
    first = estimator.predict(X)
    kept = first.copy()
    first[:] = 0.0
    np.testing.assert_array_equal(estimator.predict(X), kept)


def test_changing_the_rows_after_fit_changes_no_prediction(Estimator):
    rows, targets = X.copy(), y.copy()
    estimator = Estimator().fit(rows, targets)
    expected = estimator.predict(X)
    rows[:], targets[:] = 0.0, 0.0
    np.testing.assert_array_equal(estimator.predict(X), expected)


# --- carried on --------------------------------------------------------------------------


def torch_objects(value):
    if isinstance(value, dict):
        return [found for item in value.values() for found in torch_objects(item)]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in torch_objects(item)]
    return [value] if type(value).__module__.split(".")[0] == "torch" else []


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_fitted_estimator_holds_nothing_of_torch(Estimator, kind):
    estimator = Estimator().fit(kind(X), kind(y))
    assert torch_objects(vars(estimator)) == []


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_pickled_estimator_predicts_the_same(Estimator, kind):
    estimator = Estimator(penalty="l2").fit(kind(X), kind(y))
    content = pickle.dumps(estimator)
    assert b"torch" not in content.replace(b"skorchlite", b"").replace(b"TorchSGD", b"")
    loaded = pickle.loads(content)
    assert_attributes_equal(fitted_attributes(loaded), fitted_attributes(estimator))
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))


def test_clone_has_the_parameters_and_no_fit(Estimator):
    estimator = Estimator(penalty="l2", alpha=0.5, max_iter=7, dtype="float64").fit(X, y)
    copied = clone(estimator)
    assert copied.get_params() == estimator.get_params()
    assert fitted_attributes(copied) == {}


def test_fit_changes_no_parameter(Estimator):
    estimator = Estimator()
    before = estimator.get_params()
    assert estimator.fit(X, y).get_params() == before


def test_constructor_stores_parameters_without_looking_at_them(Estimator):
    marker = object()
    assert Estimator(device=marker).device is marker


def test_pipeline_cross_validation_and_grid_search_accept_the_estimator(Estimator):
    pipeline = make_pipeline(StandardScaler(), Estimator(penalty="l2"))
    assert np.isfinite(cross_val_score(pipeline, X, y, cv=3)).all()
    step = Estimator.__name__.lower()
    search = GridSearchCV(pipeline, {f"{step}__alpha": [1e-3, 1e3]}, cv=3).fit(X, y)
    assert search.best_params_ == {f"{step}__alpha": 1e-3}


# --- where a number is that is not finite ---------------------------------------------------

N_MANY = 1_200_000
PLACES = {
    "array": lambda X: X,
    "Fortran order": np.asfortranarray,
    "tensor": torch.from_numpy,
    "single precision": lambda X: X.astype(np.float32),
    "half precision": lambda X: torch.from_numpy(X).bfloat16(),
    "sparse": scipy.sparse.csr_array,
    "sparse columns": scipy.sparse.csc_matrix,
    "frame without names": lambda X: pd.DataFrame(X),
}


@pytest.mark.parametrize("kind", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_place_of_a_bad_number_is_told(kind, value):
    bad = np.ones((500, 3))
    bad[450, 1] = bad[470, 0] = value
    wording = r"(?s)Input X contains .*is in row 450, column 1, counted from 0"
    model = TorchSGDRegressor()
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=wording):
            fit(kind(bad), np.arange(500))
    model.fit(np.ones((5, 3)), np.arange(5))
    with pytest.raises(ValueError, match=wording):
        model.predict(kind(bad))
    with pytest.raises(ValueError, match=wording):
        model.fit(np.ones((5, 3)), np.arange(5), X_val=kind(bad), y_val=np.ones(500))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_column_of_a_bad_number_is_named(Estimator, frame):
    columns = {"age": np.arange(5.0), "income": np.array([1.0, 2.0, np.nan, 3.0, 4.0])}
    wording = r"(?s)X contains NaN.*in row 2, column 'income', counted from 0"
    with pytest.raises(ValueError, match=wording):
        Estimator().fit(frame(columns), y[:5])
    with pytest.raises(ValueError, match=r"(?s)row 2, column 'income'.*in block 0.*in row 2 of it"):
        Estimator().fit([(frame(columns), y[:5])])


def test_place_of_a_bad_target_and_weight_is_told(Estimator):
    with pytest.raises(ValueError, match=r"(?s)y contains NaN.*in row 7, counted from 0"):
        Estimator().fit(X, with_value(y, np.nan))
    with pytest.raises(ValueError, match=r"(?s)y contains inf.*in row 7, column 0, counted"):
        Estimator().fit(X, with_value(np.ones((60, 2)), np.inf))
    with pytest.raises(ValueError, match=r"(?s)sample_weight contains NaN.*in row 7, counted"):
        Estimator().fit(X, y, with_value(ones, np.nan))


def test_place_of_a_bad_number_far_on_is_told():
    bad = np.zeros((N_MANY, 2), np.float32)
    bad[1_000_000, 1] = np.nan
    with pytest.raises(ValueError, match=r"(?s)X contains NaN.*in row 1000000, column 1, counted"):
        TorchSGDRegressor().fit(bad, bad[:, 0])
    source = [(bad[i : i + 7000], bad[i : i + 7000, 0]) for i in range(0, N_MANY, 7000)]
    wording = r"(?s)in row 1000000, column 1, counted.*in block 142, which begins with row 994000"
    with pytest.raises(ValueError, match=wording):
        TorchSGDRegressor().fit(source)


def test_both_infinities_are_refused_without_a_warning_of_numpy(Estimator):
    bad = X.copy()
    bad[3, 1], bad[3, 2], bad[4, 0] = -np.inf, np.inf, np.nan
    model = Estimator().fit(X, y)
    for rows in (bad[:4], torch.from_numpy(bad[:4]), [(bad[:4], y[:4])]):
        with pytest.raises(ValueError, match=r"(?s)X contains infinity.*row 3, column 1, counted"):
            model.predict(rows)
    with pytest.raises(ValueError, match=r"(?s)X contains infinity.*row 3, column 1, counted"):
        Estimator().fit(bad[:4], y[:4])

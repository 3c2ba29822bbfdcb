"""scikit-learn's array API dispatch, and scores of tensors with and without it."""

import copy
import pickle

import array_api_strict
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.ensemble import StackingRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils._array_api import (
    get_namespace_and_device,
    move_estimator_to,
    yield_mixed_namespace_input_permutations,
    yield_namespace_device_dtype_combinations,
)
from sklearn.utils.estimator_checks import (
    check_array_api_input_and_values,
    check_array_api_mixed_inputs,
)

from skorchlite import TorchSGDRegressor

N_SAMPLES = 80
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.mps.is_available()


def problem(n_targets=None):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_SAMPLES, 3))
    shape = (3,) if n_targets is None else (3, n_targets)
    y = 1 + X @ rng.uniform(1, 2, shape) + rng.standard_normal((N_SAMPLES, *shape[1:]))
    return X, y, rng.uniform(0.5, 2, N_SAMPLES)


def on_device(name):
    def convert(array):
        tensor = torch.from_numpy(array)
        return tensor.to(name, torch.float32) if name == "mps" else tensor.to(name)

    return convert


def strict(name):
    return lambda array: array_api_strict.asarray(array, device=array_api_strict.Device(name))


KINDS = {f"torch {name}": on_device(name) for name in DEVICES}
KINDS |= {f"strict {name}": strict(name) for name in ("CPU_DEVICE", "device1")}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
every_device = pytest.mark.parametrize("device", DEVICES)


def numbers(array):
    """The numbers of an array of any kind."""
    array = array if isinstance(array, np.ndarray) else torch.from_dlpack(array).cpu().numpy()
    return array.astype(float)


def assert_close(first, second, array):
    single = str(array.dtype).endswith("float32")
    np.testing.assert_allclose(numbers(first), numbers(second), rtol=1e-4 if single else 1e-9)


# --- dispatch ----------------------------------------------------------------------------


def test_support_is_declared(Estimator):
    assert get_tags(Estimator()).array_api_support


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "namespace, device, dtype", [*yield_namespace_device_dtype_combinations()], ids=str
)
def test_values_are_those_of_numpy(Estimator, namespace, device, dtype, weighted):
    check_array_api_input_and_values(
        Estimator.__name__, Estimator(penalty="l2"), namespace, device, dtype, weighted
    )


@pytest.mark.parametrize("other, given, _", [*yield_mixed_namespace_input_permutations()], ids=str)
def test_values_follow_the_rows_where_targets_lie_elsewhere(Estimator, other, given, _):
    check_array_api_mixed_inputs(
        Estimator.__name__, Estimator(penalty="l2"), given, other, check_values=True
    )


@every_kind
@pytest.mark.parametrize("n_targets", [None, 2])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_attributes_and_predictions_are_of_the_kind_of_the_rows(Estimator, method, n_targets, kind):
    X, y, weight = problem(n_targets)
    expected = getattr(Estimator(), method)(X, y, weight)
    given = kind(X)
    with config_context(array_api_dispatch=True):
        estimator = getattr(Estimator(), method)(given, kind(y), kind(weight))
        prediction = estimator.predict(given)
        score = estimator.score(given, kind(y), kind(weight))
    names = ["coef_"] + ["intercept_"] * (n_targets is not None)
    names += ["powers_"] * hasattr(expected, "powers_")
    for result in [prediction, *(getattr(estimator, name) for name in names)]:
        assert type(result) is type(given)
        assert result.device == given.device
    assert prediction.dtype == given.dtype
    for name in names:
        assert_close(getattr(estimator, name), getattr(expected, name), given)
    assert_close(prediction, expected.predict(X), given)
    assert type(score) is float
    assert score == pytest.approx(expected.score(X, y, weight), rel=1e-4)
    assert n_targets or type(estimator.intercept_) is float


@every_kind
def test_everything_follows_the_rows(Estimator, kind):
    X, y, weight = problem()
    expected = Estimator().fit(X, y, weight)
    with config_context(array_api_dispatch=True):
        given = kind(X)
        for estimator in (
            Estimator().fit(given, y, pd.Series(weight)),
            Estimator().fit(given, torch.from_numpy(y), weight.tolist()),
        ):
            assert type(estimator.coef_) is type(given)
            assert_close(estimator.coef_, expected.coef_, given)
        estimator = Estimator().fit(X, kind(y), kind(weight))
        assert type(estimator.coef_) is np.ndarray
        assert_close(estimator.coef_, expected.coef_, given)
        assert estimator.score(X, kind(y)) == pytest.approx(expected.score(X, y), rel=1e-6)


@every_kind
def test_without_dispatch_attributes_are_of_numpy(Estimator, kind):
    X, y, weight = problem(2)
    given = kind(X)
    estimator = Estimator().fit(given, kind(y), kind(weight))
    arrays = [v for v in vars(estimator).values() if hasattr(v, "__dlpack__")]
    assert {type(array) for array in arrays} == {np.ndarray}
    assert_close(estimator.coef_, Estimator().fit(X, y, weight).coef_, given)
    kind_out = torch.Tensor if isinstance(given, torch.Tensor) else np.ndarray
    assert type(estimator.predict(given)) is kind_out


@every_kind
def test_rows_of_another_kind_than_those_fitted_are_refused_with_dispatch(Estimator, kind):
    X, y, _ = problem()
    with config_context(array_api_dispatch=True):
        estimator = Estimator().fit(kind(X), kind(y))
        for other in (X, X.tolist(), pd.DataFrame(X)):
            with pytest.raises(ValueError, match=r"predict\(\) must use the same namespace"):
                estimator.predict(other)
        with pytest.raises(ValueError, match=r"predict\(\) must use the same namespace"):
            Estimator().fit(X, y).predict(kind(X))


def test_without_dispatch_any_rows_are_predicted_whatever_was_fitted(Estimator):
    X, y, _ = problem()
    with config_context(array_api_dispatch=True):
        fitted = [Estimator().fit(kind(X), kind(y)) for kind in KINDS.values()]
    for estimator in fitted:
        for rows in (X, torch.from_numpy(X), pd.DataFrame(X)):
            prediction = estimator.predict(rows)
            assert type(prediction) is (torch.Tensor if torch.is_tensor(rows) else np.ndarray)
            np.testing.assert_allclose(prediction, Estimator().fit(X, y).predict(X), rtol=1e-4)


@every_kind
def test_estimator_can_be_moved(Estimator, kind):
    X, y, _ = problem()
    expected = Estimator().fit(X, y).predict(X)
    given = kind(X)
    with config_context(array_api_dispatch=True):
        xp, _, device = get_namespace_and_device(given)
        moved = move_estimator_to(Estimator().fit(X, y), xp, device)
        assert type(moved.coef_) is type(given)
        assert_close(moved.predict(given), expected, given)
        back = move_estimator_to(moved, np, "cpu")
        assert_close(back.predict(X), expected, given)
        assert_close(pickle.loads(pickle.dumps(moved)).coef_, back.coef_, given)


@every_kind
@pytest.mark.parametrize("parameters", [{}, {"batch_size": 16, "random_state": 0}], ids=str)
def test_fits_go_on_from_attributes_of_any_kind(Estimator, parameters, kind):
    X, y, _ = problem()
    parts = [slice(0, 50), slice(50, None)]
    expected, estimator = Estimator(**parameters), Estimator(**parameters)
    for part in parts:
        expected.partial_fit(X[part], y[part])
        with config_context(array_api_dispatch=True):
            estimator.partial_fit(kind(X[part]), kind(y[part]))
    assert_close(estimator.coef_, expected.coef_, kind(X))
    expected.set_params(warm_start=True).fit(X, y)
    with config_context(array_api_dispatch=True):
        estimator.set_params(warm_start=True).fit(kind(X), kind(y))
        clone(estimator).fit(kind(X), kind(y), coef_init=estimator.coef_, X_val=X, y_val=y)
    assert_close(estimator.coef_, expected.coef_, kind(X))


def test_failed_fit_leaves_the_attributes_where_they_were(Estimator):
    X, y, _ = problem()
    with config_context(array_api_dispatch=True):
        estimator = Estimator().fit(X, y)
        with pytest.raises(ValueError, match="Input X contains NaN"):
            estimator.fit(torch.from_numpy(np.where(X > 2, np.nan, X)), y)
    assert type(estimator.coef_) is np.ndarray


# --- inside other estimators -------------------------------------------------------------


@every_device
def test_pipelines_and_searches_take_tensors(Estimator, device):
    X, y, _ = problem()
    X_device, y_device = map(on_device(device), (X, y))
    pipeline = make_pipeline(StandardScaler(), Estimator(penalty="l2"))
    alpha = {f"{Estimator.__name__.lower()}__alpha": [1e-3, 1e-1, 1e3]}
    expected = cross_val_score(pipeline, X, y)
    search = GridSearchCV(pipeline, alpha).fit(X, y)
    with config_context(array_api_dispatch=True):
        scores = cross_val_score(pipeline, X_device, y_device)
        np.testing.assert_allclose(scores, expected, rtol=1e-4)
        errors = cross_val_score(pipeline, X_device, y_device, scoring="neg_mean_squared_error")
        assert (errors < 0).all()
        assert cross_val_predict(pipeline, X_device, y_device).device == X_device.device
        on_tensors = GridSearchCV(pipeline, alpha).fit(X_device, y_device)
        assert on_tensors.best_params_ == search.best_params_
        assert on_tensors.best_score_ == pytest.approx(search.best_score_, rel=1e-4)
        assert on_tensors.predict(X_device).device == X_device.device


def test_searches_take_tensors_without_dispatch(Estimator):
    X, y, _ = problem()
    scores = cross_val_score(Estimator(), torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_allclose(scores, cross_val_score(Estimator(), X, y), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("own_processes")
def test_fits_in_other_processes_come_back_where_they_were(Estimator):
    X, y, _ = problem()
    with config_context(array_api_dispatch=True):
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        stack = StackingRegressor([("a", Estimator()), ("b", Estimator(penalty="l2"))], n_jobs=2)
        assert stack.fit(X, y).score(X, y) > 0.5


# --- carried on --------------------------------------------------------------------------


@every_kind
def test_pickle_of_a_dispatched_fit_holds_numpy(Estimator, kind):
    X, y, _ = problem(2)
    with config_context(array_api_dispatch=True):
        estimator = Estimator().fit(kind(X), kind(y))
    for name, value in estimator.__getstate__().items():
        parts = value if isinstance(value, tuple) else (value,)
        assert all(isinstance(v, np.ndarray) for v in parts if hasattr(v, "__dlpack__")), name
    assert b"torch._" not in pickle.dumps(estimator)


def test_copy_of_a_dispatched_fit_is_like_it(Estimator):
    X, y, _ = problem()
    with config_context(array_api_dispatch=True):
        estimator = Estimator().fit(torch.from_numpy(X), torch.from_numpy(y))
    for copied in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        assert copied.coef_.equal(estimator.coef_)
        assert vars(copied).keys() == vars(estimator).keys()


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="device cuda:7 is there")
def test_pickle_of_a_device_that_is_not_there_loads_as_numpy(Estimator):
    X, y, _ = problem()
    estimator = Estimator().fit(X, y)
    state = estimator.__getstate__() | {"_tensor_devices": {"coef_": "cuda:7"}}
    loaded = Estimator()
    loaded.__setstate__(state)
    assert type(loaded.coef_) is np.ndarray
    assert vars(loaded).keys() == vars(estimator).keys()
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))


# --- scores of tensors -------------------------------------------------------------------


@every_device
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_targets", [None, 1, 3])
def test_score_of_tensors_is_r2_score(Estimator, n_targets, weighted, device):
    X, y, weight = problem(n_targets)
    weight = weight if weighted else None
    estimator = Estimator().fit(X, y)
    expected = r2_score(y, estimator.predict(X), sample_weight=weight)
    convert = on_device(device)
    weights = [weight] if weight is None else [weight, convert(weight)]
    for rows in (convert(X), convert(X).requires_grad_(), X):
        for targets in (convert(y), convert(y).requires_grad_(), y):
            for given in weights:
                score = estimator.score(rows, targets, given)
                assert type(score) is float
                assert score == pytest.approx(expected, rel=1e-4 if device == "mps" else 1e-12)


def test_score_of_single_precision_is_that_of_double():
    X, y, _ = problem()
    y = y + 1e4
    estimator = TorchSGDRegressor().fit(X, y)
    X, y = torch.from_numpy(X).float(), torch.from_numpy(y).float()
    expected = r2_score(y.double().numpy(), estimator.predict(X).double().numpy())
    assert estimator.score(X, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", [0.1, 3.0])
def test_score_of_a_constant_target_is_that_of_r2_score(level):
    X, _, _ = problem()
    y = np.full(N_SAMPLES, level)
    estimator = TorchSGDRegressor().fit(X, y)
    estimator.coef_[:], estimator.intercept_ = 0.0, level
    rows, targets = torch.from_numpy(X), torch.from_numpy(y)
    assert estimator.score(rows, targets) == 1.0
    estimator.intercept_ = level + 1
    assert estimator.score(rows, targets) == 0.0


def test_score_of_one_row_is_not_defined(Estimator):
    X, y, _ = problem()
    estimator = Estimator().fit(X, y)
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        assert np.isnan(estimator.score(torch.from_numpy(X[:1]), torch.from_numpy(y[:1])))


def test_score_of_other_targets_than_were_fitted_is_refused(Estimator):
    X, y, weight = map(torch.from_numpy, problem())
    estimator = Estimator().fit(X, y)
    assert estimator.score(X, y[:, None]) == estimator.score(X, y)
    with pytest.raises(ValueError, match="y has 2 targets, and the model predicts 1"):
        estimator.score(X, torch.stack([y, y], 1))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.score(X, y[:-1])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        estimator.score(X, y / 0 * 0)
    with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
        estimator.score(X, y, weight / 0 * 0)


# --- tensors that hold no numbers --------------------------------------------------------


@pytest.mark.parametrize("position, name", [(0, "X"), (1, "y"), (2, "sample_weight")])
def test_tensors_on_the_meta_device_are_refused(Estimator, position, name):
    data = [torch.from_numpy(array) for array in problem()]
    estimator = Estimator().fit(*data)
    data[position] = data[position].to("meta")
    wording = f"{name} is on device 'meta', which holds no numbers"
    for method in (estimator.fit, estimator.partial_fit, estimator.score):
        with pytest.raises(ValueError, match=wording):
            method(*data)
    if name == "X":
        with pytest.raises(ValueError, match=wording):
            estimator.predict(data[0])


def test_sparse_tensors_are_refused_as_targets_and_weights(Estimator):
    X, y, weight = map(torch.from_numpy, problem())
    with pytest.raises(TypeError, match="Sparse data was passed for y"):
        Estimator().fit(X, y.to_sparse())
    with pytest.raises(TypeError, match="Sparse data was passed for sample_weight"):
        Estimator().fit(X, y, weight.to_sparse())


@every_kind
def test_callbacks_get_estimators_for_the_namespace_of_the_data(kind):
    X, y, _ = (kind(array) for array in problem())
    monitor = ScoringMonitor(scoring="r2")
    with config_context(array_api_dispatch=True):
        estimator = TorchSGDRegressor(loss="huber").set_callbacks(monitor).fit(X, y)
        scores = [row["r2"] for row in monitor.get_logs().data if "r2" in row]
        assert float(scores[-1]) == pytest.approx(float(estimator.score(X, y)))

"""What parameters may be, and what is said of those that have no effect."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((80, 3))
y = 9 + X @ [1.0, -2.0, 0.5] + rng.standard_normal(80)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

STEPS = {"random_state": 0, "max_iter": 5, "tol": None}
# For each parameter a value of Python, and parameters beside which it has an effect.
VALUES = {
    "loss": ("huber", {}),
    "penalty": ("elasticnet", {"alpha": 0.1}),
    "alpha": (0.25, {"penalty": "l2"}),
    "l1_ratio": (0.5, {"penalty": "elasticnet", "alpha": 0.1}),
    "epsilon": (0.75, {"loss": "huber"}),
    "quantile": (0.25, {"loss": "quantile"}),
    "non_crossing": ("rows", {"loss": "quantile", "quantile": [0.25, 0.75]}),
    "power": (1.25, {"loss": "tweedie"}),
    "fit_intercept": (False, {}),
    "positive": (True, {}),
    "solver": ("gradient", {}),
    "solver_params": ({"momentum": 0.5, "nesterov": True}, {"learning_rate": 0.01, **STEPS}),
    "preconditioner": ("diagonal", STEPS),
    "learning_rate": (0.125, STEPS),
    "eta0": (0.125, {"learning_rate": "constant", **STEPS}),
    "power_t": (0.5, {"learning_rate": "invscaling", **STEPS}),
    "batch_size": (16, STEPS),
    "max_iter": (7, {"learning_rate": 0.125, "random_state": 0, "tol": None}),
    "tol": (0.5, {"learning_rate": 0.125, "random_state": 0}),
    "shuffle": (False, {"learning_rate": 0.125, **STEPS}),
    "average": (2, {"learning_rate": 0.125, **STEPS}),
    "early_stopping": (True, STEPS),
    "validation_fraction": (0.25, {"early_stopping": True, **STEPS}),
    "n_iter_no_change": (2, {"learning_rate": 0.125, "random_state": 0}),
    "warm_start": (True, {}),
    "device": ("cpu", {}),
    "dtype": ("float32", {}),
    "distributed": (False, {}),
    "random_state": (3, {"batch_size": 16, "max_iter": 5, "tol": None}),
    "verbose": (1, {}),
    "degree": (2, {}),
    "interaction_only": (True, {}),
    "basis": ("chebyshev", {}),
    "extrapolation": ("clip", {}),
}


def of_numpy(value):
    """The ways in which NumPy has a value; floats are such that half precision holds them."""
    if isinstance(value, dict):
        return [{name: of_numpy(part)[0] for name, part in value.items()}]
    if isinstance(value, bool):
        return [np.bool_(value)]
    if isinstance(value, int):
        return [np.int64(value), np.int8(value), np.uint16(value)]
    if isinstance(value, float):
        return [np.float64(value), np.float32(value), np.float16(value)]
    return [np.str_(value)]


def cases():
    for Estimator in (TorchSGDRegressor, TorchPolyRegressor):
        for name in Estimator()._get_param_names():
            if name == "penalty_factor":  # an array; see tests/fits/test_penalty_factor.py
                continue
            yield pytest.param(Estimator, name, id=f"{Estimator.__name__}-{name}")


every_parameter = pytest.mark.parametrize("Estimator, name", list(cases()))


def fitted(estimator):
    estimator.fit(X, y)
    return estimator.coef_, estimator.intercept_, estimator.n_iter_, estimator.predict(2 * X)


@every_parameter
def test_scalars_of_numpy_are_those_of_python(Estimator, name):
    value, beside = VALUES[name]
    expected = fitted(Estimator(**beside, **{name: value}))
    for given in of_numpy(value):
        estimator = Estimator(**beside, **{name: given})
        for mine, its in zip(expected, fitted(estimator), strict=True):
            np.testing.assert_array_equal(its, mine)
        for kept in (estimator, clone(estimator)):
            assert kept.get_params()[name] is given or kept.get_params()[name] == given
            assert type(kept.get_params()[name]) is type(given)


@every_parameter
def test_scalars_of_numpy_are_taken_by_chunks_too(Estimator, name):
    value, beside = VALUES[name]
    if name in ("early_stopping", "validation_fraction", "non_crossing"):
        return  # which chunks have no use for
    expected = Estimator(**{"random_state": 0, **beside, name: value}).partial_fit(X, y)
    for given in of_numpy(value):
        estimator = Estimator(**{"random_state": 0, **beside, name: given}).partial_fit(X, y)
        np.testing.assert_array_equal(estimator.coef_, expected.coef_)
        assert type(estimator.get_params()[name]) is type(given)


@every_parameter
def test_grids_of_numpy_scalars(Estimator, name):
    value, beside = VALUES[name]
    grid = np.array([value, value]) if np.isscalar(value) else [value]
    search = GridSearchCV(Estimator(**beside), {name: grid}, cv=2, error_score="raise")
    search.fit(X, y)
    assert np.isfinite(search.best_score_)


def test_parameters_are_as_given_where_a_fit_fails(Estimator):
    estimator = Estimator(positive=np.True_, alpha=np.float32(0.5), penalty=np.str_("l2"))
    before = estimator.get_params()
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        estimator.fit(bad, y)
    after = estimator.get_params()
    assert [(k, type(v)) for k, v in after.items()] == [(k, type(v)) for k, v in before.items()]
    assert after == before


def test_torch_is_given_numbers_of_python_by_optimizers_too():
    params = {"betas": (0.5, 0.9), "eps": np.float64(1e-8), "amsgrad": np.True_}
    given = TorchSGDRegressor(
        solver="adam", learning_rate=0.125, solver_params=params, **STEPS
    ).fit(X, y)
    params = {**params, "eps": 1e-8, "amsgrad": True}
    expected = TorchSGDRegressor(
        solver=torch.optim.Adam, learning_rate=0.125, solver_params=params, **STEPS
    ).fit(X, y)
    np.testing.assert_array_equal(given.coef_, expected.coef_)


# --- refused before any work ----------------------------------------------------------------


def test_elasticnet_without_a_ratio_has_the_message_of_scikit_learn(Estimator):
    model = Estimator(penalty="elasticnet", l1_ratio=None)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="l1_ratio must be set when penalty is 'elasticnet'"):
            method(X, y)
    Estimator(penalty="l2", l1_ratio=None).fit(X, y)


class Counted:
    """Rows that say how often they were read."""

    n_read = 0

    def __iter__(self):
        self.n_read += 1
        yield X, y


@pytest.mark.parametrize(
    "parameters, wording",
    [
        (
            {"solver": torch.optim.SparseAdam, "learning_rate": 0.01},
            r"solver=SparseAdam takes sparse gradients.*dense.*solver='adam'",
        ),
        ({"solver": torch.optim.SparseAdam}, "solver=SparseAdam takes sparse gradients"),
        ({"solver": torch.optim.LBFGS}, "LBFGS evaluates its own. Give learning_rate a number"),
        ({"solver": dict}, "solver=dict is no torch.optim.Optimizer"),
    ],
    ids=str,
)
def test_optimizers_that_cannot_be_used_are_refused_before_a_pass(Estimator, parameters, wording):
    source = Counted()
    with pytest.raises(ValueError, match=wording):
        Estimator(**parameters).fit(source)
    assert source.n_read <= 1  # its first block, whose columns the coefficients are of
    with pytest.raises(ValueError, match=wording):
        Estimator(**parameters).partial_fit(X, y)


# --- parameters without an effect -----------------------------------------------------------

IDLE = [
    ({"alpha": 1e6}, "alpha has no effect with penalty=None"),
    ({"alpha": 1e6, "positive": True}, "alpha has no effect with penalty=None"),
    ({"l1_ratio": 0.5}, "l1_ratio has no effect with penalty=None"),
    ({"l1_ratio": 0.5, "penalty": "l1"}, "l1_ratio has no effect with penalty='l1'"),
    ({"epsilon": 20.0}, "epsilon has no effect with loss='squared_error'"),
    (
        {"epsilon": 0.0, "loss": "absolute_error"},
        "epsilon has no effect with loss='absolute_error'",
    ),
    ({"quantile": 0.9}, "quantile has no effect with loss='squared_error'"),
    ({"quantile": 0.9, "loss": "huber"}, "quantile has no effect with loss='huber'"),
    ({"power": 1.2, "loss": "gamma"}, "power has no effect with loss='gamma'"),
    ({"quantile": 0.9, "loss": torch.nn.MSELoss()}, "quantile has no effect with a callable loss"),
    ({"eta0": 0.1}, "eta0 has no effect with solver='auto'"),
    ({"eta0": 0.1, "batch_size": 8}, "eta0 has no effect with learning_rate='auto'"),
    ({"eta0": 0.1, "learning_rate": 0.1}, "eta0 has no effect with learning_rate=0.1"),
    (
        {"eta0": 0.1, "learning_rate": "optimal", "alpha": 0.1, "penalty": "l2", "max_iter": 5},
        "eta0 has no effect with learning_rate='optimal'",
    ),
    ({"power_t": 0.5, "learning_rate": "constant"}, "power_t .* with learning_rate='constant'"),
    ({"average": True}, "average has no effect with solver='auto'"),
    ({"average": 10, "solver": "sgd"}, "average has no effect with learning_rate='auto'"),
]


@pytest.mark.parametrize("parameters, wording", IDLE, ids=str)
def test_parameters_without_an_effect_are_told_once_a_fit(Estimator, parameters, wording):
    model = Estimator(random_state=0, **parameters)
    with pytest.warns(UserWarning, match=wording + r".*\. Leave") as caught:
        model.fit(X, y)
    own = [w for w in caught if w.category is UserWarning]
    assert len(own) == 1
    assert own[0].filename == __file__
    with pytest.warns(UserWarning, match=wording) as caught:
        chunks = Estimator(random_state=0, **parameters).partial_fit(X, y)
        chunks.partial_fit(X, y)  # which has been warned
    assert [w.filename for w in caught if w.category is UserWarning] == [__file__]


def test_all_parameters_without_an_effect_are_in_one_warning():
    model = TorchSGDRegressor(alpha=1.0, quantile=0.9, epsilon=1.0)
    with pytest.warns(UserWarning, match=r"alpha has.*; epsilon has.*; quantile has") as caught:
        model.fit(X, y)
    assert len(caught) == 1


@every_parameter
def test_parameters_with_an_effect_are_not_told(Estimator, name):
    value, beside = VALUES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        Estimator(**beside, **{name: value}).fit(X, y)


def test_step_of_optimal_depends_on_alpha():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        TorchSGDRegressor(learning_rate="optimal", alpha=0.1, **STEPS).fit(X, y)


def test_search_over_losses_tells_where_a_quantile_has_no_effect():
    grid = {"loss": ["quantile", "huber"]}
    model = GridSearchCV(TorchSGDRegressor(quantile=0.9, tol=1e-6), grid, cv=2)
    with pytest.warns(UserWarning, match="quantile has no effect with loss='huber'") as caught:
        model.fit(X, y)
    assert {str(w.message) for w in caught} == {str(caught[0].message)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_dtype_of_torch_is_that_of_its_name(dtype):
    found = TorchSGDRegressor(dtype=dtype).fit(X, y)
    named = TorchSGDRegressor(dtype=str(dtype).removeprefix("torch.")).fit(X, y)
    np.testing.assert_array_equal(found.coef_, named.coef_)
    with pytest.raises(ValueError, match="The 'dtype' parameter"):
        TorchSGDRegressor(dtype=torch.int64).fit(X, y)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is such a device")
def test_a_device_that_is_not_here_is_told_in_a_line():
    with pytest.raises(ValueError, match="device='mps' cannot be used on this machine") as caught:
        TorchSGDRegressor(device="mps").fit(X, y)
    assert len(str(caught.value)) < 250

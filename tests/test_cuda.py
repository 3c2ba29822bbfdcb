"""What must hold on an NVIDIA card; left out where there is none."""

import pickle

import numpy as np
import pytest
import torch

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card"),
]


def problem(n_samples=5000, n_features=6, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(n_samples, n_features)) + 10) * np.logspace(-3, 3, n_features)
    y = (X / np.logspace(-3, 3, n_features)).sum(1) + rng.normal(size=n_samples)
    return X.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-9), (np.float32, 1e-6)])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_coefficients_are_those_of_the_cpu(Estimator, penalty, dtype, rtol):
    X, y = problem(n_features=3, dtype=dtype)
    weight = np.linspace(0.5, 2, len(X))
    on_cpu = Estimator(penalty=penalty, device="cpu").fit(X, y, weight)
    on_card = Estimator(penalty=penalty, device="cuda").fit(X, y, weight)
    assert on_card.device_ == "cuda"
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, rtol=rtol)
    assert type(on_card.coef_) is np.ndarray


@pytest.mark.parametrize("shape", [(60, 8), (8, 60)])
def test_dependent_columns_give_the_minimum_norm_of_the_cpu(shape):
    X = np.random.default_rng(1).normal(size=shape)
    X[:, 1] = X[:, 0]
    y = X.sum(1) + np.sin(np.arange(len(X)))
    on_cpu = TorchSGDRegressor(device="cpu").fit(X, y)
    on_card = TorchSGDRegressor(device="cuda").fit(X, y)
    assert on_card.rank_ == on_cpu.rank_
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, rtol=1e-9, atol=1e-12)


def test_tensors_stay_on_the_card(Estimator):
    X, y = (torch.from_numpy(a).cuda() for a in problem())
    estimator = Estimator().fit(X, y)
    prediction = estimator.predict(X.float())
    assert prediction.is_cuda and prediction.dtype == torch.float32
    assert pickle.loads(pickle.dumps(estimator)).predict(X.cpu().numpy()).shape == y.shape


def test_memory_of_the_card_is_free_after_a_fit():
    X, y = problem(200_000, 20)
    TorchSGDRegressor(device="cuda").fit(X, y)
    before = torch.cuda.memory_allocated()
    TorchPolyRegressor(2, device="cuda").fit(X, y)
    assert torch.cuda.memory_allocated() == before


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("penalty", [None, "l1"])
def test_batches_on_the_card_end_where_those_on_the_processor_do(loss, penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 8)) * np.logspace(-2, 2, 8)
    y = X @ np.logspace(2, -2, 8) + rng.standard_normal(5000)
    parameters = {"loss": loss, "penalty": penalty, "alpha": 1e-3, "batch_size": 64}
    parameters |= {"max_iter": 20, "tol": None, "random_state": 0}
    models = [TorchSGDRegressor(device=d, **parameters).fit(X, y) for d in ("cpu", "cuda")]
    assert models[1].device_.startswith("cuda")
    np.testing.assert_allclose(*(m.loss_curve_[-1] for m in models), rtol=1e-6)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_given_steps_on_the_card_are_those_on_the_processor(solver):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 4))
    y = X @ [1.0, 2.0, 3.0, 4.0] + rng.standard_normal(500)
    parameters = {"solver": solver, "learning_rate": 0.01, "preconditioner": None}
    parameters |= {"batch_size": 32, "max_iter": 3, "tol": None, "random_state": 0}
    on_cpu, on_card = (TorchSGDRegressor(device=d, **parameters).fit(X, y) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, rtol=1e-9)

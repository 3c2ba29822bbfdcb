"""What must hold on an NVIDIA card; left out where there is none."""

import multiprocessing
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

from skorchlite import TorchPolyRegressor, TorchSGDRegressor, TorchSGDRegressorCV
from tests.support.all_pairs import all_pairs

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card"),
]


def problem(n_samples=5000, n_features=6, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(n_samples, n_features)) + 10) * np.logspace(-3, 3, n_features)
    y = (X / np.logspace(-3, 3, n_features)).sum(1) + rng.normal(size=n_samples)
    return X.astype(dtype), y.astype(dtype)


def _take_workspace():
    """Take the memory that the first product on a card keeps, which no fit gives back."""
    for dtype in (torch.float32, torch.float64):
        square = torch.ones(64, 64, dtype=dtype, device="cuda")
        torch.linalg.cholesky(square @ square + 64 * torch.eye(64, dtype=dtype, device="cuda"))


@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-9), (np.float32, 1e-6)])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_coefficients_are_those_of_the_cpu(Estimator, penalty, dtype, rtol):
    X, y = problem(n_features=3, dtype=dtype)
    weight = np.linspace(0.5, 2, len(X))
    on_cpu = Estimator(penalty=penalty, device="cpu").fit(X, y, weight)
    on_card = Estimator(penalty=penalty, device="cuda").fit(X, y, weight)
    assert on_card.device_ == "cuda:0"
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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cv", [3, "loo"])
def test_searches_are_those_of_the_cpu(cv, weighted):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 4))
    Y = X @ rng.standard_normal((4, 150)) + 3 * rng.standard_normal((400, 150))
    weight = rng.integers(0, 3, 400) if weighted else None
    given = {"alphas": np.geomspace(1e3, 1e-6, 30), "cv": cv}
    on_cpu, on_card = (
        TorchSGDRegressorCV(**given, device=device).fit(X, Y, weight) for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_card.mse_path_, on_cpu.mse_path_, rtol=1e-10)
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, rtol=1e-9, atol=1e-12)


def test_tensors_stay_on_the_card(Estimator):
    X, y = (torch.from_numpy(a).cuda() for a in problem())
    estimator = Estimator().fit(X, y)
    prediction = estimator.predict(X.float())
    assert prediction.is_cuda and prediction.dtype == torch.float32
    assert pickle.loads(pickle.dumps(estimator)).predict(X.cpu().numpy()).shape == y.shape


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_matrix])
def test_covariances_are_those_of_the_cpu(loss, kind):
    X, y = problem()
    X, weight, clusters = kind(X), np.linspace(0, 2, len(y)), np.arange(len(y)) % 40
    on_cpu, on_card = (
        TorchSGDRegressor(loss, device=device).fit(X, y, weight) for device in ("cpu", "cuda")
    )
    kinds = ["nonrobust", "HC0", "cluster", *["HC3"] * (loss == "squared_error")]
    for cov_type in kinds:
        ask = {"cov_type": cov_type, "clusters": clusters if cov_type == "cluster" else None}
        found, expected = (m.std_errors(X, y, weight, **ask) for m in (on_card, on_cpu))
        np.testing.assert_allclose(found, expected, rtol=1e-7 if loss == "huber" else 1e-8)
    if loss == "squared_error":
        np.testing.assert_allclose(on_card.std_errors(), on_cpu.std_errors(), rtol=1e-9)
        y_std = on_card.predict(torch.from_numpy(problem()[0]).cuda(), return_std=True)[1]
        assert y_std.is_cuda
        expected = on_cpu.predict(problem()[0], return_std=True)[1]
        np.testing.assert_allclose(y_std.cpu().numpy(), expected, rtol=1e-9)


def test_memory_of_the_card_is_free_after_a_fit():
    X, y = problem(200_000, 20)
    _take_workspace()
    before = torch.cuda.memory_allocated()
    TorchPolyRegressor(2, device="cuda").fit(X, y)
    assert torch.cuda.memory_allocated() == before


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("penalty", [None, "l1"])
def test_batches_on_the_card_end_where_those_on_the_processor_do(loss, penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 8)) * np.logspace(-2, 2, 8)
    y = X @ np.logspace(2, -2, 8) + rng.standard_normal(5000)
    parameters = {"loss": loss, "batch_size": 64, "max_iter": 20, "tol": None, "random_state": 0}
    if penalty is not None:
        parameters |= {"penalty": penalty, "alpha": 1e-3}
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


@pytest.mark.parametrize(
    "params", [{}, {"loss": "huber"}, {"penalty": "l1", "alpha": 0.01}], ids=str
)
def test_streams_and_sparse_matrices_come_to_the_card(params):
    X, y = problem(n_features=4)
    blocks = [(X[i : i + 700], y[i : i + 700]) for i in range(0, 5000, 700)]
    on_cpu = TorchSGDRegressor(device="cpu", **params).fit(X, y)
    scale = X.std(0)
    for given in ((blocks, None), (scipy.sparse.csr_array(X), y)):
        on_card = TorchSGDRegressor(device="cuda", **params).fit(*given)
        assert on_card.device_ == "cuda:0"
        np.testing.assert_allclose(on_card.coef_ * scale, on_cpu.coef_ * scale, atol=1e-8)


@pytest.mark.parametrize("n_rows", [4000, 1500])
def test_sparse_columns_without_a_gram_matrix(n_rows):
    X = scipy.sparse.random_array((n_rows, 3000), density=0.003, rng=0, format="csr")
    y = X @ np.ones(3000) + np.random.default_rng(0).normal(size=n_rows)
    on_cpu, on_card = (
        TorchSGDRegressor(penalty="l2", alpha=1e-3, device=d).fit(X, y) for d in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, atol=1e-8)


def test_data_larger_than_the_memory_that_is_left_streams_through_it():
    X, y = problem(400_000, 100)  # 320 MB
    on_cpu = TorchSGDRegressor(device="cpu").fit(X, y)
    total = torch.cuda.get_device_properties(0).total_memory
    _take_workspace()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min((128 << 20) / total, 1.0))
    try:
        torch.cuda.reset_peak_memory_stats()
        on_card = TorchSGDRegressor(device="cuda").fit(X, y)
        peak = torch.cuda.max_memory_allocated()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert peak <= 128 << 20
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, rtol=1e-8)


def test_memory_of_the_card_is_free_after_an_error():
    X, y = problem()
    X[4000, 2] = np.nan
    _take_workspace()
    before = torch.cuda.memory_allocated()
    with pytest.raises(ValueError, match="NaN"):
        TorchSGDRegressor(device="cuda").fit(X, y)
    assert torch.cuda.memory_allocated() == before


def _fit_in_fork(answers):
    try:
        TorchSGDRegressor(device="cuda").fit(*problem(50, 2))
    except ValueError as error:
        answers.put(str(error))
    else:
        answers.put("")


def test_a_forked_worker_is_told_what_to_do():
    torch.zeros(1).cuda()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    worker = context.Process(target=_fit_in_fork, args=(answers,))
    worker.start()
    assert "spawn" in answers.get(timeout=60)
    worker.join()


def test_settings_of_torch_are_left_as_they_were():
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        X, y = problem(dtype=np.float32)
        on_card = TorchSGDRegressor(device="cuda").fit(X, y)
        assert torch.backends.cuda.matmul.allow_tf32 is True
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    on_cpu = TorchSGDRegressor(device="cpu").fit(X, y)
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, rtol=1e-5)


LOSSES_HERE = ["squared_error", "huber", "quantile", "epsilon_insensitive", "log_cosh"]
SOLVERS_HERE = {
    "auto": {},
    "gradient": {"solver": "gradient"},
    "batches": {"batch_size": 50, "max_iter": 3, "tol": None, "random_state": 0},
    "given": {"batch_size": 50, "learning_rate": 0.001, "max_iter": 2, "tol": None},
}
PENALTIES_HERE = {
    "none": {},
    "l2": {"penalty": "l2", "alpha": 0.01},
    "l1": {"penalty": "l1", "alpha": 0.01},
    "positive": {"positive": True},
}


def _on_card(array):
    return torch.from_numpy(array).cuda()


def _blocks(convert, *arrays):
    return [tuple(convert(a[i : i + 70]) for a in arrays) for i in range(0, len(arrays[0]), 70)]


SOURCES_HERE = {
    "arrays": lambda *arrays: arrays,
    "tensors": lambda *arrays: tuple(map(_on_card, arrays)),
    "targets elsewhere": lambda X, *rest: (_on_card(X), *rest),
    "stream": lambda *arrays: (_blocks(np.copy, *arrays),),
    "stream on the card": lambda *arrays: (_blocks(_on_card, *arrays),),
    "sparse": lambda X, *rest: (scipy.sparse.csr_array(X), *rest),
}


@all_pairs(
    loss=LOSSES_HERE,
    penalty=PENALTIES_HERE,
    solver=SOLVERS_HERE,
    source=SOURCES_HERE,
    weighted=[False, True],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fits_are_those_of_the_processor(loss, penalty, solver, source, weighted):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5)) * (rng.random((300, 5)) < 0.6)
    y = np.exp(0.3 * X.sum(1)) * rng.uniform(0.5, 1.5, 300)
    weight = rng.uniform(0.5, 2, 300) * (rng.random(300) < 0.9)
    arrays = (X, y, weight) if weighted else (X, y)
    parameters = {"loss": loss, "random_state": 0}
    parameters |= PENALTIES_HERE[penalty] | SOLVERS_HERE[solver]
    # Blocks of a stream have an order of their own, and so have batches of them.
    like = arrays if "stream" not in source else SOURCES_HERE["stream"](*arrays)
    on_cpu = TorchSGDRegressor(device="cpu", **parameters).fit(*like)
    on_card = TorchSGDRegressor(device="cuda", **parameters).fit(*SOURCES_HERE[source](*arrays))
    assert on_card.converged_ == on_cpu.converged_
    np.testing.assert_allclose(on_card.coef_, on_cpu.coef_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(on_card.loss_curve_[-1], on_cpu.loss_curve_[-1], rtol=1e-8)

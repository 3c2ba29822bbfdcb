"""Fits and predictions in processes that were forked from one which had the threads of torch."""

import multiprocessing
import threading
import warnings

import joblib
import numpy as np
import pytest
import torch

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._runtime import torch_settings

PATIENCE = 300  # seconds after which a process hangs, and is not only slow

if "fork" not in multiprocessing.get_all_start_methods():
    pytest.skip("processes are not forked here", allow_module_level=True)

# Python 3.12 and later warn of any fork of a process that has threads.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

CASES = [
    (TorchSGDRegressor, {}),
    (TorchSGDRegressor, {"loss": "huber"}),
    (TorchSGDRegressor, {"loss": "absolute_error", "solver": "gradient", "tol": 1e-3}),
    (TorchSGDRegressor, {"solver": "sgd", "batch_size": 5000, "max_iter": 3, "tol": None}),
    (TorchPolyRegressor, {"degree": 1}),
]


rng = np.random.default_rng(0)
X = rng.standard_normal((20_000, 30))
y = X @ rng.uniform(1, 2, 30) + rng.standard_normal(20_000)
# What the test itself did with torch in a forked process would wait as well.
X_half, X_tensor, y_tensor = (
    torch.from_numpy(X).bfloat16(),
    torch.from_numpy(X),
    torch.from_numpy(y),
)


def work(Estimator, parameters):
    """Fit, predict, score and learn from a chunk; each of many numbers."""
    estimator = Estimator(random_state=0, **parameters).fit(X, y)
    answers = estimator.coef_, estimator.predict(X), estimator.predict(X_half).numpy()
    score = estimator.score(X, y), estimator.score(X_tensor, y_tensor)
    stream = [(X[i : i + 7000], y[i : i + 7000]) for i in range(0, 20_000, 7000)]
    chunks = estimator.partial_fit(X, y).partial_fit(stream)
    return *answers, score, chunks.coef_, estimator.predict(stream), torch.get_num_threads()


@pytest.fixture(scope="module", autouse=True)
def threads_of_torch():
    """Start the threads that share the work of torch, which a fork leaves behind."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, 2))
    torch.ones(1000, 1000).sin()
    yield torch.get_num_threads()
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "Estimator, parameters", CASES, ids=[f"{E.__name__}-{p}" for E, p in CASES]
)
def test_forked_process_computes_in_one_thread(Estimator, parameters, threads_of_torch):
    with warnings.catch_warnings():
        # This is Python's, of forks in a process with threads.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        context = multiprocessing.get_context("fork")
        expected = work(Estimator, parameters)
        with context.Pool(2) as pool:
            answers = [pool.apply_async(work, (Estimator, parameters)) for _ in range(2)]
            for answer in answers:
                *found, threads = answer.get(timeout=PATIENCE)
                for mine, its in zip(expected, found, strict=False):
                    np.testing.assert_allclose(its, mine, rtol=1e-7)
                assert threads == threads_of_torch  # which is the caller's affair
    assert torch.get_num_threads() == threads_of_torch


def test_backend_of_joblib_that_forks(threads_of_torch):
    expected = TorchSGDRegressor().fit(X, y)
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        tasks = [joblib.delayed(expected.predict)(X), joblib.delayed(TorchSGDRegressor().fit)(X, y)]
        predicted, fitted = joblib.Parallel(timeout=PATIENCE)(tasks)
    np.testing.assert_allclose(predicted, expected.predict(X))
    np.testing.assert_allclose(fitted.coef_, expected.coef_)


def values_of_precision():
    return torch.get_float32_matmul_precision(), torch.backends.mkldnn.matmul.fp32_precision


def test_process_forked_while_a_thread_keeps_all_digits_has_the_precision_of_the_caller():
    inside, forked = threading.Event(), threading.Event()

    def fit():
        with torch_settings():
            inside.set()
            forked.wait(PATIENCE)

    before = values_of_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        outside = values_of_precision()
        thread = threading.Thread(target=fit)
        thread.start()
        assert inside.wait(PATIENCE)
        assert values_of_precision() == ("highest", "ieee")
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found = pool.apply_async(values_of_precision).get(timeout=PATIENCE)
        forked.set()
        thread.join()
        assert found == outside == values_of_precision()
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cuda.matmul.fp32_precision = "none"
        torch.backends.mkldnn.matmul.fp32_precision = "none"

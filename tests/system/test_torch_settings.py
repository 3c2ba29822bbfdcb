"""What the caller has set in torch changes no fit and no prediction, and stays as it was."""

import contextlib

import numpy as np
import pytest
import torch

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((120, 4))
y = X @ [1.0, 2.0, 0.0, -1.0] + rng.standard_normal(120)

STEPS = {"tol": None, "max_iter": 5, "random_state": 0}
MODELS = {
    "squared error": lambda: TorchSGDRegressor(random_state=0),
    "robust": lambda: TorchSGDRegressor("absolute_error", random_state=0),
    "huber, l1": lambda: TorchSGDRegressor("huber", penalty="l1", alpha=0.1, random_state=0),
    "l1": lambda: TorchSGDRegressor(penalty="l1", alpha=0.1),
    "positive": lambda: TorchSGDRegressor(positive=True),
    "gradient": lambda: TorchSGDRegressor("log_cosh", solver="gradient", random_state=0),
    "callable": lambda: TorchSGDRegressor(
        lambda y_pred, y_true: torch.tensor(0.5) * (y_pred - y_true) ** 2, tol=1e-6, random_state=0
    ),
    "module": lambda: TorchSGDRegressor(torch.nn.SmoothL1Loss(), tol=1e-6, random_state=0),
    "batches": lambda: TorchSGDRegressor(batch_size=32, random_state=0),
    "robust batches": lambda: TorchSGDRegressor("absolute_error", batch_size=32, **STEPS),
    "Adam": lambda: TorchSGDRegressor(solver=torch.optim.Adam, learning_rate=0.01, **STEPS),
    "schedule": lambda: TorchSGDRegressor(learning_rate="invscaling", **STEPS),
    "scheduler": lambda: TorchSGDRegressor(
        learning_rate=torch.optim.lr_scheduler.ConstantLR, **STEPS
    ),
    "early stopping": lambda: TorchSGDRegressor(early_stopping=True, **STEPS),
    "polynomial": lambda: TorchPolyRegressor(3),
    "more terms than rows": lambda: TorchPolyRegressor(5, penalty="l2", alpha=1e-3, random_state=0),
    "Chebyshev": lambda: TorchPolyRegressor(2, basis="chebyshev", penalty="l1", alpha=0.01),
}


@contextlib.contextmanager
def default(name, value, usual):
    getattr(torch, name)(value)
    try:
        yield
    finally:
        getattr(torch, name)(usual)


BACKENDS = torch.backends, torch.backends.mkldnn.matmul, torch.backends.cuda.matmul


@contextlib.contextmanager
def precision(setting):
    try:
        setting()
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
        for backend in BACKENDS:
            backend.fp32_precision = "none"


SETTINGS = {
    # "meta" stands for a card that some other part of the program made the default.
    "default device": lambda: default("set_default_device", "meta", None),
    "default device that is the usual one": lambda: default("set_default_device", "cpu", None),
    "device as a context": lambda: torch.device("meta"),
    "double precision": lambda: default("set_default_dtype", torch.float64, torch.float32),
    "half precision": lambda: default("set_default_dtype", torch.float16, torch.float32),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "precision of products": lambda: precision(
        lambda: torch.set_float32_matmul_precision("medium")
    ),
    "precision of a card": lambda: precision(
        lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    ),
    "precision of all backends": lambda: precision(
        lambda: setattr(torch.backends, "fp32_precision", "tf32")
    ),
    "precision of the processor": lambda: precision(
        lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16")
    ),
}


def state():
    try:
        products = torch.get_float32_matmul_precision()
    except RuntimeError:  # there is none where backends have their own
        products = None
    return (
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_anomaly_enabled(),
        torch.is_anomaly_check_nan_enabled(),
        products,
        *(backend.fp32_precision for backend in BACKENDS),
        torch.get_num_threads(),
    )


X_tensor, y_tensor = torch.from_numpy(X), torch.from_numpy(y)
BLOCKS = [(X_tensor[:70], y_tensor[:70]), (X_tensor[70:], y_tensor[70:])]


def answers(make):
    """All that a fit gives from arrays, tensors, blocks and chunks."""
    fits = [make().fit(X, y), make().fit(X_tensor, y_tensor)]
    model = fits[0]
    if not model.early_stopping:
        fits += [make().fit(BLOCKS), make().partial_fit(X, y).partial_fit(BLOCKS)]
    yield from (fit.coef_ for fit in fits)
    yield from (model.predict(X), model.predict(X_tensor).numpy(), model.predict(BLOCKS))
    yield from (model.score(X, y), model.score(X_tensor, y_tensor), model.score(BLOCKS))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_settings_of_the_caller_change_nothing_and_stay(make):
    expected = list(answers(make))
    for name, setting in SETTINGS.items():
        before = state()
        with setting():
            inside = state()
            found = list(answers(make))
            assert state() == inside, name
        assert state() == before, name
        for mine, its in zip(expected, found, strict=True):
            np.testing.assert_array_equal(its, mine, err_msg=name, strict=True)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_settings_stay_where_a_fit_fails(Estimator, setting):
    bad = X.copy()
    bad[7, 1] = np.nan
    with setting():
        inside = state()
        with pytest.raises(ValueError, match="Input X contains NaN"):
            Estimator().fit(bad, y)
        with pytest.raises(ValueError, match="Input X contains NaN"):
            Estimator().fit(X, y).predict(torch.from_numpy(bad))
        with pytest.raises(ValueError, match="contains NaN"):
            Estimator().fit([(X, y), (bad, y)])
        assert state() == inside


def test_data_made_by_a_source_have_the_dtype_that_the_caller_has_made_the_default():
    # To cast them to single precision would lose digits of the caller's.
    rows, targets = X.tolist(), y.tolist()

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, i):
            return torch.tensor(rows[i]), torch.tensor(targets[i])

    with default("set_default_dtype", torch.float64, torch.float32):
        coef = TorchSGDRegressor().fit(Items()).coef_
    np.testing.assert_allclose(coef, TorchSGDRegressor().fit(X, y).coef_, rtol=1e-12)

"""What the caller has set in torch changes no fit and no prediction, and stays as it was."""

import contextlib
import itertools
import threading
from functools import partial

import numpy as np
import pytest
import torch

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from tests.support.processes import outcome_of

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


PROCESSOR, CARD = torch.backends.mkldnn, torch.backends.cudnn

# Each switch of precision, how it is set, and the values it has. The first of each is where the
# process begins. The first five are those that products of float32 take their precision from.
SWITCHES = {
    "all": (partial(setattr, torch.backends, "fp32_precision"), ("none", "ieee", "tf32", "bf16")),
    "card": (partial(setattr, CARD, "fp32_precision"), ("none", "ieee", "tf32")),
    # To set ``mkldnn.fp32_precision`` sets that of all backends.
    "processor": (
        lambda value: PROCESSOR.set_flags(_fp32_precision=value),
        ("none", "ieee", "tf32", "bf16"),
    ),
    "card.matmul": (
        partial(setattr, torch.backends.cuda.matmul, "fp32_precision"),
        ("none", "ieee", "tf32"),
    ),
    "processor.matmul": (
        partial(setattr, PROCESSOR.matmul, "fp32_precision"),
        ("none", "ieee", "tf32", "bf16"),
    ),
    "card.conv": (partial(setattr, CARD.conv, "fp32_precision"), ("tf32", "none", "ieee")),
    "card.rnn": (partial(setattr, CARD.rnn, "fp32_precision"), ("tf32", "none", "ieee")),
    "processor.conv": (
        partial(setattr, PROCESSOR.conv, "fp32_precision"),
        ("none", "ieee", "tf32", "bf16"),
    ),
    "processor.rnn": (
        partial(setattr, PROCESSOR.rnn, "fp32_precision"),
        ("none", "ieee", "tf32", "bf16"),
    ),
    "old": (torch.set_float32_matmul_precision, ("highest", "high", "medium")),
    "old, card.matmul": (partial(setattr, torch.backends.cuda.matmul, "allow_tf32"), (False, True)),
    "old, card": (partial(setattr, CARD, "allow_tf32"), (True, False)),
}
GETTERS = {
    "all": lambda: torch.backends.fp32_precision,
    "card": lambda: CARD.fp32_precision,
    "processor": lambda: PROCESSOR.fp32_precision,
    "card.matmul": lambda: torch.backends.cuda.matmul.fp32_precision,
    "processor.matmul": lambda: PROCESSOR.matmul.fp32_precision,
    "card.conv": lambda: CARD.conv.fp32_precision,
    "card.rnn": lambda: CARD.rnn.fp32_precision,
    "processor.conv": lambda: PROCESSOR.conv.fp32_precision,
    "processor.rnn": lambda: PROCESSOR.rnn.fp32_precision,
    "old": torch.get_float32_matmul_precision,
    "old, card.matmul": lambda: torch.backends.cuda.matmul.allow_tf32,
    "old, card": lambda: CARD.allow_tf32,
    "old, processor": lambda: PROCESSOR.allow_tf32,
}


def values_of_switches():
    """Return what each says, and which of them raise since old and new ones contradict."""
    values = {}
    for name, get in GETTERS.items():
        try:
            values[name] = get()
        except RuntimeError:
            values[name] = "raises"
    return values


def begin_anew():
    for name in ("old, card", "old, card.matmul", "old", *list(SWITCHES)[:9]):
        put, values = SWITCHES[name]
        put(values[0])


def values_above(*names):
    """Change switches, from the last to the first, and return what all say after each change."""
    seen = []
    for name in names:
        put, values = SWITCHES[name]
        for value in values[::-1]:
            put(value)
            seen.append(values_of_switches())
    return seen


def all_about_switches():
    """Return what each says, and will say once the ones that it may follow are changed."""
    return [values_of_switches(), *values_above("all", "card", "processor")]


@contextlib.contextmanager
def precision(setting):
    try:
        setting()
        yield
    finally:
        begin_anew()


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
    "casts": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
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
    "precision of products, and then of a card": lambda: precision(
        lambda: (
            torch.set_float32_matmul_precision("high"),
            setattr(torch.backends.cuda.matmul, "allow_tf32", False),
        )
    ),
}


def state():
    return (
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_anomaly_enabled(),
        torch.is_anomaly_check_nan_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        values_of_switches(),
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


X_single, y_single = X.astype("f"), y.astype("f")


def fit_under_every_pair_of_switches(connection):
    """Send the pairs of settings, in either order, that a fit is wrong under, or changes."""
    settings = [(name, value) for name, (_, values) in SWITCHES.items() for value in values]
    begin_anew()
    start, coef = all_about_switches(), TorchSGDRegressor().fit(X_single, y_single).coef_
    wrong, n_raising = [], 0
    for pair in itertools.permutations(settings, 2):
        seen = []
        for fits in (False, True):
            begin_anew()
            for name, value in pair:
                SWITCHES[name][0](value)
            if fits and not np.array_equal(TorchSGDRegressor().fit(X_single, y_single).coef_, coef):
                wrong.append((pair, "coefficients"))
            seen.append(all_about_switches())
        n_raising += "raises" in seen[0][0].values()
        if seen[0] != seen[1]:
            wrong.append((pair, "switches"))
    begin_anew()
    if all_about_switches() != start:
        wrong.append("begin_anew")
    connection.send((wrong, n_raising))


@pytest.mark.slow
def test_fits_leave_switches_of_precision_as_they_were_in_any_order():
    # In a process of its own: the switches of one begin as no setting brings them back.
    wrong, n_raising = outcome_of(fit_under_every_pair_of_switches)
    assert wrong == []
    assert n_raising > 100  # so that there were pairs which contradict each other


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, (_, values) in SWITCHES.items() for value in values]
)
@pytest.mark.parametrize("old", ["highest", "high", "medium"])
def test_all_digits_are_kept_inside_a_fit(old, name, value):
    inside = []

    def half_squared(prediction, target):
        inside.append(values_of_switches())
        return (prediction - target) ** 2 / 2

    with precision(lambda: (torch.set_float32_matmul_precision(old), SWITCHES[name][0](value))):
        outside = values_of_switches()
        TorchSGDRegressor(half_squared, tol=None, max_iter=1).fit(X, y)
        assert values_of_switches() == outside
    assert inside
    for values in inside:
        assert values["old"] == "highest" and values["old, card.matmul"] is False
        assert {values["card.matmul"], values["processor.matmul"]} <= {"none", "ieee"}


def test_all_digits_are_kept_until_the_last_of_several_threads_is_done():
    one_is_inside, other_is_done = threading.Event(), threading.Event()
    inside = []

    def waiting_loss(prediction, target):
        one_is_inside.set()
        assert other_is_done.wait(60)
        inside.append(values_of_switches())
        return (prediction - target) ** 2 / 2

    def fit_and_wait():
        TorchSGDRegressor(waiting_loss, tol=None, max_iter=1).fit(X, y)

    with precision(lambda: torch.set_float32_matmul_precision("medium")):
        outside = values_of_switches()
        one = threading.Thread(target=fit_and_wait)

        def half_squared(prediction, target):
            # The other thread enters while this one is in a fit, and is left in it.
            if not one_is_inside.is_set():
                one.start()
                assert one_is_inside.wait(60)
            return (prediction - target) ** 2 / 2

        TorchSGDRegressor(half_squared, tol=None, max_iter=1).fit(X, y)
        other_is_done.set()
        one.join()
        assert values_of_switches() == outside
    assert [values["old"] for values in inside] == ["highest"] * len(inside)
    assert [values["processor.matmul"] for values in inside] == ["ieee"] * len(inside)

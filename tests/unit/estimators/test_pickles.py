"""Files hold public names and plain data only, no more than they need, and load later."""

import copy
import pickle
import pickletools
from functools import partial

import numpy as np
import pytest
import torch

import skorchlite
from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from tests.support.pickles import FOLDER, LEARNED, made, rows

PUBLIC = set(skorchlite.__all__)
SCHEDULES = ["constant", "invscaling", "optimal", "adaptive", "pa1"]


def names_in(content):
    """Return the module and the name of each class and function that a pickle asks for."""
    words, names = [], set()
    for opcode, word, _ in pickletools.genops(content):
        if "UNICODE" in opcode.name:
            words.append(word)
        if opcode.name == "STACK_GLOBAL":
            names.add(tuple(words[-2:]))
    return names


def ours_in(content):
    return {name for name in names_in(content) if name[0].startswith("skorchlite")}


@pytest.mark.filterwarnings("ignore")  # of scikit-learn, where its own version was another
@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.stem)
def test_a_pickle_of_an_earlier_version_predicts_and_goes_on(path):
    estimator, predicted = pickle.loads(path.read_bytes())
    X, y = rows()
    np.testing.assert_allclose(estimator.predict(X), predicted, rtol=1e-12)
    if path.stem in LEARNED:
        again = dict(made())[path.stem].partial_fit(X, y)
        np.testing.assert_allclose(estimator.partial_fit(X, y).coef_, again.coef_, rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_a_pickle_names_no_private_module():
    for name, estimator in made():
        assert ours_in(pickle.dumps(estimator)) <= {("skorchlite", n) for n in PUBLIC}, name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("penalty", [None, "l1"])
def test_what_a_loop_with_a_given_step_keeps_has_names(schedule, penalty):
    X, y = rows()
    estimator = TorchSGDRegressor(
        solver="sgd", penalty=penalty, learning_rate=schedule, average=True, random_state=0
    )
    if schedule == "pa1":
        estimator.set_params(loss="epsilon_insensitive", average=False, penalty=None)
    content = pickle.dumps(estimator.partial_fit(X, y))
    assert ours_in(content) == {("skorchlite", "TorchSGDRegressor")}
    loaded = pickle.loads(content).partial_fit(X, y)
    np.testing.assert_array_equal(loaded.coef_, estimator.partial_fit(X, y).coef_)


# --- files that load without trust -------------------------------------------------------

SCHEDULERS = torch.optim.lr_scheduler
LEARNING = {
    "adam": {"solver": "adam", "learning_rate": 0.01},
    "given class": {"solver": torch.optim.NAdam, "learning_rate": 0.01},
    "momentum": {"solver": "sgd", "solver_params": {"momentum": 0.9}, "learning_rate": 0.01},
    "proximal": {"solver": "sgd", "penalty": "l1", "learning_rate": "constant"},
    "averaged": {"loss": "huber"},
    "counts": {"loss": "poisson"},
    "scheduler": {
        "solver": "adam",
        "learning_rate": partial(SCHEDULERS.OneCycleLR, max_lr=0.1, total_steps=50),
    },
}


@pytest.mark.filterwarnings("ignore")
def test_files_of_skops_ask_for_no_trust_but_in_public_classes():
    skops = pytest.importorskip("skops.io")
    X, _ = rows()
    for name, estimator in made():
        content = skops.dumps(estimator)
        asked = skops.get_untrusted_types(data=content)
        assert asked == [f"skorchlite.{type(estimator).__name__}"], name
        loaded = skops.loads(content, trusted=asked)
        np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
        assert repr(loaded) == repr(estimator)


def test_files_of_sparse_coefficients_ask_for_no_trust_either():
    skops = pytest.importorskip("skops.io")
    estimator = TorchSGDRegressor(penalty="l1", alpha=1.5).fit(*rows()).sparsify()
    content = skops.dumps(estimator)
    asked = skops.get_untrusted_types(data=content)
    assert asked == ["skorchlite.TorchSGDRegressor"]
    loaded = skops.loads(content, trusted=asked).coef_
    assert type(loaded) is type(estimator.coef_)
    np.testing.assert_array_equal(loaded.toarray(), estimator.coef_.toarray())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["skops", "pickle", "copy"])
@pytest.mark.parametrize("name", LEARNING)
def test_what_was_learned_from_chunks_goes_on(name, how):
    X, y = rows()
    y = y - y.min()
    estimator = TorchSGDRegressor(**LEARNING[name], batch_size=5, random_state=0)
    if name in ("averaged", "counts"):
        estimator.set_params(batch_size="auto")
    estimator.partial_fit(X, y).partial_fit(X, y)
    if how == "skops":
        skops = pytest.importorskip("skops.io")
        content = skops.dumps(estimator)
        loaded = skops.loads(content, trusted=skops.get_untrusted_types(data=content))
    else:
        loaded = pickle.loads(pickle.dumps(estimator)) if how == "pickle" else None
        loaded = loaded or copy.deepcopy(estimator)
    for _ in range(3):
        estimator.partial_fit(X, y)
        loaded.partial_fit(X, y)
    np.testing.assert_array_equal(loaded.coef_, estimator.coef_)


def test_objects_of_torch_are_parameters_as_they_were():
    skops = pytest.importorskip("skops.io")
    estimator = TorchSGDRegressor(
        device=torch.device("cpu"), solver=torch.optim.Adam, dtype=torch.float64, random_state=0
    ).fit(*rows())
    content = skops.dumps(estimator)
    asked = skops.get_untrusted_types(data=content)
    assert asked == ["skorchlite.TorchSGDRegressor"]
    for loaded in (pickle.loads(pickle.dumps(estimator)), skops.loads(content, trusted=asked)):
        assert loaded.device == torch.device("cpu") and loaded.solver is torch.optim.Adam
        assert loaded.dtype is torch.float64


# --- what a file leaves out --------------------------------------------------------------


def many_columns(n_features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4 * n_features, n_features))
    return X, X[:, 0] + rng.normal(size=len(X))


@pytest.mark.parametrize("n_features", [50, 300])
def test_a_file_holds_moments_only_where_chunks_were_learned(n_features):
    X, y = many_columns(n_features)
    square = 8 * n_features**2  # bytes
    fitted, learned = TorchSGDRegressor().fit(X, y), TorchSGDRegressor().partial_fit(X, y)
    # What standard errors are made of is one matrix.
    assert square < len(pickle.dumps(fitted)) < square + 20 * n_features + 5_000
    assert len(pickle.dumps(learned)) > 2 * square
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.std_errors(), fitted.std_errors())
    assert len(pickle.dumps(fitted.to_sklearn())) < 20 * n_features + 5_000


@pytest.mark.parametrize("Model", [TorchSGDRegressor, TorchPolyRegressor])
def test_an_estimator_that_is_loaded_after_fit_goes_on_from_its_coefficients(Model):
    X, y = rows()
    fitted = Model().fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted))
    fitted.partial_fit(X[:20], y[:20])
    np.testing.assert_allclose(
        fitted.coef_, Model().fit(np.concatenate((X, X[:20])), np.concatenate((y, y[:20]))).coef_
    )
    coef = loaded.coef_
    loaded.partial_fit(X[:20], y[:20])  # near these, and no longer the least squares of all
    assert 0 < abs(loaded.coef_ - coef).max() < 0.5
    again = pickle.loads(pickle.dumps(loaded))
    np.testing.assert_array_equal(again.partial_fit(X, y).coef_, loaded.partial_fit(X, y).coef_)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_goes_on_from_the_moments(copied):
    X, y = rows()
    fitted = TorchPolyRegressor().fit(X, y)
    other = copied(fitted)
    coef = fitted.coef_.copy()
    other.partial_fit(2 * X, y)
    np.testing.assert_array_equal(fitted.coef_, coef)
    np.testing.assert_array_equal(fitted.partial_fit(2 * X, y).coef_, other.coef_)


def test_a_fit_after_chunks_leaves_its_moments_out_again():
    X, y = many_columns(50)
    estimator = TorchSGDRegressor().partial_fit(X, y)
    large = len(pickle.dumps(estimator))
    assert len(pickle.dumps(estimator.fit(X, y))) < large / 2

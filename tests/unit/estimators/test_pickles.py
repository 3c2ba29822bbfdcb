"""A pickle holds public names only, and loads in later versions."""

import pickle
import pickletools

import numpy as np
import pytest

import skorchlite
from skorchlite import TorchSGDRegressor
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

"""Fits over the rows of several processes: the answer of one, alike on all, and no hanging."""

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._exceptions import NoWeightError
from tests.support import ranks

pytestmark = pytest.mark.slow

SCRIPT = Path(ranks.__file__)
SECONDS = 600  # after which processes hang, and are not only slow


def environment():
    root = str(SCRIPT.parents[2])
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**kept, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


def by_torchrun(n_ranks, folder, what):
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(n_ranks)]
    command = [sys.executable, "-m", *command, str(SCRIPT), str(folder), what]
    done = subprocess.run(
        command, env=environment(), timeout=SECONDS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return outcomes(folder)


def by_hand(n_ranks, folder, what):
    """Start the processes so that the end of one is not the end of the others."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": str(n_ranks), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    command = [sys.executable, str(SCRIPT), str(folder), what]
    started = [
        subprocess.Popen(command, env={**environment(), **group, "RANK": str(rank)})
        for rank in range(n_ranks)
    ]
    try:
        for process in started:
            process.wait(SECONDS)
    finally:
        for process in started:
            process.kill()
            process.wait()
    return outcomes(folder)


def outcomes(folder):
    return {int(path.stem): pickle.loads(path.read_bytes()) for path in folder.glob("*.pickle")}


@pytest.fixture(scope="module", name="of_two")
def two_ranks(tmp_path_factory):
    return by_torchrun(2, tmp_path_factory.mktemp("two"), "cases")


@pytest.fixture(scope="module", name="of_three")
def three_ranks(tmp_path_factory):
    return by_torchrun(3, tmp_path_factory.mktemp("three"), "cases")


@pytest.fixture(name="out", params=["of_two", "of_three"])
def outcomes_of_ranks(request):
    return request.getfixturevalue(request.param)


# --- the answer --------------------------------------------------------------------------


def scales_of(case):
    """Return the deviations of the columns of the model."""
    X = (ranks.table(n_rows=20, n_columns=30) if case.way is ranks.fit_wide else ranks.table()).X
    if case.model is TorchPolyRegressor:
        X = PolynomialFeatures(2, include_bias=False).fit_transform(X)
    return X.std(axis=0)


def assert_same(out, name, case):
    """All ranks have one answer, to the last bit, and it is that of one process.

    The tolerance is relative to the largest coefficient, in units of the columns' deviations.
    """
    first = out[0][name]
    assert "error" not in first, first["error"]
    for other in out.values():
        assert other[name].keys() == first.keys()
        for attribute, value in first.items():
            if attribute == "cv_results_":  # whose parts share memory here, and not elsewhere
                np.testing.assert_equal(other[name][attribute], value)
                continue
            assert pickle.dumps(other[name][attribute]) == pickle.dumps(value), attribute
    whole = ranks.fitted(case.run(lambda rows: rows))
    assert first.keys() == whole.keys()
    sd = scales_of(case)
    # The steps of Adam are as long for a gradient that is all rounding. Single precision data is
    # what the rows are, and no error.
    rtol = 1e-6 if case.parameters.get("solver") == "adam" else 1e-9
    size = np.abs(whole["coef_"] * sd).max()
    np.testing.assert_allclose(first["coef_"] * sd, whole["coef_"] * sd, rtol=0, atol=rtol * size)
    np.testing.assert_allclose(
        first["intercept_"], whole["intercept_"], rtol=0, atol=10 * rtol * size
    )
    assert np.shape(first["intercept_"]) == np.shape(whole["intercept_"])
    for attribute in ("n_iter_", "solver_", "converged_", "rank_", "n_features_in_", "t_"):
        assert first[attribute] == whole[attribute], attribute


@pytest.mark.parametrize("name", ranks.CASES)
def test_ranks_give_the_fit_of_all_their_rows(name, out):
    assert_same(out, name, ranks.CASES[name])


@pytest.mark.parametrize("name", [name for name in ranks.CASES if name.startswith("uncertain")])
def test_ranks_give_the_covariances_of_all_their_rows(name, out):
    whole = ranks.fitted(ranks.CASES[name].run(lambda rows: rows))
    for attribute in {"kept_", "covariances_"} & whole.keys():
        found, expected = out[0][name][attribute], whole[attribute]
        sd = np.sqrt(np.diagonal(expected, axis1=-2, axis2=-1))
        relative = (found - expected) / (sd[..., None] * sd[..., None, :])
        assert np.abs(relative).max() < 1e-7


@pytest.mark.parametrize("name", ranks.IN_A_GROUP)
def test_an_initialised_group_gives_the_same(name, out):
    assert_same(out, f"grouped {name}", ranks.CASES[name])


def test_default_group_is_left_as_it_was(out):
    for of_rank in out.values():
        assert of_rank["group"] is False
        assert of_rank["group after"] == list(range(len(out)))


def test_connections_are_kept_from_fit_to_fit(out):
    for of_rank in out.values():
        assert of_rank["kept"]


def test_fit_after_the_default_group_has_ended(out):
    assert_same(out, "no group", ranks.CASES["squared_error"])


# --- errors ------------------------------------------------------------------------------

WORDING = {
    "NaN": (ValueError, "Input X contains NaN"),
    "infinite weight": (ValueError, "Input sample_weight contains infinity"),
    "columns": (ValueError, "The data of the ranks does not go together"),
    "targets": (ValueError, "The data of the ranks does not go together"),
    "weights": (ValueError, "The data of the ranks does not go together"),
    "no weight": (NoWeightError, "at least one non-zero number"),
    "negative weight": (ValueError, "Negative values in data passed to `sample_weight`"),
    "no rows": (ValueError, "Found array with 0 sample(s) on every rank"),
    "lengths": (ValueError, "inconsistent numbers of samples"),
    "validated": (ValueError, "there is validation data on [True, False]"),
    "nothing held": (ValueError, "Found array with 0 sample(s) on every rank"),
    "loss of the first": (KeyError, "lost"),
    "loss of the second": (ZeroDivisionError, "[rank 1] lost"),
    "unpicklable": (RuntimeError, "this and that"),
    "stream": (OSError, "the disk is gone"),
    "stream by batches": (ValueError, "cannot be taken in an order of all of them"),
    "interrupt of the first": (KeyboardInterrupt, ""),
    "interrupt of the second": (KeyboardInterrupt, ""),
}


@pytest.mark.parametrize("name", ranks.FAILURES)
def test_error_of_one_is_raised_by_all_and_leaves_an_earlier_fit(name, of_two):
    error, wording = WORDING[name]
    for of_rank in of_two.values():
        kind, words, kept, seconds = of_rank[f"failure {name}"]
        assert kind == error.__name__, words
        assert wording in words
        assert kept
        assert seconds < ranks.SOON


def test_fit_after_an_error(of_two):
    assert_same(of_two, "after", ranks.CASES["squared_error"])


def test_error_leaves_an_initialised_group(of_two):
    for of_rank in of_two.values():
        assert of_rank["grouped failure"][0] == "ZeroDivisionError"


def test_rank_that_is_silent_or_gone_ends_the_fit_of_the_others(tmp_path):
    out = by_hand(3, tmp_path, "frozen")
    assert sorted(out) == [0, 1]  # the third has been killed
    for of_rank in out.values():
        for what in ("frozen", "killed"):
            kind, words, kept, seconds = of_rank[what]
            assert kind == "LostRankError", (what, words)
            assert "Another rank no longer answers" in words
            assert kept
            assert seconds < ranks.SOON, what


def test_first_rank_that_is_gone_ends_the_fit_of_the_others(tmp_path):
    out = by_hand(2, tmp_path, "killed")
    assert sorted(out) == [1]
    kind, _, kept, seconds = out[1]["killed"]
    assert kind == "LostRankError"
    assert kept
    assert seconds < ranks.SOON


def test_processes_that_do_not_know_of_each_other(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    X, y, _ = ranks.table()
    with pytest.raises(ValueError, match=r"(?s)MASTER_ADDR.*not set.*torchrun --nproc-per-node"):
        TorchSGDRegressor(distributed=True).fit(X, y)

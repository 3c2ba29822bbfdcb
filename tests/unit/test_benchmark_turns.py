"""Each model of a benchmark is in a process of its own; the processes take turns."""

import os
import time
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from benchmarks.measure import tasks, worker
from benchmarks.measure.comparison import race
from benchmarks.measure.crowd import spinning
from benchmarks.measure.model import Model
from benchmarks.measure.roofline import ALL, ONE, gram_work, least_seconds
from benchmarks.measure.sides import SideError, extra_bytes, running, stored
from benchmarks.measure.turns import plan_rounds, quartiles, take_turns, times_of, warm_up
from tests.support.measured import Diary, Spender, refuse

MIB = 1 << 20
DATA = np.random.default_rng(0).standard_normal((40, 2)), np.arange(40.0)


def no_worth(found):
    return {}


# --- what needs other processes ----------------------------------------------------------


@pytest.mark.slow
def test_sides_take_turns_in_processes_of_their_own(tmp_path):
    file = tmp_path / "diary"
    models = [
        Model(name, partial(Diary, name, file), threads=threads)
        for name, threads in (("A", 1), ("B", 2), ("C", 1))
    ]

    def entries():
        return [line.split() for line in file.read_text().splitlines()]

    with stored(*DATA) as folder, running(models, folder) as sides:
        found = warm_up(sides)
        warm = [name for name, *_ in entries()]
        seconds = take_turns(sides, dict.fromkeys("ABC", 1.0), {"A": 3, "B": 3, "C": 2})
        pids = {name: str(side.process.pid) for name, side in sides.items()}
    assert warm == sorted(warm) and set(warm) == set("ABC")
    assert [name for name, *_ in entries()[len(warm) :]] == list("ABCABCAB")
    assert {name: len(taken) for name, taken in seconds.items()} == {"A": 3, "B": 3, "C": 2}
    assert {(name, pid) for name, pid, _ in entries()} == set(pids.items())
    assert len({*pids.values(), str(os.getpid())}) == 4
    assert {(name, count) for name, _, count in entries()} == {("A", "1"), ("B", "2"), ("C", "1")}
    for name in "ABC":
        assert found[name].works and found[name].seconds >= 0.01
        np.testing.assert_array_equal(found[name].answer["coef"], DATA[0].mean(axis=0))


@pytest.mark.slow
def test_predictions_and_scores_are_answers():
    models = [
        Model("predict", LinearRegression, task=tasks.predict),
        Model("validate", LinearRegression, task=tasks.cross_validate),
    ]
    with stored(*DATA) as folder, running(models, folder) as sides:
        found = warm_up(sides)
        sides["predict"].process.kill()
        with pytest.raises(SideError, match="ended with -9"):
            sides["predict"]("turn", 1)
    expected = LinearRegression().fit(*DATA).predict(DATA[0])
    np.testing.assert_allclose(found["predict"].answer["values"], expected)
    assert found["validate"].answer["values"].shape == (5,)


@pytest.mark.slow
def test_a_race_has_times_and_worth_of_each_and_says_which_peer_failed(tmp_path):
    def diary(name, **parameters):
        return Model(name, partial(Diary, name, tmp_path / "diary", **parameters))

    def worth(found):
        return {name: {"excess": float(abs(one["coef"]).sum())} for name, one in found.items()}

    # One dies in the warm-up, which follows that of ours, the other in its first turn.
    models = [diary("ours"), *(diary(name, dies_after="ours") for name in ("early", "late"))]
    models.append(Model("none", refuse))
    record = race("case", models, *DATA, worth, 8, 1e-3, gram_work(DATA[0]))
    ours, early, late, none = record["rows"]
    assert early["remarks"] == late["remarks"] == ["failed: ended with 3"]
    assert none["remarks"] == ["failed: no such thing"]
    assert all("median" not in row and "ratio" not in row for row in (early, late, none))
    lower, upper = ours["quartiles"]
    assert ours["least"] <= lower <= ours["median"] <= upper <= max(ours["seconds"])
    assert ours["rounds"] == 3 and ours["ratio"] == ours["least_ratio"] == 1
    assert ours["excess"] == pytest.approx(abs(DATA[0].mean(axis=0)).sum())
    assert record["work"] == {"bytes": 40 * 3 * 8, "operations": 240, "dtype": "float64"}


@pytest.mark.slow
def test_a_failure_of_ours_is_no_result():
    with pytest.raises(RuntimeError, match="ours on case failed: no such thing"):
        race("case", [Model("ours", refuse)], *DATA, no_worth, 3, 0.1)


@pytest.mark.slow
def test_extra_memory_is_that_beyond_the_data():
    X, y = np.zeros((8 * 1024, 2)), np.zeros(8 * 1024)
    record = extra_bytes(Model("spender", Spender), X, y, few=10)
    assert 60 * MIB < record["extra_bytes"] < 80 * MIB


@pytest.mark.slow
def test_a_crowd_is_busy_until_it_is_left():
    def busy(pid):
        with open(f"/proc/{pid}/stat") as opened:
            return sum(map(int, opened.read().rpartition(")")[2].split()[11:13]))

    with spinning(2) as pids:
        end = time.monotonic() + 60
        while not all(map(busy, pids)) and time.monotonic() < end:
            time.sleep(0.02)
        assert all(map(busy, pids))
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


# --- what does not -----------------------------------------------------------------------


def test_a_turn_ends_when_the_process_is_idle(monkeypatch):
    spent = iter([0.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(worker.time, "process_time", lambda: next(spent))
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 1e-3)
    assert worker.wait_until_idle()
    assert list(spent) == []


def test_a_process_that_never_rests_is_not_waited_for_forever(monkeypatch):
    spent = iter(range(100))
    monkeypatch.setattr(worker.time, "process_time", lambda: next(spent))
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 1e-3)
    monkeypatch.setattr(worker, "MOST_PAUSES", 5)
    assert not worker.wait_until_idle()


def test_a_model_with_few_rounds_takes_no_part_in_the_later_ones():
    steady, slow = Model("A", object), Model("B", object, few_rounds=True)
    assert plan_rounds([steady, slow], {"A": 0.1, "B": 1.0}, 30, 10) == {"A": 30, "B": 1}


def test_ratios_are_of_rounds_and_of_least_times():
    times = times_of([4.0, 2.0, 9.0], [1.0, 2.0, 3.0])
    assert (times["ratio"], times["least_ratio"]) == (3.0, 2.0)
    assert (times["median"], times["least"], times["quartiles"]) == (4.0, 2.0, [3.0, 6.5])
    assert quartiles([1.0]) == [1.0, 1.0]


def test_the_least_time_is_the_longer_one_of_reading_and_computing():
    rates = {"bytes_per_second": 100.0, "operations_per_second": {"float64": 10.0}}
    machine = {ALL: rates, ONE: rates | {"bytes_per_second": 1.0}}
    work = {"bytes": 50, "operations": 20, "dtype": "float64"}
    assert least_seconds(work, machine) == 2.0
    assert least_seconds(work, machine, threads=1) == 50.0

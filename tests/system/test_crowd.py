"""Fits beside processes that keep all cores busy, and the threads that are left for them."""

import contextlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from skorchlite import TorchSGDRegressor, _runtime
from skorchlite._runtime import lap, mark, threads_for

MUCH = 10_000_000  # entries, which threads share
SPIN = "while True: pass"
FIT = """
import json, sys, time
import numpy as np
from skorchlite import TorchSGDRegressor

n_rows, n_columns, parameters = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
X = rng.standard_normal((n_rows, n_columns))
y = X @ rng.standard_normal(n_columns) + rng.standard_t(3, n_rows)
TorchSGDRegressor(**parameters).fit(X[:200], y[:200])
seconds = []
for _ in range(3):
    start = time.perf_counter()
    TorchSGDRegressor(**parameters).fit(X, y)
    seconds.append(time.perf_counter() - start)
print(min(seconds))
"""


class Clocks:
    """A clock on the wall, and what a processor got of that time."""

    def __init__(self, monkeypatch):
        self.wall = self.processor = 1_000.0
        monkeypatch.setattr(_runtime, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(_runtime, "process_time", lambda: self.processor)
        monkeypatch.setattr(_runtime, "_BUSY", _runtime._BusyCores())

    def go_on(self, seconds, cores):
        self.wall += seconds
        self.processor += seconds * cores


@pytest.fixture
def clocks(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield Clocks(monkeypatch)
    torch.set_num_threads(before)


@pytest.mark.parametrize("cores, left", [(4.0, 4), (3.6, 4), (3.1, 3), (1.2, 1), (0.1, 1)])
def test_as_many_threads_go_on_as_there_are_cores_for(clocks, cores, left):
    with threads_for(MUCH):
        for _ in range(2):
            mark()
            clocks.go_on(0.06, cores)
            lap()
        assert torch.get_num_threads() == left
    assert torch.get_num_threads() == 4


def test_next_fit_knows_of_busy_cores_and_tries_again_after_a_while(clocks):
    with threads_for(MUCH):
        for _ in range(2):
            mark()
            clocks.go_on(0.06, 1.0)
            lap()
    clocks.go_on(0.5, 0.0)
    with threads_for(MUCH):
        assert torch.get_num_threads() == 1
    clocks.go_on(1.0, 0.0)
    with threads_for(MUCH):
        assert torch.get_num_threads() == 4


def test_a_moment_says_nothing_and_moments_add_up(clocks):
    with threads_for(MUCH):
        for _ in range(4):
            mark()
            clocks.go_on(0.03, 1.0)
            assert torch.get_num_threads() == 4
            lap()
            clocks.go_on(5.0, 0.0)  # what is read, or waited for, between laps
        assert torch.get_num_threads() == 1


def test_time_of_fits_side_by_side_is_shared(clocks):
    _runtime._USUAL.append(4)  # of another Python thread
    try:
        with threads_for(MUCH):
            for _ in range(2):
                mark()
                clocks.go_on(0.06, 4.0)
                lap()
            assert torch.get_num_threads() == 2
    finally:
        _runtime._USUAL.pop(0)


def test_nothing_is_changed_outside_of_fits(clocks):
    mark()
    clocks.go_on(0.06, 0.5)
    lap()
    assert torch.get_num_threads() == 4


@contextlib.contextmanager
def crowd(size):
    """Keep the cores busy with processes that compute without end."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(size)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def n_cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def test_fit_in_a_crowd_goes_on_in_fewer_threads(monkeypatch):
    monkeypatch.setattr(_runtime, "_BUSY", _runtime._BusyCores())
    before = torch.get_num_threads()
    threads = max(2, n_cores())
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300_000, 10))  # a second: some measurements may find a core free
    y = X.sum(1) + rng.standard_t(3, len(X))
    torch.set_num_threads(threads)
    try:
        with crowd(2 * n_cores()):
            TorchSGDRegressor(loss="quantile", quantile=0.9).fit(X, y)
        assert 0 < _runtime._BUSY.most < threads
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize(
    "n_rows, n_columns, parameters",
    [
        (100_000, 20, {"loss": "quantile", "quantile": 0.9}),
        (100_000, 20, {"loss": "huber", "epsilon": 1.0}),
        (2_000, 100, {"loss": "quantile", "quantile": 0.9}),
        (2_000, 100, {"penalty": "l1", "alpha": 0.1}),
        (200_000, 50, {}),
    ],
)
def test_threads_cost_at_most_three_times_one_thread_in_a_crowd(
    size, n_rows, n_columns, parameters
):
    def seconds(threads):
        request = json.dumps([n_rows, n_columns, parameters])
        done = subprocess.run(
            [sys.executable, "-c", FIT, request],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return float(done.stdout)

    with crowd(size):
        assert seconds(max(2, n_cores())) <= 3 * seconds(1)

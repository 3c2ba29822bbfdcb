"""The same rows fitted by one process and by two, each on a core of its own.

Every launch loads the rows, waits for all, and times some fits of each loss, without the launch.
"""

import json
import os
import sys
import time
from functools import partial
from statistics import median

import numpy as np

from benchmarks.measure.children import ask
from benchmarks.measure.oracle import scaled_error
from benchmarks.measure.turns import median_ratio

SIZE, QUICK_SIZE = (2_000_000, 50), (40_000, 10)
ROUNDS, QUICK_ROUNDS = 3, 1
FITS = 3
N_PARTS = 20  # of the rows, each made from a seed of its own
LOSSES = {"squared_error": {}, "huber": {"loss": "huber", "epsilon": 1.35}}
ALONE, RANKS = "one process on one core", "two processes on a core each"
APART, THREADS = "the same without a word between them", "one process on two cores"
N_PROCESSES = {ALONE: 1, RANKS: 2, APART: 2, THREADS: 1}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def process_cases(quick=False):
    """Map the name of the case to the function that runs it."""
    n_rows, n_columns = QUICK_SIZE if quick else SIZE
    run = partial(compare_processes, n_rows, n_columns, QUICK_ROUNDS if quick else ROUNDS)
    return {f"processes/{n_rows}x{n_columns}": run}


def compare_processes(n_rows, n_columns, rounds):
    """Launch one process, two, and two that fit a half each, in turn."""
    if len(_cores()) < 2:
        return {"rows": [{"model": RANKS, "left_out": "there is one core"}]}
    answers = {way: [] for way in N_PROCESSES}
    for _ in range(rounds):
        for way in answers:
            answers[way].append(_launch(way, n_rows, n_columns))
    return {
        "rows": [
            _record(loss, way, answers, _scales(n_columns)) for loss in LOSSES for way in answers
        ]
    }


def main(way, n_rows, n_columns):
    """Time the fits of one process; return those of the first one for all."""
    rank, share = int(os.environ.get("RANK", 0)), N_PROCESSES[way]
    if way != THREADS:
        os.sched_setaffinity(0, {_cores()[rank]})
    X, y = _rows(n_rows, n_columns, range(rank, N_PARTS, share))
    wait = _meeting() if share > 1 else _nothing
    answer = {}
    for loss, parameters in LOSSES.items():
        seconds = []
        for _ in range(1 + FITS):
            fitted = _build(way, parameters)
            wait()
            start = time.perf_counter()
            fitted.fit(X, y)
            wait()
            seconds.append(time.perf_counter() - start)
        # The first fit loads code and starts threads.
        answer[loss] = {"seconds": seconds[1:], "coef": fitted.coef_.tolist()}
    return answer if rank == 0 else None


def _launch(way, n_rows, n_columns):
    threads = "2" if way == THREADS else "1"
    env = {name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    launcher = TORCHRUN if N_PROCESSES[way] > 1 else ()
    return ask(__spec__.name, [way, n_rows, n_columns], launcher=launcher, env=env)[0]


def _build(way, parameters):
    from skorchlite import TorchSGDRegressor

    return TorchSGDRegressor(**parameters, device="cpu", distributed=way == RANKS)


def _record(loss, way, answers, scale):
    seconds = {w: [median(answer[loss]["seconds"]) for answer in answers[w]] for w in answers}
    record = {
        "loss": loss,
        "model": way,
        "seconds": seconds[way],
        "median": median(seconds[way]),
        "ratio": median_ratio(seconds[ALONE], seconds[way]),
    }
    if way in (RANKS, THREADS):
        coef, alone = (np.array(answers[w][0][loss]["coef"]) for w in (way, ALONE))
        record["coef_difference"] = scaled_error(coef, alone, scale)
    return record


def _rows(n_rows, n_columns, parts):
    """Return some parts of the rows: correlated columns of many scales, noise with long tails."""
    coef = np.random.default_rng(0).standard_normal(n_columns)
    size = n_rows // N_PARTS
    X, y = np.empty((size * len(parts), n_columns)), np.empty(size * len(parts))
    for place, part in enumerate(parts):
        rng = np.random.default_rng([1, part])
        z = rng.standard_normal((size, n_columns))
        z += 0.5 * rng.standard_normal((size, 1))
        rows = slice(place * size, (place + 1) * size)
        y[rows] = 2 + z @ coef + rng.standard_t(3, size)
        np.multiply(z + 3, _scales(n_columns), out=X[rows])
    return X, y


def _scales(n_columns):
    return np.logspace(-2, 2, n_columns)


def _cores():
    return sorted(os.sched_getaffinity(0))


def _meeting():
    """Return a function at which all processes wait for each other."""
    from torch import distributed

    distributed.init_process_group("gloo")
    return distributed.barrier


def _nothing():
    return None


if __name__ == "__main__":
    record = main(*json.loads(sys.argv[1]))
    if record is not None:
        print(json.dumps(record))

"""Fits while other processes keep the cores busy, against the same fits with one thread.

The threads of a fit wait for each other; where other processes have the cores, for long.
"""

import os
from dataclasses import replace
from functools import partial

from benchmarks.measure.crowd import spinning
from benchmarks.measure.model import Model
from benchmarks.measure.sides import running, stored
from benchmarks.measure.turns import of_all, plan_rounds, take_turns, times_of, warm_up
from benchmarks.suites.cases import heavy_tailed_table, normal_table, plain_table
from skorchlite import TorchSGDRegressor

# A crowd is three processes for each core; a neighbour is one.
CROWD_A_CORE = 3
MOST_TIMES_ONE_THREAD = 3.0
ONE_ALONE, ONE, DEFAULT = "one thread, alone", "one thread", "default"
# What is fitted: rows and columns, how they are made, and the parameters.
FITS = {
    "squared error": ((100_000, 20), partial(plain_table, dtype="float64"), {}),
    "quantile": ((100_000, 20), heavy_tailed_table, {"loss": "quantile", "quantile": 0.9}),
    "quantile, small": ((2_000, 100), heavy_tailed_table, {"loss": "quantile", "quantile": 0.9}),
    "huber": ((100_000, 20), heavy_tailed_table, {"loss": "huber", "epsilon": 1.35}),
    "lasso": ((2_000, 100), normal_table, {"penalty": "l1", "alpha": 0.1}),
    "stochastic": (
        (100_000, 20),
        partial(plain_table, dtype="float64"),
        {"solver": "sgd", "max_iter": 5, "tol": None, "random_state": 0},
    ),
}
QUICK_SIZE = (500, 5)


def crowd_cases(repeats, budget, quick=False):
    """Map the name of each case to the function that runs it."""
    cases = {}
    for title, (size, table, parameters) in FITS.items():
        shape = QUICK_SIZE if quick else size
        for busy in (1,) if quick else (1, CROWD_A_CORE * os.cpu_count()):
            model = Model(DEFAULT, partial(TorchSGDRegressor, **parameters))
            cases[f"crowd/{title}/{shape[0]}x{shape[1]}/beside {busy}"] = partial(
                compare_in_crowd, model, partial(table, *shape), busy, repeats, budget
            )
    return cases


def compare_in_crowd(model, data, busy, repeats, budget):
    """Time fits with one thread alone; then, in a crowd, those and the default in turn."""
    X, y = data()
    one = replace(model, name=ONE, threads=1)
    with stored(X, y) as folder, running([one, model], folder) as sides:
        warm = warm_up(sides)
        failed = [found.remarks[0] for found in warm.values() if not found.works]
        if failed:
            return {"busy": busy, "rows": [{"model": DEFAULT, "left_out": failed[0]}]}
        estimates = {name: found.seconds for name, found in warm.items()}
        alone = _turns(sides, [one], estimates, repeats, budget / 4)[ONE]
        with spinning(busy):
            estimates = {name: sides[name]("turn", 1) for name in sides}
            crowded = _turns(sides, [one, model], estimates, repeats, budget)
    rows = [
        {"model": name} | times_of(seconds, crowded[ONE])
        for name, seconds in ((ONE_ALONE, alone), *crowded.items())
    ]
    rows[-1] |= {
        "at_most": MOST_TIMES_ONE_THREAD,
        "over_alone": rows[-1]["median"] / rows[0]["median"],
    }
    return {"busy": busy, "rows": rows}


def _turns(sides, models, estimates, repeats, budget):
    return of_all(take_turns(sides, estimates, plan_rounds(models, estimates, repeats, budget)))

"""Interleaved timing: A B C A B C ..., so that a drift of the machine meets every model alike."""

import math
import time
import warnings
from dataclasses import dataclass
from statistics import median

from sklearn.base import BaseEstimator

# A pool's idle threads spin before they sleep (OpenBLAS: for 80 ms where this was measured), on the
# cores that the next model needs.
PAUSE_SECONDS = 0.02
MOST_PAUSES = 50
IDLE_SHARE = 0.25  # of a core
# Below this a single call is mostly noise of the clock and of waking up: it is repeated, as timeit.
SHORTEST_TIMING = 0.02
# Below this the first fit of a process, which loads code and starts threads, says little.
LONG_ENOUGH = 1.0
FEWEST_ROUNDS = 3
FEW_ROUNDS_SHARE = 0.15


@dataclass(frozen=True)
class WarmUp:
    """The first fit of a model on a case: what it gave, how long it took, what it said."""

    fitted: BaseEstimator | None
    seconds: float
    remarks: list[str]


def warm_up(model, X, y):
    """Fit once untimed; return the fitted model, an estimate of the time and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        try:
            fitted = model.build().fit(X, y)
        except Exception as error:
            return WarmUp(None, math.nan, [f"failed: {_first_sentence(error)}"])
        seconds = time.perf_counter() - start
    if seconds < LONG_ENOUGH:
        seconds = _seconds(model, X, y, calls=1)
    remarks = sorted({f"{w.category.__name__}: {_first_sentence(w.message)}" for w in caught})
    return WarmUp(fitted, seconds, remarks)


def plan_rounds(models, estimates, repeats, budget):
    """Choose how many rounds each model runs.

    All run equally often, as often as `budget` seconds allow, at most `repeats` and at least three
    times; a model with `few_rounds` only as often as its share of the budget allows, at least once.
    """
    steady = sum(estimates[model.name] for model in models if not model.few_rounds)
    rounds = min(repeats, max(FEWEST_ROUNDS, int(budget / steady)))
    share = FEW_ROUNDS_SHARE * budget
    return {
        model.name: min(rounds, max(1, int(share / estimates[model.name])))
        if model.few_rounds
        else rounds
        for model in models
    }


def interleave(models, X, y, estimates, rounds):
    """Time the fits in turn; return the seconds of each model, one number a round."""
    calls = {name: math.ceil(SHORTEST_TIMING / estimates[name]) for name in rounds}
    seconds = {name: [] for name in rounds}
    for turn in range(max(rounds.values())):
        for model in models:
            if turn < rounds[model.name]:
                _wait_until_idle()
                seconds[model.name].append(_seconds(model, X, y, calls[model.name]))
    return seconds


def median_ratio(peer, ours):
    """Return the median over the rounds that both ran of peer's time to ours."""
    return median(theirs / mine for theirs, mine in zip(peer, ours, strict=False))


def _wait_until_idle():
    """Sleep until no thread of the process computes."""
    for _ in range(MOST_PAUSES):
        start = time.process_time()
        time.sleep(PAUSE_SECONDS)
        if time.process_time() - start < IDLE_SHARE * PAUSE_SECONDS:
            return


def _seconds(model, X, y, calls):
    # The garbage collector stays on, unlike in timeit: a fit of any scikit-learn estimator leaves
    # cycles, without collection memory grows, and new pages cost half of the time of a small fit.
    estimators = [model.build() for _ in range(calls)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        for estimator in estimators:
            estimator.fit(X, y)
        return (time.perf_counter() - start) / calls


def _first_sentence(message):
    return str(message).strip().split("\n")[0].split(". ")[0]

"""Timing in turns: A B C A B C ..., so that a drift of the machine meets every model alike.

Each model is in a process of its own, of which one at most is busy.
"""

import math
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.measure.sides import SideError

# Below this a single call is mostly noise of the clock and of waking up: it is repeated, as timeit.
SHORTEST_TIMING = 0.02
FEWEST_ROUNDS = 3
FEW_ROUNDS_SHARE = 0.15


@dataclass(frozen=True)
class WarmUp:
    """The first work of a model on a case: what it found, how long it takes, what it said."""

    answer: dict | None
    seconds: float
    remarks: list[str]

    @property
    def works(self):
        """Whether it found anything."""
        return self.answer is not None


def warm_up(sides):
    """Let one side after the other work untimed; return what each found, by its name."""
    # All load at the same time; none is busy with that when the first begins.
    found = {name: _told(side.wait) for name, side in sides.items()}
    for name, side in sides.items():
        if found[name] is None:
            found[name] = _told(lambda side=side: WarmUp(**side("warm_up")))
    return found


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


def take_turns(sides, estimates, rounds):
    """Let the sides work in turn; return the seconds of each, one number a round.

    A side that fails is left out from there on; its seconds are then the error.
    """
    times = {name: math.ceil(SHORTEST_TIMING / estimates[name]) for name in rounds}
    seconds = {name: [] for name in rounds}
    for turn in range(max(rounds.values())):
        for name, count in rounds.items():
            if turn < count and not isinstance(seconds[name], SideError):
                try:
                    seconds[name].append(sides[name]("turn", times[name]))
                except SideError as error:
                    seconds[name] = error
    return seconds


def of_all(seconds):
    """Return the seconds of all sides; raise the error of one that failed."""
    for error in seconds.values():
        if isinstance(error, SideError):
            raise error
    return seconds


def median_ratio(peer, ours):
    """Return the median over the rounds that both ran of peer's time to ours."""
    return median(theirs / mine for theirs, mine in zip(peer, ours, strict=False))


def times_of(seconds, ours):
    """Return what a record has of the seconds of a model, beside those of ours."""
    return {
        "seconds": seconds,
        "median": median(seconds),
        "least": min(seconds),
        "quartiles": quartiles(seconds),
        "rounds": len(seconds),
        "ratio": median_ratio(seconds, ours),
        "least_ratio": min(seconds) / min(ours),
    }


def quartiles(values):
    """Return the lower and the upper quartile."""
    if len(values) == 1:
        return [values[0]] * 2
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return [lower, upper]


def _told(work):
    try:
        return work()
    except SideError as error:
        return WarmUp(None, math.nan, [f"failed: {error}"])

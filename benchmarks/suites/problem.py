"""A problem: data, and models that solve it, to be timed in turns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from benchmarks.measure.comparison import race
from benchmarks.measure.model import Model
from benchmarks.measure.roofline import Work
from benchmarks.measure.worth import objective_worth


@dataclass(frozen=True)
class Problem:
    """Data, and models that minimise the same objective on it.

    Attributes
    ----------
    name : str
    data : callable
        Makes `X` and `y`.
    models : callable
        Makes the models of `X` and `y`, ours first: parameters may depend on the data.
    others : tuple of str
        Names of models that minimise another objective and are there for their time alone.
    worth : callable
        Makes of the models, `X`, `y`, what the models found, and `others` what to add to the
        records.
    work : callable or None
        Makes of `X` the least that ours has to do.
    wanted : dict
        The ratio of its time to ours that is the aim, by the name of the peer.
    """

    name: str
    data: Callable[[], tuple]
    models: Callable[..., list[Model]]
    others: tuple[str, ...] = ()
    worth: Callable[..., dict] = objective_worth
    work: Callable[..., Work] | None = None
    wanted: Mapping[str, float] = field(default_factory=dict)


def compare_on(problem, repeats, budget, most_models=None):
    """Time the first models of one problem and measure how well each answer solves it."""
    X, y = problem.data()
    models = problem.models(X, y)[:most_models]
    worth = partial(problem.worth, models, X, y, others=problem.others)
    work = problem.work and problem.work(X)
    record = race(problem.name, models, X, y, worth, repeats, budget, work)
    for row in record["rows"]:
        if row["model"] in problem.wanted:
            row["wanted"] = problem.wanted[row["model"]]
    return record

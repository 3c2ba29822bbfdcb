"""What is compared: a model, and what it is to do."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sklearn.base import BaseEstimator

from benchmarks.measure import tasks


@dataclass(frozen=True)
class Model:
    """An estimator under its printed name, which a process of its own builds and sets to work.

    All of it is pickled by reference, so that `build` is a class, a function at the top of a
    module, or a `partial` of these: what the process imports is what the model needs, and a peer's
    has no torch in it.

    Attributes
    ----------
    name : str
    build : callable
        Makes the estimator, unfitted.
    few_rounds : bool
        Whether it may run fewer rounds than the others.
    task : callable
        What is timed, of those in `benchmarks.measure.tasks`.
    threads : int or None
        None for as many as the libraries start by themselves.
    """

    name: str
    build: Callable[[], BaseEstimator]
    few_rounds: bool = False
    task: Callable = field(default=tasks.fit)
    threads: int | None = None

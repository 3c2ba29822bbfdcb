"""The fit of an estimator as scikit-learn's callbacks see it."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

Attributes = Callable[[], dict[str, Any] | None]


class Task:
    """The fit of an estimator as a task of scikit-learn's callbacks, its steps as subtasks.

    Where it is not known beforehand how many steps a fit takes, the next subtask begins where one
    ends. The last one has no step in it, and ends with the fit.

    Parameters
    ----------
    estimator : object
        With scikit-learn's ``CallbackSupportMixin``.
    X, y : object
        As they were given to ``fit``. Callbacks are not given an iterator, which can be read once.
    sample_weight : object or None
    for_caller : callable
        Returns fitted attributes in the namespace, and on the device, of X.
    n_steps : int or None
        How many steps it takes at most, which bars of progress end at; None where that says
        nothing, or is not known.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        for_caller: Callable[[Mapping[str, Any]], dict[str, Any]],
        n_steps: int | None,
    ):
        self.n_left = n_steps
        self.for_caller = for_caller
        X = None if isinstance(X, Iterator) else X
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.context = estimator._init_callback_context(max_subtasks=n_steps)
        self.arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context.call_on_fit_task_begin(**self.arguments)
        self.iteration: Any = None
        self._begin(None)

    def step(self, attributes: Attributes) -> bool:
        """Call the callbacks at the end of a step; return whether one asks the fit to end.

        Parameters
        ----------
        attributes : callable
            Returns the fitted attributes of the estimator if the fit ended here, None if it could
            not. It is called only for a callback that takes a fitted estimator.
        """

        def found_for_caller() -> dict[str, Any] | None:
            found = attributes()
            return None if found is None else self.for_caller(found)

        assert self.iteration is not None, "there are no more steps than said"
        stop = self.iteration.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=found_for_caller
        )
        if self.n_left is not None:
            self.n_left -= 1
        self._begin(found_for_caller)
        return stop

    def end(self) -> None:
        """Call the callbacks at the end of the fit, when the estimator is fitted."""
        estimator = self.arguments["estimator"]
        if self.iteration is not None:
            self.iteration.call_on_fit_task_end(estimator=estimator)
        # All attributes, since a copy of the estimator has NumPy arrays in place of others.
        fitted = partial(self.for_caller, vars(estimator))
        self.context.call_on_fit_task_end(**self.arguments, reconstruction_attributes=fitted)

    def _begin(self, attributes: Attributes | None) -> None:
        if self.n_left == 0:
            self.iteration = None
            return
        self.iteration = self.context.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(
            **self.arguments, reconstruction_attributes=attributes
        )

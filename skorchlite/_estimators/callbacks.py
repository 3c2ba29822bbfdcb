"""What scikit-learn's callbacks receive of a fit, and what they may ask for."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

Attributes = Callable[[], dict[str, Any] | None]


class Task:
    """The fit of an estimator as a task of scikit-learn's callbacks, its steps as subtasks.

    How many steps a fit takes is not known beforehand. The next one begins where one ends, so that
    the last to begin is none: it ends with the fit.

    Parameters
    ----------
    estimator : object
        With scikit-learn's ``CallbackSupportMixin``.
    X, y : object
        As they were given to ``fit``. Callbacks do not see what can be read only once.
    sample_weight : object or None
    home : callable
        Returns fitted attributes where the caller wants them.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        home: Callable[[Mapping[str, Any]], dict[str, Any]],
    ):
        self.home = home
        X = None if isinstance(X, Iterator) else X
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.context = estimator._init_callback_context(max_subtasks=None)
        self.told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context.call_on_fit_task_begin(**self.told)
        self._begin(None)

    def step(self, attributes: Attributes) -> bool:
        """Tell of the end of a step; return whether a callback asks for that of the fit.

        Parameters
        ----------
        attributes : callable
            Returns those that the estimator would have if the fit had ended here, None if it could
            not. It is called where a callback takes a fitted estimator.
        """

        def at_home() -> dict[str, Any] | None:
            found = attributes()
            return None if found is None else self.home(found)

        stop = self.iteration.call_on_fit_task_end(**self.told, reconstruction_attributes=at_home)
        self._begin(at_home)
        return stop

    def end(self) -> None:
        """Tell of the end of the fit, which left the estimator fitted."""
        estimator = self.told["estimator"]
        self.iteration.call_on_fit_task_end(estimator=estimator)
        # All, since a copy has arrays of NumPy in place of those of other namespaces.
        fitted = partial(self.home, vars(estimator))
        self.context.call_on_fit_task_end(**self.told, reconstruction_attributes=fitted)

    def _begin(self, attributes: Attributes | None) -> None:
        self.iteration = self.context.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(**self.told, reconstruction_attributes=attributes)

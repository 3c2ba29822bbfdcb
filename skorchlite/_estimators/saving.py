"""What files and copies of an estimator hold."""

import copy
from typing import Any, Self

from sklearn.base import BaseEstimator

from .._solvers.incremental.learner import IncrementalLearner
from .fitted_state import packed, portable, restored, unpacked


class Saving(BaseEstimator):
    """The state of an estimator as files hold it, and copies, which hold all of it."""

    _stream: IncrementalLearner | None  # what ``partial_fit`` goes on with after a fit
    _learned_chunks = False  # whether ``partial_fit`` has been called since the last fit

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if not self._learned_chunks:  # moments are large, and may be of data that is private
            state = {name: None if name == "_stream" else value for name, value in state.items()}
        return packed(portable(state))

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = restored(unpacked(state))
        # Version 0.1.0 has kept the moments of each fit.
        state.setdefault("_learned_chunks", state.get("_stream") is not None)
        super().__setstate__(state)

    def __copy__(self) -> Self:
        copied: Any = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied: Any = object.__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

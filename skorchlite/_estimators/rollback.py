"""Undoing what a fit has set where an error ends it."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def untouched_on_error(estimator: Any) -> Iterator[None]:
    """Leave the estimator as it was if an error ends the fit, an interrupt included."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise

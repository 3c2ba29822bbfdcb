"""Whose line a warning is about."""

import sys
from types import FrameType

# What calls a fit for the caller: they know of no column.
_BETWEEN = {"skorchlite", "sklearn", "joblib", "contextlib", "threading", "concurrent"}


def caller_level(least: int) -> int:
    """Return the ``stacklevel`` of the first line that is none of the libraries between.

    Parameters
    ----------
    least : int
        What it is where there are none but these, as in a process of a pool.
    """
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _BETWEEN:
            return level
        frame, level = frame.f_back, level + 1
    return least

"""Which line of the caller's code a warning names."""

import sys
from types import FrameType

# Packages that may stand between the caller's line and a fit, such as in a search.
_BETWEEN = {"skorchlite", "sklearn", "joblib", "contextlib", "threading", "concurrent"}


def caller_level(least: int) -> int:
    """Return the ``stacklevel`` of the innermost line that is outside of those packages.

    Parameters
    ----------
    least : int
        The level where there is no other line, as in a process of a pool.
    """
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _BETWEEN:
            return level
        frame, level = frame.f_back, level + 1
    return least

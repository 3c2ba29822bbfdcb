"""A failure as three lines of code that anyone can paste."""

from .verdicts import ALARM, CRASH, SLOW


def lines_of(drawn, failure):
    """Return the three lines."""
    name = drawn.estimator.__name__
    given = ", ".join(f"{key}={value!r}" for key, value in drawn.parameters.items())
    first = f"import numpy as np; from skorchlite import {name}; from tests.fuzz import draw; "
    first += f"d = draw({drawn.seed})  # {', '.join(drawn.traits)}"
    second = f"m = {name}({given}).fit(*d.data())"
    if failure.kind == SLOW:
        first = "import time; " + first
        second = f"t = time.process_time(); {second}; t = time.process_time() - t"
    if failure.kind in (CRASH, ALARM) and "Warning" in failure.words:
        first = 'import warnings; warnings.simplefilter("error"); ' + first
    return [first, second, f"{failure.check}  # {failure.kind}: {failure.words}"]

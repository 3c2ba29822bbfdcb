"""The command line: ``python -m tests.fuzz.log_links --seconds 60 --seed 0``."""

from tests.fuzz.__main__ import main

from .draws import draw
from .verdicts import judge

if __name__ == "__main__":
    raise SystemExit(main(draw=draw, judge=judge))

"""The command line: ``python -m tests.fuzz --seconds 60 --seed 0``."""

import argparse
import time
import traceback
from fnmatch import fnmatch
from itertools import count

from tests.support.clock import one_thread

from .draws import draw
from .report import Tally, lines_of
from .verdicts import judge


def main(arguments=None, draw=draw, judge=judge):
    """Judge draws until time or their number is up; return 1 where one failed."""
    asked = parsed(arguments)
    shown = {kind.strip().upper() for kind in asked.kinds.split(",") if kind.strip()}
    pattern = asked.only if "*" in asked.only else f"*{asked.only}*"
    tally, start = Tally(asked.seed), time.monotonic()
    # Small problems gain nothing by threads, and others may need the cores.
    with one_thread():
        for seed in count(asked.seed):
            late = asked.seconds is not None and time.monotonic() - start >= asked.seconds
            if late or tally.n_draws == asked.draws:
                break
            drawn = draw(seed)
            if not fnmatch(drawn.kind, pattern):
                continue
            try:
                outcome = judge(drawn)
            except Exception:
                tally.broke(drawn)
                traceback.print_exc()
                continue
            tally.add(drawn, outcome)
            if asked.quiet:
                continue
            for failure in outcome.failures + (outcome.warned if asked.warned else []):
                if not shown or failure.kind in shown:
                    print("\n".join(lines_of(drawn, failure)), end="\n\n", flush=True)
    print("\n".join(tally.lines(time.monotonic() - start)))
    return int(tally.failed)


def parsed(arguments):
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="how long to go on (60 without --draws)")
    parser.add_argument("--draws", type=int, help="how many draws to judge")
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow")
    parser.add_argument(
        "--only",
        default="*",
        help="estimator/loss/penalty, as 'linear/huber/*', 'poly/*', '*/quantile/none+' "
        "(+ is positive=True), or a part of it",
    )
    parser.add_argument("--kinds", default="", help="print these verdicts alone, with commas")
    parser.add_argument("--warned", action="store_true", help="print wrong answers that say so too")
    parser.add_argument("--quiet", action="store_true", help="print counts alone")
    asked = parser.parse_args(arguments)
    if asked.seconds is None and asked.draws is None:
        asked.seconds = 60.0
    return asked


if __name__ == "__main__":
    raise SystemExit(main())

"""The command line: ``python -m tests.fuzz --seconds 60 --seed 0``."""

import argparse
import os
import time
from collections import Counter
from fnmatch import fnmatch

# Small problems gain nothing by threads, and a judge that uses one core can run beside others.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main(arguments=None):
    """Judge draws until time or their number is up; return 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=None, help="how long to go on")
    parser.add_argument("--draws", type=int, default=None, help="how many draws to judge")
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow")
    parser.add_argument(
        "--only", default="*", help="KIND/loss/penalty, as 'linear/huber/*' or '*/quantile/*+'"
    )
    parser.add_argument("--kinds", default="", help="print these verdicts alone, with commas")
    parser.add_argument("--quiet", action="store_true", help="print no failure, counts alone")
    asked = parser.parse_args(arguments)
    if asked.seconds is None and asked.draws is None:
        asked.seconds = 60.0

    import torch

    torch.set_num_threads(1)
    from .draws import draw
    from .report import lines_of
    from .verdicts import judge

    kinds = {kind.strip().upper() for kind in asked.kinds.split(",") if kind.strip()}
    counts, examples = Counter(), {}
    start, n_draws, seed, fitting = time.monotonic(), 0, asked.seed, 0.0
    while True:
        if asked.draws is not None and n_draws >= asked.draws:
            break
        if asked.seconds is not None and time.monotonic() - start >= asked.seconds:
            break
        drawn = draw(seed)
        seed += 1
        if not fnmatch(drawn.kind, asked.only if "*" in asked.only else f"*{asked.only}*"):
            continue
        n_draws += 1
        outcome = judge(drawn)
        counts["told"] += outcome.told
        counts["unsure"] += outcome.unsure
        fitting += outcome.seconds
        for failure in outcome.failures:
            counts[failure.kind] += 1
            counts[failure.kind, drawn.kind] += 1
            examples.setdefault((failure.kind, drawn.kind), seed - 1)
            if not asked.quiet and (not kinds or failure.kind in kinds):
                print("\n".join(lines_of(drawn, failure)), end="\n\n", flush=True)
    took = f"in {time.monotonic() - start:.0f} s ({fitting:.0f} s of fits)"
    print(f"{n_draws} draws, seeds {asked.seed} to {seed - 1}, {took}")
    return summary(counts, examples, n_draws)


def summary(counts, examples, n_draws):
    """Print what was counted; return the exit status."""
    from .verdicts import ALARM, KINDS

    for kind in KINDS:
        print(f"{counts[kind]:6d}  {kind}")
        parts = [(counts[key], key[1]) for key in examples if key[0] == kind]
        for count, name in sorted(parts, reverse=True)[:12]:
            print(f"          {count:4d}  {name}  (seed {examples[kind, name]})")
    print(f"{counts['told']:6d}  wrong, and says so")
    print(f"{counts['unsure']:6d}  the references leave room for doubt")
    failed = sum(counts[kind] for kind in KINDS if kind != ALARM)
    return int(failed > 0 or counts[ALARM] > 0.01 * n_draws)


if __name__ == "__main__":
    raise SystemExit(main())

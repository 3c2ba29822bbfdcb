"""Run the benchmark: `python -m benchmarks --help` lists the options."""

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import against
from benchmarks.measure.machine import describe
from benchmarks.measure.roofline import least_seconds, measure_machine
from benchmarks.report import tables
from benchmarks.suites import regression
from benchmarks.suites.accuracy import accuracy_cases
from benchmarks.suites.card import card_cases
from benchmarks.suites.crowd import crowd_cases
from benchmarks.suites.growth import growth_cases
from benchmarks.suites.least_squares import least_squares_problems
from benchmarks.suites.losses import loss_problems
from benchmarks.suites.memory import measure, memory_cases
from benchmarks.suites.models import left_out
from benchmarks.suites.out_of_core import out_of_core_cases
from benchmarks.suites.peer_table import peer_cases
from benchmarks.suites.problem import compare_on
from benchmarks.suites.processes import process_cases
from benchmarks.suites.search import search_problems
from benchmarks.suites.small import small_problems
from benchmarks.suites.sparse import sparse_cases
from benchmarks.suites.stochastic import stochastic_problems

RESULTS = Path(__file__).parent / "results"
REPEATS = 30
BUDGET_SECONDS = 20.0
QUICK_BUDGET_SECONDS = 0.5
TURNS = "each model in a process of its own, the processes in turns"
QUICK_MODELS = 2  # of a problem, since each has a process of its own
# The share of the budget that one problem has of each kind. There are many of losses and penalties,
# with peers that take seconds a fit, and many more small ones.
SHARES = {
    "timed": 1.0,
    "search": 1.0,
    "peers": 0.5,
    "crowd": 0.5,
    "losses": 0.2,
    "stochastic": 0.2,
    "small": 0.1,
}


def main(arguments=None):
    """Run the chosen cases, print each as it ends, and write the two result files."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.against:
        return _compare(options)
    cases = _cases(options)
    chosen = {
        name: (kind, run)
        for name, (kind, run) in cases.items()
        if _is_chosen(name, options.rows) and (not options.suite or kind in options.suite)
    }
    if not chosen:
        parser.error(f"no case contains any of {options.rows}; the cases are {list(cases)}")
    record = _new_record(options)
    print(tables.environment(record), flush=True)
    for name, (kind, run) in chosen.items():
        record[kind][name] = case = run()
        if "work" in case:
            threads = case["rows"][0].get("threads")
            case["least_seconds"] = least_seconds(case["work"], record["roofline"], threads)
        print(f"\n{tables.SECTIONS[kind](name, case)}", flush=True)
        # After every case, so that a run that is stopped keeps what it has.
        tables.write(record, options.out)
    for kind in tables.WHOLE:
        if record[kind]:
            print(f"\n{tables.WHOLE[kind](record[kind])}")
    print("\nWrote", *(options.out / name for name in tables.FILES))
    return 0


def _compare(options):
    """Time the checkout against a revision; return 1 if a case got slower, else 0."""
    names = [name for name in regression.CASES if _is_chosen(name, options.rows)]
    rounds = 1 if options.quick else against.ROUNDS
    return int(against.report(options.against, names, rounds, options.threshold))


def _parser():
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "--rows", nargs="+", metavar="SUBSTRING", help="only cases whose name contains one of these"
    )
    parser.add_argument(
        "--suite",
        nargs="+",
        choices=tables.SECTIONS,
        metavar="SUITE",
        help=f"only the cases of these: {', '.join(tables.SECTIONS)}",
    )
    parser.add_argument(
        "--large", action="store_true", help="with the line of peers that needs 18 GB on a disk"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help="most rounds of a timed case")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument(
        "--against", metavar="REVISION", help="time this checkout against another revision instead"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=against.THRESHOLD,
        help="times the seconds of the other revision that count as slower",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the program")
    return parser


def _cases(options):
    """Map every case's name to its kind and the function that runs it."""
    quick, repeats, budget = options.quick, options.repeats, _budget(options)
    problems = {
        "timed": least_squares_problems(quick),
        "small": small_problems(quick),
        "losses": loss_problems(quick),
        "stochastic": stochastic_problems(quick),
    }
    most_models = QUICK_MODELS if quick else None
    raced = {
        p.name: (kind, partial(compare_on, p, repeats, SHARES[kind] * budget, most_models))
        for kind, some in problems.items()
        for p in some
    }
    others = {
        "peers": peer_cases(repeats, SHARES["peers"] * budget, quick, options.large),
        "search": {
            p.name: partial(compare_on, p, repeats, SHARES["search"] * budget)
            for p in search_problems(quick)
        },
        "crowd": crowd_cases(repeats, SHARES["crowd"] * budget, quick),
        "accuracy": accuracy_cases(quick),
        "memory": {f"memory/{c.name}": partial(measure, c) for c in memory_cases(quick)},
        "out_of_core": out_of_core_cases(quick),
        "processes": process_cases(quick),
        "rows": growth_cases(quick),
        "sparse": sparse_cases(repeats, budget, quick),
        "card": card_cases(quick),
    }
    return raced | {
        name: (kind, run) for kind, runs in others.items() for name, run in runs.items()
    }


def _is_chosen(name, substrings):
    return substrings is None or any(part in name for part in substrings)


def _budget(options):
    return QUICK_BUDGET_SECONDS if options.quick else BUDGET_SECONDS


def _new_record(options):
    return {
        **describe(),
        "settings": {
            "repeats": options.repeats,
            "budget_seconds": _budget(options),
            "quick": options.quick,
            "turns": TURNS,
        },
        "left_out": left_out(),
        "roofline": measure_machine(options.quick),
        **{kind: {} for kind in tables.SECTIONS},
    }


if __name__ == "__main__":
    sys.exit(main())

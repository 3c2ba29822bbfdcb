"""Run the benchmark: `python -m benchmarks --help` lists the options."""

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import against
from benchmarks.measure.comparison import compare
from benchmarks.measure.machine import describe
from benchmarks.measure.timing import PAUSE_SECONDS
from benchmarks.report import large_tables, tables
from benchmarks.suites import regression
from benchmarks.suites.accuracy import accuracy_cases
from benchmarks.suites.card import card_cases
from benchmarks.suites.cases import timed_cases
from benchmarks.suites.growth import growth_cases
from benchmarks.suites.losses import compare_on, loss_problems
from benchmarks.suites.memory import measure, memory_cases
from benchmarks.suites.models import left_out
from benchmarks.suites.out_of_core import out_of_core_cases
from benchmarks.suites.processes import process_cases
from benchmarks.suites.sparse import sparse_cases
from benchmarks.suites.stochastic import descend_on, stochastic_problems

RESULTS = Path(__file__).parent / "results"
REPEATS = 30
BUDGET_SECONDS = 20.0
QUICK_BUDGET_SECONDS = 0.5
# There are many problems of losses and penalties, and some peers take seconds a fit.
LOSSES_SHARE = 0.2


def main(arguments=None):
    """Run the chosen cases, print each as it ends, and write the two result files."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.against:
        return _compare(options)
    cases = _cases(options)
    chosen = {name: case for name, case in cases.items() if _is_chosen(name, options.rows)}
    if not chosen:
        parser.error(f"no case contains any of {options.rows}; the cases are {list(cases)}")
    record = _new_record(options)
    print(tables.environment(record), flush=True)
    for name, (kind, run) in chosen.items():
        record[kind][name] = run()
        print(f"\n{tables.SECTIONS[kind](name, record[kind][name])}", flush=True)
        # After every case, so that a run that is stopped keeps what it has.
        tables.write(record, options.out)
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
    budget = _budget(options)
    timed = timed_cases(options.quick)
    problems = loss_problems(options.quick)
    losses_budget = LOSSES_SHARE * budget
    return {
        **{c.name: ("timed", partial(compare, c, options.repeats, budget)) for c in timed},
        **{
            p.name: ("losses", partial(compare_on, p, options.repeats, losses_budget))
            for p in problems
        },
        **{
            p.name: ("stochastic", partial(descend_on, p, options.repeats, losses_budget))
            for p in stochastic_problems(options.quick)
        },
        **{name: ("accuracy", run) for name, run in accuracy_cases(options.quick).items()},
        **{
            f"memory/{c.name}": ("memory", partial(measure, c)) for c in memory_cases(options.quick)
        },
        **{
            name: (kind, run)
            for kind, runs in _large_cases(options).items()
            for name, run in runs.items()
        },
    }


def _large_cases(options):
    """Map each kind of measurement of data that is large to its cases."""
    quick = options.quick
    return {
        "out_of_core": out_of_core_cases(quick),
        "processes": process_cases(quick),
        "rows": growth_cases(quick),
        "sparse": sparse_cases(options.repeats, _budget(options), quick),
        "card": card_cases(quick),
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
            "losses_budget_seconds": LOSSES_SHARE * _budget(options),
            "pause_seconds": PAUSE_SECONDS,
            "quick": options.quick,
        },
        "left_out": left_out(),
        "timed": {},
        "losses": {},
        "stochastic": {},
        "accuracy": {},
        "memory": {},
        **{kind: {} for kind in large_tables.KINDS},
    }


if __name__ == "__main__":
    sys.exit(main())

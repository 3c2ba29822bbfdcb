"""Run the benchmark: `python -m benchmarks --help` lists the options."""

import argparse
from functools import partial
from pathlib import Path

from benchmarks import large_report, report
from benchmarks.accuracy import accuracy_cases
from benchmarks.card import card_cases
from benchmarks.cases import timed_cases
from benchmarks.comparison import compare
from benchmarks.growth import growth_cases
from benchmarks.losses import compare_on, loss_problems
from benchmarks.machine import describe
from benchmarks.memory import measure, memory_cases
from benchmarks.models import left_out
from benchmarks.out_of_core import out_of_core_cases
from benchmarks.processes import process_cases
from benchmarks.sparse import sparse_cases
from benchmarks.stochastic import descend_on, stochastic_problems
from benchmarks.timing import PAUSE_SECONDS

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
    cases = _cases(options)
    chosen = {name: case for name, case in cases.items() if _is_chosen(name, options.rows)}
    if not chosen:
        parser.error(f"no case contains any of {options.rows}; the cases are {list(cases)}")
    record = _new_record(options)
    print(report.environment(record), flush=True)
    for name, (kind, run) in chosen.items():
        record[kind][name] = run()
        print(f"\n{report.SECTIONS[kind](name, record[kind][name])}", flush=True)
        # After every case, so that a run that is stopped keeps what it has.
        report.write(record, options.out)
    print("\nWrote", *(options.out / name for name in report.FILES))


def _parser():
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "--rows", nargs="+", metavar="SUBSTRING", help="only cases whose name contains one of these"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help="most rounds of a timed case")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result files")
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
        **{kind: {} for kind in large_report.KINDS},
    }


if __name__ == "__main__":
    main()

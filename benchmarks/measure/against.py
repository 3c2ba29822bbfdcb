"""The present checkout against another revision, each in a process of its own, in turns."""

import statistics
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.measure.sides import ROOT, running, stored
from benchmarks.measure.turns import of_all, take_turns, warm_up
from benchmarks.report.markdown import table
from benchmarks.suites import regression

BASE, HEAD = "base", "head"
SECONDS = 3.0  # of fits in a round
MOST_TURNS = 30
THRESHOLD = 1.05  # times the base: what is slower than that has got slower
ROUNDS = 5


@contextmanager
def checkout(revision):
    """Yield a folder with the files of a revision, which is removed again."""
    with tempfile.TemporaryDirectory() as folder:
        base = str(Path(folder) / "base")
        subprocess.run(
            ["git", "worktree", "add", "--detach", "--quiet", base, revision], cwd=ROOT, check=True
        )
        try:
            yield Path(base)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", base], cwd=ROOT, check=True)


def compare_with(revision, names, rounds):
    """Return, for each case, the seconds of base and of head in each round.

    Each round has new processes, one a side, which take turns; the fastest turn of each counts.
    """
    with checkout(revision) as base:
        times = {}
        for name in names:
            model, data = regression.CASES[name]
            with stored(*data()) as folder:
                times[name] = [_pair(model, folder, base) for _ in range(rounds)]
        return times


def _pair(model, folder, base):
    sides = {BASE: base, HEAD: ROOT}
    with running([replace(model, name=side) for side in sides], folder, sides) as at_work:
        warm = warm_up(at_work)
        failed = [f"{side} {found.remarks[0]}" for side, found in warm.items() if not found.works]
        if failed:
            raise RuntimeError(f"{model.name}: {failed[0]}")
        estimates = {side: found.seconds for side, found in warm.items()}
        count = min(MOST_TURNS, max(1, int(SECONDS / sum(estimates.values()))))
        seconds = of_all(take_turns(at_work, estimates, dict.fromkeys(sides, count)))
    return tuple(min(seconds[side]) for side in sides)


def ratios(times):
    """Return head's time over base's: of the fastest of each, and the median over the rounds."""
    fastest = min(head for _, head in times) / min(base for base, _ in times)
    return fastest, statistics.median(head / base for base, head in times)


def report(revision, names, rounds=ROUNDS, threshold=THRESHOLD):
    """Print the comparison; return whether any case got slower by more than the threshold.

    Both ratios have to be above it: noise lengthens one round, or one side's best, but seldom both.
    """
    slower, rows = False, []
    for name, times in compare_with(revision, names, rounds).items():
        fastest, median = ratios(times)
        late = min(fastest, median) > threshold
        slower |= late
        base, head = (min(side) for side in zip(*times, strict=True))
        figures = f"{1e3 * base:.4g} ms", f"{1e3 * head:.4g} ms", f"{fastest:.3f}", f"{median:.3f}"
        rows.append([name, *figures, "slower" if late else ""])
    heads = ["case", f"base ({revision})", "head", "of the fastest", "median of rounds", ""]
    print(table(heads, rows))
    return slower

"""The present checkout against another revision, each fit in a process of its own, in turns."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report.markdown import table
from benchmarks.suites import regression

ROOT = Path(__file__).parents[2]
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


def seconds(name, root):
    """Return the seconds of a case with the package as it is in a folder."""
    done = subprocess.run(
        [sys.executable, regression.__file__, name],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def compare_with(revision, names, rounds):
    """Return, for each case, the seconds of base and of head in each round, by turns."""
    with checkout(revision) as base:
        times = {name: [] for name in names}
        for i in range(rounds):
            for name in names:
                sides = [base, ROOT] if i % 2 else [ROOT, base]
                pair = {side: seconds(name, side) for side in sides}
                times[name].append((pair[base], pair[ROOT]))
        return times


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

"""A failure as three lines of code that anyone can paste, and counts of many."""

from collections import Counter

from .verdicts import ALARM, CRASH, KINDS, SLOW

ALARMS = 0.01  # part of the draws that may warn without a reason
LISTED = 12  # estimators, losses and penalties of a verdict


def lines_of(drawn, failure):
    """Return the three lines."""
    name = drawn.estimator.__name__
    given = ", ".join(f"{key}={value!r}" for key, value in drawn.parameters.items())
    first = f"import numpy as np; from skorchlite import {name}; from {drawn.home} import draw; "
    first += f"d = draw({drawn.seed})  # {', '.join(drawn.traits)}"
    second = f"m = {name}({given}).{drawn.method}(*d.data())"
    if failure.kind == SLOW:
        first = "import time; " + first
        second = f"t = time.process_time(); {second}; t = time.process_time() - t"
    if failure.kind in (CRASH, ALARM) and "Warning" in failure.words:
        first = 'import warnings; warnings.simplefilter("error"); ' + first
    return [first, second, f"{failure.check}  # {failure.kind}: {failure.words}"]


class Tally:
    """What draws came to."""

    def __init__(self, seed):
        self.first = self.last = seed
        self.n_draws, self.seconds = 0, 0.0
        self.counts, self.examples = Counter(), {}

    def add(self, drawn, outcome):
        """Count what was said of a draw."""
        self.n_draws += 1
        self.last = drawn.seed
        self.seconds += outcome.seconds
        self.counts["warned"] += bool(outcome.warned)
        self.counts["unsure"] += outcome.unsure
        for kind in sorted({failure.kind for failure in outcome.failures}):
            self.counts[kind] += 1
            self.counts[kind, drawn.kind] += 1
            self.examples.setdefault((kind, drawn.kind), []).append(drawn.seed)

    def broke(self, drawn):
        """Count a draw that the judge could not judge."""
        self.n_draws += 1
        self.last = drawn.seed
        self.counts["broke"] += 1
        print(f"The judge broke at seed {drawn.seed}.")

    @property
    def failed(self):
        """Whether the draws fail as a whole."""
        counts = self.counts
        wrong = sum(counts[kind] for kind in KINDS if kind != ALARM) + counts["broke"]
        return wrong > 0 or counts[ALARM] > ALARMS * self.n_draws

    def lines(self, seconds):
        """Yield the counts by verdict, and by estimator, loss and penalty."""
        took = f"in {seconds:.0f} s ({self.seconds:.0f} s of fits)"
        yield f"{self.n_draws} draws, seeds {self.first} to {self.last}, {took}"
        for kind in KINDS:
            yield f"{self.counts[kind]:6d}  {kind}"
            parts = [(self.counts[key], key[1]) for key in self.examples if key[0] == kind]
            for count, name in sorted(parts, reverse=True)[:LISTED]:
                seeds = ", ".join(map(str, self.examples[kind, name][:4]))
                yield f"          {count:4d}  {name}  (seeds {seeds})"
        yield f"{self.counts['warned']:6d}  wrong, and says so"
        yield f"{self.counts['unsure']:6d}  the references leave room for doubt"
        if self.counts["broke"]:
            yield f"{self.counts['broke']:6d}  the judge broke"

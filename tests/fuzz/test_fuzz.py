"""A short run of the judge: no fit may fail a verdict, and few may warn without a reason."""

from .draws import draw
from .report import Tally, lines_of, one_thread
from .verdicts import judge

SEEDS = range(200)


def test_draws_pass_every_verdict():
    tally, said = Tally(SEEDS[0]), []
    with one_thread():
        for seed in SEEDS:
            drawn = draw(seed)
            outcome = judge(drawn)
            tally.add(drawn, outcome)
            said += ["\n".join(lines_of(drawn, failure)) for failure in outcome.failures]
    assert not tally.failed, "\n\n".join(said)

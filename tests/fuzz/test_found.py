"""What draws have found, one of each kind, so that it does not come back."""

import pytest

from .draws import draw
from .verdicts import ALARM, BOUND, CONSTRAINT, CRASH, SILENT, SLOW, judge

# Coefficients of 1e-9 to 1e-22 that are zero in every optimum: of strong penalties, of columns that
# depend on each other, of weights and outliers of many sizes, and by solver="gradient".
NOT_ZERO = [40070, 41209, 41353, 41744, 41817, 41851, 42416, 42980, 50522, 52249, 53334, 71110]
# log_cosh with corners far outside its bend, exact fits, line searches and steps without an end.
SECONDS = [1428, 30866, 31149, 40656, 42512, 44445, 51762, 52464, 53277, 55131, 64017]
# A bound far below what was left: stochastic fits, and a slope outside the span of the rows.
STOCHASTIC = [20164, 21240, 23669, 30783, 31051, 41094, 43350, 52555, 53269, 53355, 53503, 67702]
BELOW = [*STOCHASTIC, 64786]


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *((CONSTRAINT, seed) for seed in NOT_ZERO),
        *((SLOW, seed) for seed in SECONDS),
        *((BOUND, seed) for seed in BELOW),
    ],
)
def test_what_was_found_does_not_come_back(kind, seed):
    failures = judge(draw(seed)).failures
    found = [f for f in failures if f.kind in (kind, SILENT, CRASH, ALARM)]
    assert not found, found

"""What draws have found, one of each kind, so that it does not come back."""

import pytest

from .draws import draw
from .verdicts import ABSURD, ALARM, BOUND, CONSTRAINT, CRASH, SILENT, SLOW, judge

# Coefficients of 1e-9 to 1e-22 that are zero in every optimum: of strong penalties, of columns that
# depend on each other, of weights and outliers of many sizes, and by solver="gradient".
NOT_ZERO = [40070, 41209, 41353, 41744, 41817, 41851, 42416, 42980, 50522, 52249, 53334, 71110]
# log_cosh with kinks far outside its curved part, exact fits, line searches without an end.
SECONDS = [1428, 30866, 31149, 40656, 42512, 44445, 51762, 52464, 53277, 55131, 64017, 813780]
# A bound far below what was left: stochastic fits, and a slope outside the span of the rows.
STOCHASTIC = [20164, 21240, 23669, 30783, 31051, 41094, 43350, 52555, 53269, 53355, 53503, 67702]
# What rounding adds to predictions, a penalty that is no bound on its own, a target beside far
# larger ones, terms that are not what they stand for.
BELOW = [*STOCHASTIC, 64786, 133703, 306154, 359623, 376331, 323793]
# Directions that rounding of a far row, or of another column, hid: in single precision, beside
# outliers, with weights of many sizes, with a penalty that is next to nothing.
HIDDEN = [702091, 74821, 218213, 308196, 341972, 209232, 345625, 345839]
# Coefficients that are too large for their own digits, a target beside far larger ones, a penalty
# that lets coefficients go as far as rounding of a slope leads them.
UNTOLD = [360801, 310290, 358451, 917674, 1001991]
# Least norm among powers of columns of few numbers, and of streams of few rows.
LARGE = [320546, 333479, 334164, 411934]
# A penalty whose rounding made it negative, and no coordinate to descend along.
ERRORS = [322546, 318689]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *((CONSTRAINT, seed) for seed in NOT_ZERO),
        *((SLOW, seed) for seed in SECONDS),
        *((BOUND, seed) for seed in BELOW),
        *((SILENT, seed) for seed in HIDDEN + UNTOLD),
        *((ABSURD, seed) for seed in LARGE),
        *((CRASH, seed) for seed in ERRORS),
    ],
)
def test_what_was_found_does_not_come_back(kind, seed):
    failures = judge(draw(seed)).failures
    alarm = () if kind == CRASH else (ALARM,)  # an error may have become a warning
    found = [f for f in failures if f.kind in (kind, SILENT, CRASH, *alarm)]
    assert not found, found

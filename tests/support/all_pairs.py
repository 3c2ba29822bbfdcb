"""Products of parameters, of which the gate runs as many cases as have every pair of values.

The product of many parameters takes long, and few faults need three of them together to show. So
the gate runs a covering: whatever two values of two parameters are taken, one of its cases has
both. The other cases of the product have the marker ``exhaustive``.
"""

from itertools import combinations, product

import pytest


def covering(*lengths):
    """Return combinations of indices, each below its length, that have every pair between them.

    The combination that has most of the missing pairs comes next, and of several the first one. So
    the choice is the same in every run and every process. Of one parameter all indices are chosen.
    """
    size = min(2, len(lengths))
    pairs = {row: set(combinations(enumerate(row), size)) for row in product(*map(range, lengths))}
    missing, rows = set().union(*pairs.values()), []
    while missing:
        rows.append(max(pairs, key=lambda row: len(pairs[row] & missing)))
        missing -= pairs[rows[-1]]
    return rows


def all_pairs(ids=None, **values):
    """Parametrise a test by all combinations of values, of which the gate runs a covering.

    Parameters
    ----------
    ids : callable, default=None
        Names a value in the name of a case, as for ``pytest.mark.parametrize``.
    **values : iterable
        The values of each parameter.
    """
    columns = [list(column) for column in values.values()]
    kept = set(covering(*map(len, columns)))
    others = pytest.mark.exhaustive, pytest.mark.slow  # also left out where what is slow is
    rows = product(*(range(len(column)) for column in columns))
    cases = [
        pytest.param(*case, marks=() if row in kept else others)
        for row, case in zip(rows, product(*columns), strict=True)
    ]
    return pytest.mark.parametrize(list(values), cases, ids=ids)

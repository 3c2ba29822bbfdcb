"""The coverings that stand for products of parameters in the gate."""

from itertools import combinations, product

import pytest

from tests.support.all_pairs import all_pairs, covering


def pairs_of(rows):
    return {pair for row in rows for pair in combinations(enumerate(row), 2)}


@pytest.mark.parametrize(
    "lengths", [(7, 4, 2, 2, 2), (2, 2, 2, 2, 2, 2), (1, 3, 4), (5, 5, 5, 5), (6, 3)], ids=str
)
def test_a_covering_has_every_pair_in_few_rows(lengths):
    rows, whole = covering(*lengths), list(product(*map(range, lengths)))
    assert set(rows) <= set(whole) and len(set(rows)) == len(rows)
    assert pairs_of(rows) == pairs_of(whole)
    # No covering has fewer rows than the two longest columns have pairs.
    longest, second = sorted(lengths)[:-3:-1]
    assert len(rows) <= 2 * longest * second


def test_a_covering_of_one_parameter_is_all_its_values():
    assert covering(3) == [(0,), (1,), (2,)]


def test_a_covering_of_the_usual_product_is_the_shortest():
    assert len(covering(7, 4, 2, 2, 2)) == 28  # of 224


def test_what_the_gate_leaves_out_has_the_marker():
    loss, penalty, flag = ["a", "b", "c"], [None, "l2"], [False, True]
    mark = all_pairs(loss=loss, penalty=penalty, flag=flag).mark
    names, cases = mark.args
    assert names == ["loss", "penalty", "flag"]
    assert [case.values for case in cases] == list(product(loss, penalty, flag))
    marks = [{mark.name for mark in case.marks} for case in cases]
    kept = [case.values for case, own in zip(cases, marks, strict=True) if not own]
    assert all(own in (set(), {"exhaustive", "slow"}) for own in marks)
    assert len(kept) == 6
    assert {pair for case in kept for pair in combinations(case, 2)} == {
        pair for case in cases for pair in combinations(case.values, 2)
    }

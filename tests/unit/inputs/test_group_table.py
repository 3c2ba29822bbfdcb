"""Numbers for keys of any kind."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skorchlite._inputs.group_table import group_table, joined
from skorchlite._inputs.keyed_stream import KeyNumbers

COLUMNS = {
    "sorted": np.repeat([3, 5, 9], 4),
    "close integers": np.array([7, -2, 7, 3, -2]),
    "far integers": np.array([7, 10**15, -(10**12), 7]),
    "whole floats": np.array([2.0, 1.0, 2.0, 5.0]),
    "floats": np.array([0.5, -1.5, 0.5]),
    "floats that differ by rounding": np.array([-0.3, 0.7, np.nextafter(0.7, 1)]),
    "half floats": np.array([0.5, -1.5, 0.5], np.float16),
    "bytes": np.array([200, 3, 200, 255], np.uint8),
    "all of few bits": np.arange(-128, 128, dtype=np.int8)[::-1],
    "the ends of few bits": np.repeat(np.array([2**15 - 1, -(2**15)], np.int16), 2**14),
    "beyond doubles": np.array([2**53 + 1, 2**53, 2**53 + 2]),
    "beyond signed integers": np.array([2**63 + 1, 2**63, 2**63 + 2], np.uint64),
    "the least and the largest": np.array([2**63 - 1, 2**63 - 2, -(2**63), 1 - 2**63]),
    "booleans": np.array([True, False, True]),
    "strings": np.array(["b", "a", "b"]),
    "objects": np.array(["b", "a", "b", "ab"], object),
    "times": np.array(["2020-01-02", "2019-01-01"], "M8[s]"),
    "pandas": pd.Series(["b", "a", "b"]),
    "categories": pd.Series(pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"])),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_keys_are_numbered_in_their_order_and_found_again(kind):
    column = COLUMNS[kind]
    table, codes = group_table([column], ["key"], "Model")
    values, wanted = np.unique(np.asarray(column), return_inverse=True)
    np.testing.assert_array_equal(table.keys, values)
    np.testing.assert_array_equal(codes, wanted)
    np.testing.assert_array_equal(table.find([column[::-1]], ["key"], "Model"), wanted[::-1])
    few = table.taken(np.arange(len(values)) != 0)
    np.testing.assert_array_equal(few.find([column], ["key"], "Model"), wanted - 1)


def test_combinations_of_columns_are_numbered_in_the_order_of_the_columns():
    rng = np.random.default_rng(0)
    columns = [
        rng.integers(3, size=200),
        rng.choice(["x", "y"], 200),
        rng.integers(4, size=200) / 2,
    ]
    table, codes = group_table(columns, [0, 1, 2], "Model")
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    wanted = sorted(set(rows))
    assert list(map(tuple, table.keys.tolist())) == wanted
    assert [wanted[code] for code in codes] == rows
    new = [np.array([0, 9]), np.array(["x", "x"]), np.array([0.5, 0.5])]
    assert table.find(new, [0, 1, 2], "Model").tolist() == [wanted.index((0, "x", 0.5)), -1]


def test_keys_that_come_block_by_block_are_numbered_as_they_come():
    numbers = KeyNumbers(["key"], "Model")
    assert numbers.of([np.array([5, 3, 5])]).tolist() == [1, 0, 1]
    assert numbers.of([np.array([4, 3, 7])]).tolist() == [2, 0, 3]
    table, place = numbers.table()
    assert table.keys.tolist() == [3, 4, 5, 7] and place.tolist() == [0, 2, 1, 3]


def test_values_that_cannot_be_compared_keep_the_order_in_which_they_come():
    column = np.array(["b", 1, "b", 2.5], object)
    table, codes = group_table([column], ["key"], "Model")
    assert table.keys.tolist() == ["b", 1, 2.5] and codes.tolist() == [0, 1, 0, 2]


LARGE = [2**53, 2**53 + 1, 2**53 + 5]


@pytest.mark.parametrize("kind", [np.int64, np.uint64, object])
@pytest.mark.parametrize("other", [np.int64, np.uint64, object])
def test_integers_beyond_doubles_are_told_apart_in_any_type(kind, other):
    table, _ = group_table([np.array(LARGE, kind)], ["key"], "Model")
    assert table.find([np.array([*LARGE, 2], other)], ["key"], "Model").tolist() == [0, 1, 2, -1]


def test_a_double_is_the_key_that_it_equals():
    table, _ = group_table([np.array(LARGE)], ["key"], "Model")
    found = table.find([np.array([2.0**53, 2.0**53 + 4, 0.5])], ["key"], "Model")
    assert found.tolist() == [0, -1, -1]
    small, _ = group_table([np.array([1, 2, 3])], ["key"], "Model")
    assert small.find([np.array([3.0, 1.5, 1e300])], ["key"], "Model").tolist() == [2, -1, -1]


def test_blocks_of_other_types_are_joined_without_rounding():
    pieces = [np.array(LARGE), np.array(LARGE, np.uint64), np.array([0.5])]
    assert joined(pieces).tolist() == [*LARGE, *LARGE, 0.5]
    assert joined([np.array([1, 2]), np.array([0.5])]).dtype == float


def test_columns_of_other_types_are_shown_side_by_side_without_rounding():
    table, _ = group_table([np.array(LARGE), np.array([0.5, 1.0, 2.0])], [0, 1], "Model")
    assert table.keys.tolist() == [[LARGE[0], 0.5], [LARGE[1], 1.0], [LARGE[2], 2.0]]


def unhashable():
    column = np.empty(2, object)
    column[:] = [{"a": 1}, "b"]
    return {"object": column, "pandas": pd.Series([[1], [2]]), "polars": pl.Series([[1], [2]])}


@pytest.mark.parametrize("kind", ["object", "pandas", "polars"])
def test_a_key_that_cannot_be_hashed_is_refused(kind):
    with pytest.raises(TypeError, match=r"must be a string or a number(.|\n)*'key'"):
        group_table([unhashable()[kind]], ["key"], "Model")


def test_infinite_keys_are_refused():
    with pytest.raises(ValueError, match=r"Input X contains infinity(.|\n)*row 1, column 'key'"):
        group_table([np.array([1.0, np.inf])], ["key"], "Model")

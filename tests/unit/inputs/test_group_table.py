"""Numbers for keys of any kind."""

import numpy as np
import pandas as pd
import pytest

from skorchlite._inputs.group_table import group_table
from skorchlite._inputs.keyed_stream import KeyNumbers

COLUMNS = {
    "sorted": np.repeat([3, 5, 9], 4),
    "close integers": np.array([7, -2, 7, 3, -2]),
    "far integers": np.array([7, 10**15, -(10**12), 7]),
    "whole floats": np.array([2.0, 1.0, 2.0, 5.0]),
    "floats": np.array([0.5, -1.5, 0.5]),
    "bytes": np.array([200, 3, 200, 255], np.uint8),
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


def test_a_key_that_cannot_be_hashed_is_refused():
    column = np.empty(2, object)
    column[:] = [{"a": 1}, "b"]
    with pytest.raises(TypeError, match="must be a string or a number"):
        group_table([column], ["key"], "Model")


def test_infinite_keys_are_refused():
    with pytest.raises(ValueError, match=r"Input X contains infinity(.|\n)*row 1, column 'key'"):
        group_table([np.array([1.0, np.inf])], ["key"], "Model")

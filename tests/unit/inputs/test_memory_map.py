"""Arrays that are mapped from files which are no longer what they were when they were mapped."""

import os
import sys

import numpy as np
import pytest

from skorchlite import TorchSGDRegressor
from skorchlite._inputs.memory_map import MappedArray, as_mapped

rng = np.random.default_rng(0)
X = rng.standard_normal((5_000, 4))
y = X @ [1.0, 2.0, -3.0, 0.5] + rng.standard_normal(5_000)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the maps")


@pytest.fixture(name="path")
def path_of_file(tmp_path):
    np.save(tmp_path / "X.npy", X)
    return tmp_path / "X.npy"


def remove(path):
    path.unlink()


def replace(path):
    np.save(path.with_name("other.npy"), -X)
    os.replace(path.with_name("other.npy"), path)


def move(path):
    path.rename(path.with_name("moved.npy"))


def test_file_that_is_there_is_read_in_place_of_the_map(path):
    mapped = np.load(path, mmap_mode="r")
    for view in (mapped, mapped[10:], mapped[:, 1:3], np.asarray(mapped)):
        assert isinstance(as_mapped(view), MappedArray)
        np.testing.assert_array_equal(as_mapped(view)[5:50], view[5:50])


@pytest.mark.parametrize("change", [remove, replace, move])
def test_rows_are_those_of_the_file_that_was_mapped(change, path):
    mapped = np.load(path, mmap_mode="r")
    change(path)
    assert as_mapped(mapped) is mapped
    model = TorchSGDRegressor().fit(mapped, y)
    np.testing.assert_array_equal(model.coef_, TorchSGDRegressor().fit(X, y).coef_)


def test_map_that_is_copied_on_write_has_what_was_written_to_it(path):
    mapped = np.load(path, mmap_mode="c")
    mapped[:] = -X
    assert as_mapped(mapped) is mapped


def test_file_that_was_cut_short_is_an_error(path):
    mapped = np.load(path, mmap_mode="r")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(OSError, match=r"X.npy was cut short: of 5000 rows, those from \d+ on"):
        TorchSGDRegressor().fit(mapped, y)

"""Which kind of input X is, and when its first block is read."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from skorchlite import TorchGroupedRegressor, TorchSGDRegressor
from skorchlite._inputs.block_reader import BlockReader
from skorchlite._inputs.dask_collections import DaskInput
from skorchlite._inputs.dataset_items import DatasetInput
from skorchlite._inputs.in_memory import ArrayInput
from skorchlite._inputs.input_kinds import input_of
from skorchlite._inputs.stream_input import StreamInput

X = np.random.default_rng(0).standard_normal((60, 3))
y = X @ [1.0, 2.0, -3.0]
BLOCKS = [(X[:20], y[:20]), (X[20:], y[20:])]
ITEMS = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(BLOCKS)


class NotRead:
    """An iterable that fails if it is iterated over."""

    def __iter__(self):
        raise AssertionError("it was read")


KINDS = {
    "array": (lambda: X, ArrayInput),
    "list of lists": (lambda: X.tolist(), ArrayInput),
    "tensor": (lambda: torch.from_numpy(X), ArrayInput),
    "pandas": (lambda: pd.DataFrame(X), ArrayInput),
    "polars": (lambda: pl.DataFrame(X), ArrayInput),
    "sparse": (lambda: scipy.sparse.csr_array(X), ArrayInput),
    "nothing": (lambda: None, ArrayInput),
    "path": (lambda: "data.csv", ArrayInput),
    "data set": (lambda: ITEMS, DatasetInput),
    "rows with targets": (lambda: list(zip(X, y, strict=True)), DatasetInput),
    "blocks": (lambda: BLOCKS, StreamInput),
    "loader": (lambda: DataLoader(ITEMS, batch_size=7), StreamInput),
    "iterable data set": (Stream, StreamInput),
    "zip": (lambda: zip(X, y, strict=True), StreamInput),
    "iterable": (NotRead, StreamInput),
}


@pytest.mark.parametrize("make, kind", KINDS.values(), ids=KINDS)
def test_kind_of_an_input_is_known_before_it_is_read(make, kind):
    assert type(input_of(make())) is kind


def test_collection_of_dask_is_an_input_of_its_own():
    da = pytest.importorskip("dask.array")
    assert type(input_of(da.from_array(X))) is DaskInput


def counted(blocks, read):
    for block in blocks:
        read.append(block)
        yield block


def test_opening_a_reader_reads_the_first_block_and_no_other():
    read = []
    reader = BlockReader.opened(TorchSGDRegressor(), counted(BLOCKS, read), reset=True)
    assert len(read) == 1
    assert (reader.n_features, reader.n_targets, reader.n_rows) == (3, 1, None)
    assert [len(block[0]) for block in reader.blocks()] == [20, 40]
    assert reader.n_rows == 60
    with pytest.raises(ValueError, match="can be iterated once"):
        reader.blocks()


def test_blocks_that_were_read_ahead_are_not_read_again():
    read = []
    reader = BlockReader.opened(TorchSGDRegressor(), counted(BLOCKS, read), reset=True)
    assert len(reader.ahead(20)) == 1
    assert len(reader.ahead(61)) == 2
    assert reader.n_rows == 60  # the end has been reached
    assert len(list(reader.blocks())) == len(read) == 2


def test_what_has_not_been_read_is_an_error_that_says_how_to_read_it(tmp_path):
    dataset = pytest.importorskip("pyarrow.dataset")
    parquet = pytest.importorskip("pyarrow.parquet")
    frame = pl.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    frame.write_parquet(tmp_path / "part.parquet")
    model = TorchSGDRegressor().fit(X[:, :2], y)
    opened = dataset.dataset(tmp_path)
    with parquet.ParquetFile(tmp_path / "part.parquet") as file:
        unread = [frame.lazy(), opened, opened.scanner(), file, str(tmp_path), tmp_path]
        for data in unread:
            said = rf"X is a {type(data).__name__}.*arrow_blocks"
            with pytest.raises(TypeError, match=said):
                model.predict(data)
            with pytest.raises(TypeError, match=said):
                model.fit(data, y)
            with pytest.raises(TypeError, match=said):
                TorchGroupedRegressor("a").fit(data, y)


@pytest.mark.parametrize("use", ["predict", "score", "partial_fit"])
def test_blocks_without_names_are_warned_of_once(use):
    model = TorchSGDRegressor().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    with pytest.warns(UserWarning, match="X does not have valid feature names") as warned:
        getattr(model, use)(4 * BLOCKS)
    assert len(warned) == 1


def test_names_of_later_blocks_are_checked():
    model = TorchSGDRegressor().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    frames = [pd.DataFrame(X, columns=names) for names in (["a", "b", "c"], ["a", "c", "b"])]
    with pytest.raises(ValueError, match=r"must be in the same order(?s:.*)in block 1"):
        model.predict([(frame, y) for frame in frames])

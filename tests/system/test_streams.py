"""Rows that come in blocks: the fit is that of the whole arrays, and nothing is left behind.

``X_val``, predict and score may be given what fit may; this is how a stream is written::

    class Files:
        def __iter__(self):
            for path in paths:
                part = np.load(path)
                yield part[:, 1:], part[:, 0]

    model = TorchSGDRegressor("huber").fit(Files())
"""

import copy
import pickle
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._objective.losses import LOSSES

EPS = np.finfo(float).eps
EXACT = 1e4 * EPS  # the condition of the scaled columns is about 1e1, of their Gram matrix 1e2
OPTIMUM = 1e-7  # of points whose gradients, or objectives, are at the default tol
NAMES = list("abcd")
PATIENCE = 300  # seconds after which a thread hangs, and is not only slow

rng = np.random.default_rng(0)
X = rng.standard_normal((600, 4)) * [1.0, 10.0, 0.1, 100.0] + [3.0, -20.0, 1.0, 0.0]
y = 5 + X @ [1.0, 0.2, 3.0, -0.01] + rng.standard_normal(600)
Y = np.column_stack((y, X[:, 0] - 2 * y))
w = rng.uniform(0.5, 2.0, 600)
EDGES = [0, 1, 3, 250, 250, 420, 599, 600]


def blocks(*parts, edges=EDGES):
    return [tuple(part[slice(*pair)] for part in parts) for pair in pairwise(edges)]


class Anew:
    """What begins anew each time it is iterated, and counts how often it was."""

    def __init__(self, begin):
        self.begin, self.passes = begin, 0

    def __iter__(self):
        self.passes += 1
        yield from self.begin()


class Rows(IterableDataset):
    def __init__(self, begin):
        self.begin = begin

    def __iter__(self):
        return iter(self.begin())


class Items(Dataset):
    def __init__(self, *parts):
        self.parts = parts

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, i):
        return tuple(part[i] for part in self.parts)


def tensors(*parts):
    return TensorDataset(*(torch.from_numpy(part) for part in parts))


def whole_blocks():
    return blocks(X, y)


SOURCES = {
    "list": lambda *parts: blocks(*parts),
    "tuple": lambda *parts: tuple(blocks(*parts)),
    "class": lambda *parts: Anew(lambda: blocks(*parts)),
    "generator function": lambda *parts: Anew(lambda: (block for block in blocks(*parts))),
    "DataLoader": lambda *parts: DataLoader(tensors(*parts), batch_size=64),
    "DataLoader shuffled": lambda *parts: DataLoader(tensors(*parts), batch_size=64, shuffle=True),
    "DataLoader of rows": lambda *parts: DataLoader(tensors(*parts), batch_size=None),
    "DataLoader of blocks": lambda *parts: DataLoader(
        Rows(lambda: blocks(*parts)), batch_size=None
    ),
    "DataLoader of items": lambda *parts: DataLoader(Items(*parts), batch_size=100),
    "TensorDataset": tensors,
    "Dataset": Items,
    "IterableDataset of rows": lambda *parts: Rows(lambda: zip(*parts, strict=True)),
    "IterableDataset of blocks": lambda *parts: Rows(lambda: blocks(*parts)),
    "one block": lambda *parts: [parts],
    "single rows": lambda *parts: blocks(*parts, edges=range(601)),
    "nested lists": lambda *parts: Anew(
        lambda: (tuple(part.tolist() for part in block) for block in blocks(*parts))
    ),
}


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = torch.get_num_threads(), torch.is_grad_enabled()
    torch.manual_seed(0)
    yield
    assert (torch.get_num_threads(), torch.is_grad_enabled(), n_readers()) == (*before, 0)


def n_readers():
    """Return how many threads read ahead; other libraries have threads of their own."""
    return sum(thread.name == "skorchlite-reader" for thread in threading.enumerate())


def assert_same(model, whole, rtol=EXACT):
    """Relative to the largest coefficient, in units of the columns' deviations."""
    sd = X.std(0) if np.shape(whole.coef_)[-1] == X.shape[1] else 1.0
    size = np.abs(whole.coef_ * sd).max()
    np.testing.assert_allclose(model.coef_ * sd, whole.coef_ * sd, rtol=0, atol=rtol * size)
    expected = whole.predict(X)
    size = np.abs(expected).max()
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=10 * rtol * size)


# --- the fit of the whole ------------------------------------------------------------------


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_fit_is_that_of_the_arrays(kind, loss):
    whole = TorchSGDRegressor(loss).fit(X, y)
    model = TorchSGDRegressor(loss).fit(SOURCES[kind](X, y))
    assert_same(model, whole, EXACT if loss == "squared_error" else OPTIMUM)
    assert model.solver_ == whole.solver_
    assert model.converged_
    np.testing.assert_allclose(model.predict(SOURCES["list"](X)), model.predict(X), rtol=EXACT)


@pytest.mark.parametrize("kind", ["list", "Dataset", "IterableDataset of rows", "TensorDataset"])
def test_weights_are_those_of_the_arrays(kind):
    assert_same(TorchSGDRegressor().fit(SOURCES[kind](X, y, w)), TorchSGDRegressor().fit(X, y, w))


@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss(loss, weighted):
    parts = (X, y, w) if weighted else (X, y)
    parameters = {"loss": loss, "epsilon": 0.5, "quantile": 0.3}
    whole = TorchSGDRegressor(**parameters).fit(*parts)
    model = TorchSGDRegressor(**parameters).fit(blocks(*parts))
    assert model.converged_
    kinks = loss in ("absolute_error", "quantile", "epsilon_insensitive")
    if kinks:  # many points are as good to the tol of the objective
        np.testing.assert_allclose(model.loss_curve_[-1], whole.loss_curve_[-1], rtol=whole.tol)
    else:
        assert_same(model, whole, OPTIMUM)


PENALTIES = [
    {"penalty": "l2", "alpha": 0.1},
    {"penalty": "l1", "alpha": 0.05},
    {"penalty": "elasticnet", "alpha": 0.05, "l1_ratio": 0.5},
    {"positive": True},
    {"fit_intercept": False},
    {"solver": "gradient"},
    {"solver": "gradient", "loss": "log_cosh"},
    {"loss": "huber", "penalty": "l1", "alpha": 0.01},
    {"dtype": "float32"},
]


@pytest.mark.parametrize("parameters", PENALTIES, ids=str)
@pytest.mark.parametrize("targets", [y, Y], ids=["one target", "two targets"])
def test_penalties_and_targets(parameters, targets):
    whole = TorchSGDRegressor(**parameters).fit(X, targets)
    model = TorchSGDRegressor(**parameters).fit(blocks(X, targets))
    assert_same(model, whole, OPTIMUM)
    assert np.array_equal(model.coef_ == 0, whole.coef_ == 0)
    assert np.shape(model.intercept_) == np.shape(whole.intercept_)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"loss": "huber"}, {"penalty": "l2", "alpha": 0.1}, {"degree": 3}, {"degree": 1}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["list", "DataLoader", "IterableDataset of rows"])
def test_polynomial(parameters, kind):
    Z = (X - X.mean(0)) / X.std(0)
    parameters = {"degree": 2} | parameters
    whole = TorchPolyRegressor(**parameters).fit(Z, y)
    model = TorchPolyRegressor(**parameters).fit(SOURCES[kind](Z, y))
    expected = whole.predict(Z)
    np.testing.assert_allclose(model.predict(blocks(Z)), expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=0, atol=1e-7)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 600, 1000])
@pytest.mark.parametrize("more", [{}, {"penalty": "l1"}, {"solver": "adam"}], ids=str)
def test_descent_with_a_given_step_takes_the_steps_of_the_arrays(batch_size, more):
    parameters = {"batch_size": batch_size, "learning_rate": 0.01, "max_iter": 4, "tol": None}
    parameters |= {"shuffle": False} | more
    whole = TorchSGDRegressor(**parameters).fit(X, y)
    model = TorchSGDRegressor(**parameters).fit(blocks(X, y))
    assert_same(model, whole)
    np.testing.assert_allclose(model.loss_curve_, whole.loss_curve_, rtol=EXACT)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_descent_that_finds_its_step_ends_at_the_optimum(loss):
    whole = TorchSGDRegressor(loss).fit(X, y)
    for source in (blocks(X, y), DataLoader(tensors(X, y), batch_size=50, shuffle=True)):
        model = TorchSGDRegressor(loss, batch_size=32, random_state=0).fit(source)
        assert model.converged_
        assert_same(model, whole, 1e-6)


@pytest.mark.parametrize("parameters", [{"batch_size": 32, "max_iter": 3, "tol": None}, {}])
def test_same_seed_gives_the_same_answer(parameters):
    fits = [TorchSGDRegressor(random_state=3, **parameters).fit(blocks(X, y)) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].coef_, fits[1].coef_)


def test_drop_last_leaves_out_the_last_rows():
    loader = DataLoader(tensors(X, y), batch_size=70, drop_last=True)
    assert_same(TorchSGDRegressor().fit(loader), TorchSGDRegressor().fit(X[:560], y[:560]))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_loaders_with_workers_end_with_the_fit(workers):
    before = set(torch.multiprocessing.active_children())  # of other tests
    loader = DataLoader(tensors(X, y), batch_size=64, num_workers=workers)
    model = TorchSGDRegressor().fit(loader)
    assert_same(model, TorchSGDRegressor().fit(X, y))
    assert before.issuperset(torch.multiprocessing.active_children())
    bad = X.copy()
    bad[100, 0] = np.inf
    with pytest.raises(ValueError, match="in block 1, which begins with row 64, and in row 36"):
        model.fit(DataLoader(tensors(bad, y), batch_size=64, num_workers=workers))
    assert before.issuperset(torch.multiprocessing.active_children())


@pytest.mark.slow
def test_blocks_larger_than_those_inside():
    Z = np.random.default_rng(0).standard_normal((40_000, 3))
    t = Z @ [1.0, 2.0, 3.0] + Z[:, 0] ** 2
    for loss, rtol in (("squared_error", EXACT), ("log_cosh", OPTIMUM)):
        whole = TorchSGDRegressor(loss).fit(Z, t)
        for edges in ([0, 40_000], [0, 5, 39_000, 40_000], [*range(0, 40_000, 999), 40_000]):
            model = TorchSGDRegressor(loss).fit(blocks(Z, t, edges=edges))
            np.testing.assert_allclose(model.coef_, whole.coef_, rtol=rtol)


# --- kinds of blocks -----------------------------------------------------------------------

KINDS = {
    "float32": lambda block: block.astype(np.float32),
    "float16": lambda block: block.astype(np.float16),
    "int": lambda block: np.round(block).astype(np.int64),
    "uint8": lambda block: np.abs(block).astype(np.uint8),
    "bool": lambda block: block > 1,
    "fortran": np.asfortranarray,
    "reversed": lambda block: block[::-1].copy()[::-1],
    "big endian": lambda block: block.astype(">f8"),
    "read only": lambda block: np.frombuffer(block.tobytes()).reshape(block.shape),
    "object": lambda block: block.astype(object),
    "tensor": torch.from_numpy,
    "tensor float32": lambda block: torch.from_numpy(block).float(),
    "tensor bfloat16": lambda block: torch.from_numpy(block).bfloat16(),
    "tensor int": lambda block: torch.from_numpy(block).int(),
    "tensor with gradients": lambda block: torch.from_numpy(block).clone().requires_grad_(),
    "pandas": lambda block: pd.DataFrame(block, columns=NAMES),
    "pandas from 7": lambda block: pd.DataFrame(
        block, columns=NAMES, index=7 + np.arange(len(block))
    ),
    "polars": lambda block: pl.DataFrame(block, schema=NAMES),
    "arrow": lambda block: pa.table(dict(zip(NAMES, block.T, strict=True))),
    "csr": scipy.sparse.csr_matrix,
    "csc": scipy.sparse.csc_array,
    "nested list": np.ndarray.tolist,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_blocks(kind):
    convert = KINDS[kind]
    source = [(convert(part), target) for part, target in blocks(X, y)]
    if kind == "nested list":
        source = Anew(lambda: [block for block in source_of_lists if len(block[0])])
        source_of_lists = [(part.tolist(), target) for part, target in blocks(X, y)]
    model = TorchSGDRegressor().fit(source)
    whole = TorchSGDRegressor().fit(convert(X), y)
    # From its own rounding, a fit of single precision may stop a pass earlier or later.
    rtol = 1e-6 if "16" in kind or "32" in kind else EXACT
    sd = X.std(0)
    np.testing.assert_allclose(model.coef_ * sd, whole.coef_ * sd, rtol=0, atol=10 * rtol)
    assert getattr(model, "feature_names_in_", "none") is not None
    assert hasattr(model, "feature_names_in_") == hasattr(whole, "feature_names_in_")


@pytest.mark.parametrize("kind", ["tensor", "pandas", "polars", "arrow"])
def test_kinds_of_targets_and_weights(kind):
    convert = {
        "tensor": torch.from_numpy,
        "pandas": lambda part: pd.Series(part, index=np.arange(len(part))[::-1]),
        "polars": pl.Series,
        "arrow": pa.array,
    }[kind]
    source = [(part, convert(t), convert(s)) for part, t, s in blocks(X, y, w)]
    assert_same(TorchSGDRegressor().fit(source), TorchSGDRegressor().fit(X, y, w))


def test_kinds_may_change_from_block_to_block():
    source = [
        (X[:100], y[:100]),
        (torch.from_numpy(X[100:200]), torch.from_numpy(y[100:200])),
        (scipy.sparse.csr_matrix(X[200:300]), pl.Series(y[200:300])),
        (pa.table(dict(zip(NAMES, X[300:400].T, strict=True))).to_batches()[0], y[300:400]),
        (X[400:], y[400:].tolist()),
    ]
    source[3] = (source[3][0].to_pandas().to_numpy(), y[300:400])
    assert_same(TorchSGDRegressor().fit(source), TorchSGDRegressor().fit(X, y))


def test_named_device_is_used():
    source = [tuple(map(torch.from_numpy, block)) for block in blocks(X, y)]
    model = TorchSGDRegressor(device="cpu").fit(source)
    assert model.device_ == "cpu"
    assert isinstance(model.coef_, np.ndarray)
    with pytest.raises(ValueError, match="cannot be used on this machine"):
        TorchSGDRegressor(device="nowhere").fit(source)


@pytest.mark.parametrize("kind", ["array", "tensor", "rows"])
def test_memory_that_the_source_uses_again_is_not_mixed_up(kind):
    def begin():
        size = 1 if kind == "rows" else 20
        table, target = np.empty((size, 4)), np.empty(size)
        for start in range(0, 600, size):
            table[:], target[:] = X[start : start + size], y[start : start + size]
            if kind == "tensor":
                yield torch.from_numpy(table), torch.from_numpy(target)
            elif kind == "array":
                yield table, target
            else:
                yield table[0], target[0]

    whole = TorchSGDRegressor().fit(X, y)
    assert_same(TorchSGDRegressor().fit(begin()), whole)
    assert_same(TorchSGDRegressor("huber", epsilon=1e9).fit(Anew(begin)), whole, OPTIMUM)
    loader = DataLoader(Rows(begin), batch_size=None)
    assert_same(TorchSGDRegressor().fit(loader), whole)
    np.testing.assert_allclose(whole.predict(begin()), whole.predict(X), rtol=EXACT)


# --- one pass ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"penalty": "l2"}, {"penalty": "l1", "alpha": 0.01}, {"positive": True}],
    ids=str,
)
@pytest.mark.parametrize("targets", [y, Y], ids=["one target", "two targets"])
def test_squared_error_takes_one_pass(parameters, targets):
    Z = (X - X.mean(0)) / X.std(0)
    source = Anew(lambda: blocks(Z, targets))
    TorchSGDRegressor(**parameters).fit(source)
    assert source.passes == 1


@pytest.mark.parametrize("parameters", [{"penalty": "l1", "alpha": 1e-3}, {"positive": True}])
def test_kinks_take_another_pass_where_columns_nearly_depend(parameters):
    Z = (X - X.mean(0)) / X.std(0)
    Z = np.hstack((Z, Z[:, :1] + 1e-4 * np.random.default_rng(0).standard_normal((len(Z), 1))))
    source = Anew(lambda: blocks(Z, y))
    TorchSGDRegressor(**parameters).fit(source)
    assert source.passes > 1


def test_number_of_passes_of_polynomials_predictions_and_scores():
    Z = (X - X.mean(0)) / X.std(0)
    source = Anew(lambda: blocks(Z, y))
    model = TorchPolyRegressor(2).fit(source)
    assert source.passes == 2  # one for the intervals of the columns
    source.passes = 0
    model.predict(source), model.score(source)
    assert source.passes == 2


@pytest.mark.parametrize("parameters", [{}, {"penalty": "l1", "alpha": 0.01}, {"positive": True}])
@pytest.mark.parametrize("kind", ["blocks", "rows"])
@pytest.mark.parametrize("weighted", [False, True])
def test_generator_is_enough_for_squared_error(parameters, kind, weighted):
    parts = (X, Y, w) if weighted else (X, Y)
    source = blocks(*parts) if kind == "blocks" else zip(*parts, strict=True)
    model = TorchSGDRegressor(**parameters).fit(iter(source))
    assert_same(model, TorchSGDRegressor(**parameters).fit(*parts))
    assert pickle.loads(pickle.dumps(model)).predict(X).shape == (600, 2)


def test_generator_is_enough_for_a_polynomial():
    Z = (X - X.mean(0)) / X.std(0)
    model = TorchPolyRegressor(3).fit(iter(blocks(Z, y)))
    whole = TorchPolyRegressor(3).fit(Z, y)
    np.testing.assert_allclose(model.predict(Z), whole.predict(Z), rtol=0, atol=1e-9)


@pytest.mark.parametrize("parameters", [{"loss": "huber"}, {"batch_size": 10}], ids=str)
def test_generator_is_not_enough_for_more_passes(Estimator, parameters):
    model = Estimator(**parameters)
    with pytest.raises(ValueError, match=r"once, and more passes.*Give what begins anew"):
        model.fit(iter(blocks(X, y)))
    assert not hasattr(model, "coef_")


def test_generator_of_very_many_columns_is_fitted_exactly_or_not_at_all():
    Z = np.random.default_rng(0).standard_normal((20, 2001))
    model = TorchSGDRegressor().fit(iter([(Z[:7], y[:7]), (Z[7:], y[7:20])]))
    whole = TorchSGDRegressor().fit(Z, y[:20])
    assert model.solver_ == whole.solver_ == "newton"
    np.testing.assert_allclose(
        model.coef_, whole.coef_, rtol=0, atol=1e-12 * abs(whole.coef_).max()
    )


class SameIterator:
    def __init__(self, iterator):
        self.iterator = iterator

    def __iter__(self):
        return self.iterator


class SameGenerator(IterableDataset):
    def __init__(self, iterator):
        self.iterator = iterator

    def __iter__(self):
        return self.iterator


@pytest.mark.parametrize("cls", [SameIterator, SameGenerator])
def test_iterable_that_does_not_begin_anew(cls):
    whole = TorchSGDRegressor().fit(X, y)
    assert_same(TorchSGDRegressor().fit(cls(iter(blocks(X, y)))), whole)
    with pytest.raises(ValueError, match=f"{cls.__name__} yields no rows, though it did before"):
        TorchSGDRegressor("huber").fit(cls(iter(blocks(X, y))))


@pytest.mark.parametrize("later", [599, 1])
def test_other_numbers_of_rows_at_the_second_pass(later):
    source = Anew(lambda: blocks(X, y) if source.passes == 1 else [(X[:later], y[:later])])
    with pytest.raises(ValueError, match=f"yields {later} rows now and had 600 before"):
        TorchSGDRegressor("huber").fit(source)


def test_other_targets_at_the_second_pass():
    source = Anew(lambda: blocks(X, y) if source.passes == 1 else blocks(X, Y))
    with pytest.raises(ValueError, match="do not go together"):
        TorchSGDRegressor("huber").fit(source)


# --- partial_fit ---------------------------------------------------------------------------


def test_partial_fit_of_streams_gives_the_fit_of_the_whole(Estimator):
    Z = (X - X.mean(0)) / X.std(0)
    model = Estimator().partial_fit(iter(blocks(Z[:300], y[:300], edges=[0, 100, 300])))
    model.partial_fit(DataLoader(tensors(Z[300:], y[300:]), batch_size=90))
    whole = Estimator().fit(Z, y)
    np.testing.assert_allclose(model.predict(Z), whole.predict(Z), rtol=0, atol=1e-10)


@pytest.mark.parametrize("parameters", [{"loss": "huber"}, {"learning_rate": 0.01}], ids=str)
def test_partial_fit_learns_from_a_generator_as_from_arrays(parameters):
    model, whole = (TorchSGDRegressor(random_state=0, shuffle=False, **parameters) for _ in "12")
    for _ in range(5):
        model.partial_fit(iter(blocks(X, y)))
        whole.partial_fit(X, y)
    assert_same(model, whole)


STATES = [
    {},
    {"loss": "huber"},
    {"learning_rate": 0.01},
    {"solver": "adam", "learning_rate": 0.01, "batch_size": 5},
    {"learning_rate": "invscaling", "average": True},
]


@pytest.mark.parametrize("parameters", STATES, ids=str)
def test_failed_partial_fit_of_a_stream_leaves_all_that_was_learned(parameters):
    model = TorchSGDRegressor(random_state=0, **parameters).partial_fit(X, y)
    as_it_was = copy.deepcopy(model)
    many = [(np.tile(X, (40, 1)), np.tile(y, 40)), (X, y * np.nan)]  # the first is learned from
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.partial_fit(many)
    for one in (model, as_it_was):
        one.partial_fit(X[::-1], y[::-1])
    np.testing.assert_array_equal(model.coef_, as_it_was.coef_)


# --- what cannot be used -------------------------------------------------------------------


def one_bad(part, value, at=(450,)):
    bad = part.astype(float)
    bad[at] = value
    return bad


EVEN = list(range(0, 601, 100))
HERE = r"in block 4, which begins with row 400, and in row 50 of it, all counted from 0"
ITEMS = {
    "string": "abc",
    "dict": {"X": X, "y": y},
    "int": 3,
    "3-D": (X[None], y),
    "none": None,
    "empty tuple": (),
    "set": {1, 2},
}
BAD = {
    "NaN": (
        lambda: blocks(one_bad(X, np.nan, (450, 2)), y, edges=EVEN),
        f"X contains NaN(.|\n)*{HERE}",
    ),
    "inf": (
        lambda: blocks(one_bad(X, np.inf, (450, 2)), y, edges=EVEN),
        f"X contains inf(.|\n)*{HERE}",
    ),
    "NaN in y": (lambda: blocks(X, one_bad(y, np.nan), edges=EVEN), f"y contains NaN(.|\n)*{HERE}"),
    "NaN in weights": (
        lambda: blocks(X, y, one_bad(w, np.nan), edges=EVEN),
        "sample_weight contains NaN(.|\n)*in block 4, which begins with row 400",
    ),
    "negative weights": (
        lambda: blocks(X, y, one_bad(w, -1), edges=EVEN),
        "Negative values in data passed to `sample_weight`(.|\n)*in block 4",
    ),
    "no weights": (lambda: blocks(X, y, 0 * w), "at least one non-zero"),
    "lengths": (lambda: [(X, y), (X, y[:5])], r"inconsistent numbers of samples(.|\n)*in block 1"),
    "fewer columns": (lambda: [(X, y), (X[:, :3], y)], r"X has 3 features(.|\n)*in block 1"),
    "fewer sparse columns": (
        lambda: [(scipy.sparse.csr_matrix(part), y) for part in (X, X[:, :3])],
        r"X has 3 features(.|\n)*in block 1",
    ),
    "names": (
        lambda: [(pd.DataFrame(X, columns=list(names)), y) for names in ("abcd", "abcx")],
        r"feature names should match(.|\n)*in block 1",
    ),
    "targets": (lambda: [(X, y), (X, Y)], r"do not go together.*in block 1.*\(600, 2\)"),
    "target columns": (lambda: [(X, y), (X, y[:, None])], r"do not go together.*in block 1"),
    "some weights": (lambda: [(X, y), (X, y, w)], "do not go together.*in block 1.*with weights"),
    "some without": (lambda: [(X, y, w), (X, y)], "do not go together.*in block 1.*without"),
    "empty": (lambda: Anew(list), "Anew yields no rows"),
    "empty blocks": (lambda: [(X[:0], y[:0])] * 3, "list yields no rows"),
    "no targets": (lambda: [X, X], "no targets in block 0.*A block is"),
    "no targets later": (lambda: [(X, y), (X,)], "no targets in block 1"),
    "four parts": (lambda: [(X, y, w, w)], "3 parts at most, and here are 4"),
    "ragged rows": (lambda: Anew(lambda: [(X[0], 1.0), (X[0, :3], 1.0)]), "Rows cannot be put"),
    "ragged tensors": (
        lambda: Anew(lambda: [(torch.ones(2 + i % 2), 1.0) for i in range(5)]),
        "Rows cannot be put",
    ),
    "parts of rows": (lambda: Anew(lambda: [(X[0], 1.0), (X[0],)]), "Rows cannot be put"),
    "strings": (
        lambda: [(X, y), (np.full((3, 4), "a", object), y[:3])],
        r"could not convert(.|\n)*in block 1",
    ),
    "complex": (lambda: [(X, y), (X * 1j, y)], r"Complex data not supported(.|\n)*in block 1"),
    "no Dataset": (lambda: Items(X[:0], y[:0]), "Items yields no rows"),
    "Dataset of dicts": (
        lambda: Items([{"x": 1}]),
        "Part 0 of the items of Items has dtype object",
    ),
    "Dataset of blocks": (lambda: Items([X], [y]), "must be one row"),
} | {
    name: (lambda item=item: Anew(lambda: [(X, y), item]), "Item 1 of Anew is no block")
    for name, item in ITEMS.items()
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"batch_size": 9}], ids=str)
def test_bad_streams_are_refused_and_the_earlier_fit_is_as_it_was(name, parameters):
    source, wording = BAD[name]
    model = TorchSGDRegressor(**parameters, max_iter=20, tol=None)
    with pytest.raises((ValueError, TypeError), match=wording):
        model.fit(source())
    assert not [key for key in vars(model) if key.endswith("_")]
    model.fit(X[:100], y[:100])
    before = pickle.dumps(model)
    with pytest.raises((ValueError, TypeError), match=wording):
        model.fit(source())
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("begin", [lambda source: source, iter], ids=["list", "generator"])
def test_place_of_a_number_far_on_is_named(begin):
    source = [(X[:3], y[:3])] * 1000
    source[100] = (X[:0], y[:0])  # counted like any other
    source[900] = (one_bad(X[:3], np.nan, (2, 1)), y[:3])
    model = TorchSGDRegressor().fit(X, y)
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match="in block 900, which begins with row 2697, and in row 2"):
        model.fit(begin(source))
    assert pickle.dumps(model) == before


def test_weightless_blocks_are_left_out_of_account():
    weight = np.where(np.arange(40_000) < 20_000, 0.0, 1.0)
    Z, t = np.tile(X, (67, 1))[:40_000], np.tile(y, 67)[:40_000]
    source = blocks(Z, t, weight, edges=range(0, 40_001, 1000))
    whole = TorchSGDRegressor().fit(Z[20_000:], t[20_000:])
    assert_same(TorchSGDRegressor().fit(source), whole)
    assert_same(TorchSGDRegressor().fit(iter(source)), whole)
    with pytest.raises(ValueError, match="at least one non-zero"):
        TorchSGDRegressor().fit(iter(source[:20]))


@pytest.mark.parametrize("source", [blocks(X, y), tensors(X, y), Anew(whole_blocks)])
def test_arrays_beside_a_stream_are_refused(Estimator, source):
    for method in (Estimator().fit, Estimator().partial_fit):
        with pytest.raises(ValueError, match=r"y goes with arrays.*has it in them"):
            method(source, y)
        with pytest.raises(ValueError, match="sample_weight goes with arrays"):
            method(source, sample_weight=w)
    with pytest.raises(ValueError, match="y_val goes with arrays"):
        Estimator().fit(X, y, X_val=source, y_val=y)


@pytest.mark.parametrize("rows", [X, X.tolist(), pd.DataFrame(X), torch.from_numpy(X), []])
def test_arrays_without_targets_have_the_message_of_scikit_learn(Estimator, rows):
    for method in (Estimator().fit, Estimator().partial_fit):
        with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
            method(rows)


@pytest.mark.parametrize("what", ["data.csv", b"data", {"a": X}, {1, 2}], ids=str)
def test_paths_and_dicts_are_refused(Estimator, what):
    model = Estimator().fit(X, y)
    for call in (lambda: model.fit(what), lambda: model.fit(what, y), lambda: model.predict(what)):
        with pytest.raises(TypeError, match=r"X is a .*arrow_blocks"):
            call()


def test_dataset_without_a_length_is_refused():
    class Endless(Dataset):
        def __getitem__(self, i):
            return X[i], y[i]

    with pytest.raises(ValueError, match=r"Endless has no __len__.*IterableDataset"):
        TorchSGDRegressor().fit(Endless())


# --- errors and interrupts -----------------------------------------------------------------


class MineError(Exception):
    pass


@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"batch_size": 9}], ids=str)
@pytest.mark.parametrize("at", [0, 1, 40])
@pytest.mark.parametrize(
    "error", [MineError("mine"), ValueError("mine"), KeyboardInterrupt("mine")]
)
def test_what_the_source_raises_is_raised(parameters, at, error):
    def begin():
        yield from blocks(X, y, edges=EVEN)[:at] * 7
        raise error

    model = TorchSGDRegressor(**parameters)
    with pytest.raises(type(error), match=r"^mine$") as caught:
        model.fit(Anew(begin))
    assert caught.value is error
    assert not hasattr(model, "coef_")
    assert not n_readers()  # even while the traceback is kept
    assert torch.get_num_threads() == THREADS


THREADS = torch.get_num_threads()


@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"batch_size": 9}], ids=str)
def test_interrupt_ends_the_reading(parameters, monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    import skorchlite._sources.design as staging

    def endless():
        while True:
            yield X, y

    monkeypatch.setattr(staging.torch, "sub", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        TorchSGDRegressor(**parameters).fit(Anew(lambda: blocks(X, y) * 100))
    assert caught.traceback  # which would hold what reads
    assert not n_readers()
    assert torch.get_num_threads() == THREADS
    assert torch.is_grad_enabled()


def test_error_in_the_middle_closes_the_source():
    closed = []

    def begin():
        try:
            while True:
                yield X, one_bad(y, np.nan) if len(closed) else y
                closed.append("not yet")
        finally:
            closed.append("closed")

    with pytest.raises(ValueError, match="NaN"):
        TorchSGDRegressor().fit(Anew(begin))
    assert closed[-1] == "closed"


# --- side by side and one in another -------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"batch_size": 32, "max_iter": 5}])
def test_fits_side_by_side(parameters):
    parameters = parameters | {
        "random_state": 0,
        "tol": None if "batch_size" in parameters else 1e-10,
    }
    expected = TorchSGDRegressor(**parameters).fit(blocks(X, y))
    with ThreadPoolExecutor(4) as pool:
        fits = list(
            pool.map(lambda _: TorchSGDRegressor(**parameters).fit(blocks(X, y)), range(12))
        )
    for model in fits:
        assert_same(model, expected)


INNER = [
    {},
    {"loss": "huber"},
    {"batch_size": 32, "learning_rate": 0.01, "max_iter": 3, "tol": None},
    {"batch_size": 32, "max_iter": 3, "tol": None},
]


@pytest.mark.parametrize("parameters", INNER, ids=str)
def test_fit_in_the_source_of_a_fit(parameters):
    def residuals():
        for rows, target in blocks(X, y, edges=EVEN):
            first = TorchSGDRegressor(**parameters, random_state=0).fit(blocks(X[:, :1], y))
            yield rows, target - first.predict(rows[:, :1])

    done = []

    def fit():
        model = TorchSGDRegressor(**parameters, random_state=0).fit(Anew(residuals))
        done.append(model.score(residuals()))

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert done, "one waits for the other"
    assert done[0] > 0


# --- reading ahead, and memory -------------------------------------------------------------


def test_reading_and_computing_overlap(monkeypatch):
    """The product of a block waits until the block after it is being read."""
    from skorchlite._linalg import gram

    n_rows, n_blocks = 65_536, 5  # rows of which one product is made
    Z = np.ones((n_rows, 4)) * np.arange(n_rows)[:, None] % [2, 3, 5, 7]
    product = gram.SymmetricSum._add_lower
    reading = [threading.Event() for _ in range(n_blocks + 1)]  # of each block, and of the end
    following = iter(reading[1:])

    def waiting(total, A):
        assert next(following).wait(PATIENCE), "one after the other"
        return product(total, A)

    def begin():
        for one in reading[:-1]:
            one.set()
            yield Z, Z[:, 0]
        reading[-1].set()

    monkeypatch.setattr(gram.SymmetricSum, "_add_lower", waiting)
    TorchSGDRegressor(max_iter=1).fit(Anew(begin))
    assert next(following, None) is None  # each block had its product


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{}, {"loss": "log_cosh", "max_iter": 1}], ids=str)
def test_memory_does_not_grow_with_the_stream(parameters):
    def begin(n_blocks):
        generator = np.random.default_rng(0)
        for _ in range(n_blocks):
            rows = generator.random((20_000, 32), dtype=np.float64)  # 5 MB
            yield rows, rows[:, 0]

    peaks = []
    for n_blocks in (10, 60):
        tracemalloc.start()
        with warnings.catch_warnings(action="ignore"):
            TorchSGDRegressor(**parameters).fit(Anew(lambda n=n_blocks: begin(n)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 12e6  # bytes: two blocks, 250 MB having passed


# --- predict and score ---------------------------------------------------------------------


@pytest.mark.parametrize("targets", [y, Y], ids=["one target", "two targets"])
def test_predict_on_streams(Estimator, targets):
    model = Estimator().fit(X, targets)
    expected = model.predict(X)
    sources = {
        "of X": blocks(X),
        "bare X": [block for (block,) in blocks(X)],
        "X and y": blocks(X, targets),
        "generator": (block for (block,) in blocks(X)),
        "rows": iter(X),
        "rows with y": zip(X, targets, strict=True),
        "rows, then blocks, then rows": iter([X[0], X[1], X[2:590], *X[590:]]),
        "TensorDataset": tensors(X),
        "Dataset": Items(X, targets),
        "loader": DataLoader(tensors(X), batch_size=7),
        "tensors": [torch.from_numpy(X[:300]), torch.from_numpy(X[300:])],
    }
    for name, source in sources.items():
        predicted = model.predict(source)
        assert isinstance(predicted, np.ndarray), name
        assert predicted.dtype == np.float64
        size = np.abs(expected).max()
        np.testing.assert_allclose(predicted, expected, rtol=0, atol=EXACT * size, err_msg=name)


def test_predictions_of_single_precision_are_so():
    model = TorchSGDRegressor().fit(X, y)
    assert model.predict([X.astype(np.float32)]).dtype == np.float32


def test_predict_refuses_what_does_not_fit(Estimator):
    with pytest.raises(NotFittedError):
        Estimator().predict(blocks(X))
    model = Estimator().fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features(.|\n)*in block 1"):
        model.predict([X, X[:, :3]])
    with pytest.raises(ValueError, match=r"X contains NaN(.|\n)*in block 1.*in row 450 of it"):
        model.predict([X, one_bad(X, np.nan, (450, 1))])
    with pytest.raises(ValueError, match="yields no rows"):
        model.predict(iter([]))


@pytest.mark.parametrize("parts", [(X, y), (X, y, w), (X, Y), (X, Y, w)], ids=len)
def test_score_of_streams_is_that_of_arrays(Estimator, parts):
    model = Estimator().fit(*parts)
    expected = model.score(*parts)
    for source in (blocks(*parts), iter(blocks(*parts)), tensors(*parts), Items(*parts)):
        assert model.score(source) == pytest.approx(expected, rel=1e-12)


def test_score_of_targets_far_from_each_other_and_of_constant_ones():
    model = TorchSGDRegressor().fit(X, y)
    far = one_bad(y, 1e9, (0,))
    seen = np.arange(600) > 0
    for weight in (np.ones(600), seen.astype(float)):
        expected = model.score(X, far, weight)
        assert model.score(blocks(X, far, weight)) == pytest.approx(expected, rel=1e-9)
    constant = np.full(600, 0.1)
    assert model.score(blocks(X, constant)) == 0.0
    assert TorchSGDRegressor().fit(X, constant).score(blocks(X, constant)) == 1.0


def test_score_refuses_what_does_not_fit(Estimator):
    with pytest.raises(NotFittedError):
        Estimator().score(blocks(X, y))
    model = Estimator().fit(X, y)
    for source in (blocks(X, Y), tensors(X, Y)):
        with pytest.raises(ValueError, match="y has 2 targets, and the model predicts 1"):
            model.score(source)
    for source in (blocks(X, y, 0 * w), iter(blocks(X, y, 0 * w))):
        with pytest.raises(ValueError, match="at least one non-zero"):
            model.score(source)
    for source in (blocks(X, one_bad(y, np.nan)), tensors(X, one_bad(y, np.nan))):
        with pytest.raises(ValueError, match="y contains NaN"):
            model.score(source)
    for source in ([(X[:1], y[:1])], tensors(X[:1], y[:1])):
        with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
            assert np.isnan(model.score(source))


# --- validation data -----------------------------------------------------------------------

VALIDATED = [
    {},
    {"loss": "huber"},
    {"learning_rate": 0.01, "shuffle": False, "max_iter": 4, "tol": None},
]


@pytest.mark.parametrize("parameters", VALIDATED, ids=str)
@pytest.mark.parametrize("kind", ["list", "class", "TensorDataset", "Dataset", "DataLoader"])
def test_validation_data_may_be_a_stream(Estimator, parameters, kind):
    Z = (X - X.mean(0)) / X.std(0)
    whole = Estimator(**parameters).fit(Z[:400], y[:400], X_val=Z[400:], y_val=y[400:])
    held = SOURCES["list"](Z[400:], y[400:]) if kind == "list" else None
    held = (
        held
        or {
            "class": lambda: Anew(lambda: blocks(Z[400:], y[400:], edges=[0, 50, 200])),
            "TensorDataset": lambda: tensors(Z[400:], y[400:]),
            "Dataset": lambda: Items(Z[400:], y[400:]),
            "DataLoader": lambda: DataLoader(tensors(Z[400:], y[400:]), batch_size=33),
        }[kind]()
    )
    model = Estimator(**parameters).fit(Z[:400], y[:400], X_val=held)
    np.testing.assert_allclose(
        model.validation_loss_curve_, whole.validation_loss_curve_, rtol=1e-9
    )
    model = Estimator(**parameters).fit(blocks(Z[:400], y[:400], edges=[0, 99, 400]), X_val=held)
    np.testing.assert_allclose(
        model.validation_loss_curve_, whole.validation_loss_curve_, rtol=1e-6
    )


def test_validation_of_a_fit_on_a_generator(Estimator):
    whole = Estimator().fit(X, y, X_val=X[:50], y_val=y[:50])
    for held in ({"X_val": X[:50], "y_val": y[:50]}, {"X_val": iter([(X[:50], y[:50])])}):
        model = Estimator().fit(iter(blocks(X, y)), **held)
        np.testing.assert_allclose(
            model.validation_loss_curve_, whole.validation_loss_curve_, rtol=1e-9
        )


def test_weights_of_validation_rows_count():
    twice = np.r_[0:50, 0:50, 50:100]
    weight = np.where(np.arange(100) < 50, 2.0, 1.0)
    whole = TorchSGDRegressor().fit(X, y, X_val=X[twice], y_val=y[twice])
    for held in ([(X[:100], y[:100], weight)], tensors(X[:100], y[:100], weight)):
        model = TorchSGDRegressor().fit(X, y, X_val=held)
        np.testing.assert_allclose(
            model.validation_loss_curve_, whole.validation_loss_curve_, rtol=1e-12
        )


def test_validation_streams_that_do_not_fit_are_refused(Estimator):
    for held, wording in (
        (blocks(X, Y), "X_val yields other targets"),
        ([(X[:, :3], y)], "X has 3 features"),
        ([(X, one_bad(y, np.nan))], "y contains NaN"),
        ([X], "no targets in block 0"),
        (tensors(X), "X_val and y_val go together"),
    ):
        with pytest.raises(ValueError, match=wording):
            Estimator().fit(blocks(X, y), X_val=held)


def test_early_stopping_of_a_stream_needs_validation_data():
    model = TorchSGDRegressor(early_stopping=True, random_state=0)
    with pytest.raises(ValueError, match="Give X_val"):
        model.fit(blocks(X, y))
    model.fit(
        blocks(X[:400], y[:400], edges=[0, 400]), X_val=blocks(X[400:], y[400:], edges=[0, 200])
    )
    assert model.validation_loss_curve_
    model.fit(tensors(X, y))  # whose rows can be set aside
    assert model.validation_loss_curve_


# --- the rest of scikit-learn --------------------------------------------------------------


@pytest.mark.parametrize("source", [blocks(X, y), Anew(whole_blocks), tensors(X, y)])
def test_pickle_and_clone_after_a_fit(Estimator, source):
    model = Estimator().fit(source)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "coef_")


def test_pipelines_and_routing_are_as_before(Estimator):
    Z = StandardScaler().fit_transform(X)
    pipeline = make_pipeline(StandardScaler(), Estimator()).fit(X, y)
    np.testing.assert_allclose(pipeline.predict(X), Estimator().fit(Z, y).predict(Z), rtol=EXACT)
    with sklearn.config_context(enable_metadata_routing=True):
        model = Estimator().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, model).fit(X, y, sample_weight=w)
        weighted = Estimator().fit(StandardScaler().fit_transform(X), y, sample_weight=w)
        np.testing.assert_allclose(routed[-1].coef_, weighted.coef_, rtol=1e-6)


def test_streams_under_array_api_dispatch(Estimator):
    with sklearn.config_context(array_api_dispatch=True):
        model = Estimator().fit(DataLoader(tensors(X, y), batch_size=100))
        model.partial_fit(tensors(X, y))
        assert isinstance(model.coef_, np.ndarray)
        assert isinstance(model.predict(blocks(X)), np.ndarray)
        assert model.score(blocks(X, y)) > 0


def test_items_of_a_dataset_are_read_once_for_all_parts():
    class Counted(Items):
        read = 0

        def __getitem__(self, i):
            self.read += 1
            return super().__getitem__(i)

    source = Counted(X, y)
    TorchSGDRegressor().fit(source)
    assert source.read == 1 + 600  # its kind, and the pass

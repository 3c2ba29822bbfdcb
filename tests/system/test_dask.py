"""Dask collections: the answer is that of the rows in memory, and the rows stay where they are."""

import os
import pickle
import re

import numpy as np
import pytest
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._inputs import dask_collections

pytestmark = pytest.mark.slow

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pd = pytest.importorskip("pandas")
distributed = pytest.importorskip("distributed")
cloudpickle = pytest.importorskip("cloudpickle")

NAMES = list("abcd")
N_ROWS = 600


def table(seed=0, n_rows=N_ROWS, n_targets=None):
    """Columns of scales from 1e-2 to 1e2, away from zero; heavy-tailed noise; weights."""
    rng = np.random.default_rng(seed)
    scale = np.logspace(-2, 2, 4)
    X = (rng.standard_normal((n_rows, 4)) + 2) * scale
    coef = rng.standard_normal((4, n_targets or 1)) / scale[:, None]
    y = 3 + X @ coef + rng.standard_t(4, (n_rows, n_targets or 1))
    return X, y if n_targets else y[:, 0], rng.uniform(0.5, 2, n_rows)


X0, Y0, W0 = table()


def chunked(X, y, weight, rows=(250, 250, 100)):
    """Chunks of y and the weights are others than those of X, which has some along columns."""
    return (
        da.from_array(X, chunks=(rows, 3)),
        da.from_array(y, chunks=(170, *y.shape[1:])),
        None if weight is None else da.from_array(weight, chunks=len(weight)),
    )


def framed(X, y, weight):
    columns = {"y": y, "weight": weight}
    frame = dd.from_pandas(pd.DataFrame(X, columns=NAMES).assign(**columns), npartitions=3)
    return frame[NAMES], frame["y"], frame["weight"]


def assert_same(model, whole, rtol=1e-10):
    """The tolerance is relative to the largest coefficient, in units of the columns' deviations."""
    terms = PolynomialFeatures(2, include_bias=False).fit_transform(X0)
    sd = (terms if isinstance(whole, TorchPolyRegressor) else X0).std(axis=0)
    size = np.abs(whole.coef_ * sd).max()
    np.testing.assert_allclose(model.coef_ * sd, whole.coef_ * sd, rtol=0, atol=rtol * size)
    np.testing.assert_allclose(model.intercept_, whole.intercept_, rtol=0, atol=10 * rtol * size)
    assert model.coef_.shape == whole.coef_.shape
    assert model.n_iter_ == whole.n_iter_
    assert model.solver_ == whole.solver_


@pytest.fixture(scope="module", name="cluster")
def cluster_of_processes():
    # Processes that others keep from the processors are not lost.
    timeouts = {f"distributed.comm.timeouts.{name}": "300s" for name in ("connect", "tcp")}
    with (
        dask.config.set(timeouts),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
    ):
        yield cluster


@pytest.fixture(name="on_workers")
def client_of_cluster(cluster):
    with distributed.Client(cluster, set_as_default=False) as client, client.as_current():
        yield client


# --- the answer --------------------------------------------------------------------------

MODELS = [
    TorchSGDRegressor(),
    TorchSGDRegressor(penalty="l2", alpha=0.1),
    TorchSGDRegressor(penalty="l1", alpha=0.1),
    TorchSGDRegressor(penalty="elasticnet", alpha=0.1),
    TorchSGDRegressor(positive=True),
    TorchSGDRegressor(fit_intercept=False),
    TorchSGDRegressor("absolute_error"),
    TorchSGDRegressor("huber", epsilon=0.5),
    TorchSGDRegressor("huber", epsilon=0.5, penalty="l1", alpha=0.05),
    TorchSGDRegressor("quantile", quantile=0.8),
    TorchSGDRegressor("epsilon_insensitive"),
    TorchSGDRegressor("squared_epsilon_insensitive"),
    TorchSGDRegressor("log_cosh"),
    TorchSGDRegressor(lambda raw, y: (raw - y).abs() ** 1.5),
    TorchSGDRegressor(solver="gradient"),
    TorchSGDRegressor(solver="sgd", random_state=0),
    TorchSGDRegressor(solver="sgd", random_state=0, early_stopping=True),
    TorchSGDRegressor(solver="adam", random_state=0, learning_rate=0.1, max_iter=3, tol=None),
    TorchPolyRegressor(2),
    TorchPolyRegressor(2, penalty="l1", alpha=0.1),
    TorchPolyRegressor(2, loss="huber"),
    TorchSGDRegressor(penalty="l2", alpha=0.1, penalty_factor=[1.0, 0.0, 3.0, 0.0]),
    TorchSGDRegressor("huber", penalty="l1", alpha=0.1, penalty_factor=[1.0, 0.0, 3.0, 0.0]),
]


def label(model):
    """Return a name that is the same in each run."""
    return re.sub(r" at 0x\w+", "", str(model).replace("\n", ""))


@pytest.mark.parametrize("model", MODELS, ids=label)
@pytest.mark.parametrize("kind", [chunked, framed])
def test_threads_give_the_fit_of_the_rows_in_memory(model, kind):
    X, y, weight = kind(X0, Y0, W0)
    whole = type(model)(**model.get_params()).fit(X0, Y0, W0)
    model.fit(X, y, weight)
    # A step of Adam divides by the size of gradients, however small they are.
    assert_same(model, whole, 1e-6 if model.solver == "adam" else 1e-10)
    assert model.score(X, y, weight) == pytest.approx(whole.score(X0, Y0, W0), abs=1e-11)
    assert model.n_features_in_ == 4
    assert hasattr(model, "feature_names_in_") is (kind is framed)


@pytest.mark.parametrize(
    "model", [MODELS[0], MODELS[4], MODELS[7], MODELS[9], MODELS[15], MODELS[18]], ids=label
)
def test_processes_give_the_fit_of_the_rows_in_memory(model, on_workers):
    X, y, weight = dask.persist(*framed(X0, Y0, W0))
    model.fit(X, y, weight)
    whole = type(model)(**model.get_params()).fit(X0, Y0, W0)
    assert_same(model, whole)
    assert model.score(X, y, weight) == pytest.approx(whole.score(X0, Y0, W0), abs=1e-11)
    np.testing.assert_allclose(model.predict(X).compute(), whole.predict(X0), rtol=1e-8)


def test_function_that_only_cloudpickle_takes_reaches_the_workers(on_workers):
    power = 1.5
    model = TorchSGDRegressor(lambda raw, y: (raw - y).abs() ** power)
    assert_same(model.fit(*chunked(X0, Y0, W0)), TorchSGDRegressor(model.loss).fit(X0, Y0, W0))


def test_passes_run_in_the_processes_of_the_workers(on_workers):
    chunks, *_ = dask_collections.read_partitions(TorchSGDRegressor(), *chunked(X0, Y0, None), True)
    (pids,) = chunks.total(_pid)
    assert len(pids) == 3
    assert os.getpid() not in pids
    assert set(pids) <= {int(info) for info in on_workers.run(os.getpid).values()}


def _pid(rows):
    return ([os.getpid()],)


@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"solver": "sgd"}], ids=str)
def test_several_targets(parameters):
    X, y, weight = table(n_targets=2)
    model, whole = (TorchSGDRegressor(**parameters, random_state=0) for _ in range(2))
    assert_same(model.fit(*chunked(X, y, weight)), whole.fit(X, y, weight))
    frame = dd.from_pandas(pd.DataFrame(y, columns=["u", "v"]), npartitions=2)
    assert_same(model.fit(chunked(X, y, None)[0], frame, weight), whole)
    assert model.coef_.shape == (2, 4)
    predicted = model.predict(da.from_array(X, chunks=(100, 2)))
    assert predicted.chunks == ((100,) * 6, (2,))
    np.testing.assert_allclose(predicted.compute(), whole.predict(X), rtol=1e-9)
    assert model.score(*chunked(X, y, weight)) == pytest.approx(whole.score(X, y, weight))


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("kind", [chunked, framed])
def test_covariances_are_those_of_the_rows_in_memory(loss, kind):
    data, clusters = kind(X0, Y0, W0), np.arange(N_ROWS) // 20
    model, whole = (TorchSGDRegressor(loss).fit(*rows) for rows in (data, (X0, Y0, W0)))
    kinds = ["nonrobust", "HC0", "HC1", "cluster"]
    for cov_type in [*kinds, "HC2", "HC3"] if loss == "squared_error" else kinds:
        ask = {"cov_type": cov_type, "clusters": clusters if cov_type == "cluster" else None}
        found, expected = (
            m.std_errors(*rows, **ask) for m, rows in ((model, data), (whole, (X0, Y0, W0)))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-7)
    if loss == "squared_error":
        with pytest.raises(ValueError, match="did not count the samples"):
            model.std_errors()
        unweighted = TorchSGDRegressor().fit(*data[:2])
        expected = TorchSGDRegressor().fit(X0, Y0)
        np.testing.assert_allclose(unweighted.std_errors(), expected.std_errors(), rtol=1e-10)


def test_deviations_are_lazy_and_have_the_chunks_of_the_data():
    X, y, _ = table(n_targets=2)
    data = chunked(X, y, None)
    for own, targets in ((data[1], y), (data[1][:, 0], y[:, 0]), (y, y)):
        model, whole = TorchSGDRegressor().fit(data[0], own), TorchSGDRegressor().fit(X, targets)
        found = model.predict(data[0], return_std=True)
        for part, expected in zip(found, whole.predict(X, return_std=True), strict=True):
            assert part.chunks[0] == data[0].chunks[0]
            np.testing.assert_allclose(part.compute(), expected, rtol=1e-9)
    frame = dd.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=3)
    model.fit(frame, dd.from_pandas(pd.Series(y[:, 0]), npartitions=3))
    _, y_std = model.predict(frame, return_std=True)
    expected = TorchSGDRegressor().fit(X, y[:, 0]).predict(X, return_std=True)[1]
    np.testing.assert_allclose(y_std.compute(), expected, rtol=1e-9)


def test_y_and_weights_in_memory():
    X, *_ = chunked(X0, Y0, W0)
    whole = TorchSGDRegressor().fit(X0, Y0, W0)
    assert_same(TorchSGDRegressor().fit(X, Y0, W0), whole)
    assert_same(TorchSGDRegressor().fit(X, Y0.tolist(), W0.tolist()), whole)
    assert_same(TorchSGDRegressor().fit(X, pd.Series(Y0), pd.Series(W0)), whole)


def test_lengths_that_are_not_known():
    keep = (X0[:, 0] > 0) & (np.arange(N_ROWS) >= 200)
    kept = da.from_array(keep, chunks=100)
    whole = TorchSGDRegressor().fit(X0[keep], Y0[keep], W0[keep])
    X, y, weight = chunked(X0, Y0, W0, rows=(100,) * 6)
    aligned = y.rechunk(100), weight.rechunk(100)
    for columns in (aligned, (y, weight)):
        chosen = [column[kept] for column in (X.rechunk((100, 4)), *columns)]
        assert_same(TorchSGDRegressor().fit(*chosen), whole)
        assert np.isnan(chosen[0].shape[0])  # the caller's collection is as it was
    assert_same(TorchSGDRegressor().fit(X[kept], Y0[keep], W0[keep]), whole)
    X, y, weight = (column.partitions[:] for column in framed(X0, Y0, W0))
    assert_same(
        TorchSGDRegressor().fit(X.to_dask_array(), y, weight.to_dask_array()),
        TorchSGDRegressor().fit(X0, Y0, W0),
    )


def test_files_that_dask_reads_together(tmp_path):
    """A frame has as many chunks as its columns let dask put together; y has others."""
    pytest.importorskip("pyarrow")
    columns = dict(zip(NAMES, X0.T, strict=True)) | {"y": Y0, "weight": W0}
    for part in range(6):
        rows = pd.DataFrame(columns)[part * 100 : (part + 1) * 100]
        rows.to_parquet(tmp_path / f"part.{part}.parquet")
    frame = dd.read_parquet(tmp_path)
    model = TorchSGDRegressor().fit(frame[NAMES], frame["y"], frame["weight"])
    assert_same(model, TorchSGDRegressor().fit(X0, Y0, W0))
    few = TorchSGDRegressor().fit(frame[["b"]], frame["y"])
    np.testing.assert_allclose(few.coef_, TorchSGDRegressor().fit(X0[:, [1]], Y0).coef_)
    np.testing.assert_allclose(
        few.predict(frame[["b"]]).compute()[:2], few.predict(pd.DataFrame(columns)[["b"]])[:2]
    )


@pytest.mark.parametrize("parameters", [{}, {"loss": "quantile"}, {"solver": "sgd"}], ids=str)
def test_partitions_without_rows(parameters):
    rows = pd.DataFrame(X0, columns=NAMES).assign(y=Y0, i=range(N_ROWS))
    frame = dd.from_pandas(rows, npartitions=6)
    frame = frame[(frame["i"] >= 150) & (frame["i"] < 450)]
    model, whole = (TorchSGDRegressor(**parameters, random_state=0) for _ in range(2))
    model.fit(frame[NAMES], frame["y"])
    assert_same(model, whole.fit(X0[150:450], Y0[150:450]))
    np.testing.assert_allclose(
        model.predict(frame[NAMES]).compute(), whole.predict(X0[150:450]), rtol=1e-8
    )
    assert model.score(frame[NAMES], frame["y"]) == pytest.approx(
        whole.score(X0[150:450], Y0[150:450])
    )
    X = da.concatenate([da.zeros((0, 4)), da.from_array(X0, chunks=(300, 4)), da.zeros((0, 4))])
    assert_same(
        TorchSGDRegressor(**parameters, random_state=0).fit(X, da.from_array(Y0, chunks=N_ROWS)),
        whole.fit(X0, Y0),
    )


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_dtypes(dtype):
    X = (X0 * 10).astype(dtype)
    y = Y0.astype("float32")
    whole = TorchSGDRegressor().fit(X, y)
    model = TorchSGDRegressor().fit(da.from_array(X, chunks=(200, 4)), da.from_array(y))
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-9, atol=1e-12)
    predicted = model.predict(da.from_array(X, chunks=(200, 4)))
    assert predicted.dtype == predicted.compute().dtype == whole.predict(X).dtype
    frame = dd.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=3)
    assert model.predict(frame.values).dtype == predicted.dtype
    model.fit(frame, y)
    assert model.predict(frame).dtype == model.predict(frame).compute().dtype == predicted.dtype


def test_sparse_chunks():
    sparse = pytest.importorskip("scipy.sparse")
    X = np.where(X0 > 0, X0, 0)
    chunks = da.from_array(X, chunks=(200, 4)).map_blocks(sparse.csr_array)
    model, whole = TorchSGDRegressor().fit(chunks, Y0), TorchSGDRegressor().fit(X, Y0)
    assert_same(model, whole)
    np.testing.assert_allclose(model.predict(chunks).compute(), whole.predict(X), rtol=1e-9)


def test_data_to_validate_on():
    X, y, _ = chunked(X0, Y0, None)
    parameters = {"solver": "sgd", "early_stopping": True, "random_state": 0}
    whole = TorchSGDRegressor(**parameters)
    whole.fit(X0[:500], Y0[:500], X_val=X0[500:], y_val=Y0[500:])
    for held in ((X[500:], y[500:]), (X0[500:], Y0[500:])):
        model = TorchSGDRegressor(**parameters)
        model.fit(X[:500], y[:500], X_val=held[0], y_val=held[1])
        assert_same(model, whole)
        np.testing.assert_allclose(
            model.validation_loss_curve_, whole.validation_loss_curve_, rtol=1e-9
        )


@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"learning_rate": 1e-3}], ids=str)
def test_partial_fit(parameters):
    model, whole = (TorchSGDRegressor(**parameters, random_state=0) for _ in range(2))
    for part in (slice(0, 400), slice(400, 600)):
        X, y, weight = chunked(X0[part], Y0[part], W0[part], rows=100)
        model.partial_fit(X, y, weight)
        whole.partial_fit(X0[part], Y0[part], W0[part])
    assert_same(model, whole)


def test_fit_goes_on_warm_and_by_chunks_in_memory():
    X, y, weight = chunked(X0, Y0, W0)
    model = TorchSGDRegressor("huber", warm_start=True).fit(X, y, weight).fit(X, y, weight)
    assert_same_coef = TorchSGDRegressor("huber").fit(X0, Y0, W0).coef_
    np.testing.assert_allclose(model.coef_, assert_same_coef, rtol=1e-9)
    model = TorchSGDRegressor().fit(X[:300], y[:300]).partial_fit(X0[300:], Y0[300:])
    assert_same_coef = TorchSGDRegressor().fit(X0, Y0).coef_
    np.testing.assert_allclose(model.coef_, assert_same_coef, rtol=1e-9)


@pytest.mark.parametrize("model", [MODELS[0], MODELS[7], MODELS[15], MODELS[18]], ids=label)
def test_estimator_pickles_afterwards_and_holds_no_rows(model):
    X, y, weight = chunked(*table(n_rows=5_000), rows=1000)
    model.fit(X, y, weight)
    content = pickle.dumps(model)
    assert len(content) < 30_000
    np.testing.assert_array_equal(pickle.loads(content).coef_, model.coef_)


# --- predictions -------------------------------------------------------------------------


def test_predictions_are_lazy_and_have_the_chunks_of_the_data():
    model = TorchSGDRegressor().fit(X0, Y0)
    X, *_ = chunked(X0, Y0, None)
    predicted = model.predict(X)
    assert isinstance(predicted, da.Array)
    assert predicted.chunks == ((250, 250, 100),)
    assert predicted.dtype == np.float64
    np.testing.assert_array_equal(predicted.compute(), model.predict(X0))
    nan = X.copy()
    nan[3, 1] = np.nan
    predicted = model.predict(nan)  # says nothing before it is computed
    with pytest.raises(ValueError, match="Input X contains NaN"):
        predicted.compute()


def test_predictions_on_a_frame_are_an_array_of_its_partitions():
    X, y, _ = framed(X0, Y0, W0)
    model = TorchSGDRegressor().fit(X, y)
    assert model.feature_names_in_.tolist() == NAMES
    predicted = model.predict(X)
    assert isinstance(predicted, da.Array)
    assert predicted.numblocks == (3,)
    np.testing.assert_allclose(
        predicted.compute(), model.predict(pd.DataFrame(X0, columns=NAMES)), rtol=1e-12
    )
    with pytest.raises(ValueError, match="unseen at fit time"):
        model.predict(X.rename(columns={"a": "z"}))


def test_predictions_may_be_columns_of_another_fit():
    first = TorchSGDRegressor().fit(X0, Y0)
    X, y, _ = chunked(X0, Y0, None)
    X = X.rechunk({1: -1})
    both = da.concatenate((X, first.predict(X)[:, None]), axis=1)
    # The solver keeps torch to one thread meanwhile, which tasks in other threads must not wait for
    model = TorchSGDRegressor(solver="sgd", random_state=0, max_iter=2, tol=None).fit(both, y)
    assert model.n_features_in_ == 5


# --- what travels ------------------------------------------------------------------------


def lazy_rows(n_rows, n_chunks=20):
    random = da.random.default_rng(0)
    X = random.standard_normal((n_rows, 4), chunks=(n_rows // n_chunks, 4))
    noise = random.standard_normal(n_rows, chunks=n_rows // n_chunks)
    return X, X @ np.arange(4.0) + noise


@pytest.fixture(name="travelling")
def travelling_bytes(monkeypatch):
    """The sizes of the functions that are sent, of the sums of chunks, and of graphs."""
    sizes = {"function": [], "sums": [], "graph": []}
    compute, sums = dask.compute, dask_collections._PartitionPass.__call__

    def watched_compute(*collections):
        for collection in collections:
            if hasattr(collection, "dask"):
                sizes["graph"].append(len(cloudpickle.dumps(dict(collection.dask))))
        return compute(*collections)

    def watched_sums(partition_pass, *partition):
        result = sums(partition_pass, *partition)
        sizes["function"].append(len(cloudpickle.dumps(partition_pass.add_up)))
        sizes["sums"].append(len(pickle.dumps(result)))
        return result

    monkeypatch.setattr(dask, "compute", watched_compute)
    monkeypatch.setattr(dask_collections._PartitionPass, "__call__", watched_sums)
    return sizes


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"penalty": "l1", "alpha": 0.1},
        {"loss": "log_cosh", "solver": "gradient"},
        {"positive": True, "loss": "squared_epsilon_insensitive", "solver": "gradient"},
    ],
    ids=str,
)
def test_sums_travel_and_not_rows(parameters, travelling):
    X, y = lazy_rows(100_000)  # 4 MB
    TorchSGDRegressor(**parameters).fit(X, y)
    sums = sorted(travelling["sums"], reverse=True)
    assert sums[0] < 20_000  # 256 rows that tell where the columns are
    assert sums[20] < 5_000
    assert max(travelling["function"]) < 10_000
    assert max(travelling["graph"]) < 200_000


@pytest.mark.parametrize("loss", ["quantile", "huber", "log_cosh"])
def test_no_more_rows_travel_than_a_model_of_the_loss_keeps(loss, travelling, monkeypatch):
    room = 1 << 14  # entries; as it is, 16 MB
    monkeypatch.setattr("skorchlite._solvers.newton.general_loss._ROOM_ENTRIES", room)
    X, y = lazy_rows(100_000)
    TorchSGDRegressor(loss).fit(X, y)
    sums = travelling["sums"]
    largest = max(sum(sums[i : i + 20]) for i in range(len(sums)))
    assert largest < 8 * room * 1.5 + 20 * 3_000  # X, and y and weights; moments


def test_head_is_read_from_the_first_chunk_alone():
    read = []

    def seen(block, block_info=None):
        if block_info:
            read.append(block_info[0]["chunk-location"][0])
        return block

    X, y, _ = chunked(X0, Y0, None, rows=100)
    X = X.rechunk({1: -1}).map_blocks(seen, dtype=float)
    with dask.config.set(scheduler="synchronous"):
        TorchSGDRegressor().fit(X, y)
    assert sorted(read) == [0, 0, 1, 2, 3, 4, 5]  # the head, and one pass


# --- bad input ---------------------------------------------------------------------------

DX, DY, DW = chunked(X0, Y0, W0)
WITH_NAN, WITH_INF = np.where(X0[300, 1] == X0, np.nan, X0), np.where(Y0[5] == Y0, np.inf, Y0)


@pytest.mark.parametrize(
    "data, error, wording",
    [
        ((DX, DY[:-1]), ValueError, r"inconsistent numbers of samples: \[600, 599\]"),
        ((DX, Y0[:-1]), ValueError, r"inconsistent numbers of samples: \[600, 599\]"),
        ((DX, DY, DW[:-1]), ValueError, r"sample_weight.shape == \(599,\), expected \(600,\)"),
        ((DX, DY, -DW), ValueError, "Negative values in data passed to `sample_weight`"),
        ((DX, DY, 0 * DW), ValueError, "at least one non-zero number"),
        ((da.from_array(WITH_NAN, chunks=(100, 4)), DY), ValueError, "Input X contains NaN"),
        ((DX, da.from_array(WITH_INF, chunks=100)), ValueError, "Input y contains infinity"),
        ((DX, DY, DW * np.nan), ValueError, "Input sample_weight contains NaN"),
        ((DX[:0], DY[:0]), ValueError, r"0 sample\(s\)"),
        ((DX[DX[:, 0] > 1e9], DY[DX[:, 0] > 1e9]), ValueError, r"0 sample\(s\)"),
        ((DX[:, :0], DY), ValueError, r"0 feature\(s\)"),
        ((DX[:, 0], DY), ValueError, "Expected 2D array, got 1D array"),
        ((DX[:, :, None], DY), ValueError, "dim 3"),
        ((DX, DY[:, None, None]), ValueError, "dim 3"),
        ((DX, None), ValueError, "requires y to be passed"),
        ((DX.astype(str), DY), ValueError, "dtype"),
        ((DX.astype(complex), DY), ValueError, "Complex data not supported"),
        ((DX * 1e200, DY), None, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused_and_leaves_an_earlier_fit(data, error, wording):
    model = TorchSGDRegressor().fit(X0, Y0)
    before = pickle.dumps(vars(model))
    if error is None:
        model.fit(*data)
        return
    with pytest.raises(error, match=wording):
        model.fit(*data)
    assert pickle.dumps(vars(model)) == before


def test_words_in_a_column_are_refused():
    frame = pd.DataFrame({"a": ["x", "y", "z"], "b": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="could not convert string to float"):
        TorchSGDRegressor().fit(dd.from_pandas(frame, npartitions=2), np.arange(3.0))


def test_other_collections_are_refused():
    bag = pytest.importorskip("dask.bag").from_sequence([1, 2])
    with pytest.raises(TypeError, match=r"has no rows and columns. Give a dask array"):
        TorchSGDRegressor().fit(bag, Y0)


def test_distributed_is_for_torchrun():
    with pytest.raises(ValueError, match=r"X is a dask collection.*Set distributed=False"):
        TorchSGDRegressor(distributed=True).fit(DX, DY)


def test_columns_must_be_those_of_the_fit():
    model = TorchSGDRegressor().fit(DX, DY)
    for use in (
        lambda X: model.predict(X),
        lambda X: model.score(X, DY),
        lambda X: model.partial_fit(X, DY),
    ):
        with pytest.raises(ValueError, match="X has 3 features, but TorchSGDRegressor"):
            use(DX[:, :3])
    with pytest.raises(ValueError, match="y has 2 targets, and the model predicts 1"):
        model.score(DX, da.stack([DY, DY], axis=1))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.score(DX, DY * np.nan)


def test_errors_of_workers_are_those_of_memory(on_workers):
    with pytest.raises(ValueError, match=r"(?s)Input X contains NaN.*TorchSGDRegressor"):
        TorchSGDRegressor().fit(da.from_array(WITH_NAN, chunks=(100, 4)), DY)

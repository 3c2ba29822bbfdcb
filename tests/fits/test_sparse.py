"""Sparse matrices: the answers of the dense ones, without their zeros."""

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._inputs.tables import SparseTable
from skorchlite._sources import sparse as sparse_rows
from skorchlite._sources.sparse import SparseRows
from tests.support.all_pairs import all_pairs

FORMATS = [
    sp.csr_array,
    sp.csc_array,
    sp.coo_array,
    sp.csr_matrix,
    sp.csc_matrix,
    sp.coo_matrix,
]


def problem(n=900, d=40, density=0.08, seed=0, filled=True):
    """Sparse columns, and filled ones: years, which are far from zero, and a constant."""
    rng = np.random.default_rng(seed)
    X = sp.random(n, d, density, random_state=seed, format="csr")
    if filled:
        years = sp.csr_array(2020 + rng.normal(size=(n, 1)))
        X = sp.csr_array(sp.hstack([X, years, sp.csr_array(np.full((n, 1), 3.0))]))
    A = X.toarray()
    y = A @ rng.normal(size=A.shape[1]) + rng.normal(size=n)
    return sp.csr_array(X), A, y, rng.uniform(0.5, 2, n)


def assert_alike(sparse, dense, A, tol):
    """Compare coefficients in units of their columns, and the intercept."""
    scale = A.std(0)
    error = np.abs((sparse.coef_ - dense.coef_) * scale).max()
    assert error <= tol * np.abs(dense.coef_ * scale).max()
    np.testing.assert_allclose(sparse.predict(A), dense.predict(A), rtol=0, atol=tol * 1e3)


@pytest.mark.parametrize("make", FORMATS)
def test_every_format_gives_the_dense_answer(make):
    X, A, y, _ = problem()
    dense = TorchSGDRegressor().fit(A, y)
    sparse = TorchSGDRegressor().fit(make(X), y)
    assert_alike(sparse, dense, A, 1e-12)
    np.testing.assert_allclose(sparse.predict(make(X)), dense.predict(A), rtol=1e-10)
    assert sparse.score(make(X), y) == pytest.approx(dense.score(A, y), rel=1e-10)


@all_pairs(
    ids=str,
    params=[
        {},
        {"penalty": "l2", "alpha": 1e-3},
        {"penalty": "l1", "alpha": 1e-2},
        {"penalty": "elasticnet", "alpha": 1e-2},
        {"positive": True},
        {"loss": "huber", "epsilon": 1.0},
        {"loss": "quantile", "quantile": 0.8},
        {"loss": "epsilon_insensitive", "penalty": "l1", "alpha": 1e-2},
        {"loss": "squared_epsilon_insensitive", "penalty": "l2"},
        {"loss": "log_cosh"},
        {"solver": "gradient", "penalty": "l2", "alpha": 1e-3},
        {"solver": "gradient", "loss": "huber", "penalty": "l1", "alpha": 1e-2},
    ],
    weighted=[True, False],
    fit_intercept=[True, False],
)
def test_losses_and_penalties_agree_with_the_dense_fit(params, weighted, fit_intercept):
    X, A, y, weight = problem(filled=fit_intercept)
    weight = weight if weighted else None
    dense = TorchSGDRegressor(fit_intercept=fit_intercept, **params).fit(A, y, weight)
    sparse = TorchSGDRegressor(fit_intercept=fit_intercept, **params).fit(X, y, weight)
    assert sparse.converged_ and dense.converged_
    assert_alike(sparse, dense, A, 1e-8)


@pytest.mark.slow
def test_several_targets_and_working_sets_of_many_columns():
    X, A, y, weight = problem(n=400, d=1200, density=0.02)
    Y = np.column_stack((y, -2 * y + A[:, 0]))
    for params in ({"penalty": "l2"}, {"penalty": "l1", "alpha": 0.01}):
        dense = TorchSGDRegressor(**params).fit(A, Y, weight)
        sparse = TorchSGDRegressor(**params).fit(X, Y, weight)
        assert_alike(sparse, dense, A, 1e-8)


@pytest.mark.slow
def test_more_columns_than_a_gram_matrix_holds_go_without_one():
    X, A, y, _ = problem(n=3000, d=2500, density=0.004)
    model = TorchSGDRegressor(penalty="l2", alpha=1e-3).fit(X, y)
    assert model.solver_ == "gradient" and model.converged_
    dense = TorchSGDRegressor(penalty="l2", alpha=1e-3, solver="newton").fit(A, y)
    assert_alike(model, dense, A, 1e-8)


def test_ridge_reaches_the_objective_of_an_exact_solution():
    X, A, y, _ = problem(n=2000, d=2200, density=0.005, filled=False)
    n, alpha = len(y), 1.0
    model = TorchSGDRegressor(penalty="l2", alpha=alpha / n).fit(X, y)
    exact = Ridge(alpha=alpha, solver="cholesky").fit(A, y)

    def objective(m):
        r = y - m.predict(A)
        return r @ r / 2 + alpha * m.coef_ @ m.coef_ / 2

    assert objective(model) <= objective(exact) * (1 + 1e-12)
    # The condition, at most that of the ridge, bounds how far equal objectives are apart.
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=1e-8)


def wide_problem(n=60, d=130):
    """Fewer rows than columns: filled ones, empty ones and a constant; some rows have no weight."""
    X, A, _, weight = problem(n=n, d=d, density=0.05)
    rng = np.random.default_rng(1)
    Y = A[:, :3] @ rng.normal(size=(3, 2)) + rng.normal(size=(n, 2))
    weight[::7] = 0
    return X, A, Y, weight


@all_pairs(
    weighted=[True, False],
    fit_intercept=[True, False],
    n_targets=[1, 2],
    alpha=[0.0, 1e-3, 1.0],
    block_entries=[1 << 24, 100],
)
def test_steps_in_the_span_of_few_rows_end_at_the_dense_answer(
    weighted, fit_intercept, n_targets, alpha, block_entries, monkeypatch
):
    monkeypatch.setattr(sparse_rows, "_BLOCK_ENTRIES", block_entries)
    X, A, Y, weight = wide_problem()
    y, weight = (Y if n_targets == 2 else Y[:, 0]), (weight if weighted else None)
    params = {"fit_intercept": fit_intercept}
    if alpha:
        params |= {"penalty": "l2", "alpha": alpha}
    found = TorchSGDRegressor(solver="gradient", **params).fit(X, y, weight)
    dense = TorchSGDRegressor(solver="newton", **params).fit(A, y, weight)
    assert found.converged_
    size = np.abs(dense.coef_).max()
    np.testing.assert_allclose(found.coef_, dense.coef_, rtol=0, atol=1e-8 * size)
    np.testing.assert_allclose(found.predict(A), dense.predict(A), rtol=0, atol=1e-6)
    constant = A.std(0) == 0
    assert not fit_intercept or not np.atleast_2d(found.coef_)[:, constant].any()


@pytest.mark.parametrize("max_iter", [1, 3, 8])
def test_the_gap_of_few_rows_is_bounded_before_the_end(max_iter):
    X, A, Y, _ = wide_problem()
    y, alpha = Y[:, 0], 1e-3
    model = TorchSGDRegressor(penalty="l2", alpha=alpha, solver="gradient", max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    exact = TorchSGDRegressor(penalty="l2", alpha=alpha, tol=1e-12).fit(A, y)

    def objective(m):
        return np.mean((y - m.predict(A)) ** 2) / 2 + alpha * m.coef_ @ m.coef_ / 2

    assert not model.converged_
    assert objective(model) / objective(exact) - 1 > 0
    assert objective(model) - objective(exact) <= model.optimality_ * objective(model)


@pytest.mark.parametrize(
    "params",
    [
        {"learning_rate": 1e-3, "batch_size": 32},
        {"learning_rate": 1e-3, "batch_size": 700, "shuffle": False},
        {"learning_rate": "invscaling", "eta0": 1e-3, "max_iter": 1},
        {"penalty": "l1", "alpha": 1e-3, "batch_size": 64},
        {"solver": "adam", "learning_rate": 1e-2},
        {"early_stopping": True},
        {"fit_intercept": False},
    ],
    ids=str,
)
def test_batches_take_the_steps_of_the_dense_ones(params):
    X, A, y, weight = problem(n=600, d=1100, density=0.01, filled=False)
    given = {"solver": "sgd", "preconditioner": "diagonal", "max_iter": 3, "tol": None}
    given |= {"random_state": 0, **params}
    dense, sparse = (TorchSGDRegressor(**given).fit(table, y, weight) for table in (A, X))
    # Rounding grows with the steps, here at most some thousand.
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=0, atol=1e-11)
    assert sparse.n_iter_ == dense.n_iter_


def test_polynomials_expand_block_by_block():
    X, A, y, _ = problem(d=6, density=0.3, filled=False)
    dense, sparse = (TorchPolyRegressor(degree=2).fit(table, y) for table in (A, X))
    np.testing.assert_allclose(sparse.predict(X), dense.predict(A), atol=1e-10)


def test_partial_fit_of_chunks_is_the_fit_on_the_whole():
    X, A, y, weight = problem()
    model = TorchSGDRegressor()
    for start in range(0, len(y), 100):
        rows = slice(start, start + 100)
        model.partial_fit(X[rows], y[rows], weight[rows])
    assert_alike(model, TorchSGDRegressor().fit(A, y, weight), A, 1e-11)


@pytest.mark.slow
def test_blocks_of_a_stream_may_be_sparse():
    X, A, y, weight = problem(n=1500, d=2500, density=0.01)
    blocks = [(X[i : i + 400], y[i : i + 400], weight[i : i + 400]) for i in range(0, 1500, 400)]
    for params in ({"penalty": "l2"}, {"penalty": "l1", "alpha": 0.01}):
        stream = TorchSGDRegressor(**params).fit(blocks)
        assert_alike(stream, TorchSGDRegressor(**params).fit(X, y, weight), A, 1e-8)
    np.testing.assert_allclose(stream.predict(blocks), stream.predict(X), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8, bool])
def test_every_dtype_of_numbers(dtype):
    X = problem(filled=False, density=0.2)[0]
    X.data = (10 * X.data).round()
    X = X.astype(dtype)
    y = X.toarray().astype(float) @ np.arange(1.0, 41)
    np.testing.assert_allclose(TorchSGDRegressor().fit(X, y).coef_, np.arange(1.0, 41), rtol=1e-9)


def test_entries_that_are_there_twice_add_up_and_the_matrix_stays_as_it_is():
    rows, columns = [0, 0, 1, 2, 2, 3], [1, 1, 0, 1, 0, 0]
    values = [1.0, 2.0, 4.0, 1.0, 0.0, 3.0]
    X = sp.csr_array((values, columns, [0, 2, 3, 5, 6]), shape=(4, 2))
    assert not X.has_canonical_format and len(rows) == X.nnz
    y = X.toarray() @ [2.0, -1.0] + 1
    model = TorchSGDRegressor().fit(X, y)
    np.testing.assert_allclose(model.coef_, [2, -1], rtol=1e-12)
    np.testing.assert_array_equal(X.data, values)


def test_large_indices():
    X, A, y, _ = problem()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    assert_alike(TorchSGDRegressor().fit(X, y), TorchSGDRegressor().fit(A, y), A, 1e-12)


def test_columns_and_rows_without_entries():
    X = sp.csr_array((50, 3000))
    y = np.arange(50.0)
    model = TorchSGDRegressor(penalty="l2").fit(X, y)
    assert not model.coef_.any() and model.intercept_ == pytest.approx(24.5)


@pytest.mark.parametrize("value, word", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_numbers_that_are_not_finite_are_refused_at_once(value, word):
    rng = np.random.default_rng(0)  # by the integer 0, all places would be shuffled
    X = sp.csr_array(sp.random(2000, 50_000, 1e-4, random_state=rng))
    X.data[7] = value
    with pytest.raises(ValueError, match=f"Input X contains {word}"):
        TorchSGDRegressor(penalty="l2").fit(X, np.arange(2000.0))


def test_numbers_whose_squares_overflow():
    X, A, y, _ = problem(n=300, d=5, filled=False, density=0.3)
    scale = np.array([1e200, 1, 1e-200, 1, 1])
    model = TorchSGDRegressor().fit(sp.csr_array(X * scale), y)
    plain = TorchSGDRegressor().fit(A, y)
    np.testing.assert_allclose(model.coef_ * scale, plain.coef_, rtol=1e-9)


def test_memory_is_that_of_the_entries():
    n, d, k = 100_000, 100_000, 10
    rng = np.random.default_rng(0)
    index = np.sort(rng.integers(0, d // k, (n, k)) + np.arange(k) * (d // k), 1)
    starts = np.arange(0, n * k + 1, k, dtype=np.int32)
    X = sp.csr_array((np.ones(n * k), index.astype(np.int32).ravel(), starts), shape=(n, d))
    y = rng.normal(size=n)
    entries = X.data.nbytes + X.indices.nbytes
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = TorchSGDRegressor(penalty="l2", alpha=1e-3, max_iter=5).fit(X, y)
    model.predict(X)
    _, peak = tracemalloc.get_traced_memory()  # of NumPy and SciPy, which hold all copies of X
    tracemalloc.stop()
    assert peak < 6 * entries  # the dense matrix is 6,000 times as large


# --- the products ---


def test_parts_of_sparse_rows():
    X, A, y, weight = problem(n=50)
    rows = SparseRows(SparseTable(X), y, weight, torch.device("cpu"))
    for part, chosen in (
        (rows.every(7), slice(None, None, 7)),
        (rows.taken(torch.tensor([3, 8, 41])), [3, 8, 41]),
    ):
        ((target, columns, share),) = part.centred(torch.zeros(42).double(), None)
        v = torch.eye(43).double()
        np.testing.assert_allclose((columns @ v)[:, :-1], A[chosen], atol=1e-12)
        np.testing.assert_array_equal(target[:, 0], y[chosen])
        np.testing.assert_array_equal(share, weight[chosen])

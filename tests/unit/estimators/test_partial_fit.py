"""Learning from chunks: what comes out is that of the whole, and nothing of a stream is kept."""

import pickle
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDRegressor

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._objective.losses import LOSSES, make_loss

EPS = np.finfo(float).eps
ROBUST = [name for name in LOSSES if not make_loss(name, 1.0, 0.5).quadratic]


def table(n_rows, n_columns, seed=0, n_targets=None):
    """Columns of scales from 1e-3 to 1e3, away from zero and correlated; heavy-tailed noise."""
    rng = np.random.default_rng(seed)
    mix = np.eye(n_columns) + 0.3 * rng.standard_normal((n_columns, n_columns))
    scale = np.logspace(-3, 3, n_columns)
    X = (rng.standard_normal((n_rows, n_columns)) @ mix + 3) * scale
    shape = (n_columns,) if n_targets is None else (n_columns, n_targets)
    coef = rng.standard_normal(shape) / (scale if n_targets is None else scale[:, None])
    y = 10 + X @ coef
    return X, y + rng.standard_t(4, y.shape)


def chunked(model, X, y, edges, order=None, weight=None):
    chunks = [slice(*pair) for pair in pairwise(edges)]
    for i in range(len(chunks)) if order is None else order:
        part = chunks[i]
        model.partial_fit(X[part], y[part], None if weight is None else weight[part])
    return model


def assert_same(model, whole, X, rtol):
    """The tolerance is relative to the largest coefficient, in units of the columns' deviations."""
    sd = X.std(axis=0)
    size = np.abs(whole.coef_ * sd).max()
    np.testing.assert_allclose(model.coef_ * sd, whole.coef_ * sd, rtol=0, atol=rtol * size)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=rtol * size * 10)


# --- squared error: the answer of the whole ----------------------------------------------

# The condition of the Gram matrix of the scaled columns is about 1e2, and its rounding eps each.
MOMENTS = 1e4 * EPS

SETTINGS = [
    {},
    {"penalty": "l2", "alpha": 0.1},
    {"penalty": "l1", "alpha": 0.01},
    {"penalty": "elasticnet", "alpha": 0.02, "l1_ratio": 0.5},
    {"positive": True},
    {"fit_intercept": False},
    {"solver": "newton"},
]


@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_chunks_in_any_order_give_the_fit_of_the_whole(parameters, size):
    X, y = table(200, 6)
    edges = [*range(0, 200, size), 200]
    order = np.random.default_rng(1).permutation(len(edges) - 1)
    model = chunked(TorchSGDRegressor(**parameters), X, y, edges, order)
    assert_same(model, TorchSGDRegressor(**parameters).fit(X, y), X, MOMENTS)
    assert model.solver_ == "newton"
    assert len(model.loss_curve_) == model.n_iter_ == len(edges) - 1


@pytest.mark.parametrize("seed", range(5))
def test_rank_after_each_row_is_that_of_the_rows(seed):
    X, y = table(200, 6)
    rows = np.random.default_rng(seed).permutation(200)[:9]
    model = TorchSGDRegressor()
    for count, row in enumerate(rows, 1):
        model.partial_fit(X[[row]], y[[row]])
        assert model.rank_ == min(count - 1, 6)
        assert model.converged_


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 59), max_size=6), seed=st.integers(0, 99))
def test_any_split_gives_the_fit_of_the_whole(cuts, seed):
    X, y = table(60, 3, seed)
    weight = np.random.default_rng(seed).uniform(0.1, 2, 60)
    edges = [0, *sorted(set(cuts)), 60]
    model = chunked(TorchSGDRegressor(), X, y, edges, weight=weight)
    # 60 rows may be nearly dependent by chance.
    assert_same(model, TorchSGDRegressor().fit(X, y, weight), X, 100 * MOMENTS)


def test_several_targets():
    X, y = table(100, 4, n_targets=3)
    model = chunked(TorchSGDRegressor(), X, y, [0, 30, 31, 100])
    whole = TorchSGDRegressor().fit(X, y)
    assert model.coef_.shape == (3, 4)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e5 * EPS)


@pytest.mark.parametrize("columns", [[0, 1], [2]])
def test_polynomial(columns):
    X, y = table(300, 3)
    X = X[:, columns]
    model = chunked(TorchPolyRegressor(degree=3), X, y, [0, 50, 200, 300])
    whole = TorchPolyRegressor(degree=3).fit(X, y)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=1e-9)
    assert model.get_feature_names_out().tolist() == whole.get_feature_names_out().tolist()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("degree", [3, 12])
def test_polynomial_of_a_stream_that_reaches_further_and_further(degree, size):
    """The first rows tell nothing of the interval, in which the terms are to be far apart."""
    x = np.sort(np.random.default_rng(0).uniform(10, 20, 400))[:, None]
    y = np.sin(x[:, 0]) + 0.1 * np.random.default_rng(1).standard_normal(400)
    model = chunked(TorchPolyRegressor(degree=degree), x, y, [*range(0, 400, size), 400])
    whole = TorchPolyRegressor(degree=degree).fit(x, y)
    np.testing.assert_allclose(model.predict(x), whole.predict(x), rtol=0, atol=1e-8)
    after = TorchPolyRegressor(degree=degree).fit(x[:200], y[:200]).partial_fit(x[200:], y[200:])
    np.testing.assert_allclose(after.predict(x), whole.predict(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("parameters", [{"penalty": "l2"}, {"fit_intercept": False}], ids=str)
def test_other_polynomials_of_such_a_stream(parameters):
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 5, (300, 2))
    X = X[X[:, 0].argsort()]
    y = X[:, 0] * X[:, 1] - X[:, 1] ** 2 + rng.standard_normal(300)
    model = chunked(TorchPolyRegressor(degree=3, **parameters), X, y, range(0, 301, 30))
    whole = TorchPolyRegressor(degree=3, **parameters).fit(X, y)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=1e-8)


def test_fewer_rows_than_columns_give_the_minimum_norm():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 12)), rng.standard_normal(8)
    model = chunked(TorchSGDRegressor(), X, y, [0, 3, 8])
    whole = TorchSGDRegressor().fit(X, y)
    assert model.rank_ == whole.rank_ == 7
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-8)


def test_duplicate_and_constant_columns():
    X, y = table(100, 4)
    X = np.column_stack((X, X[:, 1], np.full(100, 5.0)))
    model = chunked(TorchSGDRegressor(), X, y, [0, 10, 100])
    whole = TorchSGDRegressor().fit(X, y)
    assert_same(model, whole, X, 1e-9)
    assert model.coef_[5] == 0


def test_chunks_after_a_fit_add_to_its_rows():
    X, y = table(400, 5)
    model = TorchSGDRegressor().fit(X[:250], y[:250])
    assert_same(model.partial_fit(X[250:], y[250:]), TorchSGDRegressor().fit(X, y), X, MOMENTS)


def test_fit_begins_anew():
    X, y = table(100, 3)
    model = TorchSGDRegressor().partial_fit(X[:50], y[:50] + 5).fit(X, y)
    np.testing.assert_array_equal(model.coef_, TorchSGDRegressor().fit(X, y).coef_)


@pytest.mark.slow
def test_long_stream_neither_loses_digits_nor_grows():
    # The same rows again and again are the same problem, however often; the sums are as if
    # they had been made once. The column is far from zero, where sums of squares lose digits.
    rng = np.random.default_rng(0)
    X = 1e6 + rng.standard_normal((20, 2))
    y = X @ [1.0, -2.0] + rng.standard_normal(20)
    once = TorchSGDRegressor().partial_fit(X, y)
    size = len(pickle.dumps(once._stream))
    often = TorchSGDRegressor()
    for _ in range(3000):
        often.partial_fit(X, y)
    np.testing.assert_allclose(often.coef_, once.coef_, rtol=100 * EPS)
    assert len(pickle.dumps(often._stream)) < size + 100


# --- other losses: a pass of stochastic descent ------------------------------------------


def mean_loss(model, X, y):
    loss = make_loss(model.loss, model.epsilon, model.quantile)
    return float(loss.value(torch.from_numpy(y), torch.from_numpy(model.predict(X))).mean())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@pytest.mark.parametrize(
    "loss, size, n_rows",
    [
        *product(ROBUST, [1000], [30_000]),
        *product(ROBUST, [50], [10_000]),
        *product(["huber", "quantile"], [1], [1_500]),
        *(
            pytest.param(loss, 1, 1_500, marks=pytest.mark.exhaustive)
            for loss in ROBUST
            if loss not in ("huber", "quantile")
        ),
    ],
)
def test_stream_is_about_as_good_as_rows_seen_once_allow(loss, size, n_rows):
    X, y = table(n_rows, 6)
    parameters = {"loss": loss, "quantile": 0.8, "epsilon": 0.5}
    model = TorchSGDRegressor(**parameters, random_state=0)
    chunked(model, X, y, [*range(0, n_rows, size), n_rows])
    best = mean_loss(TorchSGDRegressor(**parameters).fit(X, y), X, y)
    # The best estimate of 7 coefficients from rows seen once is worse by about 7 / n_rows.
    assert mean_loss(model, X, y) / best - 1 < 5 * 7 / n_rows
    assert model.solver_ == "sgd"


def test_squared_error_may_be_learned_by_steps_too():
    X, y = table(30_000, 6)
    model = TorchSGDRegressor(solver="sgd", batch_size=16, random_state=0)
    chunked(model, X, y, range(0, 30_001, 1000))
    best = mean_loss(TorchSGDRegressor().fit(X, y), X, y)
    assert mean_loss(model, X, y) / best - 1 < 5 * 7 / 30_000
    assert model.t_ == 1 + 30 * 63  # 62 batches of 16 and one of 8


def test_stream_goes_on_from_a_fit():
    X, y = table(20_000, 5)
    model = TorchSGDRegressor("huber", epsilon=0.5, random_state=0).fit(X, y)
    best = mean_loss(model, X, y)
    chunked(model, X, y, range(0, 20_001, 500))
    assert mean_loss(model, X, y) / best - 1 < 5 * 6 / 20_000


@pytest.mark.parametrize("penalty", [{"penalty": "l1", "alpha": 0.05}, {"positive": True}])
def test_stream_with_kinks_in_the_penalty(penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 8))
    y = X @ [1, -1, 0.5, 0, 0, 0, 0, 0] + rng.standard_normal(20_000)
    parameters = {"loss": "huber", "epsilon": 0.5, **penalty}
    model = TorchSGDRegressor(**parameters, random_state=0)
    chunked(model, X, y, range(0, 20_001, 500))
    whole = TorchSGDRegressor(**parameters).fit(X, y)
    # A coefficient of standard columns is known from these rows to about 1 / sqrt(20,000).
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=0.03)
    assert model.positive is False or (model.coef_ >= 0).all()


def test_many_columns_keep_no_matrix():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 2_500))
    y = X[:, 0] + 0.1 * rng.standard_normal(600)
    model = chunked(TorchSGDRegressor(random_state=0), X, y, range(0, 601, 100))
    assert model.solver_ == "sgd"
    assert len(pickle.dumps(model)) < 2_500 * 8 * 20
    assert np.abs(model.coef_).argmax() == 0


# --- a given step ------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("average", [False, True])
def test_chunks_take_the_steps_of_sgdregressor(schedule, average):
    X, y = np.random.default_rng(0).standard_normal((2, 90, 1))
    X = np.column_stack((X, X**2 - 1))
    parameters = {"learning_rate": schedule, "eta0": 0.02, "shuffle": False, "average": average}
    model = TorchSGDRegressor(penalty="l2", preconditioner=None, **parameters)
    chunked(model, X, y[:, 0], [0, 30, 31, 90])
    peer = chunked(SGDRegressor(penalty="l2", **parameters), X, y[:, 0], [0, 30, 31, 90])
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, peer.intercept_[0], rtol=1e-12)
    assert model.t_ == peer.t_


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop"])
def test_optimizer_keeps_its_state_between_chunks(solver):
    X, y = table(64, 2)
    X = X / X.std(axis=0)
    parameters = {"solver": solver, "learning_rate": 1e-3, "preconditioner": None}
    parameters |= {"shuffle": False, "batch_size": 8, "tol": None, "max_iter": 1}
    parameters |= {"solver_params": {"momentum": 0.9}} if solver == "sgd" else {}
    model = chunked(TorchSGDRegressor(**parameters), X, y, [0, 16, 40, 64])
    whole = TorchSGDRegressor(**parameters).fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-12)


def test_stream_survives_a_pickle():
    X, y = table(300, 3)
    for parameters in (
        {},
        {"loss": "huber"},
        {"learning_rate": "invscaling"},
        {"solver": "adam", "learning_rate": 0.01, "batch_size": 16},
    ):
        model = TorchSGDRegressor(**parameters, random_state=0).partial_fit(X[:150], y[:150])
        loaded = pickle.loads(pickle.dumps(model))
        for each in (model, loaded):
            each.partial_fit(X[150:], y[150:])
        np.testing.assert_array_equal(loaded.coef_, model.coef_)


def test_same_seed_gives_the_same_stream():
    X, y = table(500, 3)
    first, second = (
        chunked(TorchSGDRegressor("log_cosh", random_state=3), X, y, [0, 200, 500])
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.coef_, second.coef_)


def test_no_row_is_kept():
    X, y = table(5000, 3)
    for parameters in ({}, {"loss": "huber"}, {"learning_rate": 1e-3}):
        model = TorchSGDRegressor(**parameters).partial_fit(X, y)
        assert len(pickle.dumps(model)) < 20_000


def test_diverging_chunk_is_told_and_undone():
    X, y = table(200, 3)
    model = TorchSGDRegressor(learning_rate=0.5, batch_size=4, preconditioner=None)
    with pytest.warns(ConvergenceWarning, match="a step of 0.5 the descent diverges"):
        model.partial_fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert model.converged_ is False


# --- sparse ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"learning_rate": 0.01}], ids=str)
def test_sparse_chunks_are_dense_ones(form, parameters):
    X = scipy.sparse.random_array((300, 10), density=0.2, rng=0)
    y = X @ np.arange(10.0) + 1
    sparse, dense = (TorchSGDRegressor(**parameters, random_state=0) for _ in range(2))
    for part in (slice(0, 100), slice(100, 300)):
        sparse.partial_fit(X.tocsr()[part].asformat(form), y[part])
        dense.partial_fit(X.toarray()[part], y[part])
    # Sums without the zeros, and less their means afterwards, round in another way.
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=0, atol=1e-13)
    predictions = sparse.predict(X.asformat(form)), dense.predict(X.toarray())
    np.testing.assert_allclose(*predictions, rtol=0, atol=1e-12)


# --- bad input ---------------------------------------------------------------------------

X0, Y0 = table(40, 3)


@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"learning_rate": 0.01}], ids=str)
@pytest.mark.parametrize(
    "chunk, wording",
    [
        ((X0[:, :2], Y0), "X has 2 features, but TorchSGDRegressor is expecting 3"),
        ((X0, np.column_stack((Y0, Y0))), "coefficients of shape"),
        ((np.where(X0[3, 1] == X0, np.nan, X0), Y0), "Input X contains NaN"),
        ((X0, np.where(Y0[5] == Y0, np.inf, Y0)), "Input y contains infinity"),
        ((X0, Y0[:-1]), "inconsistent numbers of samples"),
        ((X0[:0], Y0[:0]), r"0 sample\(s\)"),
    ],
    ids=["columns", "targets", "NaN", "infinity", "lengths", "no rows"],
)
def test_bad_chunk_is_refused_and_leaves_what_was_learned(parameters, chunk, wording):
    model = TorchSGDRegressor(**parameters, random_state=0).partial_fit(X0, Y0)
    before = pickle.dumps(vars(model))
    with pytest.raises(ValueError, match=wording):
        model.partial_fit(*chunk)
    assert pickle.dumps(vars(model)) == before


def test_unseen_names_are_refused():
    pd = pytest.importorskip("pandas")
    model = TorchSGDRegressor().partial_fit(pd.DataFrame(X0, columns=list("abc")), Y0)
    with pytest.raises(ValueError, match="unseen at fit time"):
        model.partial_fit(pd.DataFrame(X0, columns=list("abd")), Y0)


def test_early_stopping_is_refused():
    with pytest.raises(ValueError, match="early_stopping should be False with partial_fit"):
        TorchSGDRegressor(early_stopping=True).partial_fit(X0, Y0)


def test_numbers_whose_squares_overflow_are_refused():
    with pytest.raises(ValueError, match="Scale the columns first"):
        TorchSGDRegressor().partial_fit(X0 * [1, 1e200, 1], Y0)


def test_clone_forgets_the_stream():
    model = TorchSGDRegressor().partial_fit(X0, Y0)
    assert not hasattr(clone(model), "_stream")

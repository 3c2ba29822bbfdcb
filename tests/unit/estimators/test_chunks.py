"""Parameters that change between chunks, and chunks without weight."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import SGDRegressor

from skorchlite import TorchPolyRegressor, TorchSGDRegressor


def problem(n_rows):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n_rows, 3))
    return A, 1 + A @ [1.0, 2.0, 0.5] + rng.standard_normal(n_rows)


# --- parameters that change between chunks -------------------------------------------------

STREAMS = {
    "moments": {},
    "averaged": {"loss": "huber", "random_state": 0},
    "averaged squared error": {"batch_size": 16, "random_state": 0},
    "given step": {"learning_rate": 0.01, "random_state": 0},
}


@pytest.mark.parametrize("parameters", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("Model", [TorchSGDRegressor, TorchPolyRegressor])
@pytest.mark.parametrize("first", [True, False])
def test_intercept_cannot_come_or_go_between_chunks(parameters, Model, first):
    A, b = problem(100)
    model = Model(fit_intercept=first, **parameters).partial_fit(A, b)
    before = pickle.dumps(model)
    model.set_params(fit_intercept=not first)
    with pytest.raises(ValueError, match=f"fit_intercept={not first} was set after.*Call fit"):
        model.partial_fit(A, b)
    assert pickle.dumps(model.set_params(fit_intercept=first)) == before
    model.partial_fit(A, b)
    whole = Model(fit_intercept=first, **parameters).partial_fit(A, b).partial_fit(A, b)
    np.testing.assert_array_equal(model.coef_, whole.coef_)


def test_intercept_cannot_go_after_a_fit():
    A, b = problem(100)
    model = TorchSGDRegressor().fit(A, b).set_params(fit_intercept=False)
    with pytest.raises(ValueError, match="fit_intercept=False was set after"):
        model.partial_fit(A, b)


@pytest.mark.parametrize(
    "penalty",
    [
        {"penalty": "l2", "alpha": 0.5},
        {"penalty": "l1", "alpha": 0.1},
        {"penalty": "elasticnet", "alpha": 0.2, "l1_ratio": 0.5},
        {"positive": True},
    ],
    ids=str,
)
def test_penalty_may_change_between_chunks_that_leave_moments(penalty):
    A, b = problem(100)
    model = TorchSGDRegressor().partial_fit(A[:40], b[:40]).set_params(**penalty)
    model.partial_fit(A[40:], b[40:])
    np.testing.assert_allclose(
        model.coef_, TorchSGDRegressor(**penalty).fit(A, b).coef_, rtol=0, atol=1e-9
    )


PLAIN_STEPS = {"preconditioner": None, "shuffle": False, "batch_size": 1, "random_state": 0}


@pytest.mark.parametrize(
    "changes",
    [
        [{"eta0": 0.01}, {"eta0": 0.001}],
        [{"eta0": 0.01}, {"learning_rate": "constant", "eta0": 0.002}],
        [{"penalty": "l2", "alpha": 0.1}, {"alpha": 0.5}, {"penalty": None}],
        [{}, {"penalty": "l2", "alpha": 0.1}],
        [{"power_t": 0.1}, {"power_t": 0.5}],
        [{"learning_rate": "optimal", "alpha": 0.1, "penalty": "l2"}, {"alpha": 0.2}],
    ],
    ids=str,
)
def test_steps_and_penalties_follow_those_of_sgdregressor(changes):
    A, b = problem(60)
    A, b = A / 10, b / 10
    start = {"learning_rate": "invscaling", "penalty": None}
    model = TorchSGDRegressor(**{**PLAIN_STEPS, **start})
    peer = SGDRegressor(shuffle=False, **start)
    for change in changes:
        for one in (model, peer):
            one.set_params(**change).partial_fit(A, b)
        np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-9)
        np.testing.assert_allclose(model.intercept_, peer.intercept_[0], rtol=1e-9)


@pytest.mark.parametrize("change", [{"penalty": "l1", "alpha": 1e3}, {"positive": True}], ids=str)
@pytest.mark.parametrize(
    "parameters",
    [
        {"loss": "huber"},
        {"learning_rate": 0.001, "preconditioner": "diagonal"},
        {"learning_rate": 0.001, "preconditioner": None},
    ],
    ids=str,
)
def test_penalty_with_kinks_may_begin_between_chunks(change, parameters):
    A, b = problem(200)
    model = TorchSGDRegressor(random_state=0, **parameters).partial_fit(A, -b)
    assert model.coef_.any() and (model.coef_ < 0).any()
    model.set_params(**change)
    for _ in range(3):
        model.partial_fit(A, -b)
    assert not model.coef_.any() if "penalty" in change else (model.coef_ >= 0).all()


def test_penalty_with_kinks_cannot_follow_mixed_coordinates():
    A, b = problem(100)
    model = TorchSGDRegressor(learning_rate=0.01, random_state=0).partial_fit(A, b)
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match=r"mix the coefficients.*preconditioner='diagonal'"):
        model.set_params(penalty="l1").partial_fit(A, b)
    assert pickle.dumps(model.set_params(penalty=None)) == before


@pytest.mark.parametrize(
    "change",
    [
        {"solver": "adam"},
        {"solver_params": {"momentum": 0.5}},
        {"preconditioner": None},
        {"average": True},
    ],
    ids=str,
)
def test_update_cannot_change_between_chunks(change):
    A, b = problem(100)
    model = TorchSGDRegressor(learning_rate=0.01, random_state=0).partial_fit(A, b)
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} changed after chunks.*Call fit"):
        model.set_params(**change).partial_fit(A, b)


@pytest.mark.parametrize("rate", [0.01, "auto"])
@pytest.mark.parametrize("change", [{"batch_size": 50}, {"shuffle": False}], ids=str)
def test_batches_may_change_between_chunks(change, rate):
    A, b = problem(100)
    parameters = {"learning_rate": rate, "batch_size": 20, "random_state": 0}
    model, whole = (TorchSGDRegressor(**parameters).partial_fit(A, b) for _ in "ab")
    model.set_params(**change).partial_fit(A, b)
    whole.partial_fit(A, b)
    assert (model.coef_ != whole.coef_).any()
    assert model.t_ == 1 + 5 + (2 if "batch_size" in change else 5)


# --- chunks without weight -----------------------------------------------------------------


@pytest.mark.parametrize("parameters", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_chunk_without_weight_changes_nothing(parameters, form):
    A, b = problem(100)
    model = TorchSGDRegressor(**parameters).partial_fit(form(A), b)
    before = pickle.dumps(model)
    model.partial_fit(form(A), b, np.zeros(100))
    assert pickle.dumps(model) == before
    model.partial_fit(A, b)
    whole = TorchSGDRegressor(**parameters).partial_fit(form(A), b).partial_fit(A, b)
    np.testing.assert_array_equal(model.coef_, whole.coef_)


@pytest.mark.parametrize("parameters", STREAMS.values(), ids=STREAMS)
def test_first_chunk_without_weight_is_refused(parameters):
    A, b = problem(100)
    model = TorchSGDRegressor(**parameters)
    with pytest.raises(
        ValueError, match=r"at least one non-zero.*first chunk.*Leave the chunk out"
    ):
        model.partial_fit(A, b, np.zeros(100))
    assert not hasattr(model, "n_features_in_")


def test_chunk_without_weight_is_checked_all_the_same():
    A, b = problem(100)
    model = TorchSGDRegressor().partial_fit(A, b)
    with pytest.raises(ValueError, match="X has 2 features, but"):
        model.partial_fit(A[:, :2], b, np.zeros(100))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.partial_fit(A * np.nan, b, np.zeros(100))

"""Steps along many batches at once, which are those of the loop up to rounding."""

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch

from skorchlite import TorchSGDRegressor
from skorchlite._objective.losses import LOSSES
from skorchlite._solvers.stochastic import minibatches, tiles, unrolled
from skorchlite._solvers.stochastic.averages import Average, RecentAverage
from skorchlite._solvers.stochastic.optimizers import GradientDescent
from skorchlite._solvers.stochastic.sgd import Steps
from skorchlite._solvers.stochastic.transitions import Run, longest_run
from tests.support.all_pairs import all_pairs

# One set of parameters goes with all losses, penalties and steps.
pytestmark = pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 4)) * [1.0, 3.0, 0.5, 1.0] + [0.0, 1.0, -1.0, 0.0]
Y = 1 + X @ [1.0, -1.0, 2.0, 0.5] + RNG.standard_normal(150)
WEIGHT = RNG.uniform(0, 3, 150) * (np.arange(150) % 7 > 0)
MOMENTA = [
    {"momentum": 0.9},
    {"momentum": 0.5, "nesterov": True},
    {"momentum": 0.8, "dampening": 0.3},
]
GIVEN = {"solver": "sgd", "preconditioner": None, "tol": None, "random_state": 0, "epsilon": 0.5}


@contextmanager
def one_by_one():
    """Let the loop take each step by itself."""
    with mock.patch.object(Steps, "_unrolls", False):
        yield


def both(*data, **parameters):
    """Fits by many steps at once and by single ones; the first took no single step."""
    estimators = [TorchSGDRegressor(**GIVEN | parameters) for _ in range(2)]
    single = mock.patch.object(Steps, "_learn", side_effect=AssertionError("a single step"))
    with single, mock.patch.object(unrolled, "_NEWTON", 10**9):
        estimators[0].fit(*data)
    with one_by_one():
        estimators[1].fit(*data)
    return estimators


def assert_same(first, second, rtol=1e-13):
    for a, b in ((first.coef_, second.coef_), (first.intercept_, second.intercept_)):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(second.coef_).max())
    np.testing.assert_allclose(first.loss_curve_, second.loss_curve_, rtol=10 * rtol)
    assert first.t_ == second.t_


@all_pairs(
    ids=str,
    loss=LOSSES,
    penalty=[None, "l2"],
    solver_params=[None, *MOMENTA[:2]],
    average=[False, True, 40],
    batch_size=[1, 3, 32, 50, None],
)
def test_many_steps_at_once_are_those_of_the_loop(
    loss, penalty, solver_params, average, batch_size
):
    given = {"loss": loss, "penalty": penalty, "solver_params": solver_params, "alpha": 0.1}
    given |= {"average": average, "batch_size": batch_size}
    # This loss is curved twice as much as squared error, and single rows with momentum diverge.
    steep = loss == "squared_epsilon_insensitive" and batch_size == 1
    rate = 0.005 if steep and solver_params == {"momentum": 0.9} else 0.01
    assert_same(*both(X, Y, **given, learning_rate=rate, max_iter=3))


@all_pairs(
    ids=lambda value: "weighted" if value is WEIGHT else str(value),
    loss=["squared_error", "huber", "absolute_error"],
    penalty=[None, "l2"],
    schedule=["constant", "invscaling", "adaptive"],
    preconditioner=[None, "diagonal", "gram"],
    weight=[None, WEIGHT],
    n_targets=[1, 2],
    fit_intercept=[True, False],
    batch_size=[1, 7, 40],
)
def test_whatever_the_rows_weights_and_schedule(
    loss, penalty, schedule, preconditioner, weight, n_targets, fit_intercept, batch_size
):
    y = Y if n_targets == 1 else np.column_stack((Y, X[:, 0] - Y))
    given = {"loss": loss, "penalty": penalty, "alpha": 0.1, "learning_rate": schedule}
    given |= {"preconditioner": preconditioner, "fit_intercept": fit_intercept, "eta0": 0.01}
    assert_same(*both(X, y, weight, **given, batch_size=batch_size, max_iter=3))


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_dampening_begins_with_the_second_step(loss):
    """The first one, in the loop, has none."""
    dampened = TorchSGDRegressor(
        loss, **GIVEN, learning_rate=0.01, solver_params=MOMENTA[2], batch_size=3, max_iter=3
    ).fit(X, Y)
    with one_by_one():
        assert_same(dampened, TorchSGDRegressor(**dampened.get_params()).fit(X, Y))


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("loss", ["squared_error", "log_cosh"])
def test_rows_that_take_many_blocks(loss, batch_size, monkeypatch):
    for n_rows in (40, 100):
        monkeypatch.setattr(minibatches, "_BLOCK_BYTES", 8 * 8 * n_rows)
        given = {"loss": loss, "learning_rate": 0.01, "average": 60, "max_iter": 2}
        assert_same(*both(X, Y, batch_size=batch_size, **given))


@pytest.mark.parametrize("matrices", [0, 10**9], ids=["by rows", "by matrices"])
@pytest.mark.parametrize("solver_params", [None, *MOMENTA[:2]], ids=str)
@pytest.mark.parametrize("batch_size", [1, 32])
def test_however_a_tile_is_multiplied(batch_size, solver_params, matrices, monkeypatch):
    monkeypatch.setattr(tiles, "_FEW", matrices)
    given = {"batch_size": batch_size, "solver_params": solver_params}
    given["learning_rate"] = 0.001 if solver_params else 0.01  # with momentum, that diverges
    for weight in (None, WEIGHT):
        for y in (Y, np.column_stack((Y, X[:, 0] - Y))):
            assert_same(*both(X, y, weight, **given, max_iter=2))


def test_single_precision():
    few = X.astype(np.float32), Y.astype(np.float32)
    for loss in ("squared_error", "huber", "quantile"):
        given = {"dtype": "float32", "learning_rate": 0.01, "batch_size": 1, "max_iter": 2}
        assert_same(*both(*few, loss=loss, **given), rtol=1e-5)


# --- how long a run may be ---------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("step", [0.3, 1e6, 1e200])
def test_a_step_that_is_too_long_diverges_as_in_the_loop(step, batch_size):
    given = {"learning_rate": step, "batch_size": batch_size, "max_iter": 3}
    estimator = TorchSGDRegressor(**GIVEN, **given).fit(X, Y)
    with one_by_one():
        expected = TorchSGDRegressor(**estimator.get_params()).fit(X, Y)
    assert estimator.converged_ == expected.converged_
    assert (estimator.n_iter_, estimator.t_) == (expected.n_iter_, expected.t_)
    np.testing.assert_allclose(estimator.coef_, expected.coef_, rtol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_a_loop_that_stays_at_the_optimum_does_so_whatever_the_step(batch_size):
    """The system of a tile overflows, and nothing times infinity is no number."""
    estimator = TorchSGDRegressor(**GIVEN, learning_rate=1e200, batch_size=batch_size, max_iter=2)
    np.testing.assert_array_equal(estimator.fit(X, 0 * Y).coef_, 0)


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("alpha", [1.0, 95.0, 100.0, 150.0])
def test_decay_that_leaves_little_of_a_point(alpha, batch_size):
    """At 100 a step forgets where it began, which no run of steps can undo."""
    given = {"penalty": "l2", "alpha": alpha, "learning_rate": 0.01, "batch_size": batch_size}
    estimator = TorchSGDRegressor(**GIVEN, **given, max_iter=2).fit(X, Y)
    with one_by_one():
        assert_same(estimator, TorchSGDRegressor(**estimator.get_params()).fit(X, Y), 1e-12)


def test_epochs_ahead_of_the_one_that_is_the_last_leave_no_trace():
    given = {"learning_rate": 0.01, "batch_size": 16, "average": 30}
    stopped = TorchSGDRegressor(**GIVEN | {"tol": 1e-2}, **given, n_iter_no_change=2).fit(X, Y)
    assert 2 < stopped.n_iter_ < 30
    given["max_iter"] = stopped.n_iter_
    ended = TorchSGDRegressor(**GIVEN, **given).fit(X, Y)
    np.testing.assert_array_equal(stopped.coef_, ended.coef_)
    assert (stopped.loss_curve_, stopped.t_) == (ended.loss_curve_, ended.t_)


# --- parts -------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [None, *MOMENTA], ids=str)
def test_transition_is_the_step(params):
    """Of two coordinates with their own curvature, along gradients of the loss."""
    curvature = torch.tensor([0.5, 0.0], dtype=torch.float64)
    gradients = torch.from_numpy(RNG.standard_normal((6, 2, 1)))
    rates = torch.tensor([0.3, 0.2, 0.2, 0.1, 0.05, 0.1], dtype=torch.float64)
    optimizer = GradientDescent(torch.ones(2, 1, dtype=torch.float64), 0.1, **params or {})
    optimizer.step(gradients[0].clone(), 0.1)
    assert optimizer.begun
    begin, points = optimizer.state.clone(), [optimizer.x.clone()]
    run = Run.of(*(part[None] for part in optimizer.transition(rates, curvature)))
    for rate, gradient in zip(rates.tolist(), gradients, strict=True):
        optimizer.step(gradient + curvature[:, None] * optimizer.x, rate)
        points.append(optimizer.x.clone())
    pulled = run.pulls[0][..., None] * (rates[:, None, None] * gradients)[:, None]
    state = (run.start[0][..., None] * begin).sum(1)
    for step, point in enumerate(points):
        seen = run.points[0, step][..., None] * (state - pulled[:step].sum(0))
        torch.testing.assert_close(seen.sum(0), point, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state - pulled.sum(0), optimizer.state, rtol=1e-12, atol=1e-12)


def test_runs_keep_their_digits():
    assert longest_run(1.0) >= 128
    assert longest_run(0.5) == 6
    assert longest_run(1e-3) == 1


@pytest.mark.parametrize("make", [lambda x: Average(x, 7), lambda x: RecentAverage(x, 20, 2.0)])
def test_points_are_averaged_together_as_one_after_the_other(make):
    points, seen = torch.from_numpy(RNG.standard_normal((15, 3, 1))), 2 * np.arange(1, 16)
    one, all_ = make(points[0]), make(points[0])
    for point, n_seen in zip(points, seen, strict=True):
        one.add(point, int(n_seen))
    all_.add_all(points[:4], seen[:4])
    all_.add_all(points[4:], seen[4:])
    torch.testing.assert_close(one.value(points[0]), all_.value(points[0]), rtol=1e-13, atol=0)
    assert one.n_points == all_.n_points

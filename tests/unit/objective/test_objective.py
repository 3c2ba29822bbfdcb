"""An objective does not change under its solutions."""

import numpy as np
import pytest
import torch

from skorchlite._objective.losses import make_loss
from skorchlite._objective.objective import Objective
from skorchlite._objective.penalties import make_penalty
from skorchlite._solvers.base import SolverControl
from skorchlite._solvers.selection import FULL_BATCH
from skorchlite._solvers.stochastic.settings import Settings
from skorchlite._solvers.stochastic.solver import stochastic
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.origin_choice import pilot_origin, plain_origin

PENALTIES = [None, "l2", "l1"]


def solvers():
    settings = Settings(
        solver="sgd",
        solver_params=None,
        preconditioner="auto",
        learning_rate="auto",
        eta0=0.01,
        power_t=0.25,
        alpha=0.01,
        batch_size=16,
        shuffle=True,
        average=0,
        n_iter_no_change=5,
        early_stopping=False,
        seed=0,
    )
    return {**FULL_BATCH, "stochastic": lambda *problem: stochastic(*problem, settings)}


@pytest.mark.parametrize("solver", ["newton", "gradient", "stochastic"])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_solver_leaves_the_objective_as_it_is(solver, loss, penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3)) + np.array([0, 5, 100])
    y = X @ [1.0, -1.0, 0.5] + rng.standard_t(3, 60)
    rows = ArrayRows(X, y, None, torch.device("cpu"))
    objective = Objective(
        rows,
        make_loss(loss, 0.5, 0.5),
        make_penalty(penalty, 0.01, 0.5, False),
        plain_origin(rows, True),
        True,
    )
    before = {name: vars(objective)[name] for name in ("rows", "loss", "penalty", "origin")}
    control = SolverControl(1e-8, 200, torch.float64, np.finfo(float).eps)
    with torch.no_grad():
        solution = solvers()[solver](objective, None, control)
        assert all(vars(objective)[name] is value for name, value in before.items())
        there, _ = solution.objective.evaluate(solution.v, solution.v_low)
        here, _ = objective.evaluate(objective.units.carried(solution.v, solution.objective.origin))
    assert solution.objective.origin.shift.abs().max() > 1  # of columns about their mean
    np.testing.assert_allclose(here, there, rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_with_columns_near_zero_lose_no_digits(fit_intercept, weighted, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(1, 1, (50, 6)).astype(dtype), rng.normal(1e6, 1, (50, 2))
    rows = ArrayRows(X, y, rng.random(50) if weighted else None, torch.device("cpu"))
    loss, penalty = make_loss("squared_error", 0.0, 0.0), make_penalty("l1", 0.1, 1.0, False)
    objective = Objective(rows, loss, penalty, pilot_origin(rows, fit_intercept), fit_intercept)
    mean, deviation, _ = objective.spread()
    near, formed = objective.centred(mean, deviation), objective.centred(mean)
    assert near.origin.near == (fit_intercept or (X.mean(0) < 4 * X.std(0)).all())
    assert not formed.origin.near
    v = torch.from_numpy(rng.normal(size=(7, 2)))
    v[-1] *= fit_intercept
    eps = torch.finfo(torch.float64).eps
    for found, expected in zip(near.evaluate(v), formed.evaluate(v), strict=True):
        size = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=100 * eps * size)


def test_columns_far_from_zero_are_not_near():
    rng = np.random.default_rng(0)
    X, y = rng.normal(1, 1, (50, 3)), rng.normal(size=50)
    X[:, 1] += 10
    rows = ArrayRows(X, y, None, torch.device("cpu"))
    loss, penalty = make_loss("squared_error", 0.0, 0.0), make_penalty("l1", 0.1, 1.0, False)
    objective = Objective(rows, loss, penalty, pilot_origin(rows, True), True)
    mean, deviation, _ = objective.spread()
    assert not objective.centred(mean, deviation).origin.near

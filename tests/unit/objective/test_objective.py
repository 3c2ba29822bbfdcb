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
from skorchlite._sources.origin_choice import plain_origin

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

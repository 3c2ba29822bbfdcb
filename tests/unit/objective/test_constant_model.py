"""No stochastic descent ends above the constant model, whatever its step."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._objective.losses import LOSSES, make_loss
from tests.support.all_pairs import all_pairs

STEPS = {
    "own step": {"solver": "sgd", "max_iter": 20},
    "own step, few epochs": {"batch_size": 8, "max_iter": 1, "tol": None},
    "own step of Adam": {"solver": "adam", "max_iter": 10},
    "small step": {"learning_rate": 1e-3, "max_iter": 5},
    "large step": {"learning_rate": 0.3, "batch_size": 8, "max_iter": 10},
    "far too large": {"learning_rate": 50.0, "batch_size": 8, "max_iter": 5},
    "far too large in raw columns": {"learning_rate": 1.0, "preconditioner": None, "max_iter": 5},
    "one row a step": {"learning_rate": 0.1, "batch_size": 1, "max_iter": 1},
    "constant": {"learning_rate": "constant", "eta0": 0.5, "max_iter": 5},
    "optimal": {"learning_rate": "optimal", "alpha": 0.01, "max_iter": 5},
    "Adam": {"solver": "adam", "learning_rate": 10.0, "max_iter": 5},
    "RMSprop": {"solver": torch.optim.RMSprop, "learning_rate": 1.0, "max_iter": 5},
    "averaged": {"learning_rate": 0.5, "batch_size": 1, "average": True, "max_iter": 2},
}


def problem(seed):
    """Few rows, of columns and targets in any unit, with heavy tails and little to explain."""
    rng = np.random.default_rng(seed)
    n, d = rng.integers(15, 300), rng.integers(1, 12)
    X = rng.standard_normal((n, d)) * 10 ** rng.uniform(-2, 2, d)
    y = 0.1 * (X / X.std(0)) @ rng.standard_normal(d) + rng.standard_t(rng.choice([1, 30]), n)
    return X + 5, y + rng.choice([0.0, 100.0])


def objective(model, X, y, coef, intercept):
    loss = make_loss(model.loss, model.epsilon, model.quantile)
    values = loss.value(torch.from_numpy(y), torch.from_numpy(X @ coef + intercept))
    alpha = model.alpha * (model.penalty == "l2")
    return float(values.mean()) + alpha / 2 * float(coef @ coef)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@all_pairs(loss=LOSSES, name=STEPS, penalty=[None, "l2"])
def test_descent_does_not_end_above_the_constant_model(loss, name, penalty):
    steps = STEPS[name]
    for seed in range(2):
        X, y = problem(seed)
        for tol in (None, 1e-10):
            given = {"tol": tol, **steps, "penalty": penalty, "random_state": seed}
            model = TorchSGDRegressor(loss, epsilon=0.5, **given).fit(X, y)
            # Those of raw columns begin at zero, which is what they are to improve on.
            mean = 0.0 if "preconditioner" in steps else y.mean()
            bound = objective(model, X, y, np.zeros(X.shape[1]), mean)
            assert objective(model, X, y, model.coef_, model.intercept_) <= bound * (1 + 1e-12)


@pytest.mark.parametrize("tol", [None, 1e-3])
@pytest.mark.parametrize(
    "steps",
    [
        {"learning_rate": 2.0, "batch_size": None, "max_iter": 50},
        {"learning_rate": 0.5, "batch_size": 1, "max_iter": 1},
        {"learning_rate": 100.0, "solver": "adam", "max_iter": 5},
    ],
    ids=str,
)
def test_step_that_is_too_long_is_told_whatever_tol_is(Estimator, steps, tol):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 5))
    y = X @ [1.0, 2.0, 3.0, 4.0, 5.0] + rng.standard_normal(200)
    degree = {"degree": 1} if Estimator is TorchPolyRegressor else {}
    model = Estimator(tol=tol, preconditioner=None, random_state=0, **steps, **degree)
    message = "(The objective rose|The epochs ended with an objective above).*The best"
    with pytest.warns(ConvergenceWarning, match=message):
        model.fit(X, y)
    assert not model.converged_
    assert model.score(X, y) > -0.01
    assert model.loss_curve_[-1] <= np.mean(y**2) / 2


def test_each_target_is_kept_where_it_is_best():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    Y = np.column_stack((X @ [1.0, 2.0, 3.0], rng.standard_normal(200)))
    model = TorchSGDRegressor(learning_rate=0.3, batch_size=4, max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y)
    errors = ((Y - model.predict(X)) ** 2).mean(0)
    assert (errors <= Y.var(0) * (1 + 1e-12)).all()
    assert errors[0] < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["absolute_error", "epsilon_insensitive"])
def test_bands_of_a_loss_with_kinks_do_not_vanish_in_many_epochs(loss):
    X, y = problem(0)
    model = TorchSGDRegressor(loss, solver="sgd", max_iter=1000, tol=None, random_state=0)
    best = TorchSGDRegressor(loss).fit(X, y)
    ends = [objective(one, X, y, one.coef_, one.intercept_) for one in (model.fit(X, y), best)]
    assert ends[1] <= ends[0] <= 1.001 * ends[1]


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_optimality_is_no_number_where_it_is_not_measured(Estimator, loss, chunks):
    X, y = problem(1)
    model = Estimator(loss=loss, learning_rate=0.01, max_iter=2, tol=None, random_state=0)
    (model.partial_fit if chunks else model.fit)(X, y)
    assert isinstance(model.optimality_, float)
    assert np.isnan(model.optimality_)
    if chunks:
        averaged = Estimator(loss="huber", random_state=0).partial_fit(X, y)
        assert np.isnan(averaged.optimality_)


def test_optimality_that_is_not_measured_is_not_printed(capsys):
    X, y = problem(1)
    TorchSGDRegressor(learning_rate=0.01, max_iter=2, tol=None, verbose=1).fit(X, y)
    assert "optimality" not in capsys.readouterr().out

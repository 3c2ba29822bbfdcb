"""Descent by batches, and the ends that it comes to; the walk-throughs compare its single steps."""

import itertools
import pickle
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import PolynomialFeatures
from torch.optim import lr_scheduler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._objective.losses import LOSSES, make_loss
from skorchlite._objective.penalties import PENALTIES
from skorchlite._solvers.selection import FULL_BATCH
from skorchlite._solvers.stochastic import minibatches
from skorchlite._solvers.stochastic.optimizers import OPTIMIZERS, make_optimizer
from skorchlite._solvers.stochastic.schedules import SCHEDULES
from tests.support.all_pairs import all_pairs
from tests.support.oracles import badly_scaled_problem
from tests.support.solvers_of_peers import Problem

AUTO = {"solver": "sgd", "random_state": 0}
BOTH = [TorchSGDRegressor, TorchPolyRegressor]
LITERAL = {"preconditioner": None, "shuffle": False}  # the rows as they come
EPOCHS = {"tol": None, "random_state": 0}  # as many as max_iter says, without a warning
KINKED = [name for name in LOSSES if make_loss(name, 0.5, 0.5).kinked]
SMOOTH = [name for name in LOSSES if name not in KINKED]
KINKS = [{"penalty": "l1"}, {"penalty": "elasticnet"}, {"positive": True}]
ACCUMULATING = [
    *((name, None) for name in OPTIMIZERS if name != "sgd"),
    *((kind, {"momentum": 0.9}) for kind in ("sgd", torch.optim.SGD)),
    (torch.optim.Adam, None),
]
# Not the base class, one that evaluates batches itself, and one for sparse gradients only.
UNFIT = {torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.SparseAdam}
CLASSES = [o for o in vars(torch.optim).values() if isinstance(o, type) and o not in UNFIT]

# One set of parameters goes with all losses, penalties and steps.
pytestmark = pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")

each = pytest.mark.parametrize
unfinished = pytest.mark.filterwarnings("ignore:The (solver|epochs|iterations)")


def named(value):
    return getattr(value, "__name__", str(value))


def raw_problem(n_samples=2000, n_features=6, unit=1.0, **parameters):
    """Raw columns of scales 1e-3 to 1e3, two of them alike, and a few outliers."""
    X, y = badly_scaled_problem(0, n_samples, n_features, offset=3, decades=3, noise=1.0)
    X[:, 1] += 2 * (X[:, 0] - X[:, 0].mean()) * X[:, 1].std() / X[:, 0].std()
    y[::50] += 20
    return Problem(X, unit * y, epsilon=0.5 * unit, **parameters)


def plain_problem(n_samples=120, shape=()):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n_samples, 3)) * [1.0, 3.0, 0.5] + [0.0, 1.0, -1.0]
    return X, 3 + X @ rng.uniform(1, 3, (3, *shape)) + rng.standard_normal((n_samples, *shape))


X, Y = plain_problem()
WEIGHT = np.random.default_rng(0).uniform(0.1, 3, len(Y))


def descend(problem, **more):
    return replace(problem, more=AUTO | more).fit()


def excess(problem, estimator, best=None):
    """How far above the optimum of the full-batch solver, relatively."""
    best = problem.fit() if best is None else best
    least = problem.value(best.coef_, best.intercept_)
    return problem.value(estimator.coef_, estimator.intercept_) / least - 1


def assert_same(first, second, rtol):
    for a, b in ((first.coef_, second.coef_), (first.intercept_, second.intercept_)):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max() + 1e-300)


# --- SGDRegressor ------------------------------------------------------------------------

PAIRS = [  # the passive-aggressive steps are defined for one loss
    (schedule, loss)
    for schedule, loss in itertools.product(SCHEDULES, sorted(SGDRegressor.loss_functions))
    if loss == "epsilon_insensitive" or not schedule.startswith("pa")
]
SMALL = 0.2 * X[:25], Y[:25] / 3  # the steps of "optimal" begin at about 2


def peers(weight=None, **parameters):
    """SGDRegressor and ours, fitted."""
    parameters = {"shuffle": False, "alpha": 0.3, "eta0": 0.05, **parameters}
    estimators = SGDRegressor(**parameters), TorchSGDRegressor(preconditioner=None, **parameters)
    return [estimator.fit(*SMALL, sample_weight=weight) for estimator in estimators]


def test_parameters_of_sgd_regressor(Estimator):
    assert set(SGDRegressor().get_params()) <= set(Estimator().get_params())


@each("penalty", PENALTIES)
@each(("schedule", "loss"), PAIRS)
def test_steps_of_sgd_regressor(schedule, loss, penalty):
    weight = WEIGHT[:25] / WEIGHT[:25].mean()
    # SGDRegressor averages the points before the steps of "l1".
    averages = (False,) if penalty in ("l1", "elasticnet") else (False, True, 7, 1000)
    given = {"loss": loss, "penalty": penalty, "learning_rate": schedule}
    for average, fit_intercept in itertools.product(averages, (True, False)):
        more = {"average": average, "fit_intercept": fit_intercept, "tol": None, "max_iter": 2}
        peer, ours = peers(weight, **given, **more)
        np.testing.assert_allclose(ours.coef_, peer.coef_, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(ours.intercept_, peer.intercept_[0], rtol=1e-10, atol=1e-12)
        assert (ours.t_, ours.n_iter_) == (peer.t_, peer.n_iter_)


@each("penalty", [None, "l2"])  # of "l1" SGDRegressor takes the norm before coefficients are cut
@each(("schedule", "loss"), PAIRS)
def test_stops_when_sgd_regressor_does(schedule, loss, penalty):
    penalty = None if schedule.startswith("pa") else penalty  # which it leaves out for these
    for patience in (2, 5):
        given = {"loss": loss, "penalty": penalty, "learning_rate": schedule}
        peer, ours = peers(**given, tol=1e-2, n_iter_no_change=patience, max_iter=300)
        assert ours.n_iter_ == peer.n_iter_ < 300
        assert ours.converged_


GRID = [
    {"loss": ["squared_error", "huber"], "penalty": ["l2", None], "alpha": [1e-4, 0.1]},
    {"learning_rate": ["adaptive"], "eta0": [1e-3, 0.1], "average": [False, 10]},
    {"power_t": [0.1, 0.5], "epsilon": [0.2], "loss": ["epsilon_insensitive"]},
]


@pytest.mark.slow
@unfinished
@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_grid_of_sgd_regressor():
    given = {"penalty": "l2", "learning_rate": "invscaling", "max_iter": 15, "tol": 1e-3}
    peer, literal, default = (
        GridSearchCV(kind(**given, random_state=0, **more), GRID, cv=3, error_score="raise")
        for kind, more in (
            (SGDRegressor, {"shuffle": False}),
            (TorchSGDRegressor, LITERAL),
            (TorchSGDRegressor, {"early_stopping": True, "validation_fraction": 0.2}),
        )
    )
    scores = [s.fit(X[:60], Y[:60]).cv_results_["mean_test_score"] for s in (peer, literal)]
    np.testing.assert_allclose(*scores, rtol=1e-8)
    assert literal.best_params_ == peer.best_params_
    assert default.fit(X[:60], Y[:60]).best_score_ > 0.5


# --- the step that finds itself ----------------------------------------------------------


@all_pairs(loss=LOSSES, penalty=PENALTIES, positive=[False, True])
def test_reaches_the_optimum(loss, penalty, positive):
    """The kinks of a loss are smoothed as far as the rows can tell; a penalty costs epochs."""
    problem = raw_problem(loss=loss, penalty=penalty, positive=positive, alpha=1e-3)
    epochs = 60 if penalty or positive else 30
    estimator = descend(problem, max_iter=epochs, tol=None)
    # Coordinates that keep the kinks of a penalty do not follow the curvature of the loss.
    kinked = 1e-3 if positive or penalty in ("l1", "elasticnet") else 1e-4
    assert excess(problem, estimator) <= (kinked if loss in KINKED else 1e-9)
    curve = np.array(estimator.loss_curve_)
    assert len(curve) == estimator.n_iter_ + 1 == epochs + 1
    value = problem.value(estimator.coef_, estimator.intercept_)
    np.testing.assert_allclose(curve[-1], value, rtol=1e-10)
    # What raises the objective by more is undone: rounding, or what smoothing may hide.
    assert (np.diff(curve) <= (2e-3 if loss in KINKED else 1e-11) * curve[0]).all()


@each("unit", [1e-3, 1e3])
@each("loss", [name for name in LOSSES if name != "log_cosh"])  # which has a unit of its own
def test_unit_of_the_target_does_not_matter(loss, unit):
    """The same problem in another unit, in which a loss that is linear has another alpha."""
    alpha = 1 / unit if loss in KINKED else 1.0
    problem = raw_problem(unit=unit, loss=loss, penalty="l2", alpha=alpha)
    estimator = descend(problem, max_iter=60, tol=None)
    assert excess(problem, estimator) <= (1e-4 if loss in KINKED else 1e-9)


UPDATES = [(solver, None, 1e-4) for solver in (*OPTIMIZERS, *CLASSES)]
UPDATES += [
    (solver, {"momentum": 0.9, "nesterov": nesterov}, 1e-9)
    for solver, nesterov in itertools.product(("sgd", torch.optim.SGD), (False, True))
]


@unfinished
@each("unit", [1.0, 1e3])
@each(("solver", "params", "bound"), UPDATES, ids=str)
def test_any_optimizer_needs_no_tuning(solver, params, bound, unit):
    problem = raw_problem(unit=unit)
    estimator = descend(problem, solver=solver, solver_params=params, max_iter=60)
    assert excess(problem, estimator) <= bound
    assert estimator.solver_ == (solver if isinstance(solver, str) else solver.__name__)


@each("batch_size", [32, 256, None])
def test_callable_with_a_curvature_of_its_own(batch_size):
    counts = np.random.default_rng(0).poisson(np.exp(X @ [0.5, 0.1, -0.3]))
    estimator = TorchSGDRegressor(lambda p, y: p.exp() - y * p, max_iter=60)
    best = clone(estimator).fit(X, counts)
    estimator.set_params(batch_size=batch_size, tol=1e-6, **AUTO).fit(X, counts)
    assert estimator.converged_
    assert_same(estimator, best, 1e-4)  # 1e-6 of the gradient, where curvature is a few per cent


def far_rows(spread):
    """Some rows, or one, much further out than the others; the target is as noisy there."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((3000, 5))
    times = np.exp(2 * rng.standard_normal(3000)) if spread == "lognormal" else np.ones(3000)
    times[17] *= 1e4 if spread == "one" else 1
    Z *= times[:, None]
    return Z, Z @ [1.0, -2.0, 3.0, 1.0, 0.0] + rng.standard_normal(3000)


@unfinished
@each("penalty", [None, "l2"])
@each("loss", SMOOTH)
@each("spread", ["lognormal", "one"])
def test_rows_far_from_the_others(spread, loss, penalty):
    """Robust losses hardly see them: a metric made of all rows alike is not theirs."""
    problem = Problem(*far_rows(spread), loss=loss, penalty=penalty, alpha=1e-3, epsilon=0.5)
    quick = loss == "squared_error"
    estimator = descend(problem, max_iter=30 if quick else 100)
    assert excess(problem, estimator) <= (1e-9 if quick else 1e-4)
    assert estimator.converged_ or not quick


@unfinished
@each("rows", ["raw", "lognormal", "one"])
@each("penalty", [None, "l2"])
@each("loss", KINKED)
def test_optimality_bounds_the_gap(loss, penalty, rows):
    problem = raw_problem(loss=loss, penalty=penalty, alpha=1.0, quantile=0.8)
    if rows != "raw":
        problem.X, problem.y = far_rows(rows)
    best = problem.fit()
    for tol in (1e-2, 1e-3, 1e-4):
        estimator = descend(problem, max_iter=60, tol=tol)
        above = excess(problem, estimator, best)  # relative to the least
        assert above / (1 + above) <= estimator.optimality_ + 1e-9
        assert estimator.converged_ == (estimator.optimality_ <= tol)


@pytest.mark.slow
@unfinished
@each(
    "given",
    [{"penalty": "l1", "alpha": 1e-3}, {"positive": True}, {"penalty": "l2", "alpha": 1e-3}],
)
@each("loss", LOSSES)
def test_optimality_bounds_the_gap_of_few_rows(loss, given):
    """Few are in a curved part of the loss, and gradients may be small far from the minimum."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        A, b = rng.normal(size=(15, 18)) + 3, 10 * rng.standard_cauchy(15)
        estimator = TorchSGDRegressor(loss, epsilon=3.0, **given, solver="sgd", random_state=0)
        best = clone(estimator).set_params(solver="newton").fit(A, b)
        value, least = (m.loss_curve_[-1] for m in (estimator.fit(A, b), best))
        assert value - least <= (estimator.optimality_ + 1e-9) * value
        # Rounding may leave a little more than tol.
        assert estimator.tol < estimator.optimality_ or estimator.converged_
        assert estimator.optimality_ <= 1e-6 or not estimator.converged_


def test_optimality_of_a_callable_is_no_number():
    estimator = TorchSGDRegressor(lambda p, y: (p - y) ** 4, tol=1e-3, **AUTO).fit(X, Y)
    assert estimator.converged_
    assert np.isnan(estimator.optimality_)


CONSTANT = {
    "constant columns": (np.ones_like(X), Y, {}),
    "large penalty": (X, Y, {"penalty": "l1", "alpha": 1e4}),
    "target of zero": (X, 0 * Y, {}),
    "constant target": (X, 0 * Y + 7.1, {}),
    "single row": (X[:1], Y[:1], {}),
    "nothing to fit with": (0 * X, Y, {"fit_intercept": False}),
}


@each(("A", "b", "parameters"), CONSTANT.values(), ids=CONSTANT.keys())
@each("loss", LOSSES)
def test_constant_model_is_found_to_be_the_optimum(loss, A, b, parameters):
    """Of its gradient there is nothing but rounding, and nothing to measure it by."""
    tol = 1e-3 if loss in KINKED else 1e-10
    estimator = TorchSGDRegressor(loss, tol=tol, **parameters, **AUTO).fit(A, b)
    assert estimator.converged_
    np.testing.assert_allclose(estimator.coef_, 0, atol=1e-12)


@each("loss", ["squared_error", "log_cosh"])
@each("penalty", [None, "l1"])
def test_each_target_is_solved_as_if_alone(loss, penalty):
    A, B = plain_problem(shape=(3,))
    B *= [1.0, 0.1, 0.0]
    given = {"loss": loss, "penalty": penalty, "alpha": 0.01}
    together = TorchSGDRegressor(**given, **AUTO, batch_size=16).fit(A, B)
    for k in range(3):
        alone = TorchSGDRegressor(**given).fit(A, B[:, k])
        np.testing.assert_allclose(together.coef_[k], alone.coef_, atol=1e-8)
        np.testing.assert_allclose(together.intercept_[k], alone.intercept_, atol=1e-8)


@each("penalty", PENALTIES)
def test_weights_repeat_rows(penalty):
    weight = np.arange(len(Y)) % 4
    estimator = TorchSGDRegressor(penalty=penalty, alpha=0.1, batch_size=16, **AUTO)
    repeated = clone(estimator).fit(np.repeat(X, weight, 0), np.repeat(Y, weight))
    assert_same(estimator.fit(X, Y, 10 * weight), repeated, 1e-8)  # 1e-10 of the gradient each


@pytest.mark.slow
def test_accuracy_after_few_epochs():
    problem = raw_problem(100_000, 20)
    best = problem.fit()
    for epochs, bound in ((5, 1e-6), (20, 1e-9)):
        estimator = descend(problem, batch_size=256, max_iter=epochs, tol=None)
        assert excess(problem, estimator, best) <= bound


@each("dtype", ["float32", "float64"])
def test_single_precision_converges_as_far_as_it_can(dtype):
    estimator = TorchSGDRegressor(dtype="float32", **AUTO).fit(X.astype(dtype), Y)
    assert estimator.converged_
    assert_same(estimator, TorchSGDRegressor().fit(X.astype(dtype), Y), 1e-6)


# --- what a fit leaves as it was ---------------------------------------------------------

STEPS = [{}, {"learning_rate": 0.01}, {"early_stopping": True}, {"batch_size": 7, "average": 5}]


@unfinished
@all_pairs(ids=named, Estimator=BOTH, solver=[*OPTIMIZERS, torch.optim.NAdam], steps=STEPS)
def test_same_seed_same_bits(Estimator, solver, steps):
    estimator = Estimator(solver=solver, max_iter=4, batch_size=40, random_state=3)
    estimator.set_params(**steps)
    seeds = (3, 3, np.random.RandomState(3), 4)
    fits = [clone(estimator).set_params(random_state=seed).fit(X, Y) for seed in seeds]
    first, *same, other = pickle.loads(pickle.dumps(fits))
    for again in same:
        np.testing.assert_array_equal(first.coef_, again.coef_)
        np.testing.assert_array_equal(first.predict(X), again.predict(X))
        assert first.loss_curve_ == again.loss_curve_
    assert not np.array_equal(first.coef_, other.coef_)


def global_state():
    random = pickle.dumps(np.random.get_state()), torch.get_rng_state().numpy().tobytes()
    numbers = torch.get_num_threads(), torch.get_float32_matmul_precision()
    return *random, *numbers, torch.get_default_dtype(), torch.is_grad_enabled()


def fails_on_batches(y_pred, y_true):
    if len(y_true) > 4:
        raise ZeroDivisionError
    return (y_pred - y_true) ** 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each("seed", [None, 0])
def test_global_state_stays(seed):
    before = global_state()
    for more in [*STEPS, {"solver": "adam"}, {"preconditioner": None, "learning_rate": 1e9}]:
        given = {"solver": "sgd", "max_iter": 9, **more}
        TorchSGDRegressor(**given, random_state=seed).fit(X, Y)
        assert global_state() == before
    for step in ("auto", 0.1):
        estimator = TorchSGDRegressor(fails_on_batches, solver="sgd", learning_rate=step)
        with pytest.raises(ZeroDivisionError):
            estimator.set_params(random_state=seed).fit(X, Y)
        assert global_state() == before
        assert not hasattr(estimator, "coef_")


# --- divergence --------------------------------------------------------------------------

TOO_FAR = [
    {"learning_rate": 0.5},
    {"learning_rate": "constant", "eta0": 0.5, "batch_size": 16},
    {"learning_rate": 0.5, "solver_params": {"momentum": 0.9}, "average": True},
    {"learning_rate": 0.5, "early_stopping": True},
]


@each("tol", [None, 1e-10, 1e-3])
@each("parameters", TOO_FAR, ids=str)
def test_divergence_is_told(parameters, tol):
    problem = Problem(*badly_scaled_problem(0, 300, 3, offset=3, decades=1))
    estimator = TorchSGDRegressor(preconditioner=None, tol=tol, random_state=0, **parameters)
    message = (
        r"step of 0\.5 .*diverges.*Steps below .* are stable.*learning_rate='auto'.*best finite"
    )
    with pytest.warns(ConvergenceWarning, match=message):
        estimator.fit(problem.X, problem.y)
    assert not estimator.converged_
    at_start = problem.value(np.zeros(3))
    assert problem.value(estimator.coef_, estimator.intercept_) <= at_start * (1 + 1e-12)


def printed_bound(estimator, A, b):
    with pytest.warns(ConvergenceWarning, match="Steps below") as caught:
        clone(estimator).set_params(learning_rate=1e6, max_iter=300).fit(A, b)
    return float(re.search(r"Steps below (\S+) are stable", str(caught[0].message))[1])


@pytest.mark.filterwarnings("ignore:The loss was no longer finite")
@each("fit_intercept", [True, False])
@each("penalty", [None, "l2"])
@each("preconditioner", [None, "diagonal", "gram"])
def test_printed_bound_is_that_of_gradient_descent(preconditioner, penalty, fit_intercept):
    A, b = badly_scaled_problem(0, 200, 3, offset=2, decades=0.5)
    given = {"preconditioner": preconditioner, "penalty": penalty, "fit_intercept": fit_intercept}
    given |= {} if penalty is None else {"alpha": 2.0}
    estimator = TorchSGDRegressor(batch_size=None, **given, **EPOCHS)
    bound = printed_bound(estimator, A, b)
    if preconditioner is None:
        Z = np.column_stack((A, np.ones(200))) if fit_intercept else A
        ridge = 2.0 * (penalty == "l2") * np.diag([1.0, 1.0, 1.0, 0.0][: Z.shape[1]])
        steepest = np.linalg.eigvalsh(Z.T @ Z / 200 + ridge)[-1]
        np.testing.assert_allclose(bound, 2 / steepest, rtol=0.05)  # two digits are printed
    estimator.set_params(learning_rate=0.93 * bound, max_iter=100)
    below = estimator.fit(A, b).loss_curve_
    assert (np.diff(below) <= 1e-12 * below[0]).all()
    estimator.set_params(learning_rate=1.07 * bound, max_iter=300)
    with pytest.warns(ConvergenceWarning, match="The objective rose.*diverges"):
        above = estimator.fit(A, b).loss_curve_
    assert max(above) > 10 * above[0]


@each("batch_size", [1, 8])
def test_printed_bound_is_stable_for_batches(batch_size):
    A, _ = badly_scaled_problem(0, 200, 3, offset=1, decades=0.2)
    b = A @ [1.0, 2.0, 3.0]  # every batch has the same optimum: all that remains is curvature
    estimator = TorchSGDRegressor(preconditioner=None, batch_size=batch_size, **EPOCHS)
    estimator.set_params(learning_rate=0.9 * printed_bound(estimator, A, b), max_iter=40)
    curve = estimator.fit(A, b).loss_curve_
    assert curve[-1] < 0.01 * curve[0]


@each("step", [0.01, "auto", "invscaling"])
@each("preconditioner", ["gram", "diagonal", None])
@each(("bad", "words"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_what_is_no_number_is_no_divergence(step, preconditioner, bad, words):
    A, b = plain_problem(600)
    A[-1, 1] = bad
    estimator = TorchSGDRegressor(learning_rate=step, preconditioner=preconditioner, solver="sgd")
    with pytest.raises(ValueError, match=f"Input X contains {words}"):
        estimator.fit(A, b)


# --- validation rows ---------------------------------------------------------------------


def overfitted():
    """Few rows for as many columns, so that the loss on other rows rises in the end."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((160, 30))
    b = A[:, 0] + 3 * rng.standard_normal(160) + 3
    return (A[:60], b[:60]), (A[60:], b[60:])


@each("step", [0.02, "adaptive", "auto"])
@each("loss", LOSSES)
def test_best_coefficients_are_kept(loss, step):
    rows, (A, b) = overfitted()
    given = {"epsilon": 1.0, "learning_rate": step, "batch_size": 10, "early_stopping": True}
    estimator = TorchSGDRegressor(loss, tol=1e-3, random_state=0, **given)
    curve = estimator.fit(*rows, X_val=A, y_val=b).validation_loss_curve_
    value = Problem(A, b, loss=loss, epsilon=1.0).value(estimator.coef_, estimator.intercept_)
    np.testing.assert_allclose(value, min(curve), rtol=1e-10)
    assert estimator.converged_
    assert len(curve) == estimator.n_iter_
    assert min(curve) < curve[-1] or step == "adaptive"  # whose last steps are next to nothing


@each("fraction", [0.1, 0.5])
@each("step", ["invscaling", "auto"])
def test_rows_set_aside_are_not_learned_from(step, fraction):
    given = {"early_stopping": True, "validation_fraction": fraction, "learning_rate": step}
    estimator = TorchSGDRegressor(batch_size=1, tol=1e-2, preconditioner="diagonal", **given)
    estimator.set_params(**AUTO).fit(*overfitted()[0])
    assert len(estimator.validation_loss_curve_) == estimator.n_iter_
    assert estimator.t_ - 1 == estimator.n_iter_ * (60 - 60 * fraction)


@unfinished
@each("step", ["invscaling", "auto"])
def test_rows_without_weight_are_not_set_aside(step):
    weight = (np.arange(len(Y)) % 20 == 0).astype(float)
    for seed in range(8):
        estimator = TorchSGDRegressor(early_stopping=True, learning_rate=step, random_state=seed)
        estimator.set_params(max_iter=20, preconditioner="diagonal").fit(X, Y, weight)
        assert np.isfinite(estimator.validation_loss_curve_).all()
        assert estimator.coef_.any()


@each("solver", ["sgd", *FULL_BATCH])
def test_validation_curve_without_early_stopping(solver):
    rows, (A, b) = overfitted()
    estimator = TorchSGDRegressor(solver=solver)
    estimator.set_params(**({"max_iter": 3, **EPOCHS} if solver == "sgd" else {}))
    plain = clone(estimator).fit(*rows)
    curve = estimator.fit(*rows, X_val=A, y_val=b).validation_loss_curve_
    assert plain.validation_loss_curve_ is None
    np.testing.assert_array_equal(plain.coef_, estimator.coef_)
    assert len(curve) == (3 if solver == "sgd" else 1)
    value = Problem(A, b).value(estimator.coef_, estimator.intercept_)
    np.testing.assert_allclose(curve[-1], value, rtol=1e-10)


# --- errors ------------------------------------------------------------------------------


def total(y_pred, y_true):
    return ((y_pred - y_true) ** 2).sum()


ERRORS = [
    ({"preconditioner": "gram", **KINKS[0]}, "'gram' mixes"),
    ({"preconditioner": "gram", "learning_rate": 0.1, **KINKS[2]}, "'gram' mixes"),
    ({"learning_rate": "pa1", "loss": "huber"}, "'pa1'.*epsilon_insensitive.*'huber'"),
    ({"learning_rate": "pa2"}, "'pa2'.*epsilon_insensitive.*'squared_error'"),
    ({"learning_rate": "optimal", "alpha": 0.0}, "'optimal' divides by alpha"),
    ({"solver": "sgd", "solver_params": {"lr": 0.1}}, "'lr'.*learning_rate"),
    ({"solver": "sgd", "solver_params": {"beta": 1}}, "'beta': 1.*solver='sgd'"),
    ({"solver": "adam", "solver_params": {"beta": 1}}, "'beta': 1.*solver='adam'"),
    ({"solver": "sgd", "solver_params": {"nesterov": True}}, "nesterov needs a momentum"),
    ({"solver": "sgd", "solver_params": {"momentum": 1.0}}, "momentum is.*below 1"),
    ({"solver": dict}, "dict is no torch.optim.Optimizer"),
    ({"learning_rate": lr_scheduler.StepLR}, "StepLR does not make.*functools.partial"),
    ({"learning_rate": repr}, "learning_rate=repr"),
    ({"solver": torch.optim.LBFGS}, "'auto'.*LBFGS.*a number"),
    ({"loss": total}, "not the mean.*batch_size=None"),
    ({"loss": total, "solver": "gradient"}, "not the mean"),
    ({"loss": total, "solver": "sgd"}, "not the mean"),
    *(({"learning_rate": bad}, "learning_rate") for bad in (0.0, -1.0, "fast")),
    *(({"batch_size": bad}, "batch_size") for bad in (0, 0.5, "all")),
    ({"early_stopping": True, "validation_fraction": 0.999}, "leaves none to learn from"),
    *(
        ({"solver": solver, name: value}, f"solver='{solver}'.*no use for {name}=")
        for solver in FULL_BATCH
        for name, value in (
            ("batch_size", 8),
            ("learning_rate", 0.1),
            ("preconditioner", None),
            ("solver_params", {"momentum": 0.5}),
            ("early_stopping", True),
        )
    ),
]
BAD_GIVEN = [
    ({"coef_init": np.zeros(2)}, "coef_init"),
    ({"coef_init": np.zeros((3, 1))}, "coef_init"),
    ({"coef_init": np.zeros((2, 3))}, "coef_init"),
    ({"intercept_init": [0.0, 0.0]}, "2 intercepts"),
    ({"coef_init": [0.0, np.nan, 0.0]}, "coef_init"),
    ({"X_val": X}, "go together"),
    ({"y_val": Y}, "go together"),
    ({"X_val": X[:, :2], "y_val": Y}, "2 features"),
    ({"X_val": X, "y_val": Y[1:]}, "120 samples"),
    ({"X_val": X, "y_val": X}, "training targets have"),
    ({"X_val": X * np.nan, "y_val": Y}, "NaN"),
]
ALL_ERRORS = [(parameters, {}, words) for parameters, words in ERRORS] + [
    ({"solver": solver}, *entry) for solver in ("sgd", *FULL_BATCH) for entry in BAD_GIVEN
]
ALL_ERRORS += [({"solver": "sgd"}, {"intercept_init": np.inf}, "intercept_init")]


@each(("parameters", "given", "words"), ALL_ERRORS, ids=lambda v: re.sub(" at 0x[^>]*", "", str(v)))
def test_errors_say_what_and_leave_the_last_fit(parameters, given, words):
    estimator = TorchSGDRegressor(random_state=0).fit(X, Y).set_params(**parameters)
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=f"(?s){words}"):
        estimator.fit(X, Y + 1, **given)
    assert vars(estimator) == before


def test_too_few_rows_to_set_some_aside():
    estimator = TorchSGDRegressor(early_stopping=True, random_state=0)
    with pytest.raises(ValueError, match="1 samples leaves none to learn from"):
        estimator.fit(X[:1], Y[:1])
    estimator.fit(X[:2], Y[:2])  # one to learn from, one to validate on
    np.testing.assert_array_equal(estimator.coef_, 0)


@each("step", [0.01, "auto"])
@each("kink", KINKS, ids=str)
@each(("solver", "params"), ACCUMULATING, ids=str)
def test_kinks_of_a_penalty_need_plain_steps(solver, params, kink, step):
    name = solver if isinstance(solver, str) else solver.__name__
    kind = make_optimizer(solver, torch.zeros(1, requires_grad=True), 0.1, params)
    assert not kind.proximal
    estimator = TorchSGDRegressor(solver=solver, solver_params=params, learning_rate=step)
    with pytest.raises(ValueError, match=f"solver='{name}'.*('l1'|positive=True).*solver='sgd'"):
        estimator.set_params(**kink).fit(X, Y)


# --- schedules, batches, rows ------------------------------------------------------------

SCHEDULERS = [
    partial(lr_scheduler.StepLR, step_size=2),
    partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.5),
    partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=10),
    partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1),
]


@each("params", [None, {"momentum": 0.5}], ids=str)
@each("schedule", SCHEDULERS, ids=lambda schedule: schedule.func.__name__)
def test_schedule_is_the_same_for_sgd_and_its_class(schedule, params):
    """Some schedules set the momentum too."""
    given = {"learning_rate": schedule, "solver_params": params, "batch_size": 32, "max_iter": 6}
    ours, torchs = (
        TorchSGDRegressor(solver=solver, **given, **EPOCHS).fit(X, Y)
        for solver in ("sgd", torch.optim.SGD)
    )
    assert_same(ours, torchs, 1e-12)


@each("batch_size", [1, 7, 120, 10_000, None, "auto"])
@each("weight", [None, WEIGHT], ids=["", "weighted"])
@each("penalty", [None, "l2", "l1"])
def test_any_batch_size_leads_to_the_optimum(batch_size, weight, penalty):
    estimator = TorchSGDRegressor(penalty=penalty, alpha=0.01)
    expected = clone(estimator).fit(X, Y, weight)
    estimator.set_params(batch_size=batch_size, **AUTO).fit(X, Y, weight)
    assert estimator.converged_
    assert_same(estimator, expected, 1e-8)
    steps, rest = divmod(estimator.t_ - 1, estimator.n_iter_)
    n_batch = batch_size if isinstance(batch_size, int) else 120
    assert rest == 0
    assert -(-120 // n_batch) <= steps <= -(-150 // n_batch)  # far rows are drawn more often


@each("batch_size", [1, 7, 64, None])
@each(
    "parameters",
    [
        {"learning_rate": 0.01, "penalty": "l2", "alpha": 0.1},
        {"learning_rate": 0.01, "penalty": "l1", "alpha": 0.1, "average": 5},
        {"learning_rate": 0.01, "solver": "adam", "early_stopping": True},
        {"learning_rate": 0.1, "solver": torch.optim.LBFGS, "shuffle": False},
        {"loss": "huber", "solver": "sgd"},
        {"penalty": "l1", "solver": "sgd"},
    ],
    ids=str,
)
def test_staging_does_not_matter(parameters, batch_size, monkeypatch):
    """A batch that is staged in parts gives the steps of one that is not, up to rounding."""
    if "shuffle" in parameters and batch_size in (1, 7):
        return  # twenty evaluations a step
    given = {"batch_size": batch_size, "max_iter": 3, **EPOCHS}
    for shuffle, weight in ((True, None), (False, WEIGHT)):
        estimator = TorchSGDRegressor(**{"shuffle": shuffle, **given, **parameters})
        whole = clone(estimator).fit(X, Y, weight)
        for rows in (1, 20, 33):
            with monkeypatch.context() as patch:
                patch.setattr(minibatches, "_BLOCK_BYTES", 8 * 5 * rows)
                parts = clone(estimator).fit(X, Y, weight)
            assert_same(parts, whole, 1e-11)
            assert parts.t_ == whole.t_
            np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-11)


def test_rows_come_in_their_order_with_their_weights():
    given = {"learning_rate": 0.02, "batch_size": 7, "penalty": "l2", "alpha": 0.3, "max_iter": 2}
    estimator = TorchSGDRegressor(**given, **LITERAL, **EPOCHS).fit(X, Y, WEIGHT)
    coef, intercept, curve = np.zeros(3), 0.0, []
    for _ in range(2):
        losses, penalties = [], []
        for rows in (slice(i, i + 7) for i in range(0, 120, 7)):
            r, share = Y[rows] - X[rows] @ coef - intercept, WEIGHT[rows] / WEIGHT.mean()
            losses.append(share @ r**2 / 2)
            penalties.append(0.3 * coef @ coef / 2)
            step = 0.02 * share * r / len(r)
            coef, intercept = coef * (1 - 0.02 * 0.3) + X[rows].T @ step, intercept + step.sum()
        curve.append(sum(losses) / 120 + np.mean(penalties))
    np.testing.assert_allclose(estimator.coef_, coef, rtol=1e-12)
    np.testing.assert_allclose(estimator.intercept_, intercept, rtol=1e-12)
    np.testing.assert_allclose(estimator.loss_curve_, curve, rtol=1e-12)
    assert estimator.t_ == 1 + 2 * 18


# --- polynomials -------------------------------------------------------------------------


@each("penalty", PENALTIES)
def test_plain_polynomial_is_the_loop_on_its_terms(penalty):
    given = {"learning_rate": 1e-3, "batch_size": 7, "max_iter": 3, "penalty": penalty}
    given |= {"alpha": 0.1, **LITERAL, **EPOCHS}
    terms = PolynomialFeatures(2, include_bias=False).fit_transform(X)
    expected = TorchSGDRegressor(**given).fit(terms, Y)
    estimator = TorchPolyRegressor(2, **given).fit(X, Y)
    assert_same(estimator, expected, 1e-12)
    np.testing.assert_allclose(estimator.predict(X), expected.predict(terms), rtol=1e-10)
    np.testing.assert_allclose(estimator.loss_curve_, expected.loss_curve_, rtol=1e-12)


@each("penalty", [None, "l2"])
def test_polynomial_reaches_the_optimum(penalty):
    A, b = plain_problem(500)
    A, b = A * [1e-3, 1.0, 1e3] + [0.0, 1e2, 1e4], b + A[:, 1] * A[:, 0]
    estimator = TorchPolyRegressor(2, penalty=penalty, batch_size=32, random_state=0).fit(A, b)
    expected = TorchPolyRegressor(2, penalty=penalty).fit(A, b).predict(A)
    assert estimator.converged_
    assert estimator.n_iter_ <= 30
    np.testing.assert_allclose(estimator.predict(A), expected, rtol=0, atol=1e-8 * b.std())


# --- input -------------------------------------------------------------------------------

INPUTS = {
    "integers": lambda A: A,
    "pandas": lambda A: pd.DataFrame(A, columns=list("abc")),
    "polars": lambda A: pl.DataFrame(A, schema=list("abc")),
    "tensor": torch.tensor,
    "single tensor": lambda A: torch.tensor(A, dtype=torch.float32),
    "single": lambda A: A.astype(np.float32),
    "Fortran order": lambda A: np.asfortranarray(A, float),
    "every other row": lambda A: np.repeat(A.astype(float), 2, axis=0)[::2],
    "list": lambda A: A.tolist(),
}


@each("convert", INPUTS.values(), ids=INPUTS.keys())
@each("step", [0.01, "auto"])
def test_kind_of_input_does_not_matter(Estimator, convert, step):
    """Whole numbers, which single precision holds too."""
    rng = np.random.default_rng(0)
    A = rng.integers(-5, 9, (200, 3))
    b = A @ [1, 2, 0] + rng.integers(-3, 4, 200)
    estimator = Estimator(learning_rate=step, batch_size=32, max_iter=5, solver="sgd", **EPOCHS)
    expected = clone(estimator).fit(A.astype(float), b.astype(float))
    assert_same(estimator.fit(convert(A), b), expected, 1e-12)


DEPENDENT = {
    "few rows": np.random.default_rng(0).standard_normal((20, 30)) + 1,
    "copies": np.column_stack((X, X[:, 0], -2 * X[:, 1])),
    "a constant": np.column_stack((X[:, :1], np.full(len(X), 0.1), X[:, 1:])),
}


@each("batch_size", ["auto", 8])
@each("fit_intercept", [True, False])
@each("A", DEPENDENT.values(), ids=DEPENDENT.keys())
def test_dependent_columns_give_the_minimum_norm(A, fit_intercept, batch_size):
    estimator = TorchSGDRegressor(fit_intercept=fit_intercept)
    expected = clone(estimator).fit(A, Y[: len(A)])
    estimator.set_params(batch_size=batch_size, **AUTO).fit(A, Y[: len(A)])
    assert estimator.converged_
    assert_same(estimator, expected, 1e-8)
    assert estimator.rank_ == expected.rank_


@each(("preconditioner", "step"), [("gram", 0.1), *((p, "auto") for p in ("gram", "diagonal"))])
def test_without_intercept(preconditioner, step):
    given = {"preconditioner": preconditioner, "learning_rate": step, "max_iter": 300}
    estimator = TorchSGDRegressor(fit_intercept=False, batch_size=None, **given, **EPOCHS)
    expected = np.linalg.lstsq(X, Y, rcond=None)[0]
    np.testing.assert_allclose(estimator.fit(X, Y).coef_, expected, rtol=1e-8)
    assert estimator.intercept_ == 0


@settings(max_examples=8)
@given(
    decades=st.lists(st.floats(-6, 6), min_size=3, max_size=3),
    shifts=st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
    batch_size=st.integers(1, 200),
)
def test_units_and_origins_of_columns(decades, shifts, batch_size):
    scale = 10.0 ** np.array(decades)
    moved = (X + shifts) * scale
    estimator = TorchSGDRegressor(batch_size=batch_size, random_state=0)
    plain = clone(estimator).fit(X, Y)
    estimator.fit(moved, Y)
    # Both to 1e-10 of the gradient; a shift of 1e3 deviations leaves 1e-13 of a column.
    np.testing.assert_allclose(estimator.coef_ * scale, plain.coef_, rtol=1e-8)
    np.testing.assert_allclose(estimator.predict(moved), plain.predict(X), atol=1e-7)


# --- where to start ----------------------------------------------------------------------


@all_pairs(
    Estimator=BOTH,
    loss=["squared_error", "log_cosh"],
    penalty=PENALTIES,
    preconditioner=["auto", "diagonal", None],
)
def test_start_at_the_solution_stays_there(Estimator, loss, penalty, preconditioner):
    given = {"loss": loss, "penalty": penalty, "alpha": 0.01}
    best = Estimator(**given, tol=1e-12).fit(X, Y)
    start = {"coef_init": best.coef_, "intercept_init": best.intercept_}
    estimator = Estimator(**given, preconditioner=preconditioner, **AUTO).fit(X, Y, **start)
    assert estimator.n_iter_ <= 1
    newton = Estimator(**given, solver="newton").fit(X, Y, **start)
    assert newton.n_iter_ <= Estimator(**given, solver="newton").fit(X, Y).n_iter_
    for again in (estimator, newton):
        np.testing.assert_allclose(again.predict(X), best.predict(X), rtol=0, atol=1e-8)


@each("preconditioner", ["gram", "diagonal", None])
def test_warm_start_goes_on(Estimator, preconditioner):
    given = {"learning_rate": 1e-3, "preconditioner": preconditioner, "shuffle": False}
    whole = Estimator(**given, batch_size=16, max_iter=6, **EPOCHS).fit(X, Y)
    estimator = Estimator(**given, batch_size=16, max_iter=2, warm_start=True, **EPOCHS)
    curve = [value for _ in range(3) for value in estimator.fit(X, Y).loss_curve_]
    # In between, the coefficients are rounded, which the terms of degree 2 amplify.
    np.testing.assert_allclose(curve, whole.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(estimator.predict(X), whole.predict(X), rtol=0, atol=1e-8)

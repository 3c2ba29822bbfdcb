"""Losses with a log link: counts, amounts, and what is between."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.optimize import linprog, minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import cross_val_score
from sklearn.utils import get_tags

from skorchlite import (
    TorchGroupedRegressor,
    TorchPolyRegressor,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)

POWERS = {"poisson": 1.0, "gamma": 2.0, "tweedie": 1.5}
every_loss = pytest.mark.parametrize("loss", POWERS)


def counts_or_amounts(loss, n=200, d=4, seed=0, size=0.5, level=0.3):
    """Return X and y; gamma's targets are above zero, those of others may be zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    mean = np.exp(X @ (size * rng.standard_normal(d)) + level)
    return X, rng.gamma(2, mean / 2) if loss == "gamma" else rng.poisson(mean).astype(float)


class Objective:
    """Half the mean deviance plus the penalty, written anew."""

    def __init__(self, X, y, model, weight=None):
        self.X, self.y, self.intercept = X, y, model.fit_intercept
        self.power = {**POWERS, "tweedie": model.power}[model.loss]
        weight = np.ones(len(y)) if weight is None else weight
        self.share = weight / weight.sum()
        ratio = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": model.l1_ratio}[model.penalty]
        alpha = model.alpha if model.penalty else 0.0
        self.l1, self.l2 = alpha * ratio, alpha * (1 - ratio)

    def deviance(self, raw):
        y, p, mean = self.y, self.power, np.exp(raw)
        safe = np.where(y > 0, y, 1.0)
        if p == 1:
            return np.where(y > 0, y * np.log(safe / mean), 0.0) - y + mean
        if p == 2:
            return y / mean - 1 - np.log(y / mean)
        own = np.where(y > 0, safe ** (2 - p), 0.0) / ((1 - p) * (2 - p))
        return own - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p)

    def value(self, coef, intercept):
        loss = self.share @ self.deviance(self.X @ coef + intercept)
        return loss + self.l1 * np.abs(coef).sum() + 0.5 * self.l2 * coef @ coef

    def slopes(self, coef, intercept):
        """Return the gradient of what is smooth."""
        mean = np.exp(self.X @ coef + intercept)
        slope = self.share * (mean - self.y) * mean ** (1 - self.power)
        return self.X.T @ slope + self.l2 * coef, slope.sum()

    def least(self, positive=False):
        """Return the least value, by bounded descent in positive and negative parts."""
        d = self.X.shape[1]

        def both(parts):
            coef, intercept = parts[:d] - parts[d : 2 * d], parts[-1] * self.intercept
            value = self.value(coef, intercept)
            extra = self.l1 * (parts[: 2 * d].sum() - np.abs(coef).sum())
            slope, end = self.slopes(coef, intercept)
            gradient = np.concatenate((slope + self.l1, -slope + self.l1, [end * self.intercept]))
            return value + extra, gradient

        bounds = [(0, None)] * d + [(0, 0 if positive else None)] * d + [(None, None)]
        options = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 0, "gtol": 1e-13, "maxcor": 30}
        start = np.zeros(2 * d + 1)
        return minimize(
            both, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        ).fun


# --- the optimum ---------------------------------------------------------------------------


PEERS = {
    "poisson": PoissonRegressor,
    "gamma": GammaRegressor,
    "tweedie": lambda **given: TweedieRegressor(power=1.5, link="log", **given),
}


@every_loss
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_optimum_that_scikit_learn_comes_to(loss, alpha, weighted):
    for seed in range(5):
        X, y = counts_or_amounts(loss, seed=seed)
        weight = np.random.default_rng(seed).uniform(0.1, 3, len(y)) if weighted else None
        given = {"penalty": "l2", "alpha": alpha} if alpha else {}
        model = TorchSGDRegressor(loss, **given).fit(X, y, weight)
        peer = PEERS[loss](alpha=alpha, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        peer.fit(X, y, weight)
        np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-8)
        assert abs(model.intercept_ - peer.intercept_) < 1e-8
        np.testing.assert_allclose(model.predict(X), peer.predict(X), rtol=1e-7)
        assert abs(model.score(X, y, weight) - peer.score(X, y, weight)) < 1e-9
        assert model.converged_ and model.optimality_ <= 1e-10


@pytest.mark.parametrize("power", [1.0, 1.2, 1.9, 2.0, 2.5, 3.0])
def test_powers_between_and_beyond(power):
    X, y = counts_or_amounts("gamma" if power >= 2 else "poisson")
    model = TorchSGDRegressor("tweedie", power=power).fit(X, y)
    peer = TweedieRegressor(power=power, alpha=0, link="log", tol=1e-12, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)
    slope, end = Objective(X, y, model).slopes(model.coef_, model.intercept_)
    assert np.abs(slope).max() < 1e-8 and abs(end) < 1e-8
    assert model.converged_
    assert np.isnan(model.optimality_) == (power > 2)  # beyond, the loss is not convex


@pytest.mark.parametrize("power", [2.5, 3.0])
@pytest.mark.parametrize(
    "given", [{"penalty": "l1", "alpha": 1e3}, {"penalty": "l2"}, {"positive": True}]
)
@pytest.mark.parametrize("targets", ["random", "constant"])
def test_no_slope_is_left_beyond_gamma_and_that_is_seen(power, given, targets):
    """Where zeros are the optimum, or all is explained, no first slope says what is none."""
    X, y = counts_or_amounts("gamma")
    X, y = X[:, :2], y if targets == "random" else np.full_like(y, 3.7)
    model = TorchSGDRegressor("tweedie", power=power, **given).fit(X, y)
    assert model.converged_
    slope, end = Objective(X, y, model).slopes(model.coef_, model.intercept_)
    held = model.coef_ == 0
    assert abs(end) < 1e-8 and np.abs(slope[~held]).max(initial=0) < 1e-8


def test_a_step_that_overflows_is_no_descent():
    """Beyond doubles the loss of a power above 2 is no difference of two numbers that are alike."""
    X, y = np.eye(3) * [0.5, 1.0, 2.0], np.array([0.02, 27.0, 0.02])
    for solver in ("newton", "gradient"):
        model = TorchSGDRegressor("tweedie", power=3.0, solver=solver, fit_intercept=False)
        np.testing.assert_allclose(model.fit(X, y).predict(X), y, rtol=1e-5)


PENALTIES = {
    "none": {},
    "l2": {"penalty": "l2", "alpha": 0.05},
    "l1": {"penalty": "l1", "alpha": 0.05},
    "elasticnet": {"penalty": "elasticnet", "alpha": 0.05, "l1_ratio": 0.5},
    "positive": {"positive": True},
    "positive l1": {"positive": True, "penalty": "l1", "alpha": 0.02},
}


@every_loss
@pytest.mark.parametrize("given", PENALTIES.values(), ids=PENALTIES.keys())
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_no_other_coefficients_have_a_lower_objective(loss, given, fit_intercept):
    for seed in range(3):
        X, y = counts_or_amounts(loss, n=60, d=6, seed=seed)
        model = TorchSGDRegressor(loss, fit_intercept=fit_intercept, **given).fit(X, y)
        objective = Objective(X, y, model)
        value = objective.value(model.coef_, model.intercept_)
        least = objective.least(model.positive)
        assert model.converged_ and model.optimality_ <= 1e-10
        assert value <= least * (1 + 1e-9)
        assert value >= least * (1 - 1e-9)  # both are of the same problem
        if model.positive:
            assert (model.coef_ >= 0).all()
        if given.get("penalty") == "l1" and not model.positive:
            slope, _ = objective.slopes(model.coef_, model.intercept_)
            inside = np.abs(slope) < 0.999 * model.alpha
            np.testing.assert_array_equal(model.coef_[inside], 0.0)


@every_loss
@pytest.mark.parametrize("given", [{}, PENALTIES["l1"]], ids=["none", "l1"])
def test_the_optimality_is_no_less_than_what_is_left_to_gain(loss, given):
    X, y = counts_or_amounts(loss, n=80)
    best = TorchSGDRegressor(loss, **given).fit(X, y)
    least = Objective(X, y, best).value(best.coef_, best.intercept_)
    for max_iter in range(1, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = TorchSGDRegressor(loss, max_iter=max_iter, **given).fit(X, y)
        value = Objective(X, y, model).value(model.coef_, model.intercept_)
        assert (value - least) / value <= model.optimality_ + 1e-12


@every_loss
def test_raw_columns_need_no_scaling(loss):
    X, y = counts_or_amounts(loss, n=2_000, d=7)
    expected = TorchSGDRegressor(loss).fit(X, y)
    unit, far = 10.0 ** np.arange(-3, 4), 1e3 * np.arange(7)
    model = TorchSGDRegressor(loss).fit(unit * (X + far), y)
    np.testing.assert_allclose(model.coef_ * unit, expected.coef_, atol=1e-8)
    np.testing.assert_allclose(model.predict(unit * (X + far)), expected.predict(X), rtol=1e-7)


@every_loss
def test_many_rows_are_read_a_few_times(loss):
    X, y = counts_or_amounts(loss, n=150_000, d=20)
    model = TorchSGDRegressor(loss).fit(X, y)
    slope, end = Objective(X, y, model).slopes(model.coef_, model.intercept_)
    assert np.abs(slope).max() < 1e-8 and abs(end) < 1e-8
    assert model.converged_ and model.n_iter_ <= 4
    sample = TorchSGDRegressor(loss).fit(X[:1000], y[:1000])  # whose rows are held
    assert sample.converged_


@every_loss
def test_columns_that_repeat_share_their_coefficient(loss):
    X, y = counts_or_amounts(loss)
    single = TorchSGDRegressor(loss).fit(X, y)
    model = TorchSGDRegressor(loss).fit(np.hstack((X, X)), y)
    assert model.rank_ == X.shape[1]
    np.testing.assert_allclose(model.coef_, np.tile(single.coef_ / 2, 2), atol=1e-8)


@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_more_columns_than_rows(penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2_500))
    y = rng.poisson(np.exp(X[:, 0])).astype(float)
    model = TorchSGDRegressor("poisson", penalty=penalty, alpha=0.1).fit(X, y)
    assert model.converged_ and model.solver_ == "newton"
    objective = Objective(X, y, model)
    slope, end = objective.slopes(model.coef_, model.intercept_)
    beyond = np.maximum(np.abs(slope) - objective.l1, 0.0)
    assert max(np.abs(slope).max() if penalty == "l2" else beyond.max(), abs(end)) < 1e-6


# --- targets -------------------------------------------------------------------------------


def test_exposure_is_a_weight_of_rates():
    """Counts with an offset of log(exposure) are rates with the exposure as a weight."""
    rng = np.random.default_rng(0)
    X, exposure = rng.standard_normal((300, 3)), rng.uniform(0.2, 5, 300)
    count = rng.poisson(exposure * np.exp(X @ [0.3, -0.2, 0.1] - 1)).astype(float)
    model = TorchSGDRegressor("poisson").fit(X, count / exposure, sample_weight=exposure)
    mean = exposure * model.predict(X)
    np.testing.assert_allclose(X.T @ (mean - count), 0, atol=1e-7)
    assert abs((mean - count).sum()) < 1e-7


@every_loss
def test_a_weight_of_two_is_a_row_twice(loss):
    X, y = counts_or_amounts(loss)
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    model = TorchSGDRegressor(loss).fit(X, y, weight)
    repeated = TorchSGDRegressor(loss).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(model.coef_, repeated.coef_, atol=1e-9)


def halves(*data):
    """Return the rows in two blocks."""
    return [tuple(part[:90] for part in data), tuple(part[90:] for part in data)]


@every_loss
def test_rows_without_weight_may_be_anywhere(loss):
    """Predictions of theirs overflow, and their targets are in no domain."""
    X, y = counts_or_amounts(loss)
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y))
    weight[1::2] = 0
    there, table, target = weight > 0, X.copy(), y.copy()
    table[1::2] *= 1e5
    target[1::2] = -5
    expected = TorchSGDRegressor(loss).fit(X[there], y[there], weight[there])
    ways = {name: way for name, way in WAYS.items() if name not in ("stream", "tensors")}
    ways["tensors"] = lambda model, *data: model.fit(*map(torch.from_numpy, data))
    ways["stream"] = lambda model, *data: model.fit(halves(*data))
    for name, way in ways.items():
        model = way(TorchSGDRegressor(loss), table, target, weight)
        assert model.converged_, name
        np.testing.assert_allclose(np.asarray(model.coef_), expected.coef_, atol=1e-5)
    model = TorchSGDRegressor(loss, learning_rate=0.01, random_state=0, tol=None, max_iter=100)
    assert model.fit(table, target, weight).score(X, y) > expected.score(X, y) - 0.05
    score = expected.score(X[there], y[there], weight[there])
    for given in ((table, target, weight), (halves(table, target, weight),)):
        assert abs(expected.score(*given) - score) < 1e-12
    search = TorchSGDRegressorCV(loss, penalty="l2", alphas=[1.0, 1e-3, 1e-6], cv=4)
    assert np.isfinite(search.fit(table, target, weight).mse_path_).all()


def test_each_target_has_a_model_of_its_own():
    X, y = counts_or_amounts("poisson")
    Y = np.column_stack((y, y[::-1], y + 1))
    model = TorchSGDRegressor("poisson").fit(X, Y)
    assert model.predict(X).shape == Y.shape
    scores = []
    for j in range(3):
        single = TorchSGDRegressor("poisson").fit(X, Y[:, j])
        np.testing.assert_allclose(model.coef_[j], single.coef_, atol=1e-9)
        scores.append(single.score(X, Y[:, j]))
    assert abs(model.score(X, Y) - np.mean(scores)) < 1e-12


DOMAIN = r"Some value\(s\) of y are out of the valid range of the loss '{}'"


@pytest.mark.parametrize(
    "loss, power, bad",
    [("poisson", 1.5, -1.0), ("gamma", 1.5, 0.0), ("tweedie", 1.5, -0.1), ("tweedie", 2.5, 0.0)],
)
@pytest.mark.parametrize("how", ["fit", "batches", "stream", "partial_fit", "gradient", "groups"])
def test_targets_outside_of_the_domain_are_refused(loss, power, bad, how):
    X, y = counts_or_amounts("gamma")
    y[7] = bad
    given = {"loss": loss, **({"power": power} if loss == "tweedie" else {})}
    with pytest.raises(ValueError, match=DOMAIN.format(loss)):
        if how == "groups":
            keys = np.repeat(np.arange(4.0), 50)
            TorchGroupedRegressor(groups=0, **given).fit(np.column_stack((keys, X)), y)
        elif how == "stream":
            TorchSGDRegressor(**given).fit([(X[i : i + 50], y[i : i + 50]) for i in (0, 50)])
        else:
            more = {"batches": {"batch_size": 32}, "gradient": {"solver": "gradient"}}.get(how, {})
            model = TorchSGDRegressor(**given, **more)
            (model.partial_fit if how == "partial_fit" else model.fit)(X, y)


@pytest.mark.parametrize("kind", [TorchSGDRegressor, TorchSGDRegressorCV, TorchGroupedRegressor])
def test_tags_say_that_targets_are_positive(kind):
    for loss in (*POWERS, "squared_error", torch.nn.MSELoss()):
        tags = get_tags(kind(loss=loss))
        assert tags.target_tags.positive_only == (loss in list(POWERS))


def test_targets_that_are_not_finite_are_found():
    X, y = counts_or_amounts("poisson")
    y[7] = np.nan
    with pytest.raises(ValueError, match="Input y contains NaN"):
        TorchSGDRegressor("poisson").fit(X, y)


@every_loss
def test_a_constant_target_is_met(loss):
    X, _ = counts_or_amounts(loss)
    model = TorchSGDRegressor(loss).fit(X, np.full(len(X), 3.7))
    assert model.converged_
    np.testing.assert_allclose(model.predict(X), 3.7, rtol=1e-12)
    np.testing.assert_allclose(model.coef_, 0, atol=1e-12)


@every_loss
@pytest.mark.parametrize("shape", [(10, 12), (3, 30), (400, 30)])
def test_targets_that_are_met_take_a_few_steps(loss, shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    y = np.exp(X @ rng.standard_normal(shape[1]) / shape[1] ** 0.5 + 1)
    model = TorchSGDRegressor(loss).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)
    assert model.converged_ and model.n_iter_ < 15


@pytest.mark.parametrize("level", [-20.0, 20.0])
@every_loss
def test_units_of_the_target_move_the_intercept(loss, level):
    X, y = counts_or_amounts(loss, n=500)
    model = TorchSGDRegressor(loss).fit(X, y)
    moved = TorchSGDRegressor(loss).fit(X, y * np.exp(level))
    np.testing.assert_allclose(moved.coef_, model.coef_, atol=1e-7)
    assert abs(moved.intercept_ - level - model.intercept_) < 1e-7


# --- optima at infinity ----------------------------------------------------------------------


def is_separated(X, y):
    """Whether a direction lowers predictions where y is zero, and nowhere changes the others."""
    Z, none = np.column_stack((X, np.ones(len(X)))), y == 0
    if not none.any():
        return False
    found = linprog(
        Z[none].sum(0),
        Z[none],
        np.zeros(none.sum()),
        Z[~none],
        np.zeros((~none).sum()),
        bounds=(-1, 1),
    )
    return found.fun < -1e-7


@pytest.mark.parametrize("loss", ["poisson", "tweedie"])
def test_a_column_that_tells_the_zeros_is_told(loss):
    X, y = counts_or_amounts("poisson")
    dummy = np.random.default_rng(0).random(len(y)) < 0.1
    y[dummy] = 0
    X = np.column_stack((X, dummy))
    with pytest.warns(ConvergenceWarning, match="The optimum is at infinity"):
        model = TorchSGDRegressor(loss).fit(X, y)
    assert not model.converged_ and model.optimality_ <= 1e-9
    others = TorchSGDRegressor(loss).fit(X[~dummy, :-1], y[~dummy])
    np.testing.assert_allclose(model.coef_[:-1], others.coef_, atol=1e-5)
    assert (model.predict(X[dummy]) < 1e-7).all()
    held = TorchSGDRegressor(loss, penalty="l2").fit(X, y)
    assert held.converged_


def test_optima_are_told_to_be_at_infinity_where_they_are():
    """On small problems with many zeros, by a linear programme."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, d = rng.integers(4, 20), rng.integers(1, 4)
        X = rng.integers(0, 3, (n, d)).astype(float)
        y = rng.poisson(0.7, n).astype(float)
        y[0] += 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = TorchSGDRegressor("poisson").fit(X, y)
        told = any("infinity" in str(one.message) for one in caught)
        assert told == is_separated(X, y), seed
        assert model.converged_ != told
        found.append(told)
    assert 5 < sum(found) < 55


@pytest.mark.parametrize("loss", ["poisson", "tweedie"])
@pytest.mark.parametrize(
    "given",
    [{"penalty": "l2"}, {"penalty": "l1"}, {"solver": "gradient"}, {"batch_size": 32}],
    ids=str,
)
def test_targets_that_are_all_zero_have_a_mean_of_nearly_zero(loss, given):
    X, y = counts_or_amounts("poisson")
    with pytest.warns(ConvergenceWarning, match="The optimum is at infinity: all targets are zero"):
        model = TorchSGDRegressor(loss, random_state=0, **given).fit(X, 0 * y)
    assert (model.predict(X) < 1e-8).all() and not model.converged_
    if model.solver_ == "newton":
        assert model.n_iter_ <= 1  # a search may have a fold of them, and many fits


@pytest.mark.parametrize("given", [{"solver": "gradient"}, {"batch_size": 32}], ids=str)
def test_every_solver_tells_of_an_optimum_at_infinity(given):
    X, y = counts_or_amounts("poisson")
    dummy = np.arange(len(y)) % 20 == 0
    y[dummy] = 0
    with pytest.warns(ConvergenceWarning, match="The optimum is at infinity"):
        model = TorchSGDRegressor("poisson", random_state=0, **given)
        model.fit(np.column_stack((X, dummy)), y)
    assert not model.converged_


def test_a_group_that_is_explained_with_a_mean_of_zero_is_named():
    """Two rows of two columns, one of no count: rounding leads the last steps."""
    table = np.column_stack(([2, 2, 3, 3], [0.0, 1.0, 1.0, 2.0], [17.0, -1.0, 1.0, 5.0]))
    with pytest.warns(ConvergenceWarning, match="In 1 of 2 groups, as in 2.0, the optimum"):
        model = TorchGroupedRegressor(groups=0, loss="poisson", fallback="nan")
        model.fit(table, [0.0, 1.0, 4.0, 1.0])
    np.testing.assert_array_equal(model.converged_, [False, True])


# --- predictions -------------------------------------------------------------------------------


@every_loss
def test_scores_are_those_of_scikit_learn(loss):
    X, y = counts_or_amounts(loss)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    model = TorchSGDRegressor(loss).fit(X, y)
    expected = d2_tweedie_score(y, model.predict(X), sample_weight=weight, power=POWERS[loss])
    blocks = [(X[i : i + 70], y[i : i + 70], weight[i : i + 70]) for i in range(0, 200, 70)]
    tensors = map(torch.from_numpy, (X, y, weight))
    for given in ((X, y, weight), tensors, (blocks,)):
        assert abs(model.score(*given) - expected) < 1e-12


@every_loss
def test_blocks_of_nearly_constant_targets_keep_the_digits_of_a_score(loss):
    X, _ = counts_or_amounts(loss)
    y = 5 + 1e-6 * np.random.default_rng(0).standard_normal(len(X))
    model = TorchSGDRegressor(loss).fit(X, y)
    blocks = [(X[i : i + 70], y[i : i + 70]) for i in range(0, 200, 70)]
    assert abs(model.score(blocks) - model.score(X, y)) < 1e-6


def test_one_row_has_no_score():
    X, y = counts_or_amounts("poisson")
    model = TorchSGDRegressor("poisson").fit(X, y)
    for given in ((X[:1], y[:1]), ([(X[:1], y[:1])],)):
        with pytest.warns(
            UndefinedMetricWarning, match=r"D\^2 score is not well-defined"
        ) as caught:
            assert np.isnan(model.score(*given))
        assert caught[0].filename == __file__


@every_loss
@pytest.mark.parametrize("far", [1e5, -1e5])
def test_scores_of_means_beyond_doubles_are_no_better_than_nothing(loss, far):
    X, y = counts_or_amounts(loss)
    model = TorchSGDRegressor(loss).fit(X, y)
    for given in ((far * X, y), ([(far * X, y)],)):
        assert model.score(*given) < -1e3


def test_predictions_are_those_of_the_fit_whatever_is_set_since():
    X, y = counts_or_amounts("poisson")
    model = TorchSGDRegressor("poisson").fit(X, y)
    expected = model.predict(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), expected)
    model.set_params(loss="squared_error")
    np.testing.assert_array_equal(model.predict(X), expected)
    single = model.predict(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-6)


# --- sources and ways to fit -----------------------------------------------------------------


WAYS = {
    "sparse": lambda model, X, *y: model.fit(scipy.sparse.csr_array(X), *y),
    "tensors": lambda model, X, y: model.fit(torch.from_numpy(X), torch.from_numpy(y)),
    "stream": lambda model, X, y: model.fit(
        [(X[i : i + 60], y[i : i + 60]) for i in range(0, len(y), 60)]
    ),
    "batches": lambda model, *data: model.set_params(batch_size=32, random_state=0).fit(*data),
    "gradient": lambda model, *data: model.set_params(solver="gradient").fit(*data),
    "warm start": lambda model, *data: model.set_params(warm_start=True).fit(*data).fit(*data),
}


@every_loss
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("given", [{}, PENALTIES["l2"], PENALTIES["l1"]], ids=["none", "l2", "l1"])
def test_every_way_to_fit_leads_to_the_same_optimum(loss, way, given):
    X, y = counts_or_amounts(loss)
    expected = TorchSGDRegressor(loss, **given).fit(X, y)
    model = way(TorchSGDRegressor(loss, **given), X, y)
    assert model.converged_
    objective = Objective(X, y, expected)
    value = objective.value(np.asarray(model.coef_), float(model.intercept_))
    assert value <= objective.value(expected.coef_, expected.intercept_) * (1 + 1e-9)
    np.testing.assert_allclose(np.asarray(model.coef_), expected.coef_, atol=1e-4)


def test_the_loop_of_a_textbook_descends():
    X, y = counts_or_amounts("poisson", n=500)
    expected = TorchSGDRegressor("poisson").fit(X, y)
    model = TorchSGDRegressor(
        "poisson",
        learning_rate=0.05,
        batch_size=50,
        preconditioner=None,
        max_iter=200,
        tol=None,
        random_state=0,
    ).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=0.05)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@every_loss
@pytest.mark.parametrize("chunk", [1, 25, 500])
def test_chunks_lead_to_nearly_the_optimum_of_all_rows(loss, chunk):
    """Beside the error of the sample itself, which is d / 2n on average."""
    X, y = counts_or_amounts(loss, n=500 if chunk == 1 else 4_000, d=3)
    X = X * [1e-3, 1.0, 1e3] + [0.0, 100.0, 0.0]
    expected = TorchSGDRegressor(loss).fit(X, y)
    model = TorchSGDRegressor(loss)
    for start in range(0, len(y), chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
    objective = Objective(X, y, expected)
    excess = objective.value(model.coef_, model.intercept_)
    excess -= objective.value(expected.coef_, expected.intercept_)
    assert -1e-12 < excess < 0.3 * 4 / (2 * len(y))
    assert model.solver_ == "newton" and model.t_ == 1 + len(y) // chunk


def test_chunks_of_large_means_do_not_diverge():
    """As steps along gradients do, whose size the first rows cannot tell."""
    X, y = counts_or_amounts("poisson", n=5_000, size=1.5)
    model, expected = TorchSGDRegressor("poisson"), TorchSGDRegressor("poisson").fit(X, y)
    for start in range(0, len(y), 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100])
    assert model.score(X, y) > expected.score(X, y) - 1e-2


def test_chunks_of_zeros_lead_nowhere_far():
    X, y = counts_or_amounts("poisson")
    model = TorchSGDRegressor("poisson")
    for start in range(0, 100, 10):
        model.partial_fit(X[start : start + 10], 0 * y[start : start + 10])
    assert (model.predict(X) < 0.1).all() and np.isfinite(model.coef_).all()
    model.partial_fit(X, y)
    assert 0.5 < model.predict(X).mean() / y.mean() < 2


@pytest.mark.parametrize(
    "given", [PENALTIES["l1"], PENALTIES["positive"], {"fit_intercept": False}]
)
def test_chunks_keep_penalties_and_bounds(given):
    X, y = counts_or_amounts("poisson", n=4_000, d=6)
    expected = TorchSGDRegressor("poisson", **given).fit(X, y)
    model = TorchSGDRegressor("poisson", **given)
    for start in range(0, len(y), 200):
        model.partial_fit(X[start : start + 200], y[start : start + 200])
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=0.01)
    np.testing.assert_array_equal(model.coef_ == 0, expected.coef_ == 0)


def test_chunks_after_a_fit_begin_at_its_solution():
    X, y = counts_or_amounts("poisson", n=4_000)
    model = TorchSGDRegressor("poisson").fit(X[:2_000], y[:2_000])
    expected = TorchSGDRegressor("poisson").fit(X, y)
    model.partial_fit(X[2_000:], y[2_000:])
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=0.02)
    before = model.coef_
    model.partial_fit(X[:1], y[:1])
    np.testing.assert_allclose(model.coef_, before, atol=0.005)


@pytest.mark.parametrize("given", [{}, {"learning_rate": 1e-3, "solver": "sgd"}], ids=str)
def test_coefficients_of_another_scale_are_no_start(given):
    """Those of a mean of 500 are no logarithms of a mean."""
    X, y = counts_or_amounts("poisson")
    expected = TorchSGDRegressor("poisson", random_state=0, **given).partial_fit(X, y)
    model = TorchSGDRegressor(random_state=0, **given).partial_fit(X, y + 500)
    model.set_params(loss="poisson").partial_fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    model.set_params(loss="squared_error").partial_fit(X, y)
    expected.set_params(loss="squared_error").partial_fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)


def test_a_warm_start_is_on_the_scale_of_the_loss():
    X, y = counts_or_amounts("poisson")
    given = {"learning_rate": 1e-3, "solver": "sgd", "random_state": 0, "max_iter": 3, "tol": None}
    expected = TorchSGDRegressor("poisson", **given).fit(X, y)
    model = TorchSGDRegressor(warm_start=True, **given).fit(X, y + 500)
    model.set_params(loss="poisson").fit(X, y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)


def test_a_stream_of_chunks_survives_a_pickle():
    X, y = counts_or_amounts("poisson")
    model = TorchSGDRegressor("poisson").partial_fit(X[:100], y[:100])
    again = pickle.loads(pickle.dumps(model))
    for each in (model, again):
        each.partial_fit(X[100:], y[100:])
    np.testing.assert_array_equal(model.coef_, again.coef_)


@every_loss
def test_polynomials_of_counts_and_amounts(loss):
    rng = np.random.default_rng(0)
    year = 1950 + rng.uniform(0, 70, 500)
    mean = np.exp(1 + 0.002 * (year - 1990) ** 2 / 2)
    y = rng.gamma(2, mean / 2) if loss == "gamma" else rng.poisson(mean).astype(float)
    model = TorchPolyRegressor(degree=2, loss=loss).fit(year[:, None], y)
    plain = TorchSGDRegressor(loss).fit(np.column_stack((year - 1990, (year - 1990) ** 2)), y)
    expected = plain.predict(np.column_stack((year - 1990, (year - 1990) ** 2)))
    np.testing.assert_allclose(model.predict(year[:, None]), expected, rtol=1e-7)
    assert model.converged_


# --- searches and groups ---------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.filterwarnings("ignore:alpha_=.* is the least of the weights")
def test_a_search_finds_what_fits_of_all_candidates_do(loss, penalty):
    X, y = counts_or_amounts(loss, n=100)
    search = TorchSGDRegressorCV(loss, penalty=penalty, alphas=[1.0, 0.1, 0.01], cv=3).fit(X, y)
    for i, alpha in enumerate(search.alphas_):
        model = TorchSGDRegressor(loss, penalty=penalty, alpha=alpha)
        losses = []
        for fold in np.array_split(np.arange(100), 3):
            rest = np.setdiff1d(np.arange(100), fold)
            model.fit(X[rest], y[rest])
            own = Objective(X[fold], y[fold], clone(model).set_params(penalty=None))
            losses.append(own.value(model.coef_, model.intercept_))
        np.testing.assert_allclose(search.mse_path_[i], losses, rtol=1e-6)
    assert (search.predict(X) > 0).all() and search.score(X, y) > 0.1


@pytest.mark.parametrize("loss", ["poisson", "huber"])
def test_leaving_out_one_row_by_a_formula_is_for_squared_error(loss):
    X, y = counts_or_amounts("poisson")
    with pytest.raises(ValueError, match=r"cv='loo' is for squared error .*LeaveOneOut"):
        TorchSGDRegressorCV(loss, penalty="l2", cv="loo").fit(X, y)


def test_cross_validation_scores_by_the_deviance():
    X, y = counts_or_amounts("poisson")
    scores = cross_val_score(TorchSGDRegressor("poisson"), X, y)
    expected = cross_val_score(PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000), X, y)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@every_loss
@pytest.mark.parametrize("given", [{}, PENALTIES["l2"]], ids=["none", "l2"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_groups_are_the_fits_of_each(loss, given, fit_intercept):
    X, y = counts_or_amounts(loss, n=900, d=2)
    rng = np.random.default_rng(1)
    keys, weight = rng.integers(0, 20, len(y)), rng.uniform(0.5, 2, len(y))
    given = {"loss": loss, "fit_intercept": fit_intercept, **given}
    table = np.column_stack((keys, X * [1.0, 1e3]))
    model = TorchGroupedRegressor(groups=0, **given).fit(table, y, weight)
    assert model.converged_.all() and (model.optimality_ <= 1e-10).all()
    for key in range(20):
        own = keys == key
        single = TorchSGDRegressor(**given).fit(table[own, 1:], y[own], weight[own])
        np.testing.assert_allclose(
            model.predict(table[own]), single.predict(table[own, 1:]), rtol=1e-5
        )
    expected = d2_tweedie_score(y, model.predict(table), power=POWERS[loss])
    assert abs(model.score(table, y) - expected) < 1e-12


def test_groups_of_zeros_are_told_and_no_others():
    X, y = counts_or_amounts("poisson", n=600, d=2)
    keys = np.repeat(np.arange(20.0), 30)
    y[keys < 3] = 0
    with pytest.warns(
        ConvergenceWarning, match=r"In 3 of 20 groups, .* the optimum is at infinity"
    ):
        model = TorchGroupedRegressor(groups=0, loss="poisson").fit(np.column_stack((keys, X)), y)
    np.testing.assert_array_equal(model.converged_, model.groups_ >= 3)
    assert (model.predict(np.column_stack((keys, X)))[keys < 3] < 1e-7).all()


def test_shrinkage_pulls_groups_towards_the_model_of_all():
    X, y = counts_or_amounts("poisson", n=600, d=2)
    table = np.column_stack((np.repeat(np.arange(20.0), 30), X))
    common = TorchSGDRegressor("poisson").fit(X, y)
    apart = []
    for shrinkage in (0.0, 0.1, 1e6):
        model = TorchGroupedRegressor(groups=0, loss="poisson", shrinkage=shrinkage).fit(table, y)
        apart.append(np.abs(model.coef_ - common.coef_).max())
    assert apart[0] > apart[1] > 10 * apart[2]
    assert apart[2] < 1e-5


# --- how sure ----------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("kind", ["nonrobust", "HC0", "cluster"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore:cov_type not fully supported")
def test_covariances_are_those_of_statsmodels(loss, kind, weighted):
    sm = pytest.importorskip("statsmodels.api")
    families = sm.families
    link = families.links.Log()
    family = {
        "poisson": families.Poisson(),
        "gamma": families.Gamma(link),
        "tweedie": families.Tweedie(link, var_power=1.5),
    }[loss]
    for seed in range(4):
        X, y = counts_or_amounts(loss, seed=seed)
        rng = np.random.default_rng(seed)
        weight = rng.uniform(0.5, 2, len(y)) if weighted else None
        clusters = rng.integers(0, 12, len(y))
        groups = {"groups": clusters} if kind == "cluster" else None
        Z = np.column_stack((X, np.ones(len(y))))
        result = sm.GLM(y, Z, family=family, var_weights=weight).fit(
            tol=1e-14, maxiter=300, cov_type=kind, cov_kwds=groups
        )
        model = TorchSGDRegressor(loss).fit(X, y, weight)
        given = {"clusters": clusters} if kind == "cluster" else {}
        covariance = model.covariance_matrix(X, y, weight, cov_type=kind, **given)
        sizes = np.sqrt(np.diag(result.cov_params()))
        np.testing.assert_allclose(
            covariance / np.outer(sizes, sizes),
            result.cov_params() / np.outer(sizes, sizes),
            atol=1e-6,
        )
        table = model.coef_table(X, y, weight, cov_type=kind, **given)
        np.testing.assert_allclose(table["std_error"], sizes, rtol=1e-6)


def test_standard_errors_of_other_samples_are_refused():
    X, y = counts_or_amounts("gamma")
    model = TorchSGDRegressor("gamma").fit(X, y)
    with pytest.raises(ValueError, match="not those of least loss on these samples"):
        model.covariance_matrix(X, y[::-1].copy())

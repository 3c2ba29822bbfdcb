"""Small tables, where most people are: every loss and penalty that has a peer, and validation."""

from functools import partial

import numpy as np
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    QuantileRegressor,
    Ridge,
    SGDRegressor,
)

from benchmarks.measure import tasks
from benchmarks.measure.model import Model
from benchmarks.measure.roofline import epoch_work, gram_work, prediction_work
from benchmarks.measure.worth import closed_form_worth, descent_worth
from benchmarks.suites.cases import standardised_diabetes, standardised_table
from benchmarks.suites.least_squares import expanded_work
from benchmarks.suites.losses import alpha_max, huber_models, svr_models
from benchmarks.suites.models import CLOSED_FORM, OURS, polynomial_models
from benchmarks.suites.peers import search_of
from benchmarks.suites.problem import Problem
from benchmarks.suites.stochastic import RATE, literal
from skorchlite import TorchSGDRegressor

SIZES = ((50, 3), (442, 10), (1_000, 5), (1_000, 20), (5_000, 50))
QUICK_SIZES = ((50, 3), (442, 10))
DIABETES = (442, 10)
EPOCHS = 20
SHARE_OF_ALPHA_MAX = 0.1
ALPHAS = (0.01, 0.1, 1.0, 10.0, 100.0)
TIGHT = {"tol": 1e-8, "max_iter": 100_000}


def small_problems(quick=False):
    """List the problems of the section."""
    return [
        problem for size in (QUICK_SIZES if quick else SIZES) for problem in _problems_of(*size)
    ]


def _problems_of(n_rows, n_columns):
    data = partial(_table, n_rows, n_columns)

    def problem(title, models, **how):
        how = {"work": gram_work} | how
        return Problem(f"small/{title}/{n_rows}x{n_columns}", data, models, **how)

    descent = {"worth": descent_worth, "work": partial(epoch_work, epochs=EPOCHS)}
    scores = {"work": None}
    search = {"work": None, "worth": _search_worth}
    return [
        problem("least squares", _least_squares, worth=closed_form_worth),
        problem("ridge", _ridge),
        problem("lasso", _lasso),
        problem("elastic net", _elastic_net),
        problem("positive", _positive),
        problem("quantile", _quantile),
        problem("huber", _huber),
        problem("epsilon_insensitive + l2", svr_models),
        problem(f"{EPOCHS} epochs", _epochs, **descent),
        problem("polynomial degree 2", _polynomial, work=partial(expanded_work, 2)),
        problem("predict", partial(_at, tasks.predict, _least_squares), work=prediction_work),
        problem(
            "predict, degree 2", partial(_at, tasks.predict, _polynomial), work=prediction_work
        ),
        problem("cross_val_score", partial(_at, tasks.cross_validate, _least_squares), **scores),
        problem("cross_val_score, lasso", partial(_at, tasks.cross_validate, _lasso), **scores),
        problem(
            "cross_val_score, n_jobs=2",
            partial(_at, partial(tasks.cross_validate, n_jobs=2), _least_squares),
            **scores,
        ),
        problem("GridSearchCV, ridge", partial(_search, None), **search),
        problem("GridSearchCV, ridge, n_jobs=2", partial(_search, 2), **search),
    ]


def _table(n_rows, n_columns):
    if (n_rows, n_columns) == DIABETES:
        return standardised_diabetes()
    return standardised_table(n_rows, n_columns)


def _ours(**parameters):
    return Model("ours", partial(TorchSGDRegressor, **parameters))


def _least_squares(X, y):
    return [OURS, CLOSED_FORM]


def _polynomial(X, y):
    return polynomial_models(2)


def _ridge(X, y):
    return [_ours(penalty="l2", alpha=1 / len(y)), Model("Ridge(alpha=1)", Ridge)]


def _lasso(X, y):
    alpha = SHARE_OF_ALPHA_MAX * alpha_max(X, y)
    peer = Model("Lasso(tol=1e-8)", partial(Lasso, alpha, **TIGHT))
    return [_ours(penalty="l1", alpha=alpha), peer]


def _elastic_net(X, y):
    alpha = SHARE_OF_ALPHA_MAX * alpha_max(X, y)
    peer = Model("ElasticNet(tol=1e-8)", partial(ElasticNet, alpha, **TIGHT))
    return [_ours(penalty="elasticnet", alpha=alpha, l1_ratio=0.5), peer]


def _positive(X, y):
    peer = Model("LinearRegression(positive=True)", partial(LinearRegression, positive=True))
    return [_ours(positive=True), peer]


def _quantile(X, y):
    peer = partial(QuantileRegressor, quantile=0.3, alpha=0, solver="highs")
    return [
        _ours(loss="quantile", quantile=0.3),
        Model("QuantileRegressor(highs)", peer, few_rounds=True),
    ]


def _huber(X, y):
    ours, _, scaled = huber_models(X, y)
    return [ours, scaled]


def _epochs(X, y):
    peer = partial(
        SGDRegressor,
        penalty=None,
        learning_rate="constant",
        eta0=2 * RATE,
        max_iter=EPOCHS,
        tol=None,
        random_state=0,
    )
    return [literal(32, max_iter=EPOCHS), Model("SGDRegressor", peer)]


def _at(task, models, X, y):
    """Set the models of a fit to another task."""
    return [Model(model.name, model.build, task=task) for model in models(X, y)]


def _search(n_jobs, X, y):
    # Ridge's alpha is that of ours times the rows, of which a fold of five leaves four.
    n_rows = 0.8 * len(y)
    grids = [[alpha / n_rows for alpha in ALPHAS], list(ALPHAS)]
    builds = {"ours": partial(TorchSGDRegressor, penalty="l2"), "Ridge": Ridge}
    return [
        Model(name, partial(search_of, build, {"alpha": grid}, n_jobs=n_jobs))
        for (name, build), grid in zip(builds.items(), grids, strict=True)
    ]


def _search_worth(models, X, y, found, others=()):
    """Say how far the coefficients of what was chosen are apart: the alphas of all rows differ."""
    ours = found[models[0].name]["coef"]
    return {
        name: {"coef_difference": float(np.abs(one["coef"] - ours).max() / np.abs(ours).max())}
        for name, one in found.items()
        if name != models[0].name
    }

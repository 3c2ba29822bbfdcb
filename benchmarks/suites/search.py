"""Searches by cross-validation: the price of a whole search, in fits and against the peers."""

from functools import partial

import numpy as np
from sklearn.linear_model import ElasticNetCV, Ridge, RidgeCV
from sklearn.model_selection import LeaveOneGroupOut

from benchmarks.measure import tasks
from benchmarks.measure.choices import choice_worth, direct_worth
from benchmarks.measure.model import Model
from benchmarks.measure.roofline import gram_work
from benchmarks.suites.cases import many_targets, noisy_table
from benchmarks.suites.degree_search import degree_problems
from benchmarks.suites.problem import Problem
from skorchlite import TorchSGDRegressor, TorchSGDRegressorCV

N_FOLDS = 5
# From above to below what pays on any of the tables; the columns have variances near one.
ALPHAS = np.geomspace(1e3, 1e-6, 100)
EVERY = 11  # of 100 alphas makes 10 with the same ends
TARGET_ALPHAS = np.geomspace(1e3, 1e-5, 30)
SHARES = [0.1, 0.5, 0.7, 0.9, 1.0]  # of "l1"
SHARE = 0.5
TIGHT = {"tol": 1e-10, "max_iter": 100_000}
SOME_ALPHA = 1e-3

FEW = f"RidgeCV(cv={N_FOLDS}), {len(ALPHAS[::EVERY])} alphas"
LEAVE_ONE_OUT = "RidgeCV()"
PER_TARGET = "RidgeCV(alpha_per_target=True)"
ELASTIC_NET, TIGHT_NET = "ElasticNetCV()", "ElasticNetCV(tol=1e-10)"
ONE_FIT = "one TorchSGDRegressor(penalty='l2')"


def search_problems(quick=False):
    """List the problems of the section, on few rows where it is only tried."""
    table = (2_000, 20) if quick else (100_000, 100)
    targets = (200, 20, 50) if quick else (2_000, 200, 5_000)
    return [
        *_ridge_problems(table),
        _elastic_net_problem(table, SHARE, 3.0),
        _elastic_net_problem(table, SHARES, 8.0),
        _groups_problem(*((20, 2_000, 10) if quick else (1_000, 1_000_000, 50))),
        _targets_problem(targets),
        *degree_problems(quick),
    ]


def _problem(title, size, data, models, **how):
    name = f"search/{title}/{'x'.join(map(str, size))}"
    return Problem(name, partial(data, *size), models, **how)


def _ridge_problems(size):
    n_rows = size[0]
    held_in_folds = n_rows - n_rows // N_FOLDS
    return [
        _problem(
            f"ridge, {len(ALPHAS)} alphas x {N_FOLDS} folds",
            size,
            noisy_table,
            partial(_ridge_models, held_in_folds),
            worth=partial(choice_worth, alpha_times=held_in_folds, step=EVERY),
            work=gram_work,
            wanted={FEW: 20.0},
        ),
        _problem(
            f"ridge, leave one out, {len(ALPHAS)} alphas",
            size,
            noisy_table,
            _leave_one_out_models,
            worth=partial(choice_worth, alpha_times=n_rows - 1),
            work=gram_work,
            wanted={LEAVE_ONE_OUT: 15.0},
        ),
    ]


def _elastic_net_problem(size, shares, wanted):
    title = "elastic net, 100 alphas"
    if shares is SHARES:
        title += f" x {len(shares)} l1_ratios"
    return _problem(
        f"{title} x {N_FOLDS} folds",
        size,
        noisy_table,
        partial(_elastic_net_models, shares),
        worth=choice_worth,
        work=gram_work,
        wanted=dict.fromkeys((ELASTIC_NET, TIGHT_NET), wanted),
    )


def _groups_problem(n_groups, *size):
    return _problem(
        f"ridge, leave one of {n_groups:,} groups out, {len(ALPHAS)} alphas",
        size,
        noisy_table,
        partial(_groups_models, n_groups),
        others=(ONE_FIT,),
        worth=partial(
            direct_worth,
            split_of=partial(tasks.groups_in_turn, n_groups=n_groups),
            direct=_ridge,
        ),
        work=gram_work,
        wanted={ONE_FIT: 1 / 12},
    )


def _targets_problem(size):
    return _problem(
        f"ridge, leave one out, {len(TARGET_ALPHAS)} alphas for each target",
        size,
        many_targets,
        _targets_models,
        worth=partial(choice_worth, alpha_times=size[0] - 1),
        wanted={PER_TARGET: 2.0},
    )


def _ours(task=tasks.fit, **parameters):
    return Model("TorchSGDRegressorCV", partial(TorchSGDRegressorCV, **parameters), task=task)


def _ridge_models(held_in_folds, X, y):
    # RidgeCV holds alpha relative to the sum of the losses, of which each fold leaves as many rows.
    few = {"alphas": ALPHAS[::EVERY] * held_in_folds, "scoring": "neg_mean_squared_error"}
    return [_ours(alphas=ALPHAS, cv=N_FOLDS), Model(FEW, partial(RidgeCV, cv=N_FOLDS, **few))]


def _leave_one_out_models(X, y):
    peer = Model(LEAVE_ONE_OUT, partial(RidgeCV, ALPHAS * (len(y) - 1)))
    return [_ours(alphas=ALPHAS, cv="loo"), peer]


def _elastic_net_models(shares, X, y):
    given = {"l1_ratio": shares, "cv": N_FOLDS}
    return [
        _ours(penalty="elasticnet", **given),
        Model(ELASTIC_NET, partial(ElasticNetCV, **given)),
        # Stopped by its own default it is not on the path to 1e-6.
        Model(TIGHT_NET, partial(ElasticNetCV, **given, **TIGHT)),
    ]


def _groups_models(n_groups, X, y):
    task = partial(tasks.fit_in_groups, n_groups=n_groups)
    one = partial(TorchSGDRegressor, penalty="l2", alpha=SOME_ALPHA)
    return [_ours(task, alphas=ALPHAS, cv=LeaveOneGroupOut()), Model(ONE_FIT, one)]


def _ridge(found, n_train):
    return Ridge(found["alpha"] * n_train, solver="cholesky")


def _targets_models(X, y):
    given = {"alpha_per_target": True}
    peer = partial(RidgeCV, TARGET_ALPHAS * (len(y) - 1), **given)
    return [_ours(alphas=TARGET_ALPHAS, cv="loo", **given), Model(PER_TARGET, peer)]

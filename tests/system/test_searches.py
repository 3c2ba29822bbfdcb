"""Searches by scikit-learn and Optuna over our estimators, as users run them."""

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LassoCV
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor, TorchSGDRegressorCV

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
ALPHAS = [10.0, 1.0, 0.1, 0.01]


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


def test_grid_search_finds_what_lasso_cv_finds(diabetes):
    search = GridSearchCV(
        TorchSGDRegressor(penalty="l1"), {"alpha": ALPHAS}, scoring="neg_mean_squared_error"
    )
    search.fit(*diabetes)
    theirs = LassoCV(alphas=ALPHAS, tol=1e-10).fit(*diabetes)
    assert search.best_params_ == {"alpha": theirs.alpha_}
    wanted = -theirs.mse_path_.mean(1)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], wanted, rtol=1e-7)


def test_halving_ends_with_a_candidate_that_all_samples_were_for(diabetes):
    search = HalvingGridSearchCV(
        TorchPolyRegressor(penalty="l2"),
        {"degree": [1, 2], "alpha": [1e-2, 1e-4]},
        min_resources=100,
        random_state=0,
    )
    search.fit(*diabetes)
    assert search.n_resources_ == [100, 300]
    assert search.best_score_ > 0.4


def test_random_search_of_a_step_in_a_pipeline(diabetes):
    model = make_pipeline(StandardScaler(), TorchSGDRegressor(loss="huber", epsilon=30.0))
    grid = {"torchsgdregressor__epsilon": [10.0, 30.0, 100.0], "torchsgdregressor__penalty": ["l2"]}
    search = RandomizedSearchCV(model, grid, n_iter=3, random_state=0).fit(*diabetes)
    assert search.best_score_ > 0.45


@pytest.mark.usefixtures("own_processes")
def test_two_processes_give_the_scores_of_one(diabetes):
    model = TorchSGDRegressor(penalty="l2", alpha=1e-3)
    alone, both = (cross_val_score(model, *diabetes, n_jobs=n) for n in (None, 2))
    np.testing.assert_allclose(both, alone, rtol=1e-12)


def test_a_search_is_nested_in_a_validation(diabetes):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "alpha_=")
        scores = cross_val_score(TorchSGDRegressorCV(penalty="l1", alphas=30), *diabetes)
    assert scores.mean() > 0.45


def test_optuna_prunes_by_a_callback():
    pytest.importorskip("optuna")
    study = runpy.run_path(EXAMPLES / "optuna_pruning.py")["main"](n_trials=12)
    ends = [(trial.state.name, len(trial.intermediate_values)) for trial in study.trials]
    assert {state for state, _ in ends} == {"COMPLETE", "PRUNED"}
    assert all(n_epochs == 30 for state, n_epochs in ends if state == "COMPLETE")
    assert all(n_epochs < 30 for state, n_epochs in ends if state == "PRUNED")

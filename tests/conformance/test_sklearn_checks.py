"""scikit-learn's own checks of an estimator, at settings that take each of the ways to fit."""

import pytest
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skorchlite import (
    TorchGroupedRegressor,
    TorchPolyRegressor,
    TorchPolyRegressorCV,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)

# One for each way to fit.
FEW = [
    TorchGroupedRegressor(),
    TorchSGDRegressor(),
    TorchSGDRegressor(loss="huber", epsilon=10.0, batch_size=8, random_state=0),
    TorchSGDRegressor(loss="poisson"),
    TorchSGDRegressor(learning_rate="invscaling", max_iter=50, tol=None, random_state=0),
    TorchPolyRegressor(),
    TorchPolyRegressor(basis="hermite", extrapolation="clip"),
    TorchSGDRegressorCV(alphas=10),
    TorchPolyRegressorCV(degree=[1, 2], penalty=None),
]
OTHERS = [
    TorchGroupedRegressor(loss="huber", epsilon=10.0, fallback="nan"),
    TorchGroupedRegressor(penalty="l2", shrinkage=0.1),
    TorchGroupedRegressor(penalty="l1", fallback="raise"),
    TorchGroupedRegressor(loss="gamma"),
    TorchSGDRegressor(loss="gamma", batch_size=8, random_state=0),
    TorchSGDRegressor(loss="tweedie", solver="gradient"),
    TorchSGDRegressor(loss="tweedie", power=3.0),
    TorchPolyRegressor(loss="poisson"),
    TorchSGDRegressorCV(loss="gamma", penalty="l2", alphas=3, cv=2),
    TorchSGDRegressor(penalty="l2"),
    TorchSGDRegressor(penalty="l2", alpha=0.5, fit_intercept=False),
    TorchSGDRegressor(fit_intercept=False),
    TorchSGDRegressor(dtype="float32"),
    TorchSGDRegressor(dtype="float64", device="cpu"),
    TorchSGDRegressor(solver="newton"),
    TorchSGDRegressor(warm_start=True),
    TorchSGDRegressor(batch_size=8, random_state=0),
    TorchSGDRegressor(
        solver="adam", preconditioner="diagonal", max_iter=200, tol=None, random_state=0
    ),
    TorchPolyRegressor(degree=1),
    TorchPolyRegressor(degree=3),
    TorchPolyRegressor(interaction_only=True),
    TorchPolyRegressor(penalty="l2"),
    TorchPolyRegressor(fit_intercept=False),
    TorchPolyRegressor(dtype="float32"),
    TorchPolyRegressor(warm_start=True, solver="newton"),
    TorchPolyRegressor(batch_size=8, random_state=0),
    TorchPolyRegressor(degree=5, penalty="l2"),
    TorchPolyRegressor(degree=(2, 3)),
    TorchPolyRegressor(basis="chebyshev", fit_intercept=False),
    TorchPolyRegressor(basis="legendre", penalty="l2"),
    TorchSGDRegressorCV(penalty="elasticnet", l1_ratio=[0.5, 1.0], alphas=5),
    TorchSGDRegressorCV(loss="huber", epsilon=1.0, alphas=3, cv=2),
    TorchSGDRegressorCV(penalty="l1", positive=True, alphas=5),
    TorchPolyRegressorCV(alphas=5),
]
# These take a fit for each candidate of each check.
LONG = [
    TorchPolyRegressorCV(degree=[1, 3], alphas=5, cv=2, fit_intercept=False),
    TorchPolyRegressorCV(degree=[1, 2], alphas=2, cv=2, penalty="l1", interaction_only=True),
]


def expected_failures(estimator):
    """Weights and repeated rows give the same optimum, but not the same way to it.

    One check draws targets below zero even for estimators whose tags say that they take none.
    """
    if get_tags(estimator).target_tags.positive_only:
        return {"check_regressor_multioutput": "its targets are below zero"}
    if isinstance(estimator, TorchGroupedRegressor):
        return {}
    if estimator.learning_rate != "auto":
        reason = "a given step ends off the optimum, as SGDRegressor's does"
    elif estimator.solver == "adam":
        reason = "where there are fewer rows than columns, each way ends at another optimum"
    else:
        return {}
    kinds = "dense", "sparse"
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in kinds}


# Some of the checks give fewer rows than terms, and check_regressors_train sets every alpha.
WARNINGS = [
    "ignore:The data determines:numpy.exceptions.RankWarning",
    "ignore:alpha has no effect with penalty=None:UserWarning",
    "ignore:(alpha|degree)_=:UserWarning",  # of a search on a few samples of noise
]


@pytest.mark.filterwarnings(*WARNINGS)
@parametrize_with_checks(FEW, expected_failed_checks=expected_failures)
def test_scikit_learn_estimator_check_passes(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings(*WARNINGS)
@parametrize_with_checks(OTHERS, expected_failed_checks=expected_failures)
def test_scikit_learn_estimator_check_passes_with_other_parameters(estimator, check):
    check(estimator)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings(*WARNINGS)
@parametrize_with_checks(LONG, expected_failed_checks=expected_failures)
def test_scikit_learn_estimator_check_passes_with_a_fit_for_each_candidate(estimator, check):
    check(estimator)

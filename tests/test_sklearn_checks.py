"""scikit-learn's own checks of an estimator: no expected failure, at any of these settings."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

ESTIMATORS = [
    TorchSGDRegressor(),
    TorchSGDRegressor(penalty="l2"),
    TorchSGDRegressor(penalty="l2", alpha=0.5, fit_intercept=False),
    TorchSGDRegressor(fit_intercept=False),
    TorchSGDRegressor(dtype="float32"),
    TorchSGDRegressor(dtype="float64", device="cpu"),
    TorchSGDRegressor(solver="newton"),
    TorchSGDRegressor(warm_start=True),
    TorchPolyRegressor(),
    TorchPolyRegressor(degree=1),
    TorchPolyRegressor(degree=3),
    TorchPolyRegressor(interaction_only=True),
    TorchPolyRegressor(penalty="l2"),
    TorchPolyRegressor(fit_intercept=False),
    TorchPolyRegressor(dtype="float32"),
    TorchPolyRegressor(warm_start=True, solver="newton"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_estimator_check_passes(estimator, check):
    check(estimator)

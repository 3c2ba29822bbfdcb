"""The linear estimator."""

from ._base import TorchRegressor


class TorchSGDRegressor(TorchRegressor):
    """Linear regression."""

    def __init__(
        self,
        loss="squared_error",
        *,
        penalty=None,
        alpha=1e-4,
        fit_intercept=True,
        solver="auto",
        max_iter=1000,
        tol=1e-10,
        warm_start=False,
        device="auto",
        dtype="auto",
        verbose=0,
    ):
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.verbose = verbose

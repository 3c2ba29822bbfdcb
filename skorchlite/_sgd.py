"""The linear estimator: its parameters."""

from ._base import TorchRegressor


class TorchSGDRegressor(TorchRegressor):
    """Linear regression by gradient descent that gives the closed-form answer.

    Minimises, for each target,

        F(w, b) = 1 / (2 sum_i s_i) * sum_i s_i (y_i - x_i . w - b)^2 + alpha R(w)

    over the coefficients ``w`` and the intercept ``b``, with sample weights ``s_i``. Columns are
    centred and scaled inside, which changes the path and never the optimum: raw data needs no
    preparation, and the coefficients and the penalty are in its units.

    Where columns depend on each other, or outnumber the rows, the solution is that of minimum
    norm. Dependence is judged at the rounding of the data, in scaled columns.

    Parameters
    ----------
    loss : {"squared_error"}, default="squared_error"
        The loss of a row.
    penalty : {"l2"} or None, default=None
        "l2" is ``R(w) = 1/2 ||w||^2``; None is no penalty.
    alpha : float, default=1e-4
        Factor of the penalty; of no effect where ``penalty=None``. ``Ridge(alpha=a)`` is
        ``penalty="l2", alpha=a / sum(sample_weight)``.
    fit_intercept : bool, default=True
        Whether to fit the intercept, which is never penalised. If False, the data is taken to be
        centred.
    solver : {"auto", "newton"}, default="auto"
        "newton" is full-batch descent by preconditioned conjugate gradients: one pass over the
        data makes the Gram matrix of the centred columns and from it the first step, further
        passes are made where its condition leaves the coefficients further off than ``tol``. With
        more columns than rows it works in the span of the rows instead. "auto" chooses it.
    max_iter : int, default=1000
        Largest number of steps. Two or three are the rule.
    tol : float, default=1e-10
        Relative accuracy of the coefficients, columns scaled, at which the descent stops.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit. The optimum does not depend
        on it.
    device : str or torch.device, default="auto"
        Where to compute: "auto" is the device of a tensor X, else CUDA where it is present and X
        has at least two million entries, else the CPU.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the products within a block of rows; sums of blocks and corrections are in
        double precision wherever the device has it. "auto" is "float32" where X is in single
        precision and that saves time.
    verbose : int, default=0
        Whether to print the objective after each step.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in float64; one row a target where y is 2-d.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept; 0 where ``fit_intercept=False``.
    n_iter_ : int
        Number of steps; the first needs one pass over the data, each further one another.
    loss_curve_ : list of float
        The objective, penalty included, at the start and after each step; summed over targets.
    optimality_ : float
        Norm of the gradient at the solution, columns scaled, relative to that at ``w = 0``; the
        largest over the targets.
    converged_ : bool
        Whether the coefficients are as accurate as ``tol`` asks for or as rounding allows.
    rank_ : int
        Number of independent directions in the (centred) columns of the model, at the rounding
        of the data.
    solver_ : str
        The solver that was used.
    device_ : str
        The device that was used.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string column names.

    See Also
    --------
    TorchPolyRegressor : The same for the terms of a polynomial.
    sklearn.linear_model.LinearRegression : By singular value decomposition. Its default ``tol``
        drops directions in unscaled columns.

    Notes
    -----
    X is read in blocks of a few megabytes and never copied whole, except where it has more
    columns than rows.

    References
    ----------
    .. [1] Bjorck, A. (1987). "Stability analysis of the method of seminormal equations for linear
       least squares problems". Linear Algebra and its Applications 88/89.
    .. [2] Hestenes, M. R. and Stiefel, E. (1952). "Methods of conjugate gradients for solving
       linear systems". Journal of Research of the National Bureau of Standards 49(6).

    Examples
    --------
    >>> import numpy as np
    >>> from skorchlite import TorchSGDRegressor
    >>> X = np.array([[1.0, 1e6], [2.0, 3e6], [3.0, 2e6], [4.0, 5e6]])
    >>> y = 3 * X[:, 0] + 2e-6 * X[:, 1] + 5
    >>> model = TorchSGDRegressor().fit(X, y)
    >>> model.coef_.round(9)
    array([3.e+00, 2.e-06])
    >>> round(model.intercept_, 9)
    5.0
    >>> model.predict([[5.0, 4e6]]).round(9)
    array([28.])
    """

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

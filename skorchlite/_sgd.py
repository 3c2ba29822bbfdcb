"""The linear estimator: its parameters."""

from ._base import TorchRegressor


class TorchSGDRegressor(TorchRegressor):
    """Linear regression by gradient descent that gives the closed-form answer.

    Minimises, for each target,

        F(w, b) = (1 / sum_i s_i) sum_i s_i loss(y_i, x_i . w + b) + alpha R(w)

    over the coefficients ``w`` and the intercept ``b``, with sample weights ``s_i``. Columns are
    centred and scaled inside, which changes the path and never the optimum: raw data needs no
    preparation, and the coefficients and the penalty are in its units.

    Where columns depend on each other, or outnumber the rows, the least-squares solution is that of
    minimum norm. Dependence is judged at the rounding of the data, in scaled columns.

    Parameters
    ----------
    loss : str or callable, default="squared_error"
        The loss of a row, in its residual ``r = y - prediction``:

        - "squared_error": ``1/2 r^2``
        - "absolute_error": ``|r|``
        - "huber": ``1/2 r^2`` up to ``|r| = epsilon``, ``epsilon |r| - 1/2 epsilon^2`` beyond
        - "quantile": ``quantile r`` above zero, ``(quantile - 1) r`` below
        - "epsilon_insensitive": ``max(0, |r| - epsilon)``
        - "squared_epsilon_insensitive": ``max(0, |r| - epsilon)^2``
        - "log_cosh": ``log cosh r``

        or a callable or ``torch.nn`` loss module ``(y_pred, y_true)`` of two float64 tensors of
        shape (n_rows,), the rows of a block and one target. It returns one loss a row, or their
        mean (then without ``sample_weight``), and is differentiated by autograd.
    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        ``R(w)``: "l2" is ``1/2 ||w||^2``, "l1" is ``||w||_1``, "elasticnet" is
        ``l1_ratio ||w||_1 + (1 - l1_ratio) / 2 ||w||^2``, None is no penalty.
    alpha : float, default=1e-4
        Factor of the penalty; of no effect where ``penalty=None``. It means what it does in Lasso
        and ElasticNet; ``Ridge(alpha=a)`` is ``penalty="l2", alpha=a / sum(sample_weight)``.
    l1_ratio : float, default=0.15
        Share of "l1" in "elasticnet", from 0 to 1.
    epsilon : float, default=0.1
        Of the losses "huber" (above 0), "epsilon_insensitive" and "squared_epsilon_insensitive"
        (0 or above), in units of y.
    quantile : float, default=0.5
        The quantile that loss "quantile" predicts, between 0 and 1.
    fit_intercept : bool, default=True
        Whether to fit the intercept, which is never penalised. If False, the data is taken to be
        centred.
    positive : bool, default=False
        Whether coefficients are kept from falling below zero.
    solver : {"auto", "newton", "gradient"}, default="auto"
        "newton" is full-batch descent with the curvature of the loss. Squared error needs one pass,
        which makes the Gram matrix of the centred columns, and further ones where its condition
        leaves the coefficients further off than ``tol``; with more columns than rows it works in
        the span of the rows instead, and under a penalty with "l1" or ``positive=True`` on a
        working set of the columns. Other losses need three or four passes, each of which keeps the
        rows near a corner or bend of the loss and sums the others; with such a penalty and more
        than 1,000 columns they work on a working set of these too.
        "gradient" is full-batch descent by limited-memory quasi-Newton steps, which holds no matrix
        of columns by columns and takes any loss.
        "auto" is "gradient" for a callable loss and, unless the loss is squared error or the
        penalty has corners ("l1", "elasticnet", ``positive=True``), for more than 2,000 columns;
        else "newton".
    max_iter : int, default=1000
        Largest number of steps; on each working set of the columns where there is one.
    tol : float, default=1e-10
        Relative accuracy at which the descent stops: of the coefficients, columns scaled, or, where
        the loss has corners ("absolute_error", "quantile", "epsilon_insensitive"), of the
        objective.
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
        Number of steps; the largest over the targets.
    loss_curve_ : list of float
        The objective, penalty included, at the start and then after each step, or, where a pass
        over the rows serves many steps, after each pass; summed over targets.
    optimality_ : float
        How far from the optimum the solution is; the largest over the targets. For squared error
        without corners in the penalty, and for a callable, the norm of the gradient, columns
        scaled, relative to that at ``w = 0``. Else the gap to the least objective, relative to the
        objective: where the loss has corners, to a lower bound, which is strict if the rows in the
        bands about its corners stay there and an estimate if not; where it is smooth, as the next
        step would gain.
    converged_ : bool
        Whether the solution is as accurate as ``tol`` asks for or as rounding allows.
    rank_ : int or None
        Number of independent directions in the (centred) columns of the model, at the rounding
        of the data; None where the solver has no need of it (other losses than squared error, and
        penalties with corners).
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
        l1_ratio=0.15,
        epsilon=0.1,
        quantile=0.5,
        fit_intercept=True,
        positive=False,
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
        self.l1_ratio = l1_ratio
        self.epsilon = epsilon
        self.quantile = quantile
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.verbose = verbose

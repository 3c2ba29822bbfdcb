"""The linear estimator: its parameters."""

from .docstrings import documented
from .incremental import StreamRegressor


@documented
class TorchSGDRegressor(StreamRegressor):
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
    <parameters of every model>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in float64; one row a target where y is 2-d, or a level of a list of
        quantiles. With scikit-learn's
        ``array_api_dispatch`` it is of the namespace and on the device of X, as are the other
        arrays; else of NumPy, whatever X is.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept; 0 where ``fit_intercept=False``. One for each row of ``coef_``, if these are
        rows.
    <attributes of every model>

    See Also
    --------
    TorchPolyRegressor : The same for the terms of a polynomial.
    sklearn.linear_model.LinearRegression : By singular value decomposition. Its default ``tol``
        drops directions in unscaled columns.

    Notes
    -----
    X is read in blocks of a few megabytes and never copied whole, except where it has more
    columns than rows. The entries of a sparse X, and its transpose, are kept beside it where they
    are needed in another form: up to twice its memory.

    References
    ----------
    .. [1] Mehrotra, S. (1992). "On the implementation of a primal-dual interior point method".
       SIAM Journal on Optimization 2(4).
    .. [2] Johnson, R. and Zhang, T. (2013). "Accelerating stochastic gradient descent using
       predictive variance reduction". NIPS 26.
    .. [3] Bjorck, A. (1987). "Stability analysis of the method of seminormal equations for linear
       least squares problems". Linear Algebra and its Applications 88/89.
    .. [4] Hestenes, M. R. and Stiefel, E. (1952). "Methods of conjugate gradients for solving
       linear systems". Journal of Research of the National Bureau of Standards 49(6).
    .. [5] Bondell, H. D., Reich, B. J., Wang, H. (2010). "Noncrossing quantile regression curve
       estimation". Biometrika 97(4).

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

    Several quantiles, of which none crosses the next:

    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 1, (200, 1))
    >>> y = X[:, 0] * rng.standard_normal(200)
    >>> model = TorchSGDRegressor("quantile", quantile=[0.05, 0.5, 0.95]).fit(X, y)
    >>> model.coef_.shape
    (3, 1)
    >>> bool((np.diff(model.predict(X), axis=1) >= 0).all())
    True
    """

    def __init__(
        self,
        loss="squared_error",
        *,
        penalty=None,
        alpha=1e-4,
        penalty_factor=None,
        l1_ratio=0.15,
        epsilon=0.1,
        quantile=0.5,
        non_crossing="rows",
        power=1.5,
        fit_intercept=True,
        positive=False,
        solver="auto",
        solver_params=None,
        preconditioner="auto",
        learning_rate="auto",
        eta0=0.01,
        power_t=0.25,
        batch_size="auto",
        max_iter=1000,
        tol=1e-10,
        shuffle=True,
        average=False,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        warm_start=False,
        device="auto",
        dtype="auto",
        distributed=False,
        random_state=None,
        verbose=0,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.penalty_factor = penalty_factor
        self.l1_ratio = l1_ratio
        self.epsilon = epsilon
        self.quantile = quantile
        self.non_crossing = non_crossing
        self.power = power
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.solver = solver
        self.solver_params = solver_params
        self.preconditioner = preconditioner
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.average = average
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.distributed = distributed
        self.random_state = random_state
        self.verbose = verbose

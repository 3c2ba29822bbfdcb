"""The polynomial estimator: its parameters."""

from .docstrings import documented
from .incremental import StreamRegressor
from .polynomial_model import PolynomialModel


@documented
class TorchPolyRegressor(PolynomialModel, StreamRegressor):
    """Polynomial regression that keeps its digits on raw columns.

    Minimises, for each target,

        F(w, b) = (1 / sum_i s_i) sum_i s_i loss(y_i, p(x_i) . w + b) + alpha R(w)

    where ``p(x)`` are the powers and products of the columns, as PolynomialFeatures has them,
    without the constant, or such products of the polynomials of another basis. Powers are never
    formed from raw columns: without a penalty the model is fitted in products of Chebyshev
    polynomials on the interval of each column or, where the data does not cover that evenly, of
    polynomials that are orthogonal on the data [3]_. Their coefficients are then converted in
    rational arithmetic. Least squares in one input column is done in doubled precision where rows
    times degree are at most a million. ``predict`` evaluates the model as it was fitted. With a
    penalty or ``positive=True``, which act on the coefficients of the basis, the terms are those of
    the basis; of powers, columns are scaled before these are taken. Where powers of columns far
    from zero cancel, least squares with ``penalty="l2"`` is fitted in combinations of orthogonal
    polynomials that make the penalty, in as many digits as cancel, no harder than none.

    Parameters
    ----------
    degree : int, tuple (min_degree, max_degree) or list of int, default=2
        Largest total degree of a term. With a tuple, also the least, as in PolynomialFeatures; the
        constant is fitted all the same. A list, or array, holds the largest degree of each column;
        terms have a total degree of at most the largest of these, so that ``[1, 1]`` has no
        product of the columns.
    <terms of every polynomial>
    <parameters of every model>

    Attributes
    ----------
    coef_ : ndarray of shape (`n_output_features_`,) or (n_targets, `n_output_features_`)
        Coefficients of the terms in the raw columns, in float64; one row a target where y is 2-d.
        With scikit-learn's ``array_api_dispatch`` it is of the namespace and on the device of X, as
        are the other arrays; else of NumPy, whatever X is.
    intercept_ : float or ndarray of shape (n_targets,)
        The constant term; 0 where ``fit_intercept=False``.
    <attributes of every polynomial>
    domain_ : ndarray of shape (`n_features_in_`, 2)
        The least and the largest number of each column, in rows with weight; for a constant column
        one less and one more, as in ``numpy.polynomial``. With ``partial_fit`` it grows with the
        data, but for a basis other than "power" with a stochastic solver, with
        ``fit_intercept=False`` or with a least degree above 1: there the terms, which chunks that
        reach further cannot be written in anew, stay those of the first chunk.
    n_output_features_ : int
        Number of terms.
    <attributes of every model>

    See Also
    --------
    TorchSGDRegressor : The same without powers.
    sklearn.preprocessing.PolynomialFeatures : Forms the terms as columns.

    Notes
    -----
    Terms are made block by block. The expanded matrix is whole in memory only where rows are fewer
    than terms, and never with more than 512 MiB: where neither it nor the Gram matrix of the terms
    has room in that, solver "auto" is "gradient" for squared error with a smooth penalty too.

    Where ``rank_`` is below ``n_output_features_`` the coefficients are those of least norm. There
    is no warning where that is in the nature of the columns (two values, a constant, products of
    dummies that vanish, linear functions of others), and a ``RankWarning`` where the degree is too
    high for the distinct values of a column, for the rows or for double precision.

    References
    ----------
    .. [1] Mehrotra, S. (1992). "On the implementation of a primal-dual interior point method".
       SIAM Journal on Optimization 2(4).
    .. [2] Johnson, R. and Zhang, T. (2013). "Accelerating stochastic gradient descent using
       predictive variance reduction". NIPS 26.
    .. [3] Gautschi, W. (2004). "Orthogonal Polynomials: Computation and Approximation", chapter 2.
    .. [4] Trefethen, L. N. (2019). "Approximation Theory and Approximation Practice", chapter 3.
    .. [5] Bondell, H. D., Reich, B. J., Wang, H. (2010). "Noncrossing quantile regression curve
       estimation". Biometrika 97(4).
    .. [6] Dekker, T. J. (1971). "A floating-point technique for extending the available
       precision". Numerische Mathematik 18.

    Examples
    --------
    >>> import numpy as np
    >>> from skorchlite import TorchPolyRegressor
    >>> year = np.arange(1950, 2021, 10.0)[:, None]
    >>> y = 7 + 0.5 * (year[:, 0] - 2000) ** 2
    >>> model = TorchPolyRegressor(degree=2).fit(year, y)
    >>> model.get_feature_names_out()
    array(['x0', 'x0^2'], dtype=object)
    >>> model.coef_, round(model.intercept_, 6)  # the last bits differ between processors
    (array([-2.e+03,  5.e-01]), 2000007.0)
    >>> model.predict([[2030.0]])
    array([457.])
    """

    _parameter_constraints: dict = {
        **StreamRegressor._parameter_constraints,
        **PolynomialModel._term_constraints,
    }

    def __init__(
        self,
        degree=2,
        *,
        interaction_only=False,
        basis="power",
        extrapolation="allow",
        loss="squared_error",
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
        self.degree = degree
        self.interaction_only = interaction_only
        self.basis = basis
        self.extrapolation = extrapolation
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

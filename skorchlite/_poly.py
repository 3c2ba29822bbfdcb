"""The polynomial estimator: its parameters."""

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from ._base import TorchRegressor
from ._polynomial import ExpandedRows, fitted_basis


class TorchPolyRegressor(TorchRegressor):
    """Polynomial regression that keeps its digits on raw columns.

    Minimises, for each target,

        F(w, b) = 1 / (2 sum_i s_i) * sum_i s_i (y_i - p(x_i) . w - b)^2 + alpha R(w)

    where ``p(x)`` are the powers and products of the columns, as PolynomialFeatures has them,
    without the constant. They are never formed from raw columns: without a penalty the model is
    fitted in products of Chebyshev polynomials on the interval of each column, whose coefficients
    are then converted to powers in rational arithmetic. One input column is fitted in doubled
    precision where rows times degree are at most a million. ``predict`` evaluates the model as it
    was fitted. With a penalty, which is on the coefficients of the raw powers, columns are scaled
    before their powers are taken.

    Parameters
    ----------
    degree : int, default=2
        Largest total degree of a term.
    interaction_only : bool, default=False
        Whether to leave out terms with a column to a higher power than one.
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
    coef_ : ndarray of shape (n_output_features_,) or (n_targets, n_output_features_)
        Coefficients of the terms in the raw columns, in float64; one row a target where y is 2-d.
    intercept_ : float or ndarray of shape (n_targets,)
        The constant term; 0 where ``fit_intercept=False``.
    powers_ : ndarray of shape (n_output_features_, n_features_in_)
        The exponent of each column in each term, in PolynomialFeatures' order.
    n_output_features_ : int
        Number of terms.
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
    TorchSGDRegressor : The same without powers.
    sklearn.preprocessing.PolynomialFeatures : Forms the terms as columns.

    Notes
    -----
    Terms are made block by block and the expanded matrix is never whole in memory.

    References
    ----------
    .. [1] Trefethen, L. N. (2019). "Approximation Theory and Approximation Practice", chapter 3.
    .. [2] Dekker, T. J. (1971). "A floating-point technique for extending the available
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
    >>> model.coef_, model.intercept_
    (array([-2.e+03,  5.e-01]), 2000007.0)
    >>> model.predict([[2030.0]])
    array([457.])
    """

    _parameter_constraints: dict = {
        **TorchRegressor._parameter_constraints,
        "degree": [Interval(Integral, 1, None, closed="left")],
        "interaction_only": ["boolean"],
    }

    def __init__(
        self,
        degree=2,
        *,
        interaction_only=False,
        loss="squared_error",
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
        self.degree = degree
        self.interaction_only = interaction_only
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

    def get_feature_names_out(self, input_features=None):
        """Return the names of the terms, in the order of ``coef_``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None for ``feature_names_in_``, or x0, x1, ... where the data
            had no names.

        Returns
        -------
        feature_names_out : ndarray of str objects of shape (n_output_features_,)
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        return np.array([_term_name(names, powers) for powers in self.powers_], dtype=object)

    def _expand(self, rows):
        penalised = self.penalty is not None
        basis = fitted_basis(
            rows, self.degree, self.interaction_only, self.fit_intercept, penalised
        )
        return ExpandedRows(rows, basis)

    def _keep(self, objective, solution, single_target):
        super()._keep(objective, solution, single_target)
        self._basis = objective.basis
        self._basis_solution = objective.solution(solution.v, solution.v_low)
        self.powers_ = objective.basis.powers
        self.n_output_features_ = len(self.powers_)

    def _predictor(self, X):
        _, _, rows = super()._predictor(X)
        return *self._basis_solution, ExpandedRows(rows, self._basis)


def _term_name(names, powers):
    factors = ((name, power) for name, power in zip(names, powers, strict=True) if power)
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in factors)

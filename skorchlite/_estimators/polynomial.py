"""The polynomial estimator: its parameters."""

from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._compat import Interval, StrOptions, check_feature_names_in
from .._inputs.conversion import array_like, to_numpy
from .._polynomials.basis import Basis
from .._polynomials.extrapolation import OUTSIDE, BoundedRows
from .._polynomials.families import FAMILIES
from .._polynomials.numpy_polynomials import numpy_polynomials
from .._polynomials.sampling import SAMPLE_ROWS
from .._polynomials.sensitivity import total_indices
from .._polynomials.term_names import term_name
from .._polynomials.undetermined_terms import cause
from .docstrings import documented
from .incremental import StreamRegressor
from .polynomial_terms import PolynomialTerms, expanded


@documented
class TorchPolyRegressor(StreamRegressor):
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
    interaction_only : bool, default=False
        Whether to leave out terms with a column to a higher power than one.
    basis : {"power", "chebyshev", "legendre", "hermite"}, default="power"
        What the terms are products of, and so what coefficients and penalty are of: powers of the
        columns as they are, or polynomials of Chebyshev, Legendre or Hermite (the physicists') of
        the columns mapped from ``domain_`` to [-1, 1], as in ``numpy.polynomial``. Predictions
        depend on it with a penalty, ``positive=True``, ``fit_intercept=False``, a least degree
        above 1, or, between the samples, where the data does not determine all coefficients.
    extrapolation : {"allow", "warn", "nan", "clip"}, default="allow"
        What ``predict`` does with samples outside of ``domain_``, where a polynomial grows fast:
        nothing, warn of them, return NaN for them (for which ``score`` has no number), or take the
        nearest number of the domain in place of each that is outside.
    <parameters of every model>

    Attributes
    ----------
    coef_ : ndarray of shape (n_output_features_,) or (n_targets, n_output_features_)
        Coefficients of the terms in the raw columns, in float64; one row a target where y is 2-d.
        With scikit-learn's ``array_api_dispatch`` it is of the namespace and on the device of X, as
        are the other arrays; else of NumPy, whatever X is.
    intercept_ : float or ndarray of shape (n_targets,)
        The constant term; 0 where ``fit_intercept=False``.
    feature_importances_ : ndarray of shape (n_features_in_,)
        The part of the variance of the predictions that each column takes part in, alone or in
        products, over columns that are independent and uniform on ``domain_`` (total Sobol
        indices); of all targets together. They add up to 1, or more where there are products. RFE
        and SelectFromModel, which take ``coef_`` to have an entry for each column, need
        ``importance_getter="feature_importances_"``.
    powers_ : ndarray of shape (n_output_features_, n_features_in_)
        The exponent, or degree, of each column in each term, in PolynomialFeatures' order.
    domain_ : ndarray of shape (n_features_in_, 2)
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
    .. [5] Dekker, T. J. (1971). "A floating-point technique for extending the available
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

    _basis: Basis

    _parameter_constraints: dict = {
        **StreamRegressor._parameter_constraints,
        "degree": [Interval(Integral, 1, None, closed="left"), tuple, list, np.ndarray],
        "interaction_only": ["boolean"],
        "basis": [StrOptions(set(FAMILIES))],
        "extrapolation": [StrOptions({"allow", *OUTSIDE})],
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
        l1_ratio=0.15,
        epsilon=0.1,
        quantile=0.5,
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
        self.l1_ratio = l1_ratio
        self.epsilon = epsilon
        self.quantile = quantile
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
        names = check_feature_names_in(self, input_features)
        return np.array(
            [term_name(self._basis.caller, powers, names) for powers in self._basis.powers],
            dtype=object,
        )

    @property
    def feature_importances_(self):
        """How much the predictions vary with each column; see the class."""
        check_is_fitted(self)
        coef, _ = map(to_numpy, self._basis_solution)
        return total_indices(self._basis, coef)

    def to_polynomial(self) -> Any:
        """Return the model as an object of ``numpy.polynomial``.

        It is for one column of X, and is of the class that ``basis`` names: ``Polynomial``,
        ``Chebyshev``, ``Legendre`` or ``Hermite``. Its domain is ``domain_[0]`` and its window
        [-1, 1], for powers too, so that it keeps digits that the powers of the column as it is,
        which ``convert()`` of a ``Polynomial`` has, may lose. It has ``deriv()``, ``integ()``,
        ``roots()``, and arithmetic. Where the data leaves most of its domain empty, or for a high
        degree in powers and Hermite's, ``predict`` is more precise.

        Returns
        -------
        polynomial : object of numpy.polynomial, or list of them
            A list, one for each target, where y was 2-d.

        Raises
        ------
        ValueError
            If X had several columns.

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchPolyRegressor
        >>> x = np.linspace(0, 4, 20)
        >>> model = TorchPolyRegressor(degree=2).fit(x[:, None], (x - 1) * (x - 3))
        >>> polynomial = model.to_polynomial()
        >>> polynomial.domain
        array([0., 4.])
        >>> polynomial.roots().round(9)
        array([1., 3.])
        >>> polynomial.deriv()(2.0).round(9) + 0.0
        np.float64(0.0)
        """
        check_is_fitted(self)
        if self.n_features_in_ != 1:
            raise ValueError(
                f"numpy.polynomial has polynomials of one column, and X had {self.n_features_in_}."
            )
        polynomials = numpy_polynomials(
            self._basis,
            *map(to_numpy, self._basis_solution),
            *getattr(self, "feature_names_in_", ["x"]),
        )
        return polynomials if np.ndim(self.intercept_) else polynomials[0]

    @property
    def powers_(self):
        """The exponent, or degree, of each column in each term."""
        powers = self._basis.powers
        return array_like(powers, self.coef_)

    def _columns(self, stochastic):
        squared = self.loss == "squared_error"
        # Steps along gradients of squared error are in columns that differ in scale alone.
        scaled = self.solver == "gradient" and squared
        return PolynomialTerms(
            degree=self.degree,
            interaction_only=self.interaction_only,
            family=self.basis,
            fit_intercept=self.fit_intercept,
            penalty=self._penalty(),
            penalised=self.penalty is not None or self.positive,
            stochastic=stochastic,
            unscaled=stochastic and self.preconditioner is None,
            least_squares=squared and not stochastic,
            any_form=isinstance(self.loss, str) and not (scaled or stochastic),
        )

    def _attributes(self, data, solution):
        objective = solution.objective
        basis, found = objective.basis, objective.units.solution(solution.v, solution.v_low)
        if basis.penalty_root is not None:
            basis, found = basis.base, basis.in_base(*found)
        return {
            **super()._attributes(data, solution),
            "_basis": basis,
            "_basis_solution": found,
            "n_output_features_": len(objective.basis.terms),
            "domain_": objective.basis.domain,
        }

    def _linear_model(self, rows):
        return *map(to_numpy, self._basis_solution), expanded(rows, self._basis)

    def _in_domain(self, rows):
        if self.extrapolation == "allow":
            return rows
        used = self._basis.terms.used
        domain = np.where(used[:, None], to_numpy(self.domain_), [-np.inf, np.inf])
        return BoundedRows(rows, domain, self.extrapolation)

    def _warnings(self, solution):
        yield from super()._warnings(solution)
        sample, self._basis.sampled_rows = self._basis.sampled_rows, None
        known = self.rank_ is not None and not self._penalty().curvature
        if not known or sample is None or self.rank_ >= self.n_output_features_:
            return
        powers = self._basis.powers
        n_rows = len(sample) if len(sample) < SAMPLE_ROWS else self._n_rows
        found = cause(sample, n_rows, powers, self.fit_intercept, self.rank_)
        if found is not None:
            names = check_feature_names_in(self, None)
            reason, remedy = found.in_words(
                names, powers.max(0).tolist(), partial(term_name, self._basis.caller)
            )
            message = (
                f"The data determines {self.rank_} of the {self.n_output_features_} coefficients "
                f"that degree={self.degree} asks for: {reason}. Of all coefficients with the least "
                "loss, those of least norm are returned, as far as rounding lets them be found. "
                f"{remedy}, or use a penalty (penalty='l2')."
            )
            yield message, np.exceptions.RankWarning

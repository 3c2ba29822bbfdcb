"""The polynomial estimator that chooses its degree and its penalty: its parameters."""

from .._compat import StrOptions
from .._objective.penalties import make_penalty
from .docstrings import documented
from .polynomial import TorchPolyRegressor
from .polynomial_model import PolynomialModel
from .search.base import SearchRegressor
from .search.degrees import degree_searches


@documented
class TorchPolyRegressorCV(PolynomialModel, SearchRegressor):
    """Polynomial regression whose degree and penalty are chosen by cross-validation.

    For each degree, and each ``alpha`` (and ``l1_ratio``) where there is a penalty, and each split
    of ``cv`` the model of TorchPolyRegressor on the training samples is judged by its mean loss on
    the test samples, and the candidate with the least mean over the splits is fitted to all
    samples. The weight of the penalty is relative to the mean loss of whichever samples a model is
    fitted to.

    Of squared error without a penalty, or with "l2" on powers, one pass over the data makes the
    models of all degrees, weights and splits: terms that are orthogonal on the samples come in the
    order of their degrees, so that the products of those of a lower degree are a block of the
    products of all [2]_. Models that products in doubles do not hold the digits of, as where
    training samples have fewer distinct values than a model has terms, are fitted one by one.

    Parameters
    ----------
    degree : int, tuple (min_degree, max_degree) or list, default=2
        The degrees to try. An integer, the largest total degree of a term, or a tuple, also with
        the least, is the only one. A list, or array, holds those that are tried, each of which is
        an integer, a tuple, or a list with the largest degree of each column, as TorchPolyRegressor
        takes them: ``[1, 2, 3]`` tries three degrees, and ``[[1, 3]]`` the one of up to 1 in the
        first of two columns and up to 3 in the second.
    <terms of every polynomial>
    <loss of every model>
    penalty : {"l2", "l1", "elasticnet"} or None, default="l2"
        ``R(w)``: "l2" is ``1/2 sum_j c_j w_j^2``, "l1" is ``sum_j c_j |w_j|``, "elasticnet" is
        ``l1_ratio`` times that of "l1" and ``1 - l1_ratio`` times that of "l2", None is no
        penalty: then only the degree is chosen.
    alphas : int or array-like of shape (n_alphas,), default=100
        The weights of the penalty to try, or how many; of no effect where ``penalty=None``. A
        number of them is on a logarithmic scale, for each degree: with a share of "l1" down from
        the least weight that leaves all coefficients at zero; with "l2" (or less than 0.001 of
        "l1") from above the largest variance of a term to below the least, times the curvature of
        the loss.
    eps : float, default=1e-3
        How far a number of weights reaches: the least is ``eps`` times the largest; with "l2" they
        reach from ``1 / eps`` times the largest variance to ``eps**2`` times the least.
    penalty_factor : array-like of shape (`n_output_features_`,), default=None
        The factors ``c`` of the penalty, one for each coefficient and not negative; None for ones.
        With zero a coefficient is not penalised. They are for the terms of the largest degree that
        is tried, in the order of ``get_feature_names_out``; the terms of each other degree are the
        first of these, or a ValueError is raised.
    l1_ratio : float or array-like of shape (n_l1_ratio,), default=0.15
        The shares of "l1" in "elasticnet" to try, from 0 to 1.
    <splits of every search>
    rule : {"best", "one_standard_error"}, default="best"
        Whether to choose the best mean score or, of those within one standard error of it, the
        degree with the fewest terms and then the largest ``alpha`` [1]_.
    refit : bool, default=True
        Whether to fit the chosen model to all samples; without it, there is nothing to predict
        with.
    <parameters of every search>

    Attributes
    ----------
    degree_ : int, tuple or list
        The degree that was chosen.
    alpha_ : float or ndarray of shape (n_targets,)
        The weight that was chosen, or that of each target with ``alpha_per_target=True``; 0 where
        ``penalty=None``.
    l1_ratio_ : float
        The share of "l1" that was chosen: 1 for "l1", 0 for "l2" and no penalty.
    alphas_ : ndarray of shape (n_alphas,) or (n_degrees, n_l1_ratio, n_alphas)
        The weights that were tried, in descending order: those that were given or, for a number of
        them, those of each degree and share. An axis of length 1 of these is left out.
    mse_path_ : ndarray of shape (n_degrees, n_l1_ratio, n_alphas, n_splits)
        The mean squared error on the test samples or, for another loss, its mean; of several
        targets the mean over these. Degrees are in the order of their numbers of terms. An axis of
        length 1 is left out, as in ElasticNetCV. With ``cv="loo"`` it has the means over the
        samples, without an axis of splits; NaN where rounding has made them.
    coef_path_ : ndarray of shape (n_alphas, [n_targets,] `n_output_features_`)
        The coefficients on all samples for each weight, with ``degree_`` and ``l1_ratio_``.
    fold_coef_ : ndarray of shape (n_splits, [n_targets,] `n_output_features_`)
        The coefficients on each split for what was chosen; not with ``cv="loo"``.
    <results of every search>
    coef_ : ndarray of shape (`n_output_features_`,) or (n_targets, `n_output_features_`)
        Coefficients of the terms in the raw columns, on all samples, in float64.
    intercept_ : float or ndarray of shape (n_targets,)
        The constant term; 0 where ``fit_intercept=False``.
    <attributes of every polynomial>
    domain_ : ndarray of shape (`n_features_in_`, 2)
        The least and the largest number of each column, in rows with weight; for a constant column
        one less and one more, as in ``numpy.polynomial``.
    n_output_features_ : int
        Number of terms.
    <attributes of every model>

    See Also
    --------
    TorchPolyRegressor : The same for a degree and a penalty that are given.
    TorchSGDRegressorCV : The same without powers.
    sklearn.model_selection.GridSearchCV : By a fit for each candidate and split.

    Notes
    -----
    A penalty on the polynomials of another ``basis`` than "power" is on polynomials on the domain
    of the training samples, which splits do not share: such models are fitted one by one.

    References
    ----------
    .. [1] Hastie, T., Tibshirani, R., Friedman, J. (2009). "The Elements of Statistical Learning",
       section 7.10.
    .. [2] Gautschi, W. (2004). "Orthogonal Polynomials: Computation and Approximation", chapter 2.
    .. [3] Golub, G. H., Heath, M., Wahba, G. (1979). "Generalized cross-validation as a method for
       choosing a good ridge parameter". Technometrics 21(2).

    Examples
    --------
    >>> import numpy as np
    >>> from skorchlite import TorchPolyRegressorCV
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(1950, 2020, 300)
    >>> y = 7 + 1e-3 * (x - 2000) ** 3 + rng.standard_normal(300)
    >>> model = TorchPolyRegressorCV([1, 2, 3, 4, 5], penalty=None, rule="one_standard_error")
    >>> model = model.fit(x[:, None], y)
    >>> model.degree_
    3
    >>> model.mse_path_.shape
    (5, 5)
    >>> round(float(model.predict([[2010.0]])[0]))
    8
    """

    _estimator_class = TorchPolyRegressor

    _parameter_constraints: dict = {
        **SearchRegressor._parameter_constraints,
        **PolynomialModel._term_constraints,
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
    }

    def __init__(
        self,
        degree=2,
        *,
        interaction_only=False,
        basis="power",
        extrapolation="allow",
        loss="squared_error",
        penalty="l2",
        alphas=100,
        eps=1e-3,
        penalty_factor=None,
        l1_ratio=0.15,
        cv=None,
        scoring=None,
        alpha_per_target=False,
        rule="best",
        refit=True,
        epsilon=0.1,
        quantile=0.5,
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
        self.alphas = alphas
        self.eps = eps
        self.penalty_factor = penalty_factor
        self.l1_ratio = l1_ratio
        self.cv = cv
        self.scoring = scoring
        self.alpha_per_target = alpha_per_target
        self.rule = rule
        self.refit = refit
        self.epsilon = epsilon
        self.quantile = quantile
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
        self.device = device
        self.dtype = dtype
        self.distributed = distributed
        self.random_state = random_state
        self.verbose = verbose

    @property
    def _given_degree(self):
        return self.degree_

    def _penalty(self, n_columns=None):
        # Of no weight: which of the caller's terms it is on matters before there is one.
        return make_penalty(self.penalty, 0.0, 0.0, self.positive)

    def _searches(self, data, splits, scoring):
        return degree_searches(self, data, splits, scoring)

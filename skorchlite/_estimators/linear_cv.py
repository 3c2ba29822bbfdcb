"""The linear estimator that chooses its penalty by cross-validation: its parameters."""

from .docstrings import documented
from .linear import TorchSGDRegressor
from .search.base import SearchRegressor


@documented
class TorchSGDRegressorCV(SearchRegressor):
    """Linear regression whose penalty is chosen by cross-validation, for the price of a fit or two.

    For each ``alpha`` (and ``l1_ratio``) and each split of ``cv`` the model that minimises

        F(w, b) = (1 / sum_i s_i) sum_i s_i loss(y_i, x_i . w + b) + alpha R(w)

    over the training samples is judged by its mean loss on the test samples, and the candidate with
    the least mean over the splits is fitted to all samples.

    The weight of the penalty is relative to the mean loss of whichever samples a model is fitted
    to, as in ElasticNetCV. RidgeCV holds ``alpha`` relative to the sum instead: it tries
    ``alphas / n_train`` in these units on each split, and ``alphas / n_samples`` in the end.

    Parameters
    ----------
    <loss of every model>
    penalty : {"l2", "l1", "elasticnet"}, default="l2"
        ``R(w)``: "l2" is ``1/2 sum_j c_j w_j^2``, "l1" is ``sum_j c_j |w_j|``, "elasticnet" is
        ``l1_ratio`` times that of "l1" and ``1 - l1_ratio`` times that of "l2".
    alphas : int or array-like of shape (n_alphas,), default=100
        The weights of the penalty to try, or how many. A number of them is on a logarithmic scale:
        with a share of "l1" down from the least weight that leaves all coefficients at zero; with
        "l2" (or less than 0.001 of "l1") around the mean variance of the columns, times the
        curvature of the loss.
    eps : float, default=1e-3
        How far a number of weights reaches: the least is ``eps`` times the largest; with "l2" they
        reach from ``1 / eps`` to ``eps**2`` times the middle.
    penalty_factor : array-like of shape (n_features,), default=None
        The factors ``c`` of the penalty, one for each coefficient and not negative; None for ones.
        With zero a coefficient is not penalised. A number of ``alphas`` begins, with a share of
        "l1", where all coefficients that are penalised are zero.
    l1_ratio : float or array-like of shape (n_l1_ratio,), default=0.15
        The shares of "l1" in "elasticnet" to try, from 0 to 1.
    <splits of every search>
    rule : {"best", "one_standard_error"}, default="best"
        Whether to choose the best mean score, or the largest ``alpha`` (with its ``l1_ratio``)
        whose mean score is within one standard error of it [1]_.
    refit : bool, default=True
        Whether to fit the chosen model to all samples; without it, there is nothing to predict
        with.
    <parameters of every search>

    Attributes
    ----------
    alpha_ : float or ndarray of shape (n_targets,)
        The weight that was chosen, or that of each target with ``alpha_per_target=True``.
    l1_ratio_ : float
        The share of "l1" that was chosen: 1 for "l1", 0 for "l2".
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        The weights that were tried, in descending order.
    mse_path_ : ndarray of shape (n_l1_ratio, n_alphas, n_splits)
        The mean squared error on the test samples or, for another loss, its mean; of several
        targets the mean over these. An axis of length 1 is left out, as in ElasticNetCV. With
        ``cv="loo"`` it has the means over the samples, without an axis of splits; NaN where
        rounding has made them.
    coef_path_ : ndarray of shape (n_alphas, n_features) or (n_alphas, n_targets, n_features)
        The coefficients on all samples for each weight, with ``l1_ratio_``. Of squared error they
        are made from the moments, and are off by about 1e-16 times the condition of the scaled
        columns with the penalty, up to 1e-4; ``coef_``, and ``fold_coef_`` where the data can be
        read again, have the digits of a fit.
    fold_coef_ : ndarray of shape (n_splits, n_features) or (n_splits, n_targets, n_features)
        The coefficients on each split for ``alpha_`` and ``l1_ratio_``; not with ``cv="loo"``.
    <results of every search>
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients on all samples, in float64.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept; 0 where ``fit_intercept=False``.
    <attributes of every model>

    See Also
    --------
    TorchSGDRegressor : The same for a penalty that is given.
    sklearn.linear_model.ElasticNetCV : By coordinate descent on each split.
    sklearn.linear_model.RidgeCV : With ``alpha`` relative to the sum of the losses.

    Notes
    -----
    Training sums are added up from those of the other folds, never subtracted from the whole, which
    would lose digits where folds differ in size or scale [2]_. Errors below 1e-8 of the variance of
    the targets are summed over the rows again, unless these come as a stream. With "l1" or bounds
    all splits go down the path of penalties together, by active sets of columns [4]_. With
    ``cv="loo"`` residuals are made from those of the model of all samples by a formula [3]_; of
    many targets, up to 1e-11 of the mean squared error.

    References
    ----------
    .. [1] Hastie, T., Tibshirani, R., Friedman, J. (2009). "The Elements of Statistical Learning",
       section 7.10.
    .. [2] Chan, T. F., Golub, G. H., LeVeque, R. J. (1983). "Algorithms for computing the sample
       variance: analysis and recommendations". The American Statistician 37(3).
    .. [3] Golub, G. H., Heath, M., Wahba, G. (1979). "Generalized cross-validation as a method for
       choosing a good ridge parameter". Technometrics 21(2).
    .. [4] Hintermueller, M., Ito, K., Kunisch, K. (2002). "The primal-dual active set strategy as a
       semismooth Newton method". SIAM Journal on Optimization 13(3).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skorchlite import TorchSGDRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = TorchSGDRegressorCV(penalty="l1").fit(X, y)
    >>> round(model.alpha_, 5)
    0.00375
    >>> int((model.coef_ != 0).sum())
    9
    """

    _estimator_class = TorchSGDRegressor

    def __init__(
        self,
        loss="squared_error",
        *,
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

"""The part of the docstrings of the estimators that all of them have, from one source."""

from textwrap import indent
from typing import TypeVar

Class = TypeVar("Class", bound=type)


def documented(cls: Class) -> Class:
    """Put the shared text in place of the lines in a class's docstring that stand for it."""
    if cls.__doc__:  # there is none where Python was told to leave docstrings out
        for line, text in _SHARED.items():
            cls.__doc__ = cls.__doc__.replace(f"    {line}\n", indent(text, "    "))
    return cls


_PARAMETERS = """\
loss : str or callable, default="squared_error"
    The loss of a row, in its residual ``r = y - prediction``:

    - "squared_error": ``1/2 r^2``
    - "absolute_error": ``|r|``
    - "huber": ``1/2 r^2`` up to ``|r| = epsilon``, ``epsilon |r| - 1/2 epsilon^2`` beyond
    - "quantile": ``quantile r`` above zero, ``(quantile - 1) r`` below
    - "expectile": ``quantile r^2`` above zero, ``(1 - quantile) r^2`` below
    - "epsilon_insensitive": ``max(0, |r| - epsilon)``
    - "squared_epsilon_insensitive": ``max(0, |r| - epsilon)^2``
    - "log_cosh": ``log cosh r``

    or half the deviance of the prediction ``m = exp(x . w + b)``, as in scikit-learn's generalised
    linear models with a log link. Then ``predict`` returns ``m``, and ``score`` is D2, the part of
    the deviance that it explains:

    - "poisson": ``y log(y / m) - y + m``, for y not below 0, as of counts
    - "gamma": ``y / m - 1 - log(y / m)``, for y above 0, as of amounts
    - "tweedie": between and beyond both, for a variance of y that grows as ``m^power``

    or a callable or ``torch.nn`` loss module ``(y_pred, y_true)`` of two float64 tensors of
    shape (n_rows,), the rows of a block and one target. It returns one loss a row, or their
    mean (then without ``sample_weight``), and is differentiated by autograd.
penalty : {"l2", "l1", "elasticnet"} or None, default=None
    ``R(w)``: "l2" is ``1/2 sum_j c_j w_j^2``, "l1" is ``sum_j c_j |w_j|``, "elasticnet" is
    ``l1_ratio`` times that of "l1" and ``1 - l1_ratio`` times that of "l2", None is no penalty;
    ``c`` is ``penalty_factor``.
alpha : float, default=1e-4
    Factor of the penalty; of no effect where ``penalty=None``. It means what it does in Lasso
    and ElasticNet; ``Ridge(alpha=a)`` is ``penalty="l2", alpha=a / sum(sample_weight)``.
penalty_factor : array-like of shape (n_features,), default=None
    The factors ``c`` of the penalty, one for each coefficient and not negative; None for ones.
    With zero a coefficient is not penalised: of columns with zero that depend on each other the
    coefficients are those of least norm, as without a penalty, unless ``positive=True``. Of a
    polynomial it holds a factor for each term, of shape (`n_output_features_`,), in the order of
    ``get_feature_names_out``. Factors are taken as they are: "l2" with ``c`` is "l2" of columns
    divided by ``sqrt(c)``, and "l1" that of columns divided by ``c``. R's glmnet scales them
    to a mean of 1 first, as ``penalty_factor = c * len(c) / sum(c)`` does.
l1_ratio : float, default=0.15
    Share of "l1" in "elasticnet", from 0 to 1.
epsilon : float or "auto", default=0.1
    Of the losses "huber" (above 0), "epsilon_insensitive" and "squared_epsilon_insensitive"
    (0 or above), in units of y. "auto" is for "huber", one target, and ``fit`` of
    TorchSGDRegressor and TorchPolyRegressor with a full-batch solver: epsilon is
    ``1.35 scale``, and the scale of the residuals is estimated with the coefficients, as in
    HuberRegressor. The loss of a row is then ``1/2 scale + huber(r) / scale``, so that alpha is
    that of HuberRegressor divided by ``sum(sample_weight)``. It takes the time of some ten
    fits.
quantile : float or array-like of shape (n_levels,), default=0.5
    The level of what the losses "quantile" and "expectile" predict, between 0 and 1. A list of
    increasing levels is for "quantile", one target, and ``fit`` of TorchSGDRegressor and
    TorchPolyRegressor with ``solver`` "auto" or "newton". Its levels are fitted together, to the
    least sum of their objectives, penalty included, under ``non_crossing``; ``coef_`` has a row
    for each. They share passes over the samples, and a level begins between two that are fitted
    already, so that nine take some four to six times as long as one. ``optimality_`` is a bound
    for all of them together.
non_crossing : {"rows", "domain"} or None, default="rows"
    Where no level's predictions may be above those of the next, of a list of quantiles: on the
    samples of the fit (and so wherever one is a mean of these); on the box of the ranges that
    the columns have there, for models that are linear in these; or, with None, nowhere, so that
    each level is that of a fit of its own. It holds for the numbers that ``predict`` returns.
    Levels that do not cross by themselves stay as they are. Those that do are solved as one
    problem [5]_.
power : float, default=1.5
    Of the loss "tweedie", from 1 ("poisson") to 3: below 2 ("gamma") for y not below 0, as of
    amounts that may be nothing, else for y above 0. Above 2 the loss is not convex, and what is
    found is a point without a slope.
fit_intercept : bool, default=True
    Whether to fit the intercept, which is never penalised. If False, the data is taken to be
    centred.
positive : bool, default=False
    Whether coefficients are kept from falling below zero.
solver : str or torch.optim.Optimizer class, default="auto"
    Full batch, for the optimum to ``tol``:

    - "newton" is descent with the curvature of the loss. Squared error needs one pass, which
      makes the Gram matrix of the centred columns, and further ones where its condition leaves
      the coefficients further off than ``tol``; with more columns than rows it works in the
      span of the rows instead, and under a penalty with "l1" or ``positive=True`` on a working
      set of the columns. Other losses begin at the solution of squared error, in coordinates
      that it gives, and need three or four passes, each of which keeps the rows near a kink
      of the loss, or of its derivative, and sums the others; on what is kept, interior point
      steps [1]_ lead to the minimum. With a penalty that is not smooth ("l1", "elasticnet" or
      ``positive=True``) and more than 1,000 columns they work on a working set of these too.
    - "gradient" is descent by limited-memory quasi-Newton steps or, for squared error with a
      smooth penalty, conjugate gradients, and takes any loss. Beyond 2,000 columns it holds no
      matrix of columns by columns; up to there other losses have the coordinates of least
      squares, and where steps stall before the bound is close enough, a small problem is ended
      by those of "newton".

    Stochastic, a step for each batch of rows: "sgd" (``solver_params``: ``momentum``,
    ``dampening``, ``nesterov``), "adam", "adamw" (without weight decay unless
    ``solver_params`` asks for it), "rmsprop", "adagrad", or any class of ``torch.optim``, which
    ``solver_params`` goes to.

    "auto" is "sgd" where ``batch_size``, ``learning_rate``, ``preconditioner``,
    ``solver_params`` or ``early_stopping`` ask for it. Else it is "gradient" for a callable
    loss and, unless the loss is squared error or the penalty is not smooth, for more than 2,000
    columns; else "newton". Of sparse columns it
    is "gradient" for more than 2,000 columns with squared error too, if the penalty is
    smooth, and with other losses where n_samples * n_features**2 exceeds 1e11.
solver_params : dict, default=None
    Parameters of the stochastic update, but for its step.
preconditioner : {"auto", "gram", "diagonal"} or None, default="auto"
    The coordinates that a stochastic solver steps in. "gram": columns centred and multiplied by
    an inverse root of their Gram matrix, so that curvature is alike in all directions.
    "diagonal": columns centred and divided by their deviation. "auto": "diagonal" for a penalty
    that is not smooth or more than 2,000 columns, else "gram"; either takes a pass. None: the raw
    columns, whose gradient step is that of a textbook's loop.
learning_rate : float, str or torch.optim.lr_scheduler class, default="auto"
    The step of a stochastic solver:

    - "auto": measured from the curvature and the noise of batches, on gradients whose noise
      vanishes at the optimum [2]_; an epoch that raises the objective is undone and the step
      halved. Each epoch takes a pass more, which measures the objective.
    - a float: that step, in the coordinates of the preconditioner.
    - "constant": ``eta0``; "invscaling": ``eta0 / t^power_t``;
      "optimal": ``1 / (alpha (t0 + t - 1))``; "adaptive": ``eta0``, divided by 5 each time that
      the objective no longer falls; "pa1" and "pa2", with loss "epsilon_insensitive": as far as
      the loss of a row asks, ``eta0`` being the aggressiveness. These are SGDRegressor's, t
      counts steps from 1, and with ``preconditioner=None`` and one target the steps are its
      steps, for weights of mean 1.
    - a ``torch.optim.lr_scheduler`` class, or a callable that makes one of an optimizer, as
      ``functools.partial(StepLR, step_size=5)``: from ``eta0``, stepped after each epoch.
eta0 : float, default=0.01
    First step of a schedule.
power_t : float, default=0.25
    Exponent of "invscaling".
batch_size : int or None, default="auto"
    Rows of a step of a stochastic solver; None for all rows. "auto" is 1 with SGDRegressor's
    schedules, else 256. With a step that is given, many small batches are computed at once: the
    result is that of one after the other, up to rounding.
max_iter : int, default=1000
    Largest number of steps of a full-batch solver, on each working set of the columns where
    there is one; of epochs of a stochastic one.
tol : float or None, default=1e-10
    Full batch: how far the objective may be above its least, relatively, when the descent ends;
    for squared error and callables the coefficients too, columns scaled. Stochastic with
    ``learning_rate="auto"``: of ``optimality_``. With another: the fit ends when the objective
    has not fallen by ``tol`` for ``n_iter_no_change`` epochs, as in SGDRegressor. None: no
    check, ``max_iter`` steps or epochs.
shuffle : bool, default=True
    Whether each epoch takes the rows in a new random order.
average : bool or int, default=False
    Whether the coefficients are the average over all steps; an int is the number of rows seen
    at which averaging begins. Of no effect with ``learning_rate="auto"``, which averages the
    points of each epoch.
early_stopping : bool, default=False
    Whether to set rows aside and to end when the loss on them has not fallen for
    ``n_iter_no_change`` epochs by ``tol`` relative to that of a constant (for squared error, R2
    has not risen by ``tol``). The best coefficients are kept.
validation_fraction : float, default=0.1
    Part of the rows to set aside for ``early_stopping``, unless ``fit`` is given ``X_val``.
n_iter_no_change : int, default=5
    Epochs without gain after which a stochastic solver ends.
warm_start : bool, default=False
    Whether to start from the coefficients of the previous fit. The optimum does not depend
    on it.
device : str or torch.device, default="auto"
    Where to compute: "auto" is the device of a tensor X, else CUDA where it is present and X
    has at least two million entries, else the CPU.
dtype : {"auto", "float32", "float64"} or torch.dtype, default="auto"
    Precision of the products within a block of rows; sums of blocks and corrections are in
    double precision wherever the device has it. "auto" is "float32" where X is in single
    precision and that saves time.
distributed : bool, default=False
    Whether each process of a group, as ``torchrun`` starts them, has a share of the rows. The
    fit is then that of all rows together, and every process ends with the same coefficients.
    All must call ``fit`` with the same parameters; some may have no rows. Sums travel; with a
    stochastic solver, whose steps follow each other, the rows do. A process that is lost ends
    the fit of the others with an error: at once where its connection breaks, else after 30
    minutes. Predictions are for the rows that a process has.
random_state : int, RandomState instance or None, default=None
    Of the order of the rows and of those set aside; an int for the same fit each time. None
    leaves NumPy's global generator alone, and each fit differs.
verbose : int, default=0
    Of how many steps or epochs one is printed, in columns, with the objective, ``optimality_`` as
    far as it is known then, and the seconds so far; 0 for none.
"""

_ATTRIBUTES = """\
n_iter_ : int
    Number of steps, the largest over the targets, or of epochs.
t_ : int
    Number of updates of the coefficients, plus one.
loss_curve_ : list of float
    The objective, penalty included, at the start and then after each step, or, where a pass
    over the rows serves many steps, after each pass; summed over targets. With a given
    ``learning_rate``: for each epoch its mean over the batches, each before its step.
validation_loss_curve_ : list of float or None
    The mean loss on the validation rows after each epoch, or after the fit of a full-batch
    solver; None without such rows.
optimality_ : float
    How far the objective may be above its least, at most: ``(F - L) / F``, where ``F`` is the
    objective of the solution, penalty included, and ``L`` a bound from below that was
    computed, over the directions that ``rank_`` counts; the largest over the targets, never
    negative. Relative to the objective at zero where what is left of ``F`` is rounding,
    NaN where no bound was computed:

    =========================  ==========================================================
    solver and loss            bound
    =========================  ==========================================================
    "newton", squared error,   what the next Newton step gains, and what is left of the
    smooth penalty             gradient then against the curvature of the penalty
    "newton", penalty          the tangent at the solution, as far as coefficients may be
    that is not smooth         from it whose objective is no higher
    "newton", other losses     dual variables, the minimum that they leave over the
                               coefficients, and the tangent as before; of a list of
                               quantiles also multipliers of where they may not cross
    "gradient", squared        half the squared gradient over the least curvature of the
    error, smooth penalty      penalty or, without one, that the steps have met; of a small
                               problem as for "newton", which ends it
    "gradient", other losses   the tangent as before; with a smooth penalty and more than
                               2,000 columns as for squared error
    "newton", losses with a    the value of the dual point that a Newton step leads to
    log link
    callable, or "tweedie"     NaN: it need not be convex
    with a power above 2
    stochastic, "auto" step    half the squared subgradient over the curvature nearby;
                               else the tangent as before or, of a small problem, what
                               "newton" finds; NaN without a penalty on more than
                               2,000 columns
    stochastic, given step     NaN
    =========================  ==========================================================
converged_ : bool
    Whether ``optimality_`` is at most ``tol``, or what is left is rounding of the coefficients
    or of the data; for a callable, whether the gradient is that close to zero; with a given
    ``learning_rate``, whether the check that ``tol`` stands for was met.
scale_ : float or None
    The scale of the residuals, with ``epsilon="auto"``: zero where more than 45 % of the samples
    can be fitted exactly; None with a given epsilon.
rank_ : int or None
    Number of independent directions in the (centred) columns of the model, at the rounding
    of the data; the same for all losses. None with a penalty that is not smooth or a bound, and
    where "gradient" or a stochastic solver makes no Gram matrix.
solver_ : str
    The solver that was used, or the name of its class.
device_ : str
    The device that was used.
n_features_in_ : int
    Number of features seen during fit.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features, where X has string column names.
"""

_TERMS = """\
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
"""

_OF_POLYNOMIALS = """\
feature_importances_ : ndarray of shape (`n_features_in_`,)
    The part of the variance of the predictions that each column takes part in, alone or in
    products, over columns that are independent and uniform on ``domain_`` (total Sobol
    indices); of all targets together. They add up to 1, or more where there are products. RFE
    and SelectFromModel, which take ``coef_`` to have an entry for each column, need
    ``importance_getter="feature_importances_"``.
powers_ : ndarray of shape (`n_output_features_`, `n_features_in_`)
    The exponent, or degree, of each column in each term, in PolynomialFeatures' order.
"""

_SPLITS = """\
cv : int, splitter, iterable, "loo" or None, default=None
    The splits: a number of folds, a splitter of scikit-learn, pairs of training and test
    indices, or None for 5 folds. Samples of a stream belong to folds in turn. "loo" leaves out
    one sample at a time, by the exact formula for squared error with no penalty but
    "l2" [3]_.
scoring : str, callable or None, default=None
    A scorer, of which larger values are better; None for the loss.
alpha_per_target : bool, default=False
    Whether to choose a weight for each target, where y is 2-d.
"""

_RESULTS = """\
fold_intercept_ : ndarray of shape (n_splits,) or (n_splits, n_targets)
    The intercepts of these.
cv_results_ : dict of arrays
    The scores of all candidates, as in GridSearchCV. What passes over the rows and solvers took
    is divided evenly.
best_score_ : float or ndarray of shape (n_targets,)
    The mean score of the chosen candidate; minus the mean loss (of squared error, minus the
    mean squared error) where ``scoring=None``.
n_splits_ : int
    The number of splits.
"""


def _between(first: str, after: str, text: str = _PARAMETERS) -> str:
    """Return the texts of the parameters from one to that before another."""
    start = text.index(f"{first} : ")
    return text[start : text.index(f"{after} : ", start)]


# Of estimators that take no list of quantiles.
_OF_ONE_LEVEL = """\
quantile : float, default=0.5
    The level of what the losses "quantile" and "expectile" predict, between 0 and 1.
"""
_COMMON = _PARAMETERS.replace(_between("quantile", "power"), _OF_ONE_LEVEL)
_LOSS = _PARAMETERS[: _PARAMETERS.index("penalty : ")]
_AFTER_PENALTY = _COMMON[_COMMON.index("epsilon : float") :]
_BEFORE_START, _AFTER_START = _AFTER_PENALTY.split("warm_start : bool", 1)


_SHARED = {
    "<parameters of every model>": _PARAMETERS,
    "<l1_ratio to power of every model>": _between("l1_ratio", "fit_intercept", _COMMON),
    "<device of every model>": _between("device", "dtype"),
    "<attributes of every model>": _ATTRIBUTES,
    "<terms of every polynomial>": _TERMS,
    "<attributes of every polynomial>": _OF_POLYNOMIALS,
    "<splits of every search>": _SPLITS,
    "<results of every search>": _RESULTS,
    "<loss of every model>": _LOSS,
    "<parameters of every search>": _BEFORE_START + _AFTER_START[_AFTER_START.index("device : ") :],
}

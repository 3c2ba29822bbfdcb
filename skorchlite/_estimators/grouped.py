"""The estimator of one regression a group."""

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Self

import numpy as np
from sklearn.base import MultiOutputMixin
from sklearn.utils.validation import check_is_fitted

from .._compat import Interval, StrOptions, check_feature_names_in, fit_context
from .._exceptions import OutOfRangeError
from .._polynomials.term_names import term_name
from .._runtime import torch_settings
from .._solvers.base import SolverControl
from .._sources.prefetch import computing
from .docstrings import documented
from .fitted_state import packed, portable, restored, unpacked
from .group_data import read_groups
from .group_fits import GroupModel
from .group_frame import models_frame
from .group_prediction import GroupPredictor
from .group_warnings import warn_of_groups
from .linear import TorchSGDRegressor
from .parameters import Parameters, plain_parameters
from .polynomial import TorchPolyRegressor
from .rollback import untouched_on_error

# Parameters of the model of one group.
_OF_MODEL = (
    *("loss", "penalty", "alpha", "penalty_factor", "l1_ratio", "epsilon", "quantile", "power"),
    *("fit_intercept", "positive", "max_iter", "tol", "device"),
)


@documented
class TorchGroupedRegressor(GroupPredictor, MultiOutputMixin, Parameters):
    """One linear regression for each group of rows, all groups at once.

    Minimises, for each group g and each target,

        F(w, b) = (1 / sum_i s_i) sum_i s_i loss(y_i, x_i . w + b) + alpha R(w)
                  + shrinkage / 2 ||w - w_all||^2

    over the rows i whose key is g, with sample weights ``s_i``. ``w_all`` are the coefficients of
    one model of all rows, which has the same loss and penalty. Neither the intercept ``b`` nor its
    difference from that of all rows is penalised.

    Parameters
    ----------
    groups : int, str, list of these, or None, default=None
        The column of X that holds the key of each row, by its name or number; or a list of columns,
        whose combinations are the groups. Keys may be of any kind that can be compared for
        equality: numbers, strings, categories, dates. They are not among the features. None for one
        group of all rows.
    degree : int, default=1
        Of a polynomial: 2 and more for the powers and products of the columns up to that degree in
        their place, as PolynomialFeatures has them, without the constant.
    fallback : {"global", "raise", "nan"}, default="global"
        What ``predict`` does with rows of a group that was not there in ``fit``: predict by the
        model of all rows, raise a ValueError, or return NaN. The model of all rows takes a pass
        more over the data, as it does where ``shrinkage`` is not zero.
    shrinkage : float, default=0.0
        How strongly the coefficients of a group are pulled towards those of the model of all rows:
        0 for not at all, and large numbers for coefficients that are nearly those. It goes with
        ``penalty=None`` or "l2", losses by their name, and ``positive=False``.
    loss : str or callable, default="squared_error"
        The loss of a row, one of those of TorchSGDRegressor. "squared_error" with any penalty, and
        "huber", "expectile", "squared_epsilon_insensitive", "log_cosh", "poisson", "gamma" and
        "tweedie" with a power of at most 2, with ``penalty=None`` or "l2" and ``positive=False``,
        are fitted for many groups at a time; all else takes a fit of TorchSGDRegressor for each
        group.
    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        ``R(w)``; see TorchSGDRegressor.
    alpha : float, default=1e-4
        Factor of the penalty; of no effect where ``penalty=None``. Since the loss is a mean over
        the rows of the group, it counts the same in small groups and large ones.
    penalty_factor : array-like of shape (n_features,), default=None
        The factors of the penalty, one for each coefficient as ``coef_`` has them, in all groups;
        None for ones. With zero a coefficient is not penalised; see TorchSGDRegressor.
    <l1_ratio to power of every model>
    fit_intercept : bool, default=True
        Whether to fit the intercept of each group, which is never penalised.
    positive : bool, default=False
        Whether coefficients are kept from falling below zero.
    max_iter : int, default=1000
        Largest number of steps for a group.
    tol : float, default=1e-10
        How far the objective of a group may be above its least, relatively, when its descent ends;
        for squared error the coefficients too, columns scaled.
    <device of every model>

    Attributes
    ----------
    groups_ : ndarray of shape (n_groups,) or (n_groups, n_key_columns)
        The keys, sorted where they can be, of all groups that have rows with weight.
    n_groups_ : int
        Number of groups.
    coef_ : ndarray of shape (n_groups, n_features) or (n_groups, n_targets, n_features)
        Coefficients of each group, for the columns of X without those of keys, or for their powers
        and products; ``get_feature_names_out`` names them.
    intercept_ : ndarray of shape (n_groups,) or (n_groups, n_targets)
        Intercepts; 0 where ``fit_intercept=False``.
    n_samples_ : ndarray of shape (n_groups,)
        How many rows with weight each group has.
    rank_ : ndarray of shape (n_groups,)
        Number of independent directions in the (centred) columns of each group, at the rounding of
        the data. Where it is below the number of features the coefficients are those of least norm.
        With shrinkage, or penalty "l2" on each coefficient, which determine all of them, the number
        of features; -1 where it is not known, as with a penalty that is not smooth or a bound.
    optimality_ : ndarray of shape (n_groups,)
        How far the objective of each group may be above its least, relatively, by a bound that was
        computed; see TorchSGDRegressor. NaN for a callable loss.
    converged_ : ndarray of shape (n_groups,)
        Whether ``optimality_`` is at most ``tol``, or what is left is rounding.
    n_iter_ : ndarray of shape (n_groups,)
        Number of steps.
    global_coef_ : ndarray of shape (n_features,) or (n_targets, n_features), or None
        Coefficients of the model of all rows. None where it is not needed.
    global_intercept_ : float or ndarray of shape (n_targets,), or None
        Its intercept.
    device_ : str
        The device that was used.
    n_features_in_ : int
        Number of columns of X seen during fit, those of keys among them.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X has string column names.

    See Also
    --------
    TorchSGDRegressor : One regression.

    Notes
    -----
    Rows are read group by group, about 4 MB at a time, and X is not copied whole; the order of the
    rows takes 8 bytes a row where they do not lie by group. Groups of some millions of entries or
    more than 200 features, those with fewer rows than features, if these are more than 64, and
    those that have numbers near the ends of the range of doubles, are fitted one by one.

    Each group is measured from its own mean. A Cholesky factorization of its Gram matrix makes the
    first step, and the next ones are corrections by gradients from its rows [1]_. Groups whose
    columns are nearly or exactly dependent are solved by singular values of their rows. With "l1",
    "elasticnet" or ``positive=True`` active sets of columns are factorised in its place [2]_.

    Terms of a polynomial are powers of the columns mapped to [-1, 1] in each group. Predictions are
    made of these, and their coefficients are converted to those of the columns as they are. With a
    penalty, ``positive=True`` or shrinkage, which act on the latter, so are the terms; but for
    groups whose columns are so far from zero, relative to their range, that powers lose nine
    digits. These are fitted one by one as TorchPolyRegressor does it, which takes some milliseconds
    each, and predicted by terms that are mapped. With more terms than rows, "l1", "elasticnet" or
    ``positive=True`` there are no such terms, and ``converged_`` is False where digits are lost.

    Rows of a group may be in any block of a stream. One that can be read only once is kept in
    memory, and so is one of up to 512 MB. Of a larger one, squared error takes the sums of each
    group, of ``n_groups * (n_features + 2)**2`` numbers. Groups of which these do not hold enough
    digits, and other losses and polynomials, take a pass for each 512 MB of their rows.

    References
    ----------
    .. [1] Bjorck, A. (1987). "Stability analysis of the method of seminormal equations for linear
       least squares problems". Linear Algebra and its Applications 88/89.
    .. [2] Hintermueller, M., Ito, K., Kunisch, K. (2002). "The primal-dual active set strategy as a
       semismooth Newton method". SIAM Journal on Optimization 13(3).

    Examples
    --------
    >>> import numpy as np
    >>> from skorchlite import TorchGroupedRegressor
    >>> store = np.array([3, 3, 3, 8, 8, 8])
    >>> price = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    >>> sold = np.where(store == 3, 10 - 2 * price, 5 - price)
    >>> X = np.column_stack((store, price))
    >>> model = TorchGroupedRegressor(groups=0).fit(X, sold)
    >>> model.groups_
    array([3., 8.])
    >>> model.coef_.round(9), model.intercept_.round(9)
    (array([[-2.],
           [-1.]]), array([10.,  5.]))
    >>> model.predict([[3, 4.0], [8, 4.0]]).round(9)
    array([2., 1.])
    """

    # What reads data asks these of an estimator. Groups are fitted in double precision here.
    dtype, distributed = "auto", False
    _takes_levels = False

    _parameter_constraints: dict = {
        "groups": [Integral, str, "array-like", None],
        "degree": [Interval(Integral, 1, None, closed="left")],
        "fallback": [StrOptions({"global", "raise", "nan"})],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        **{name: TorchSGDRegressor._parameter_constraints[name] for name in _OF_MODEL},
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        groups=None,
        *,
        degree=1,
        fallback="global",
        shrinkage=0.0,
        loss="squared_error",
        penalty=None,
        alpha=1e-4,
        penalty_factor=None,
        l1_ratio=0.15,
        epsilon=0.1,
        quantile=0.5,
        power=1.5,
        fit_intercept=True,
        positive=False,
        max_iter=1000,
        tol=1e-10,
        device="auto",
    ) -> None:
        self.groups = groups
        self.degree = degree
        self.fallback = fallback
        self.shrinkage = shrinkage
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.penalty_factor = penalty_factor
        self.l1_ratio = l1_ratio
        self.epsilon = epsilon
        self.quantile = quantile
        self.power = power
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.max_iter = max_iter
        self.tol = tol
        self.device = device

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self):
        return packed(portable(super().__getstate__()))

    def __setstate__(self, state):
        super().__setstate__(restored(unpacked(state)))

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None) -> Self:
        """Fit a model to the rows of each group.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Training data with the columns of keys; or what yields blocks ``(X, y)`` or
            ``(X, y, sample_weight)`` of it, in which rows of a group may come in any order.
        y : {array-like, tensor} of shape (n_samples,) or (n_samples, n_targets), default=None
            Target values; None where X yields them.
        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample; not negative, not all zero. Groups of which all
            weights are zero are left out.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used, or a key is missing; an earlier fit is then
            left as it was.
        """
        self._model()._warn_of_unused(stacklevel=5)
        with torch_settings(), plain_parameters(self), untouched_on_error(self):
            read = read_groups(self, X, y, sample_weight)
            with computing(read.data.n_entries):
                fits, common = self._fit(read)
        warn_of_groups(self, list(fits.raw), fits.separated, common)
        return self

    def coef_frame(self):
        """Return the models as a table with a row for each group.

        Returns
        -------
        frame : DataFrame of pandas, or of polars where only that is installed
            The columns of keys, of the target where y had several, the number of samples, the
            intercept, and the coefficient of each feature.

        Raises
        ------
        ValueError
            If two of these would have the same name, as where a column of X is "intercept".
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        keys = [str(names[j]) for j in self._key_positions] or ["group"]
        own = list(zip(keys, self._keys.columns, strict=True))
        features = self.get_feature_names_out().tolist()
        return models_frame(own, self.n_samples_, self.coef_, self.intercept_, features)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features that ``coef_`` is of, in its order.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of all columns of X; None for ``feature_names_in_``, or x0, x1, ... where the data
            had no names.

        Returns
        -------
        feature_names_out : ndarray of str objects of shape (n_features,)
        """
        check_is_fitted(self)
        names = np.delete(check_feature_names_in(self, input_features), self._key_positions)
        if self._terms is None:
            return names
        terms = [term_name("power", row, names.tolist()) for row in self._terms.powers]
        return np.array(terms, object)

    def _model(self, **changed):
        """Return an estimator of one group, before it is fitted."""
        params = {name: getattr(self, name) for name in _OF_MODEL}
        return TorchSGDRegressor(**{**params, **changed})

    def _polynomial(self, **changed):
        """Return an estimator of a polynomial of one group, before it is fitted."""
        params = {name: getattr(self, name) for name in _OF_MODEL}
        return TorchPolyRegressor(self.degree, **{**params, **changed})

    def _fit(self, read):
        """Fit checked data, and set the fitted attributes; return the fits, and the common one."""
        data, grouped, common = read.data, read.grouped, None
        if self._has_levels:
            self._loss_of_levels(False)
        one = self._model()
        loss, penalty = one._loss(False, data.weighted), one._penalty(grouped.n_features)
        self._check_shrinkage(loss)
        check = partial(read.check_finite, self)
        control = SolverControl(self.tol, self.max_iter, data.dtype, data.eps)
        makers, intercept = (self._model, self._polynomial), self.fit_intercept
        model = GroupModel(*makers, loss, penalty, intercept, control, grouped.terms)
        if self.shrinkage or self.fallback == "global":
            common = self._fit_all(model, data, check)
        if self.shrinkage and common is not None:
            model = replace(model, shrinkage=self.shrinkage, common=common)
        fits = read.fit(model, check)
        self._set_fitted(read, fits, common)
        self._mean_power = loss.power if loss.log_link else None
        return fits, common

    def _set_fitted(self, read, fits, common):
        """Set the fitted attributes; raise if a coefficient is too large."""
        data, grouped = read.data, read.grouped
        coef, intercept = fits.of_columns(grouped.terms)
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise ValueError(
                "A coefficient in the units of the data is too large for a double. Scale the "
                "columns or the target."
            )
        single = data.single_target
        self._keys, self._key_positions, self._terms = read.table, read.positions, grouped.terms
        mapped = grouped.terms is not None and grouped.terms.mapped
        mapped = mapped or bool(fits.raw) or (common is not None and common.raw is not None)
        shared = None if common is None else common.models
        self._local = (fits.models, shared) if mapped else (None, None)
        self.groups_, self.n_groups_ = read.table.keys, len(read.table)
        self.coef_ = coef[:, 0] if single else coef
        self.intercept_ = intercept[:, 0] if single else intercept
        self.n_samples_ = grouped.counts
        self.rank_, self.optimality_ = fits.rank, fits.optimality
        self.converged_, self.n_iter_ = fits.converged, fits.n_iter
        self.global_coef_ = self.global_intercept_ = None
        if common is not None:
            coef, intercept = common.of_columns(grouped.terms)
            self.global_coef_ = coef[0] if single else coef
            self.global_intercept_ = float(intercept[0]) if single else intercept
        self.device_ = str(data.device)

    def _fit_all(self, model, data, check):
        """Return the coefficients of the model of all rows."""
        try:
            return model.fit(data)
        except (ValueError, OutOfRangeError):
            check()
            raise

    def _check_shrinkage(self, loss):
        if not self.shrinkage:
            return
        given = {
            f"penalty={self.penalty!r}": self.penalty in ("l1", "elasticnet"),
            "positive=True": self.positive,
            "a loss that may not be convex": not loss.convex,
        }
        wrong = [name for name, there in given.items() if there]
        if wrong:
            raise ValueError(
                f"shrinkage={self.shrinkage} goes with penalty=None or 'l2', losses by their name "
                f"and positive=False, not with {' and '.join(wrong)}."
            )

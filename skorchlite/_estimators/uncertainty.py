"""How sure coefficients and predictions are: the methods that estimators have for it."""

from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
import torch

from .._inputs.conversion import to_dense, to_numpy
from .._inputs.fit_data import check_rows_finite
from .._inputs.input_kinds import input_of
from .coef_table import coef_table
from .deviation import WithDeviation
from .inference import Inference


class Uncertainty(Inference):
    """Covariances and standard errors of the coefficients, and deviations of predictions."""

    def covariance_matrix(
        self, X=None, y=None, sample_weight=None, *, cov_type="nonrobust", clusters=None
    ) -> Any:
        """Return the covariance matrix of the coefficients and, last, of the intercept.

        With ``x_i`` the columns of the model and a 1 for the intercept, residuals
        ``r_i = y_i - x_i . w``, weights ``s_i`` and the slope ``psi(r)`` of the loss, it is

            A^-1 B A^-1,    A = sum_i s_i psi'(r_i) x_i x_i^T

        - "HC0" [1]_: ``B = sum_i s_i^2 psi(r_i)^2 x_i x_i^T``, whatever the variances of the errors
          are.
        - "HC1": that times ``n / (n - k)``.
        - "HC2", "HC3" [2]_, for squared error: each summand divided by ``1 - h_i``, or by the
          square of it, with the leverages ``h_i = s_i x_i^T A^-1 x_i``.
        - "cluster": ``B = sum_g u_g u_g^T``, ``u_g`` the sum of ``s_i psi(r_i) x_i`` over a cluster
          of rows, which may depend on each other, times ``G / (G - 1) (n - 1) / (n - k)`` for G
          clusters.
        - "nonrobust": errors of one variance over ``s_i``, as in WLS:
          ``sigma^2 (sum_i s_i x_i x_i^T)^-1`` with ``sigma^2 = sum_i s_i r_i^2 / (n - k)``. For
          other losses ``sigma^2`` is ``sum_i s_i psi(r_i)^2 / (n - k)`` over the square of the
          weighted mean of ``psi'(r_i)``.

        Of losses with a log link ("poisson", "gamma", "tweedie") "nonrobust" is the inverse of the
        expected information ``sum_i s_i m_i^(2 - power) x_i x_i^T``, with the predicted means
        ``m_i``, times the dispersion: 1 for "poisson", whose weights are then amounts of
        observation, else Pearson's ``sum_i s_i (y_i - m_i)^2 / m_i^power / (n - k)``, as in
        statsmodels' GLM with ``var_weights``.

        These are the conventions of OLS and WLS in statsmodels. n is the number of rows with
        weight, k that of parameters. It does not matter what weights are relative to, but with
        "poisson".

        For losses with kinks ("quantile", "absolute_error", "epsilon_insensitive") this is an
        *approximation*: ``psi'`` is the density of the residuals at the kinks, estimated by
        Epanechnikov's kernel in Hall and Sheather's bandwidth [3]_ [4]_, as in statsmodels'
        QuantReg, whose ``vcov="robust"`` is "HC0" and whose ``vcov="iid"`` is "nonrobust". Each row
        with weight counts once in the bandwidth.

        Without data it is for squared error, "nonrobust", from the sums that the fit made. With
        data there is one pass over the rows for squared error, and two to eight for other losses.

        Parameters
        ----------
        X, y, sample_weight : default=None
            The samples that the model was fitted to, of any kind that ``fit`` takes, and with the
            same weights. None: those sums that the fit has kept, which it does for squared error
            with ``solver="auto"`` or ``"newton"``, for up to 500 columns.
        cov_type : {"nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"}, default="nonrobust"
        clusters : array-like of shape (n_samples,), default=None
            The cluster of each sample, as numbers or strings, in the order of the samples; for
            ``cov_type="cluster"``. Memory is needed for n_clusters * n_params numbers.

        Returns
        -------
        covariance : ndarray of shape (n_params, n_params) or (n_targets, n_params, n_params)
            In the order of ``coef_``, then the intercept, unless ``fit_intercept=False``; of a
            polynomial for the coefficients of its ``basis``. In units of y squared over those of
            the columns. Always of NumPy.

        Raises
        ------
        ValueError
            With a penalty or ``positive=True``, which bias coefficients; with a list of quantiles,
            which keep each other from crossing; where columns depend on each other; where there are
            no more samples than parameters; where the samples are not those of the fit.

        References
        ----------
        .. [1] White, H. (1980). "A heteroskedasticity-consistent covariance matrix estimator and a
           direct test for heteroskedasticity". Econometrica 48(4).
        .. [2] MacKinnon, J. G. and White, H. (1985). "Some heteroskedasticity-consistent covariance
           matrix estimators with improved finite sample properties". Journal of Econometrics 29(3).
        .. [3] Powell, J. L. (1991). "Estimation of monotonic regression models under quantile
           restrictions". Nonparametric and Semiparametric Methods in Econometrics.
        .. [4] Hall, P. and Sheather, S. J. (1988). "On the distribution of a studentized quantile".
           Journal of the Royal Statistical Society B 50(3).

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchSGDRegressor
        >>> X = np.arange(6.0)[:, None]
        >>> y = np.array([1.0, 2.9, 5.2, 7.1, 8.8, 11.0])
        >>> model = TorchSGDRegressor().fit(X, y)
        >>> model.covariance_matrix().round(5)
        array([[ 0.0014 , -0.00349],
               [-0.00349,  0.0128 ]])
        >>> model.covariance_matrix(X, y, cov_type="HC3").round(5)
        array([[ 0.0009 , -0.00188],
               [-0.00188,  0.00862]])
        """
        covariance, _ = self._covariance(X, y, sample_weight, cov_type, clusters)
        return covariance

    def std_errors(
        self, X=None, y=None, sample_weight=None, *, cov_type="nonrobust", clusters=None
    ) -> Any:
        """Return the standard errors of the coefficients and, last, of the intercept.

        They are the roots of the diagonal of ``covariance_matrix``, which has the formulas.

        Parameters
        ----------
        X, y, sample_weight, cov_type, clusters
            As of ``covariance_matrix``.

        Returns
        -------
        std_errors : ndarray of shape (n_params,) or (n_targets, n_params)

        Raises
        ------
        ValueError
            As of ``covariance_matrix``.

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchPolyRegressor
        >>> x = np.arange(8.0)[:, None]
        >>> y = (x[:, 0] - 3) ** 2 + np.array([0.1, -0.2, 0.1, 0.0, 0.2, -0.1, -0.2, 0.1])
        >>> TorchPolyRegressor(degree=2).fit(x, y).std_errors().round(3)
        array([0.1  , 0.014, 0.15 ])
        """
        covariance, _ = self._covariance(X, y, sample_weight, cov_type, clusters)
        return _errors(covariance)

    def coef_table(
        self,
        X=None,
        y=None,
        sample_weight=None,
        *,
        cov_type="nonrobust",
        clusters=None,
        confidence_level=0.95,
    ) -> Any:
        """Return estimates with standard errors, t, p and confidence intervals.

        ``t = estimate / std_error``; ``p`` is the probability of a t that is further from zero, by
        Student's distribution with n - k degrees of freedom, or with one less than there are
        clusters; the interval is ``estimate -+ quantile * std_error``. For losses other than
        squared error, and the robust kinds, they hold for many samples.

        Parameters
        ----------
        X, y, sample_weight, cov_type, clusters
            As of ``covariance_matrix``.
        confidence_level : float, default=0.95
            The probability that an interval holds the coefficient.

        Returns
        -------
        table : DataFrame or CoefTable
            The columns "estimate", "std_error", "t", "p", "lower" and "upper"; a row for each
            coefficient, by the name of its column, and one for the "intercept". For a 2-d y the
            index has the target, too. A data frame of pandas where that is installed, else a
            mapping of names to arrays that prints as a table.

        Raises
        ------
        ValueError
            As of ``covariance_matrix``.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from skorchlite import TorchSGDRegressor
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> table = TorchSGDRegressor().fit(X, y).coef_table()
        >>> float(table["std_error"].loc["bmi"].round(4))
        66.5334
        >>> bool(table["p"].loc["age"] > 0.8)
        True
        """
        if not 0 < confidence_level < 1:
            raise ValueError(f"confidence_level={confidence_level} is not between 0 and 1.")
        covariance, df = self._covariance(X, y, sample_weight, cov_type, clusters)
        estimates = np.asarray(to_dense(self.coef_))
        names = list(self._term_names)
        if self.fit_intercept:
            intercept = np.asarray(to_numpy(self.intercept_), float)[..., None]
            estimates, names = np.concatenate((estimates, intercept), -1), [*names, "intercept"]
        return coef_table(names, estimates, _errors(covariance), df, confidence_level)

    def residual_std(self, X=None, y=None, sample_weight=None) -> Any:
        """Return the residual standard deviation, ``sqrt(sum_i s_i r_i^2 / (n - k))``.

        It is for squared error, and estimates the deviation of the errors of rows of weight 1.

        Parameters
        ----------
        X, y, sample_weight : default=None
            The samples of the fit; None for the sums that it has kept; see ``covariance_matrix``.

        Returns
        -------
        residual_std : float or ndarray of shape (n_targets,)

        Raises
        ------
        ValueError
            As of ``covariance_matrix``, and for other losses than squared error.

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchSGDRegressor
        >>> X = np.arange(6.0)[:, None]
        >>> y = np.array([1.0, 2.9, 5.2, 7.1, 8.8, 11.0])
        >>> round(TorchSGDRegressor().fit(X, y).residual_std(), 5)
        0.1563
        """
        self._check_determined("residual_std")
        self._check_squared_error("residual_std")
        if X is None:
            whitening = self._kept("residual_std")
            found = np.sqrt(whitening.squares / self._kept_df(whitening))
        else:
            work = partial(self._on_rows, make=methodcaller("variance"))
            found = np.sqrt(self._of_rows(X, y, sample_weight, work))
        return found if np.ndim(self.intercept_) else float(found[0])

    def predict(self, X, return_std=False) -> Any:
        """Predict using the fitted model.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Samples, or what yields blocks of them, with targets or without.
        return_std : bool, default=False
            Whether to return the standard deviation of a new observation at each sample as well,
            ``sigma sqrt(1 + x^T (sum_i s_i x_i x_i^T)^-1 x)``: that of its own error, of weight 1,
            and of the error of the coefficients; sigma is ``residual_std()``. For squared error
            without a penalty, from the sums that the fit has kept.

        Returns
        -------
        y_pred : {ndarray, tensor} of shape (n_samples,) or (n_samples, n_targets)
            Predicted values; a tensor, on the device of X, where X is one. With scikit-learn's
            ``array_api_dispatch``, an array in the namespace and on the device of X. Of a dask
            array or data frame a dask array with the chunks of X, computed when it is.
        y_std : of the same shape
            Where ``return_std=True``.
        """
        if not return_std:
            return super().predict(X)
        self._check_determined("predict with return_std=True")
        self._check_squared_error("predict with return_std=True")
        whitening = self._kept("predict with return_std=True")
        self._kept_df(whitening)
        pairs = input_of(X).predicted(self, "_predict_with_deviation")
        return pairs[..., 0], pairs[..., 1]

    def _predict_with_deviation(self, rows, single):
        """Return predictions and deviations on checked rows, along a last axis."""
        coef, intercept, terms = self._linear_model(self._in_domain(rows))
        whitening = self._whitening
        assert whitening is not None
        std = np.sqrt(whitening.squares / self._kept_df(whitening))
        dtype = torch.float32 if single else None
        (parts,) = terms.total(WithDeviation(coef, intercept, whitening, std, dtype))
        pairs = torch.cat(parts)
        if not torch.isfinite(pairs).all():
            check_rows_finite(rows, type(self).__name__)
        return pairs if np.ndim(self.intercept_) else pairs[:, 0]


def _errors(covariance):
    return np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0.0))

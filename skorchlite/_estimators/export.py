"""Fitted models as objects of other libraries, and coefficients as a sparse matrix."""

from typing import Any, Self

import numpy as np
import torch
from scipy.sparse import csr_array, issparse
from sklearn.utils.validation import check_is_fitted

from .._inputs.conversion import to_dense, to_numpy
from .._runtime import torch_settings
from .inference import Inference
from .prediction_module import prediction_module
from .sklearn_models import linear_model


class Export(Inference):
    """``to_sklearn``, ``to_module``, ``sparsify`` and ``densify``."""

    coef_: Any
    intercept_: Any

    @property
    def _outside(self) -> str:
        """What predictions do with rows outside of the domain of the fit."""
        return "allow"

    def to_sklearn(self) -> Any:
        """Return the model as a fitted object of scikit-learn, which predicts without torch.

        Its predictions are those of ``predict`` to about 1e-12 of their size on the data of the
        fit; of single precision X they are computed in that. It can be pickled, and converted to
        ONNX by ``skl2onnx``, as any other.

        - Linear models are a ``LinearRegression``.
        - With a log link ("poisson", "gamma", "tweedie") they are a ``PoissonRegressor``,
          ``GammaRegressor`` or ``TweedieRegressor``; of several targets in a
          ``MultiOutputRegressor``.
        - Polynomials are a pipeline, for dense X: two scalers map the columns from ``domain_`` to
          [-1, 1] (and clip them there with ``extrapolation="clip"``; "warn" does not warn),
          ``PolynomialFeatures`` forms the terms, and one of the above multiplies them with
          coefficients of these. Where powers of a high degree would lose digits, steps with NumPy's
          Chebyshev polynomials take their place. Of a polynomial that was fitted to sparse X the
          terms are those of the columns as they are.

        Returns
        -------
        model : LinearRegression, PoissonRegressor, GammaRegressor, TweedieRegressor, \
                MultiOutputRegressor or Pipeline

        Raises
        ------
        ValueError
            Of a polynomial, where scikit-learn has nothing that predicts the same: with
            ``extrapolation="nan"``, and where digits would be lost.

        See Also
        --------
        to_module : The model as a module of torch.

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchSGDRegressor, TorchPolyRegressor
        >>> x = np.linspace(1950, 2020, 50)[:, None]
        >>> y = (x[:, 0] - 1990) ** 2
        >>> TorchSGDRegressor().fit(x, y).to_sklearn()
        LinearRegression()
        >>> model = TorchPolyRegressor(degree=2).fit(x, y).to_sklearn()
        >>> [name for name, _ in model.steps]
        ['scale', 'map', 'terms', 'regression']
        >>> model.predict([[2000.0]]).round(6)
        array([100.])
        """
        self._check_exportable("to_sklearn")
        model = self._as_sklearn()
        first = model[0] if hasattr(model, "steps") else model
        if hasattr(self, "feature_names_in_"):
            first.feature_names_in_ = self.feature_names_in_
        return model

    def _as_sklearn(self) -> Any:
        coef = np.array(to_dense(self.coef_), dtype=float)
        intercept = np.array(to_numpy(self.intercept_), dtype=float)
        model = linear_model(
            coef,
            intercept[()],  # of one target a number of NumPy, as scikit-learn has it
            self._mean_power,
            fit_intercept=self.fit_intercept,
            positive=self.positive,
            alpha=self._ridge,
        )
        if self._mean_power is None and getattr(self, "rank_", None) is not None:
            model.rank_ = self.rank_
        return model

    @property
    def _ridge(self) -> float:
        """The weight of a penalty that scikit-learn's models with a log link have too."""
        alpha = getattr(self, "alpha_", getattr(self, "alpha", 0.0))
        return float(alpha) if self.penalty == "l2" and np.ndim(alpha) == 0 else 0.0

    def to_module(self, dtype: Any = None, device: Any = None) -> torch.nn.Module:
        """Return the model as a module of torch that predicts the same.

        It forms the terms of a polynomial as ``predict`` does, in those that it was fitted in. It
        can be exported by ``torch.export`` and compiled by ``torch.jit.script``. Its numbers ask
        for no gradient; ``requires_grad_(True)`` changes that. ``extrapolation`` is that of the
        model, but "warn" does not warn.

        Parameters
        ----------
        dtype : torch.dtype, default=None
            The precision of the products and of the predictions; None for ``torch.float64``. In
            ``torch.float32`` linear columns far from zero lose digits.
        device : str or torch.device, default=None
            Where its numbers are; None for the CPU.

        Returns
        -------
        module : torch.nn.Module
            Takes a tensor of shape (n_samples, n_features), and returns one of shape (n_samples,)
            or (n_samples, n_targets).

        See Also
        --------
        to_sklearn : The model as an object of scikit-learn.

        Examples
        --------
        >>> import torch
        >>> from skorchlite import TorchPolyRegressor
        >>> X = torch.arange(6.0, dtype=torch.float64)[:, None]
        >>> model = TorchPolyRegressor(degree=2).fit(X, X[:, 0] ** 2)
        >>> module = model.to_module()
        >>> module(torch.tensor([[2.0], [10.0]], dtype=torch.float64)).round(decimals=6)
        tensor([  4., 100.], dtype=torch.float64)
        """
        self._check_exportable("to_module")
        dtype = torch.float64 if dtype is None else dtype
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise ValueError(f"dtype={dtype!r} is no floating-point dtype of torch.")
        basis, coef, intercept = self._exported()
        with torch_settings():
            return prediction_module(
                basis,
                coef,
                intercept,
                self._outside,
                dtype,
                torch.device("cpu" if device is None else device),
                log_link=self._mean_power is not None,
                single=not np.ndim(self.intercept_),
            )

    def _exported(self) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return the basis of the columns, None for those of X, and (coef, intercept) of these."""
        coef, intercept, _ = self._linear_model(None)
        return None, coef, intercept

    def sparsify(self) -> Self:
        """Make ``coef_`` a sparse matrix, which takes less memory where most of it is zero.

        ``predict`` and fits work with it as before, and a fit makes it an array again. Where
        fewer than half of the coefficients are zero it takes more memory. Of a polynomial the
        terms that it was fitted in keep their coefficients too.

        Returns
        -------
        self : object
            Fitted estimator, with ``coef_`` a ``scipy.sparse.csr_array`` of the same shape.

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchSGDRegressor
        >>> X = np.eye(4)
        >>> model = TorchSGDRegressor(penalty="l1", alpha=0.1).fit(X, [4.0, 0.0, 0.0, 0.0])
        >>> model.sparsify().coef_.nnz
        1
        >>> model.densify().coef_.shape
        (4,)
        """
        self._check_exportable("sparsify")
        if not issparse(self.coef_):
            self.coef_ = csr_array(to_numpy(self.coef_))
        return self

    def densify(self) -> Self:
        """Make ``coef_`` an array again, as it is after a fit; see ``sparsify``.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        self._check_exportable("densify")
        self.coef_ = to_dense(self.coef_)
        return self

    def _check_exportable(self, method: str) -> None:
        self._check_refitted(method)
        check_is_fitted(self)

    def _check_refitted(self, method: str) -> None:
        """Raise where a fit leaves no coefficients, as a search may."""

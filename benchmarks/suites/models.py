"""The estimators that are compared: ours first, then the peers."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

# Small enough to change no digit that is reported, so that Ridge solves the same problem.
RIDGE_ALPHA = 1e-10
RIDGE_TOL = 1e-6  # of the coefficients
INTELEX = "scikit-learn-intelex LinearRegression()"
CUDA = "TorchSGDRegressor(device='cuda')"
MANY_COLUMNS = 20  # of a polynomial, whose fits by a pipeline take long


@dataclass(frozen=True)
class Model:
    """An estimator under its printed name; one with `few_rounds` may run fewer than the others."""

    name: str
    build: Callable[[], BaseEstimator]
    few_rounds: bool = False


OURS = Model("TorchSGDRegressor()", TorchSGDRegressor)
CLOSED_FORM = Model("LinearRegression()", LinearRegression)
CLOSED_FORM_FULL_RANK = Model("LinearRegression(tol=0)", lambda: LinearRegression(tol=0))


def linear_models():
    """List the models of the linear cases, ours first; absent ones are missing from it."""
    return [
        OURS,
        *_cuda_model(),
        CLOSED_FORM,
        Model(
            f"Ridge(alpha={RIDGE_ALPHA:g}, solver='cholesky')",
            lambda: Ridge(alpha=RIDGE_ALPHA, solver="cholesky"),
        ),
        *_intelex_model(),
        Model(
            "StandardScaler() + SGDRegressor(penalty=None)",
            lambda: make_pipeline(StandardScaler(), SGDRegressor(penalty=None, random_state=0)),
            few_rounds=True,
        ),
    ]


class NumpyPolynomial(BaseEstimator):
    """`numpy.polynomial.Polynomial.fit` of one column, as an estimator.

    It fits in the column mapped to [-1, 1]; the coefficients are those of its powers.

    Parameters
    ----------
    degree : int
    """

    def __init__(self, degree):
        self.degree = degree

    def fit(self, X, y):
        """Fit."""
        fitted = np.polynomial.Polynomial.fit(X[:, 0], y, self.degree).convert()
        self.intercept_, self.coef_ = fitted.coef[0], fitted.coef[1:]
        return self


def polynomial_models(degree, n_columns=2):
    """List the models of the polynomial cases, ours first."""
    models = [
        Model(f"TorchPolyRegressor(degree={degree})", lambda: TorchPolyRegressor(degree=degree)),
        polynomial_pipeline(degree, CLOSED_FORM, few_rounds=n_columns >= MANY_COLUMNS),
    ]
    if n_columns == 1:
        models.append(Model(f"numpy Polynomial.fit({degree})", lambda: NumpyPolynomial(degree)))
    return models


def ridge_models(degree, n_rows):
    """List the models whose memory is measured with the penalty that Ridge() has, ours first."""
    return [
        Model(
            f"TorchPolyRegressor(degree={degree}, penalty='l2', tol={RIDGE_TOL:g})",
            lambda: TorchPolyRegressor(
                degree=degree, penalty="l2", alpha=1 / n_rows, tol=RIDGE_TOL
            ),
        ),
        polynomial_pipeline(degree, Model("Ridge()", Ridge)),
    ]


def polynomial_pipeline(degree, linear, few_rounds=False):
    """Put PolynomialFeatures before a linear model."""
    return Model(
        f"PolynomialFeatures({degree}) + {linear.name}",
        lambda: make_pipeline(PolynomialFeatures(degree, include_bias=False), linear.build()),
        few_rounds,
    )


def accuracy_models():
    """List the models whose coefficients are checked on badly scaled columns, ours first."""
    return [OURS, CLOSED_FORM, CLOSED_FORM_FULL_RANK, *_intelex_model()]


def left_out():
    """Name the models that cannot run here, each with the reason."""
    reasons = {}
    if not _intelex_model():
        reasons[INTELEX] = "scikit-learn-intelex is not installed"
    if find_spec("skorch") is None:
        reasons["skorch NeuralNetRegressor"] = "skorch is not installed"
    if not _cuda_model():
        reasons[CUDA] = "torch finds no CUDA device"
    return reasons


def linear_answer(fitted):
    """Return float64 coefficients and intercept in the units of the data the model was given.

    Parameters
    ----------
    fitted : estimator
        A fitted linear model, alone or as the last step of a pipeline. After
        PolynomialFeatures the coefficients are those of the expanded columns.

    Returns
    -------
    coef : ndarray of shape (n_columns,)
    intercept : float
    """
    linear = fitted[-1] if isinstance(fitted, Pipeline) else fitted
    coef = np.asarray(linear.coef_, dtype=np.float64)
    intercept = np.asarray(linear.intercept_, dtype=np.float64).item()
    if isinstance(fitted, Pipeline) and isinstance(fitted[0], StandardScaler):
        coef = coef / fitted[0].scale_
        intercept -= float(coef @ fitted[0].mean_)
    return coef, intercept


def quiet_fit(model, X, y):
    """Fit without showing warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.build().fit(X, y)


def _intelex_model():
    # From its own module: patching scikit-learn would replace the other peers as well.
    try:
        from sklearnex.linear_model import LinearRegression as IntelexLinearRegression
    except ImportError:
        return []
    return [Model(INTELEX, IntelexLinearRegression)]


def _cuda_model():
    if not torch.cuda.is_available():
        return []
    return [Model(CUDA, lambda: TorchSGDRegressor(device="cuda"))]

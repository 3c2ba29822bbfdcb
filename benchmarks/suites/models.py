"""The estimators that are compared: ours first, then the peers."""

import warnings
from functools import partial
from importlib.util import find_spec

import torch
from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from benchmarks.measure.model import Model
from benchmarks.suites.peers import NumpyPolynomial, pipeline_of
from skorchlite import TorchPolyRegressor, TorchSGDRegressor

# Small enough to change no digit that is reported, so that Ridge solves the same problem.
RIDGE_ALPHA = 1e-10
RIDGE_TOL = 1e-6  # of the coefficients
INTELEX = "scikit-learn-intelex LinearRegression()"
POLARS = "polars_ds lin_reg, of the same array"
GLUM = "glum GeneralizedLinearRegressor(family='poisson', gradient_tol=1e-7)"
CUDA = "TorchSGDRegressor(device='cuda')"
MANY_COLUMNS = 20  # of a polynomial, whose fits by a pipeline take long


OURS = Model("TorchSGDRegressor()", TorchSGDRegressor)
CLOSED_FORM = Model("LinearRegression()", LinearRegression)
CLOSED_FORM_FULL_RANK = Model("LinearRegression(tol=0)", partial(LinearRegression, tol=0))
CHOLESKY = Model(
    f"Ridge(alpha={RIDGE_ALPHA:g}, solver='cholesky')",
    partial(Ridge, alpha=RIDGE_ALPHA, solver="cholesky"),
)


def linear_models():
    """List the models of the linear cases, ours first; absent ones are missing from it."""
    return [
        OURS,
        *_cuda_model(),
        CLOSED_FORM,
        CHOLESKY,
        *intelex_model(),
        Model(
            "StandardScaler() + SGDRegressor(penalty=None)",
            partial(
                pipeline_of, StandardScaler, partial(SGDRegressor, penalty=None, random_state=0)
            ),
            few_rounds=True,
        ),
    ]


def polynomial_models(degree, n_columns=2):
    """List the models of the polynomial cases, ours first."""
    models = [
        Model(f"TorchPolyRegressor(degree={degree})", partial(TorchPolyRegressor, degree=degree)),
        polynomial_pipeline(degree, CLOSED_FORM, few_rounds=n_columns >= MANY_COLUMNS),
    ]
    if n_columns == 1:
        models.append(Model(f"numpy Polynomial.fit({degree})", partial(NumpyPolynomial, degree)))
    return models


def ridge_models(degree, n_rows):
    """List the models whose memory is measured with the penalty that Ridge() has, ours first."""
    return [
        Model(
            f"TorchPolyRegressor(degree={degree}, penalty='l2', tol={RIDGE_TOL:g})",
            partial(
                TorchPolyRegressor, degree=degree, penalty="l2", alpha=1 / n_rows, tol=RIDGE_TOL
            ),
        ),
        polynomial_pipeline(degree, Model("Ridge()", Ridge)),
    ]


def polynomial_pipeline(degree, linear, few_rounds=False):
    """Put PolynomialFeatures before a linear model."""
    return Model(
        f"PolynomialFeatures({degree}) + {linear.name}",
        partial(pipeline_of, partial(PolynomialFeatures, degree, include_bias=False), linear.build),
        few_rounds,
    )


def accuracy_models():
    """List the models whose coefficients are checked on badly scaled columns, ours first."""
    return [OURS, CLOSED_FORM, CLOSED_FORM_FULL_RANK, *intelex_model()]


def left_out():
    """Name the models that cannot run here, each with the reason."""
    reasons = {}
    if not intelex_model():
        reasons[INTELEX] = "scikit-learn-intelex is not installed"
    if find_spec("skorch") is None:
        reasons["skorch NeuralNetRegressor"] = "skorch is not installed"
    if find_spec("polars_ds") is None:
        reasons[POLARS] = "polars-ds is not installed"
    if find_spec("glum") is None:
        reasons[GLUM] = "glum is not installed"
    if not _cuda_model():
        reasons[CUDA] = "torch finds no CUDA device"
    return reasons


def quiet_fit(model, X, y):
    """Fit without showing warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.build().fit(X, y)


def intelex_model():
    """List the peer of scikit-learn-intelex where it is installed."""
    # From its own module: patching scikit-learn would replace the other peers as well.
    try:
        from sklearnex.linear_model import LinearRegression as IntelexLinearRegression
    except ImportError:
        return []
    return [Model(INTELEX, IntelexLinearRegression)]


def _cuda_model():
    if not torch.cuda.is_available():
        return []
    return [Model(CUDA, partial(TorchSGDRegressor, device="cuda"))]

"""Other losses and penalties than plain least squares: the problems, and what a fit is worth."""

from functools import partial
from importlib.util import find_spec

import numpy as np
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    PoissonRegressor,
    QuantileRegressor,
)
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from benchmarks.measure.model import Model
from benchmarks.measure.roofline import gram_work
from benchmarks.suites.cases import (
    counts_table,
    heavy_tailed_table,
    plain_table,
    sparse_table,
    standardised_table,
)
from benchmarks.suites.models import GLUM, quiet_fit
from benchmarks.suites.models import OURS as SQUARED_ERROR
from benchmarks.suites.peers import Glum, pipeline_of
from benchmarks.suites.problem import Problem
from skorchlite import TorchSGDRegressor

QUANTILE = 0.9
L1_RATIO = 0.5
SHARES_OF_ALPHA_MAX = (0.1, 0.01)
SVR = "LinearSVR(C=1 / (alpha n), tol=1e-6)"
SVR_ALPHA = 1e-3
SVR_EPSILON = 0.1
# Rows, columns, and for the sparse ones the columns of use.
SIZES = {
    "quantile": (10_000, 20),
    "many rows": (1_000_000, 20),
    "huber": (10_000, 20),
    "sparse": ((100_000, 100, 20), (10_000, 1_000, 50), (500, 5_000, 20)),
    "positive": (100_000, 50),
    "svr": (10_000, 20),
    "counts": (500_000, 20),
}
QUICK_SIZES = {
    "quantile": (500, 5),
    "many rows": (2_000, 5),
    "huber": (500, 5),
    "sparse": ((500, 20, 5), (100, 200, 5)),
    "positive": (500, 10),
    "svr": (500, 5),
    "counts": (500, 5),
}


def loss_problems(quick=False):
    """List the problems of the section."""
    sizes = QUICK_SIZES if quick else SIZES
    return [
        _problem(f"quantile-{QUANTILE}", sizes["quantile"], heavy_tailed_table, _quantile_models),
        _problem(
            f"quantile-{QUANTILE}",
            sizes["many rows"],
            heavy_tailed_table,
            _quantile_and_mean,
            (SQUARED_ERROR.name,),
        ),
        _problem("huber", sizes["huber"], heavy_tailed_table, huber_models),
        *(
            _problem(f"{penalty}/{share}-alpha_max", size, sparse_table, partial(models, share))
            for penalty, models in (("l1", _lasso_models), ("elasticnet", _elastic_net_models))
            for size in sizes["sparse"]
            for share in SHARES_OF_ALPHA_MAX
        ),
        _problem("positive", sizes["positive"], _plain_float64, _positive_models),
        _problem("epsilon_insensitive-l2", sizes["svr"], standardised_table, svr_models),
        _problem("poisson", sizes["counts"], counts_table, poisson_models),
    ]


def _problem(title, size, table, models, others=()):
    n_rows, n_columns = size[:2]
    name = f"losses/{title}/{n_rows}x{n_columns}"
    return Problem(name, partial(table, *size), models, others, work=gram_work)


def _plain_float64(n_rows, n_columns):
    return plain_table(n_rows, n_columns, "float64")


def _ours(**parameters):
    return Model("ours", partial(TorchSGDRegressor, **parameters))


def _quantile_models(X, y):
    return [
        _ours(loss="quantile", quantile=QUANTILE),
        Model(
            f"QuantileRegressor({QUANTILE}, alpha=0, solver='highs')",
            partial(QuantileRegressor, quantile=QUANTILE, alpha=0, solver="highs"),
            few_rounds=True,
        ),
    ]


def _quantile_and_mean(X, y):
    return [_ours(loss="quantile", quantile=QUANTILE), SQUARED_ERROR]


def huber_models(X, y):
    raw = Model(
        "HuberRegressor(alpha=0, max_iter=10_000)",
        partial(HuberRegressor, alpha=0, max_iter=10_000),
        few_rounds=True,
    )
    scaled = Model(
        "StandardScaler() + HuberRegressor(alpha=0, tol=1e-9)",
        partial(
            pipeline_of,
            StandardScaler,
            partial(HuberRegressor, alpha=0, max_iter=10_000, tol=1e-9),
        ),
    )
    # They find the scale along with the coefficients; ours is given the scale that the one on
    # standardised columns finds (on raw ones it stops early), and then all have the same objective
    # in the coefficients (tests/fits/test_swaps.py derives it).
    fitted = quiet_fit(scaled, X, y)[-1]
    return [_ours(loss="huber", epsilon=fitted.epsilon * fitted.scale_), raw, scaled]


def _lasso_models(share, X, y):
    alpha = share * alpha_max(X, y)
    return [_ours(penalty="l1", alpha=alpha), _descending("Lasso", partial(Lasso, alpha))]


def _elastic_net_models(share, X, y):
    alpha = share * alpha_max(X, y) / L1_RATIO
    build = partial(ElasticNet, alpha, l1_ratio=L1_RATIO)
    return [
        _ours(penalty="elasticnet", alpha=alpha, l1_ratio=L1_RATIO),
        _descending(f"ElasticNet(l1_ratio={L1_RATIO})", build),
    ]


def _descending(name, build):
    # At its default tol it stops where ours has not begun to.
    return Model(f"{name}, tol=1e-10", partial(build, tol=1e-10, max_iter=100_000))


def alpha_max(X, y):
    """Compute the least alpha of "l1" at which every coefficient is zero."""
    return float(np.max(np.abs(X.T @ (y - y.mean()))) / len(y))


def _positive_models(X, y):
    peer = Model("LinearRegression(positive=True)", partial(LinearRegression, positive=True))
    return [_ours(positive=True), peer]


def svr_models(X, y):
    # Without intercepts, because LinearSVR penalises its own.
    parameters = {"epsilon": SVR_EPSILON, "fit_intercept": False}
    C = 1 / (SVR_ALPHA * len(y))
    return [
        _ours(loss="epsilon_insensitive", penalty="l2", alpha=SVR_ALPHA, **parameters),
        Model(
            SVR,
            partial(LinearSVR, C=C, tol=1e-6, max_iter=100_000, random_state=0, **parameters),
            few_rounds=True,
        ),
    ]


def poisson_models(X, y):
    """List the models of counts; each peer with a tolerance that brings it to the optimum."""
    return [
        _ours(loss="poisson"),
        Model(
            "PoissonRegressor(alpha=0, solver='newton-cholesky', tol=1e-6)",
            partial(PoissonRegressor, alpha=0, solver="newton-cholesky", tol=1e-6),
        ),
        Model(
            "StandardScaler() + PoissonRegressor(alpha=0, tol=1e-6)",
            partial(
                pipeline_of,
                StandardScaler,
                partial(PoissonRegressor, alpha=0, tol=1e-6, max_iter=10_000),
            ),
        ),
        *([Model(GLUM, partial(Glum, 1e-7))] if find_spec("glum") else []),
    ]

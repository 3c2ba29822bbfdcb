"""A factor of the penalty for each coefficient, zero for those that are not penalised."""

import clarabel
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import (
    TorchGroupedRegressor,
    TorchPolyRegressor,
    TorchPolyRegressorCV,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)
from skorchlite._objective.losses import LOSSES
from tests.support.all_pairs import all_pairs

rng = np.random.default_rng(0)
N = 60
X = (rng.standard_normal((N, 6)) + 2) * [1, 5, 1, 0.1, 2, 1]
Y = X @ rng.standard_normal((6, 2)) / X.std(0).mean() + rng.standard_normal((N, 2))
y, WEIGHT = Y[:, 0], rng.uniform(0.5, 2, N)
FACTORS = np.array([0.5, 2.0, 1.0, 3.0, 0.1, 7.0])
ZEROS = np.array([0.5, 0.0, 1.0, 0.0, 0.1, 7.0])
KINKED = ("absolute_error", "quantile", "epsilon_insensitive")
SMOOTH = sorted(set(LOSSES) - set(KINKED))
WIDE = np.random.default_rng(1).standard_normal((8, 20))


def options(loss, penalty, **more):
    """Parameters of which each has an effect."""
    given = {"loss": loss, "penalty": penalty, "alpha": 0.03, "tol": 1e-13, **more}
    if penalty == "elasticnet":
        given["l1_ratio"] = 0.4
    if loss in ("quantile", "expectile"):
        given["quantile"] = 0.3
    if loss in ("huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        given["epsilon"] = 0.2
    return given


def parts(penalty, factors):
    """The weights of the two norms for each coefficient, "l1" first."""
    share = {"l1": 1.0, "l2": 0.0, "elasticnet": 0.4}[penalty]
    return 0.03 * share * factors, 0.03 * (1 - share) * factors


def slopes(loss, r):
    """The derivative of a smooth loss in the residual."""
    return {
        "squared_error": r,
        "huber": np.clip(r, -0.2, 0.2),
        "expectile": 2 * np.where(r > 0, 0.3, 0.7) * r,
        "squared_epsilon_insensitive": 2 * np.sign(r) * np.maximum(abs(r) - 0.2, 0),
        "log_cosh": np.tanh(r),
    }[loss]


def assert_close(found, expected, rtol=1e-10):
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * abs(expected).max())


# --- another way to solve the same -------------------------------------------------------


@all_pairs(
    loss=sorted(LOSSES),
    penalty=["l2", "l1"],
    solver=["newton", "gradient"],
    positive=[False, True],
    weighted=[False, True],
)
def test_it_is_the_penalty_of_columns_in_other_units(loss, penalty, solver, positive, weighted):
    unit = np.sqrt(FACTORS) if penalty == "l2" else FACTORS
    weight = WEIGHT if weighted else None
    given = options(loss, penalty, solver=solver, positive=positive)
    model = TorchSGDRegressor(**given, penalty_factor=FACTORS).fit(X, y, weight)
    expected = TorchSGDRegressor(**given).fit(X / unit, y, weight)
    assert_close(model.coef_, expected.coef_ / unit)
    assert_close(model.intercept_, expected.intercept_)
    assert model.converged_


@all_pairs(
    loss=SMOOTH,
    penalty=["l2", "l1", "elasticnet"],
    solver=["newton", "gradient"],
    positive=[False, True],
    factors=[FACTORS, ZEROS],
)
def test_the_gradient_is_held_by_the_penalty_of_each_coefficient(
    loss, penalty, solver, positive, factors
):
    given = options(loss, penalty, solver=solver, positive=positive)
    model = TorchSGDRegressor(**given, penalty_factor=factors).fit(X, y, WEIGHT)
    w, (l1, l2) = model.coef_, parts(penalty, factors)
    share = WEIGHT / WEIGHT.sum()
    slope = share * slopes(loss, y - model.predict(X))
    pull, size = slope @ X - l2 * w, abs(slope) @ abs(X)
    assert abs(slope.sum()) <= 1e-6 * abs(slope).sum()
    held = np.where(
        w == 0, np.maximum(pull if positive else abs(pull), 0) <= l1 + 1e-6 * size, True
    )
    assert held.all()
    assert (abs(pull - l1 * np.sign(w))[w != 0] <= 1e-6 * size[w != 0]).all()
    assert not positive or (w >= 0).all()


def by_clarabel(loss, penalty, factors, X, y):
    """The least objective for a loss with kinks, by a cone solver."""
    n, d = X.shape
    q, width = (0.3, 0.0) if loss == "quantile" else (1.0, 0.2 * (loss == "epsilon_insensitive"))
    below = q - 1 if loss == "quantile" else -1.0
    l1, l2 = parts(penalty, factors)
    # Columns: w, b, the loss of each row, |w|.
    A = np.block([X, np.ones((n, 1))])
    eye, none, of_w = np.eye(n), np.zeros((n, d)), np.eye(d, d + 1)
    no_loss = np.zeros((d, n))
    rows = [
        np.block([-q * A, -eye, none]),
        np.block([-below * A, -eye, none]),
        np.block([0 * A, -eye, none]),
        np.block([of_w, no_loss, -np.eye(d)]),
        np.block([-of_w, no_loss, -np.eye(d)]),
    ]
    free = -q * y + abs(q) * width, -below * y + abs(below) * width, 0 * y
    right = np.concatenate([*free, np.zeros(2 * d)])
    cost = np.concatenate([np.zeros(d + 1), np.full(n, 1 / n), l1])
    P = sp.diags(np.concatenate([l2, np.zeros(1 + n + d)])).tocsc()
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_rel = settings.tol_gap_abs = settings.tol_feas = 1e-11
    cones = [clarabel.NonnegativeConeT(len(right))]
    matrix = sp.csc_matrix(np.vstack(rows))
    return clarabel.DefaultSolver(P, cost, matrix, right, cones, settings).solve().obj_val


@all_pairs(
    loss=KINKED,
    penalty=["l2", "l1", "elasticnet"],
    solver=["newton", "gradient"],
    factors=[FACTORS, ZEROS],
)
def test_losses_with_kinks_end_where_a_cone_solver_does(loss, penalty, solver, factors):
    given = options(loss, penalty, solver=solver)
    model = TorchSGDRegressor(**given, penalty_factor=factors).fit(X, y)
    w, (l1, l2) = model.coef_, parts(penalty, factors)
    r = y - model.predict(X)
    losses = {
        "absolute_error": abs(r),
        "quantile": np.where(r > 0, 0.3 * r, -0.7 * r),
        "epsilon_insensitive": np.maximum(abs(r) - 0.2, 0),
    }[loss]
    value = losses.mean() + l1 @ abs(w) + l2 @ w**2 / 2
    assert abs(value - by_clarabel(loss, penalty, factors, X, y)) <= 1e-8 * value
    assert model.converged_


def eliminated(X, y, factors, alpha):
    """Ridge by elimination of the columns that are not penalised, of which least norm is taken."""
    Z, t = X - X.mean(0), y - y.mean()
    free = factors == 0
    left, sizes, right = np.linalg.svd(Z[:, free], full_matrices=False)
    keep = sizes > 1e-10 * sizes[0]
    left, sizes, right = left[:, keep], sizes[keep], right[keep]
    rest = Z[:, ~free] - left @ (left.T @ Z[:, ~free])
    w = np.zeros(X.shape[1])
    hessian = rest.T @ rest / len(X) + alpha * np.diag(factors[~free])
    w[~free] = np.linalg.solve(hessian, rest.T @ t / len(X))
    w[free] = right.T @ ((left.T @ (t - Z[:, ~free] @ w[~free])) / sizes)
    return w


def degenerate():
    """Columns that no penalty is on, which depend on each other or outnumber the rows."""
    twice = np.column_stack((X, X[:, 1], X[:, 0]))
    yield pytest.param(twice, y, np.append(ZEROS, [0.0, 2.0]), 7, id="twice")
    yield pytest.param(twice[:, :7], y, np.append(ZEROS, 2.0), 7, id="twice, once penalised")
    yield pytest.param(WIDE, y[:8], np.r_[np.zeros(3), np.arange(1, 18)], 20, id="wide")
    yield pytest.param(WIDE, y[:8], np.r_[np.zeros(12), np.arange(1, 9)], 15, id="all met")


@pytest.mark.parametrize("solver", ["newton", "gradient"])
@pytest.mark.parametrize("Z, t, factors, rank", [*degenerate()])
def test_what_is_not_penalised_has_least_norm(Z, t, factors, rank, solver):
    model = TorchSGDRegressor(penalty="l2", alpha=0.3, penalty_factor=factors, solver=solver)
    model.fit(Z, t)
    assert_close(model.coef_, eliminated(Z, t, factors, 0.3))
    assert model.converged_
    assert model.rank_ == rank


@all_pairs(
    loss=sorted(LOSSES),
    penalty=["l1", "elasticnet"],
    solver=["newton", "gradient"],
    number=range(4),
)
def test_what_is_not_penalised_has_least_norm_beside_kinks(loss, penalty, solver, number):
    Z, t, factors, _ = list(degenerate())[number].values
    given = options(loss, penalty, solver=solver)
    model = TorchSGDRegressor(**given, penalty_factor=factors).fit(Z, t)
    free = factors == 0
    F = Z[:, free] - Z[:, free].mean(0)
    w = model.coef_[free]
    assert_close(np.linalg.pinv(F, rcond=1e-10) @ (F @ w), w, rtol=1e-8)
    assert model.converged_


def test_columns_of_more_than_the_rows_with_all_penalised():
    factors = np.arange(1, 21.0)
    for solver in ("newton", "gradient"):
        model = TorchSGDRegressor(penalty="l2", alpha=0.3, penalty_factor=factors, solver=solver)
        model.fit(WIDE, y[:8])
        expected = TorchSGDRegressor(penalty="l2", alpha=0.3).fit(WIDE / factors**0.5, y[:8])
        assert_close(model.coef_, expected.coef_ / factors**0.5)


# --- sources, targets and chunks ---------------------------------------------------------

BLOCKS = [(X[:35], Y[:35], WEIGHT[:35]), (X[35:], Y[35:], WEIGHT[35:])]


def by_chunks(model):
    for block in BLOCKS:
        model.partial_fit(*block)
    return model


SOURCES = {
    "stream": lambda model: model.fit(BLOCKS),
    "stream that is read once": lambda model: model.fit(iter(BLOCKS)),
    "sparse": lambda model: model.fit(sp.csr_matrix(X), Y, WEIGHT),
    "chunks": by_chunks,
}


@pytest.mark.parametrize("factors", [FACTORS, ZEROS], ids=["positive", "zeros"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source(source, penalty, factors):
    given = options("squared_error", penalty, penalty_factor=factors)
    model = SOURCES[source](TorchSGDRegressor(**given))
    each = [TorchSGDRegressor(**given).fit(X, column, WEIGHT).coef_ for column in Y.T]
    assert_close(model.coef_, each, rtol=1e-9)


@pytest.mark.parametrize("factors", [FACTORS, ZEROS], ids=["positive", "zeros"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
@pytest.mark.parametrize("preconditioner", ["auto", "diagonal"])
def test_stochastic_descent(preconditioner, penalty, factors):
    given = options("squared_error", penalty, penalty_factor=factors, random_state=0)
    model = TorchSGDRegressor(**given, solver="sgd", preconditioner=preconditioner).fit(X, y)
    expected = TorchSGDRegressor(**given).fit(X, y)
    assert_close(model.coef_, expected.coef_, rtol=1e-6)


@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_loop_takes_the_steps_of_a_textbook(penalty, batch_size):
    rate, alpha = 1e-3, 0.3
    model = TorchSGDRegressor(
        penalty=penalty,
        alpha=alpha,
        penalty_factor=ZEROS,
        preconditioner=None,
        learning_rate=rate,
        batch_size=batch_size,
        shuffle=False,
        max_iter=3,
        tol=None,
    ).fit(X, y)
    w, b, due, paid = np.zeros(6), 0.0, np.zeros(6), np.zeros(6)
    for start in [*range(0, N, batch_size)] * 3:
        rows = slice(start, start + batch_size)
        r = X[rows] @ w + b - y[rows]
        slope = X[rows].T @ r / len(r) + (alpha * ZEROS * w if penalty == "l2" else 0)
        w, b = w - rate * slope, b - rate * r.mean()
        if penalty == "l1":  # what is due of the penalty so far, as in SGDRegressor
            due, before = due + rate * alpha * ZEROS, w
            above, below = np.maximum(w - (due + paid), 0), np.minimum(w + (due - paid), 0)
            w = np.where(w > 0, above, below) * (w != 0)
            paid = paid + w - before
    assert_close(model.coef_, w, rtol=1e-9)


def test_a_loop_goes_on_with_factors_that_have_changed():
    given = {"penalty": "l1", "alpha": 50.0, "preconditioner": None, "learning_rate": 1e-3}
    model = TorchSGDRegressor(**given, penalty_factor=np.eye(6)[0]).partial_fit(X, y)
    assert (model.coef_ == 0).tolist() == [True] + 5 * [False]
    model.set_params(penalty_factor=np.eye(6)[1])
    for _ in range(3):
        model.partial_fit(X, y)
    assert (model.coef_ == 0).tolist() == [False, True] + 4 * [False]


# --- polynomials -------------------------------------------------------------------------

POLY_X = np.random.default_rng(2).standard_normal((90, 3)) + 1
POLY_Y = POLY_X[:, 0] ** 2 + POLY_X @ [1.0, 2.0, 3.0] + rng.standard_normal(90)
TERMS = PolynomialFeatures(2, include_bias=False).fit_transform(POLY_X)
OF_TERMS = np.r_[0, 0, 0, rng.uniform(0.2, 5, 6)]


@all_pairs(loss=sorted(LOSSES), penalty=["l2", "l1", "elasticnet"], first=[0.0, 2.0])
def test_polynomials_have_a_factor_for_each_term(loss, penalty, first):
    factors = OF_TERMS + first * (OF_TERMS == 0)
    given = options(loss, penalty, penalty_factor=factors)
    model = TorchPolyRegressor(2, **given).fit(POLY_X, POLY_Y)
    expected = TorchSGDRegressor(**given).fit(TERMS, POLY_Y)
    assert_close(model.coef_, expected.coef_, rtol=1e-9)
    names = PolynomialFeatures(2, include_bias=False).fit(POLY_X).get_feature_names_out()
    np.testing.assert_array_equal(model.get_feature_names_out(), names)


def test_powers_that_cancel_keep_their_digits_with_each_factor():
    x = np.random.default_rng(3).uniform(100, 110, (100, 1))
    t = np.sin(x[:, 0]) + rng.standard_normal(100)
    # A factor of a^(2 j) on the power j of x is none on that of x / a.
    model = TorchPolyRegressor(5, penalty="l2", alpha=1e-3, penalty_factor=100.0 ** (2 * K)).fit(
        x, t
    )
    other = TorchPolyRegressor(5, penalty="l2", alpha=1e-3).fit(x / 100, t)
    assert_close(model.coef_ * 100.0**K, other.coef_, rtol=1e-6)
    assert model.converged_


K = np.arange(1, 6)


@pytest.mark.filterwarnings("ignore:(alpha|degree)_=:UserWarning")
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_searches_over_degrees_share_the_factors(penalty):
    factors = np.where(np.arange(9) == 1, 2, OF_TERMS)
    given = {"penalty": penalty, "alphas": [1.0, 0.1, 0.01]}
    search = TorchPolyRegressorCV([1, 2], **given, penalty_factor=factors).fit(POLY_X, POLY_Y)
    for number, degree in enumerate((1, 2)):
        n_terms = (3, 9)[number]
        one = TorchPolyRegressorCV(degree, **given, penalty_factor=factors[:n_terms])
        assert_close(search.mse_path_[number], one.fit(POLY_X, POLY_Y).mse_path_, rtol=1e-9)


def test_degrees_of_other_terms_share_no_factors():
    search = TorchPolyRegressorCV([[1, 2, 1], [3, 1, 1]], penalty_factor=np.ones(15))
    with pytest.raises(ValueError, match="are not the first of these"):
        n_terms = TorchPolyRegressor([3, 1, 1]).fit(POLY_X, POLY_Y).n_output_features_
        search.set_params(penalty_factor=np.arange(n_terms)).fit(POLY_X, POLY_Y)


# --- searches ----------------------------------------------------------------------------


def searched():
    yield pytest.param(X, FACTORS, id="positive")
    yield pytest.param(X, ZEROS, id="zeros")
    yield pytest.param(np.column_stack((X, X[:, 1])), np.append(ZEROS, 0.0), id="twice")


@pytest.mark.filterwarnings("ignore:alpha_=:UserWarning")
@pytest.mark.parametrize("Z, factors", [*searched()])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
@pytest.mark.parametrize("positive", [False, True])
def test_a_search_is_a_grid_of_fits(Z, factors, penalty, positive):
    given = {"penalty": penalty, "positive": positive, "penalty_factor": factors}
    if penalty == "elasticnet":
        given["l1_ratio"] = 0.5
    search = TorchSGDRegressorCV(**given, alphas=5, cv=3).fit(Z, y)
    errors = np.empty((5, 3))
    for split, test in enumerate(np.array_split(np.arange(N), 3)):
        train = np.setdiff1d(np.arange(N), test)
        for number, alpha in enumerate(search.alphas_):
            model = TorchSGDRegressor(**given, alpha=alpha).fit(Z[train], y[train])
            errors[number, split] = ((y[test] - model.predict(Z[test])) ** 2).mean()
    assert_close(search.mse_path_, errors, rtol=1e-8)
    best = TorchSGDRegressor(**given, alpha=search.alpha_).fit(Z, y)
    assert_close(search.coef_, best.coef_, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:alpha_=:UserWarning")
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("factors", [FACTORS, ZEROS], ids=["positive", "zeros"])
@pytest.mark.parametrize("positive", [False, True])
def test_the_weights_begin_where_all_that_is_penalised_is_zero(loss, factors, positive):
    given = {"loss": loss, "penalty": "l1", "positive": positive, "penalty_factor": factors}
    signs = np.where(np.arange(6) % 2, 1, -1) if positive else 1  # the steepest may enter
    largest = []
    for sign in (1, -1) if positive else (1,):
        search = TorchSGDRegressorCV(**given, alphas=2, cv=3, eps=0.9).fit(sign * X * signs, y)
        below = [
            TorchSGDRegressor(**given, alpha=part * search.alphas_[0]).fit(sign * X * signs, y)
            for part in (1 + 1e-6, 0.99)
        ]
        spread = below[0].coef_ * X.std(0)
        assert abs(spread[factors > 0]).max() <= 1e-6
        largest.append((below[1].coef_[factors > 0] != 0).any())
    assert any(largest)


@pytest.mark.parametrize("factors", [FACTORS, ZEROS], ids=["positive", "zeros"])
def test_rows_that_are_left_out(factors):
    alphas, errors = [1.0, 0.1, 0.01], []
    search = TorchSGDRegressorCV(alphas=alphas, cv="loo", penalty_factor=factors).fit(X, y)
    for alpha in alphas:
        model, left = TorchSGDRegressor(penalty="l2", alpha=alpha, penalty_factor=factors), []
        for i in range(N):
            rows = np.arange(N) != i
            left.append(y[i] - model.fit(X[rows], y[rows]).predict(X[i : i + 1])[0])
        errors.append(np.mean(np.square(left)))
    assert_close(search.mse_path_, errors, rtol=1e-9)


# --- groups ------------------------------------------------------------------------------

KEYS = np.repeat(np.arange(5), 12)
FEW = np.r_[np.zeros(5), 1.0]


@all_pairs(
    loss=["squared_error", "huber", "log_cosh", "absolute_error"],
    penalty=["l2", "l1", "elasticnet"],
    positive=[False, True],
    number=range(4),
)
def test_groups_are_fits_of_their_rows(loss, penalty, positive, number):
    twice = np.column_stack((X, X[:, 1]))
    cases = (X, FACTORS), (X, ZEROS), (X, FEW), (twice, np.append(ZEROS, 0.0))
    Z, factors = cases[number]
    given = options(loss, penalty, positive=positive, penalty_factor=factors) | {"tol": 1e-10}
    model = TorchGroupedRegressor(0, **given).fit(np.column_stack((KEYS, Z)), y)
    each = [TorchSGDRegressor(**given).fit(Z[k == KEYS], y[k == KEYS]).coef_ for k in range(5)]
    if not (positive and number == 3):  # of which many are as good
        assert_close(model.coef_, each, rtol=1e-7)
    assert model.converged_.all()


@pytest.mark.parametrize("factors", [FACTORS, ZEROS], ids=["positive", "zeros"])
def test_groups_are_shrunk_beside_the_penalty(factors):
    given = {"penalty": "l2", "alpha": 0.05, "penalty_factor": factors}
    keyed = np.column_stack((KEYS, X))
    model = TorchGroupedRegressor(0, **given, shrinkage=0.3).fit(keyed, y)
    common, each = TorchSGDRegressor(**given).fit(X, y).coef_, []
    for k in range(5):
        Z, t = X[k == KEYS] - X[k == KEYS].mean(0), y[k == KEYS] - y[k == KEYS].mean()
        hessian = Z.T @ Z / 12 + np.diag(0.05 * factors + 0.3)
        each.append(np.linalg.solve(hessian, Z.T @ t / 12 + 0.3 * common))
    assert_close(model.coef_, each, rtol=1e-9)


# --- what is given -----------------------------------------------------------------------

ESTIMATORS = [
    TorchSGDRegressor(penalty="l2"),
    TorchPolyRegressor(1, penalty="l2"),
    TorchSGDRegressorCV(alphas=[0.1]),
    TorchPolyRegressorCV(1, alphas=[0.1]),
    TorchGroupedRegressor(0, penalty="l2"),
]


def fitted(estimator, factors):
    grouped = isinstance(estimator, TorchGroupedRegressor)
    model = clone(estimator).set_params(penalty_factor=factors)
    return model.fit(np.column_stack((KEYS, X)) if grouped else X, y)


every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


@every_estimator
@pytest.mark.parametrize(
    "factors, message",
    [
        ([1.0, 2.0], r"penalty_factor.shape == \(2,\), expected \(6,\)"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, -1.0], "Negative values in data passed to penalty_factor"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, np.nan], "penalty_factor contains NaN"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, np.inf], "penalty_factor contains infinity"),
        ([FACTORS], "penalty_factor must be a 1D array"),
        (["a"] * 6, "could not convert string to float"),
        (2.0, "'penalty_factor' parameter"),
    ],
)
def test_what_factors_cannot_be(estimator, factors, message):
    with pytest.raises(ValueError, match=message):
        fitted(estimator, factors)


@every_estimator
def test_factors_stay_as_they_are_given(estimator):
    given = FACTORS.tolist()
    model = fitted(clone(estimator), given)
    assert model.penalty_factor is given
    assert given == FACTORS.tolist()
    assert clone(model).get_params()["penalty_factor"] == given


@every_estimator
def test_zeros_alone_are_no_penalty_and_told(estimator):
    with pytest.warns(UserWarning, match="penalty has no effect with a penalty_factor of zeros"):
        model = fitted(estimator, np.zeros(6))
    none = {"alphas": [0.0]} if hasattr(estimator, "alphas") else {"alpha": 0.0}
    assert_close(model.coef_, fitted(clone(estimator).set_params(**none), None).coef_)


@pytest.mark.filterwarnings("ignore:penalty has no effect:UserWarning")
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_a_search_over_no_penalty_has_least_norm(penalty):
    twice = np.column_stack((X, X[:, 1]))
    given = {"penalty": penalty, "penalty_factor": np.zeros(7)}
    search = TorchSGDRegressorCV(**given, alphas=[1.0, 0.1], cv=3).fit(twice, y)
    expected = TorchSGDRegressor().fit(twice, y).coef_
    assert_close(search.coef_, expected)
    assert_close(search.coef_path_, [expected, expected])


def test_factors_without_a_penalty_are_told():
    with pytest.warns(UserWarning, match="penalty_factor has no effect with penalty=None"):
        TorchSGDRegressor(penalty_factor=FACTORS).fit(X, y)


def test_a_factor_of_all_is_one_of_alpha():
    for penalty in ("l2", "l1", "elasticnet"):
        given = options("squared_error", penalty)
        model = TorchSGDRegressor(**given, penalty_factor=np.full(6, 2.0)).fit(X, y)
        expected = TorchSGDRegressor(**given | {"alpha": 0.06}).fit(X, y)
        np.testing.assert_array_equal(model.coef_, expected.coef_)


def test_factors_of_mean_one_are_those_of_glmnet():
    """Its objective has factors that add up to the number of columns, as its documentation says."""
    rescaled = ZEROS * len(ZEROS) / ZEROS.sum()
    given = options("squared_error", "elasticnet")
    model = TorchSGDRegressor(**given, penalty_factor=rescaled).fit(X, y)
    w, Z, t = np.zeros(6), X - X.mean(0), y - y.mean()
    for _ in range(5000):  # cyclic coordinate descent, as glmnet's
        for j in range(6):
            r = t - Z @ w + Z[:, j] * w[j]
            lam = 0.03 * ZEROS[j] * 6 / ZEROS.sum()
            slope = Z[:, j] @ r / N
            size = max(abs(slope) - lam * 0.4, 0) / (Z[:, j] @ Z[:, j] / N + lam * 0.6)
            w[j] = np.sign(slope) * size
    assert_close(model.coef_, w, rtol=1e-8)


def test_powers_that_are_not_penalised_may_depend_on_each_other():
    rng = np.random.default_rng(4)
    Z = np.column_stack((rng.choice([10.0, 20.0, 35.0], 100), rng.standard_normal(100)))
    t = np.sin(Z[:, 0]) + Z[:, 1] + rng.standard_normal(100)
    terms = PolynomialFeatures(4, include_bias=False).fit(Z)
    factors = np.where(terms.powers_[:, 1] == 0, 0.0, 1.0)
    for loss in ("squared_error", "huber", "absolute_error"):
        for penalty in ("l1", "elasticnet"):
            given = options(loss, penalty, penalty_factor=factors)
            model = TorchPolyRegressor(4, **given).fit(Z, t)
            expected = TorchSGDRegressor(**given).fit(terms.transform(Z), t)
            assert_close(model.coef_, expected.coef_, rtol=1e-8)
            assert model.converged_


@all_pairs(
    loss=sorted(LOSSES),
    penalty=["l1", "elasticnet"],
    solver=["newton", "gradient"],
    dtype=["float64", "float32"],
    far=[0.0, 1000.0],
)
def test_columns_that_depend_but_for_rounding_are_one(loss, penalty, solver, dtype, far):
    """Rounding makes a direction in which coefficients of thousands would fit a little better."""
    rng = np.random.default_rng(5)
    Z = rng.standard_normal((200, 5)) + far
    Z = np.column_stack((Z, Z[:, 0] + Z[:, 1] / 3, 0.7 * Z[:, 2] - Z[:, 1])).astype(dtype)
    t = (Z @ [1, 2, 0, 1, 0, 0, 0] + rng.standard_normal(200)).astype(dtype)
    given, factors = options(loss, penalty, solver=solver), np.array([0, 0, 0, 2, 3, 0, 0])
    model = TorchSGDRegressor(**given | {"tol": 1e-10}, penalty_factor=factors).fit(Z, t)
    few = TorchSGDRegressor(**given | {"tol": 1e-10}, penalty_factor=factors[:5]).fit(Z[:, :5], t)
    assert_close(model.coef_[3:5], few.coef_[3:5], rtol=1e-6 if dtype == "float64" else 1e-2)
    assert abs(model.coef_).max() < 10
    assert model.converged_


@pytest.mark.filterwarnings("ignore:The sums over the rows")  # of the rank of both together
@pytest.mark.parametrize("first", ["fit", "partial_fit"])
def test_chunks_go_on_where_columns_are_one(first):
    Z, factors = np.column_stack((X, X[:, 1])), np.append(ZEROS, 0.0)
    given = options("squared_error", "l1", penalty_factor=factors)
    model = getattr(TorchSGDRegressor(**given), first)(Z[:40], y[:40]).partial_fit(Z[40:], y[40:])
    assert_close(model.coef_, TorchSGDRegressor(**given).fit(Z, y).coef_, rtol=1e-9)


def test_a_scale_that_is_estimated_has_the_penalty_of_columns_in_other_units():
    given = {"loss": "huber", "epsilon": "auto", "penalty": "l2", "alpha": 0.05}
    model = TorchSGDRegressor(**given, penalty_factor=FACTORS).fit(X, y)
    expected = TorchSGDRegressor(**given).fit(X / FACTORS**0.5, y)
    assert_close(model.coef_, expected.coef_ / FACTORS**0.5)


def test_many_columns_of_which_some_are_not_penalised():
    rng = np.random.default_rng(6)
    Z, t = rng.standard_normal((100, 2500)), rng.standard_normal(100)
    factors = np.r_[np.zeros(3), rng.uniform(0.2, 3, 2497)]
    for rows in (Z, sp.csr_matrix(Z)):
        model = TorchSGDRegressor(penalty="l2", alpha=0.3, penalty_factor=factors).fit(rows, t)
        assert model.solver_ == "gradient"
        assert_close(model.coef_, eliminated(Z, t, factors, 0.3), rtol=1e-8)

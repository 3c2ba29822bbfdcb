"""NIST's Statistical Reference Datasets: certified values to 15 digits for data made to be hard.

`nist_strd_more.json` has the sets Filip, Wampler4, Wampler5 and NoInt2 in the same form.
"""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from tests.support.oracles import gauss_jordan, log_relative_error, nist_sets

every_set = pytest.mark.parametrize("problem", nist_sets(), ids=lambda problem: problem["name"])
polynomial_set = pytest.mark.parametrize(
    "problem",
    [problem for problem in nist_sets() if problem["model"] == "polynomial"],
    ids=lambda problem: problem["name"],
)
DIGITS, OF_WAMPLER = 12, 9  # correct ones; Wampler's are the most ill-conditioned


def certified(problem):
    return [problem["intercept"], *problem["coef"]]


def digits(problem):
    return OF_WAMPLER if problem["name"].startswith("Wampler") else DIGITS


def fitted(problem, **parameters):
    if problem["model"] == "polynomial":
        estimator = TorchPolyRegressor(problem["degree"], **parameters)
    else:
        estimator = TorchSGDRegressor(**parameters)
    estimator.set_params(fit_intercept=problem["fit_intercept"])
    return estimator.fit(np.array(problem["X"]), np.array(problem["y"]))


@every_set
def test_certified_values_have_their_correct_digits(problem):
    estimator = fitted(problem)
    assert estimator.converged_
    estimate = [estimator.intercept_, *estimator.coef_]
    assert log_relative_error(estimate, certified(problem)) >= digits(problem)


@every_set
def test_certified_values_have_their_correct_digits_with_the_newton_solver_named(problem):
    estimator = fitted(problem, solver="newton", dtype="float64")
    estimate = [estimator.intercept_, *estimator.coef_]
    assert log_relative_error(estimate, certified(problem)) >= digits(problem)


@every_set
def test_reversed_rows_have_their_correct_digits(problem):
    rows_reversed = {**problem, "X": problem["X"][::-1], "y": problem["y"][::-1]}
    estimator = fitted(rows_reversed)
    estimate = [estimator.intercept_, *estimator.coef_]
    assert log_relative_error(estimate, certified(problem)) >= digits(problem)


@every_set
def test_r2_is_the_certified_one(problem):
    estimator = fitted(problem)
    X, y = np.array(problem["X"]), np.array(problem["y"])
    if not problem["fit_intercept"]:
        residual = y - estimator.predict(X)
        r2 = 1 - residual @ residual / (y @ y)
    else:
        r2 = estimator.score(X, y)
    # 1 - R2 is what the residuals decide; its rounding is that of sums of squares of size 1.
    assert abs(r2 - problem["r2"]) <= 1e-8 * max(1 - problem["r2"], 1e-6)


@every_set
def test_certified_values_are_the_exact_solution_of_the_data_in_this_folder(problem):
    def exact(value):
        return Fraction(Decimal(repr(value)))

    X = [[exact(value) for value in row] for row in problem["X"]]
    solution = exact_solution(problem, X, [exact(value) for value in problem["y"]])
    values = certified(problem) if problem["fit_intercept"] else problem["coef"]
    assert log_relative_error(solution, values) >= 14


@polynomial_set
def test_single_precision_loses_no_digit_that_its_numbers_have(problem):
    X, y = np.array(problem["X"], np.float32), np.array(problem["y"], np.float32)
    exact = exact_solution(
        problem,
        [[Fraction(value) for value in row] for row in X.astype(float).tolist()],
        [Fraction(value) for value in y.astype(float).tolist()],
    )
    estimator = TorchPolyRegressor(problem["degree"]).fit(X, y)
    estimate = [estimator.intercept_, *estimator.coef_]
    assert log_relative_error(estimate, exact) >= digits(problem)


@every_set
def test_certified_standard_deviations_have_their_correct_digits(problem):
    estimator = fitted(problem)
    X, y = np.array(problem["X"]), np.array(problem["y"])
    errors, variance = exact_errors(problem)
    if variance == 0:  # the rounding of coefficients is all that residuals are made of
        assert estimator.residual_std() <= 1e-13 * y.max()
        assert estimator.residual_std(X, y) <= 1e-13 * y.max()
        return
    if "coef_sd" in problem:
        intercept_sd = [problem["intercept_sd"]] * problem["fit_intercept"]
        assert log_relative_error(errors, problem["coef_sd"] + intercept_sd) >= 13
    for data in ((), (X, y)):
        assert log_relative_error(estimator.std_errors(*data), errors) >= 12
        found = estimator.residual_std(*data)
        assert log_relative_error(found, problem["residual_sd"]) >= 12
        table = estimator.coef_table(*data)
        assert log_relative_error(table["std_error"], errors) >= 12


def exact_errors(problem):
    """Return the standard errors, that of the intercept last, and the variance of residuals."""
    X = [[Fraction(Decimal(repr(value))) for value in row] for row in problem["X"]]
    y = [Fraction(Decimal(repr(value))) for value in problem["y"]]
    rows, gram, cross = normal_equations(problem, X, y)
    solution = gauss_jordan(gram, cross)
    residuals = [
        t - sum(a * w for a, w in zip(row, solution, strict=True))
        for row, t in zip(rows, y, strict=True)
    ]
    k = len(gram)
    variance = sum(r * r for r in residuals) / (len(rows) - k)
    units = [[Fraction(i == j) for i in range(k)] for j in range(k)]
    own = [gauss_jordan(gram, unit)[j] for j, unit in enumerate(units)]
    errors = [float(variance * part) ** 0.5 for part in own]
    return (errors[1:] + errors[:1] if problem["fit_intercept"] else errors), float(variance)


def exact_solution(problem, X, y):
    """Return least squares of rational numbers, the intercept first where there is one."""
    _, gram, cross = normal_equations(problem, X, y)
    return [float(value) for value in gauss_jordan(gram, cross)]


def normal_equations(problem, X, y):
    """Return the design, its products, and those with the targets, in rational numbers."""
    if problem["model"] == "polynomial":
        X = [[row[0] ** k for k in range(1, problem["degree"] + 1)] for row in X]
    rows = [[Fraction(1), *row] for row in X] if problem["fit_intercept"] else X
    terms = range(len(rows[0]))
    gram = [[sum(row[i] * row[j] for row in rows) for j in terms] for i in terms]
    cross = [sum(row[i] * t for row, t in zip(rows, y, strict=True)) for i in terms]
    return rows, gram, cross

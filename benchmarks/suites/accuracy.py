"""Correct digits where they are hard to get; nothing here is timed."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure.answers import linear_answer
from benchmarks.measure.model import Model
from benchmarks.measure.oracle import least_squares, relative_errors
from benchmarks.suites.cases import badly_scaled_table
from benchmarks.suites.models import (
    CLOSED_FORM,
    CLOSED_FORM_FULL_RANK,
    OURS,
    accuracy_models,
    polynomial_models,
    polynomial_pipeline,
    quiet_fit,
)

NIST_FILES = Path(__file__).parents[2] / "tests" / "data"
MOST_DIGITS = 15.0


def accuracy_cases(quick=False):
    """Map the name of each case to the function that runs it."""
    n_rows64, n_rows32 = (2_000, 2_000) if quick else (100_000, 1_000_000)
    return {
        f"accuracy/badly-scaled/{n_rows64}x20/float64": partial(badly_scaled_float64, n_rows64),
        f"accuracy/badly-scaled/{n_rows32}x20/float32": partial(badly_scaled_float32, n_rows32),
        "accuracy/nist": nist,
        "accuracy/curves": curves,
    }


def badly_scaled_float64(n_rows):
    """Compare each coefficient with the exact answer on badly scaled float64 columns."""
    X, y = badly_scaled_table(n_rows, 20, "float64")
    exact = least_squares(X, y)[0]
    return {"rows": [_error_record(model, X, y, exact, "exact") for model in accuracy_models()]}


def badly_scaled_float32(n_rows):
    """Compare float32 fits with float64 fits of the same numbers."""
    X, y = badly_scaled_table(n_rows, 20, "float32")
    X64, y64 = X.astype(np.float64), y.astype(np.float64)
    exact = least_squares(X64, y64)[0]
    ours64 = linear_answer(quiet_fit(OURS, X64, y64))[0]
    return {
        "rows": [
            _error_record(OURS, X, y, ours64, f"{OURS.name} in float64"),
            *(_error_record(model, X, y, exact, "exact") for model in accuracy_models()),
        ]
    }


def nist():
    """Count the correct digits on NIST's certified sets."""
    files = sorted(NIST_FILES.glob("nist_strd*.json"))
    sets = [reference for file in files for reference in json.loads(file.read_text())]
    return {"rows": [_digits_record(reference) for reference in sets]}


def curves():
    """Measure how far curves of a high degree are from what they are to find."""
    rng = np.random.default_rng(0)
    years = np.arange(1900.0, 2021.0)
    nanoseconds = 1.6e18 + np.sort(rng.uniform(0, 3e16, 10_000))
    return {
        "rows": [
            _curve_record("10,000 in [-1, 1]", rng.uniform(-1, 1, 10_000), 50, rng),
            _curve_record("10,000 evenly in [0, 10]", np.linspace(0, 10, 10_000), 50, rng),
            _curve_record("the years 1900 to 2020", years, 15, rng),
            _curve_record("nanoseconds of a year", nanoseconds, 15, rng),
        ]
    }


def correct_digits(estimate, certified):
    """Return the fewest correct digits (log relative error, 0 to 15) over the values."""
    error = np.abs(estimate - certified)
    scale = np.where(certified == 0, 1, np.abs(certified))
    worst = float(np.max(error / scale))
    if not math.isfinite(worst):
        return 0.0
    return min(MOST_DIGITS, max(0.0, -math.log10(max(worst, 1e-300))))


def _curve_record(name, x, degree, rng):
    t = (x - x.min()) / np.ptp(x)
    exact = np.exp(np.sin(6 * t))
    X, y = x[:, None], exact + 0.1 * rng.standard_normal(len(x))
    fits = {
        "ours": lambda: polynomial_models(degree)[0].build().fit(X, y).predict(X),
        "numpy Chebyshev.fit": lambda: np.polynomial.Chebyshev.fit(x, y, degree)(x),
        "LinearRegression(tol=0)": lambda: quiet_fit(
            polynomial_pipeline(degree, CLOSED_FORM_FULL_RANK), X, y
        ).predict(X),
    }
    errors = {model: float(np.abs(fit() - exact).max()) for model, fit in fits.items()}
    return {"curve": name, "n_rows": len(x), "degree": degree, "errors": errors}


def _error_record(model, X, y, reference, against):
    errors = relative_errors(linear_answer(quiet_fit(model, X, y))[0], reference)
    return {
        "model": model.name,
        "against": against,
        "largest": float(errors.max()),
        "median": float(np.median(errors)),
        "errors": errors.tolist(),
    }


def _digits_record(reference):
    X, y = np.array(reference["X"]), np.array(reference["y"])
    return {
        "set": reference["name"],
        "degree": reference["degree"] or 1,
        "ceiling": reference["lre_ceiling_float64_data"],
        "digits": {
            column: _digits(model, X, y, reference)
            for column, model in _nist_models(reference["degree"]).items()
        },
    }


def _nist_models(degree):
    closed_forms = [CLOSED_FORM, CLOSED_FORM_FULL_RANK]
    if degree is None:
        return {"ours": OURS} | {linear.name: linear for linear in closed_forms}
    pipelines = {linear.name: polynomial_pipeline(degree, linear) for linear in closed_forms}
    return {"ours": polynomial_models(degree)[0]} | pipelines


def _digits(model, X, y, reference):
    fit_intercept = reference["fit_intercept"]
    coef, intercept = linear_answer(quiet_fit(_with_intercept(model, fit_intercept), X, y))
    estimate, certified = list(coef), list(reference["coef"])
    if fit_intercept:
        estimate.append(intercept)
        certified.append(reference["intercept"])
    return correct_digits(np.array(estimate), np.array(certified))


def _with_intercept(model, fit_intercept):
    if fit_intercept:
        return model
    return Model(model.name, lambda: model.build().set_params(fit_intercept=False))

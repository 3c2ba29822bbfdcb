"""Sparse rows: ridge regression at equal objective, and the memory of a fit of one-hot columns."""

import json
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from scipy import sparse
from sklearn.linear_model import Ridge

from benchmarks.measure.children import ChildError, ask
from benchmarks.measure.timing import interleave, median_ratio, plan_rounds
from benchmarks.suites.memory import STATUS, forget_peak, status_bytes
from benchmarks.suites.models import Model, linear_answer, quiet_fit
from skorchlite import TorchSGDRegressor

# Rows, columns and entries of a row.
SIZE, QUICK_SIZE = (200_000, 50_000, 20), (2_000, 300, 5)
ONE_HOT_SIZE, QUICK_ONE_HOT_SIZE = (1_000_000, 100_000, 10), (5_000, 500, 5)
RIDGE_ALPHA = 1.0
OURS = "TorchSGDRegressor(penalty='l2')"
PEER = "Ridge(solver='sparse_cg')"
EXCESSES = (1e-6, 1e-8)
TOLS = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
# A model is not asked for more digits once a fit took so long.
LONGEST_SECONDS = 30.0


def sparse_cases(repeats, budget, quick=False):
    """Map the name of each case to the function that runs it."""
    ridge, one_hot = (QUICK_SIZE, QUICK_ONE_HOT_SIZE) if quick else (SIZE, ONE_HOT_SIZE)
    runs = {
        "ridge": (ridge, partial(compare_ridge, ridge, repeats, budget)),
        "one-hot": (one_hot, partial(measure_one_hot, one_hot)),
    }
    return {
        f"sparse/{kind}/{rows}x{columns}/{entries} a row": run
        for kind, ((rows, columns, entries), run) in runs.items()
    }


def compare_ridge(size, repeats, budget):
    """Time the models with the largest tolerance that brings each near enough to the best."""
    X, y = random_rows(*size)
    reached = {name: _at_every_tol(make, X, y) for name, make in MODELS.items()}
    best = min(run["objective"] for runs in reached.values() for run in runs)
    rows = [
        record
        for excess in EXCESSES
        for record in _race(excess, reached, best, X, y, repeats, budget)
    ]
    return {"matrix_bytes": matrix_bytes(X), "reached": reached, "rows": rows}


def measure_one_hot(size):
    """Fit and predict in a process of its own; return what that takes beyond the matrix."""
    if not Path(STATUS).exists():
        return {"rows": [{"model": OURS, "left_out": "peak memory is read from Linux's /proc"}]}
    try:
        return {"rows": [{"model": OURS} | ask(__spec__.name, size)[0]]}
    except ChildError as error:
        return {"rows": [{"model": OURS, "left_out": f"failed: {error}"}]}


def main(n_rows, n_columns, per_row):
    """Measure the times and the peak of fit and predict."""
    X, y = one_hot_rows(n_rows, n_columns, per_row)
    model = _ours(n_rows, TorchSGDRegressor().tol)
    quiet_fit(model, X[:1000], y[:1000])  # loads code and starts threads
    forget_peak()
    before = status_bytes("VmRSS")
    start = time.perf_counter()
    fitted = quiet_fit(model, X, y)
    fitting = time.perf_counter() - start
    fit_peak = status_bytes("VmHWM")
    forget_peak()
    held = status_bytes("VmRSS")
    start = time.perf_counter()
    fitted.predict(X)
    return {
        "fit": fitting,
        "predict": time.perf_counter() - start,
        "matrix_bytes": matrix_bytes(X),
        "fit_bytes": fit_peak - before,
        "predict_bytes": status_bytes("VmHWM") - held,
    }


def random_rows(n_rows, n_columns, per_row):
    """Rows with as many normal numbers each, in columns drawn at random."""
    rng = np.random.default_rng(0)
    X = _rows_of(
        rng.standard_normal(n_rows * per_row),
        rng.integers(0, n_columns, (n_rows, per_row)),
        n_columns,
    )
    return X, _response(X, rng)


def one_hot_rows(n_rows, n_columns, per_row):
    """Rows of as many ones each, one for each of as many groups of columns."""
    rng = np.random.default_rng(0)
    width = n_columns // per_row
    chosen = rng.integers(0, width, (n_rows, per_row)) + width * np.arange(per_row)
    X = _rows_of(np.ones(n_rows * per_row), chosen, n_columns)
    return X, _response(X, rng)


def matrix_bytes(X):
    """Return the memory of a matrix in rows."""
    return X.data.nbytes + X.indices.nbytes + X.indptr.nbytes


def _rows_of(numbers, columns, n_columns):
    n_rows, per_row = columns.shape
    starts = np.arange(0, n_rows * per_row + 1, per_row, dtype=np.int32)
    columns = columns.astype(np.int32).reshape(-1)
    X = sparse.csr_matrix((numbers, columns, starts), (n_rows, n_columns))
    X.sum_duplicates()
    return X


def _response(X, rng):
    coef = rng.standard_normal(X.shape[1])
    return 2 + X @ coef + rng.standard_normal(X.shape[0])


def _ours(n_rows, tol):
    alpha = RIDGE_ALPHA / n_rows
    return Model(OURS, partial(TorchSGDRegressor, penalty="l2", alpha=alpha, tol=tol))


def _peer(n_rows, tol):
    build = partial(Ridge, RIDGE_ALPHA, solver="sparse_cg", tol=tol, max_iter=100_000)
    return Model(PEER, build)


MODELS = {OURS: _ours, PEER: _peer}


def _at_every_tol(make, X, y):
    """Fit with one tolerance after the other; return what each reaches."""
    runs = []
    for tol in TOLS:
        model = make(len(y), tol)
        start = time.perf_counter()
        fitted = quiet_fit(model, X, y)
        seconds = time.perf_counter() - start
        run = {"tol": tol, "objective": _objective(X, y, *linear_answer(fitted))}
        runs.append(run | {"first_seconds": seconds})
        if seconds > LONGEST_SECONDS:
            break
    return runs


def _objective(X, y, coef, intercept):
    residual = y - X @ coef - intercept
    return float(residual @ residual / 2 + RIDGE_ALPHA / 2 * (coef @ coef)) / len(y)


def _race(excess, reached, best, X, y, repeats, budget):
    """Time each model with the largest of the tolerances that are small enough."""
    chosen = {
        name: next((run for run in runs if run["objective"] / best - 1 <= excess), None)
        for name, runs in reached.items()
    }
    models = [MODELS[name](len(y), run["tol"]) for name, run in chosen.items() if run]
    estimates = {model.name: chosen[model.name]["first_seconds"] for model in models}
    seconds = {}
    if models:
        rounds = plan_rounds(models, estimates, repeats, budget)
        seconds = interleave(models, X, y, estimates, rounds)
    records = []
    for name, run in chosen.items():
        record = {"model": name, "wanted": excess}
        if run is None:
            nearest = min(run["objective"] for run in reached[name]) / best - 1
            records.append(record | {"left_out": f"comes within {nearest:.1e} at best"})
            continue
        record |= {"tol": run["tol"], "seconds": seconds[name]}
        record |= {"excess": run["objective"] / best - 1, "median": median(seconds[name])}
        if name != OURS and OURS in seconds:
            record["ratio"] = median_ratio(seconds[name], seconds[OURS])
        records.append(record)
    return records


if __name__ == "__main__":
    print(json.dumps(main(*json.loads(sys.argv[1]))))

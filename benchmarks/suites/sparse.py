"""Sparse rows: ridge regression at equal objective, and the memory of a fit of one-hot columns."""

from dataclasses import asdict
from functools import partial

import numpy as np
from scipy import sparse
from sklearn.linear_model import Ridge

from benchmarks.measure import peak, tasks
from benchmarks.measure.comparison import race
from benchmarks.measure.model import Model
from benchmarks.measure.oracle import penalised_loss
from benchmarks.measure.roofline import sparse_work
from benchmarks.measure.sides import extra_bytes, running, stored
from benchmarks.measure.turns import warm_up
from skorchlite import TorchSGDRegressor

# Rows, columns and entries of a row.
SIZE, QUICK_SIZE = (200_000, 50_000, 20), (2_000, 300, 5)
ONE_HOT_SIZE, QUICK_ONE_HOT_SIZE = (1_000_000, 100_000, 10), (5_000, 500, 5)
RIDGE_ALPHA = 1.0
OURS = "TorchSGDRegressor(penalty='l2')"
PEER = "Ridge(solver='sparse_cg')"
EXCESSES = (1e-6, 1e-8)
TOLS, QUICK_TOLS = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12), (1e-6, 1e-12)
# A model is not asked for more digits once a fit took so long.
LONGEST_SECONDS = 30.0


def sparse_cases(repeats, budget, quick=False):
    """Map the name of each case to the function that runs it."""
    ridge, one_hot = (QUICK_SIZE, QUICK_ONE_HOT_SIZE) if quick else (SIZE, ONE_HOT_SIZE)
    tols = QUICK_TOLS if quick else TOLS
    runs = {
        "ridge": (ridge, partial(compare_ridge, ridge, tols, repeats, budget)),
        "one-hot": (one_hot, partial(measure_one_hot, one_hot)),
    }
    return {
        f"sparse/{kind}/{rows}x{columns}/{entries} a row": run
        for kind, ((rows, columns, entries), run) in runs.items()
    }


def compare_ridge(size, tols, repeats, budget):
    """Time the models with the largest tolerance that brings each near enough to the best."""
    X, y = random_rows(*size)
    reached = {name: at_every_tol(name, X, y, tols) for name in MODELS}
    best = min(run["objective"] for runs in reached.values() for run in runs)
    rows = [
        record
        for excess in EXCESSES
        for record in _race(excess, reached, best, X, y, repeats, budget)
    ]
    work = asdict(sparse_work(X))
    return {"matrix_bytes": matrix_bytes(X), "reached": reached, "rows": rows, "work": work}


def measure_one_hot(size):
    """Fit and predict in a process of its own; return what that takes beyond the matrix."""
    if not peak.STATUS.exists():
        return {"rows": [{"model": OURS, "left_out": peak.UNKNOWN}]}
    X, y = one_hot_rows(*size)
    record = {"model": OURS, "matrix_bytes": matrix_bytes(X)}
    for title, task in (("fit", tasks.fit), ("predict", tasks.predict)):
        took = extra_bytes(Model(OURS, _ours(len(y), TorchSGDRegressor().tol), task=task), X, y)
        if "left_out" in took:
            return {"rows": [{"model": OURS} | took]}
        record |= {title: took["seconds"], f"{title}_bytes": took["extra_bytes"]}
    return {"rows": [record]}


def at_every_tol(name, X, y, tols):
    """Fit with one tolerance after the other; return what each reaches."""
    runs, ours = [], MODELS[OURS](len(y), 0)()
    first = ridge_at(name, len(y), tols[0])
    with stored(X, y) as folder, running([first], folder) as sides:
        for tol in tols:
            sides[name].wait()
            sides[name].begin(ridge_at(name, len(y), tol), folder)
            found = warm_up(sides)[name]
            if not found.works:
                raise RuntimeError(f"{name} with tol={tol:g} {found.remarks[0]}")
            at = found.answer["coef"], found.answer["intercept"]
            runs.append({"tol": tol, "objective": penalised_loss(ours, X, y, *at)})
            if found.seconds > LONGEST_SECONDS:
                break
    return runs


def ridge_at(name, n_rows, tol):
    """Return one of the two models with a tolerance."""
    return Model(name, MODELS[name](n_rows, tol))


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
    return partial(TorchSGDRegressor, penalty="l2", alpha=RIDGE_ALPHA / n_rows, tol=tol)


def _peer(n_rows, tol):
    return partial(Ridge, RIDGE_ALPHA, solver="sparse_cg", tol=tol, max_iter=100_000)


MODELS = {OURS: _ours, PEER: _peer}


def _race(excess, reached, best, X, y, repeats, budget):
    """Time each model with the largest of the tolerances that are small enough."""
    chosen = {
        name: next((run for run in runs if run["objective"] / best - 1 <= excess), None)
        for name, runs in reached.items()
    }
    models = [ridge_at(name, len(y), run["tol"]) for name, run in chosen.items() if run]
    raced = {}
    if models:
        record = race(OURS, models, X, y, lambda found: {}, repeats, budget)
        raced = {row["model"]: row for row in record["rows"]}
    if OURS not in raced:
        raced = {name: row | {"ratio": None} for name, row in raced.items()}
    records = []
    for name, run in chosen.items():
        if run is None:
            nearest = min(run["objective"] for run in reached[name]) / best - 1
            left_out = f"comes within {nearest:.1e} at best"
            records.append({"model": name, "wanted": excess, "left_out": left_out})
        else:
            at = {"wanted": excess, "tol": run["tol"], "excess": run["objective"] / best - 1}
            records.append(raced[name] | at)
    return records

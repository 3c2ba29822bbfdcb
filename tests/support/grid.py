"""Which loss goes with which penalty, solver and source, as small fits show it.

``python -m tests.support.grid`` writes ``docs/grid.md``.
"""

import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import scipy.sparse
import torch

from skorchlite import TorchGroupedRegressor, TorchSGDRegressor, TorchSGDRegressorCV
from skorchlite._objective.losses import LOG_LINKS, LOSSES

PAGE = Path(__file__).parents[2] / "docs" / "grid.md"
N_ROWS = 120


def mine(y_pred, y_true):
    """Return a loss that is given as a callable."""
    return (y_pred - y_true).abs() ** 1.5


ALL = {**{f'`"{name}"`': name for name in (*LOSSES, *LOG_LINKS)}, "a callable": mine}
PENALTIES = {
    "none": {},
    '"l2"': {"penalty": "l2", "alpha": 0.1},
    '"l1"': {"penalty": "l1", "alpha": 0.1},
    '"elasticnet"': {"penalty": "elasticnet", "alpha": 0.1},
    "`positive`": {"positive": True},
}
SOLVERS = {
    '"newton"': {"solver": "newton"},
    '"gradient"': {"solver": "gradient"},
    "batches": {"batch_size": 30, "tol": 1e-4, "max_iter": 300},
    '"adam"': {"solver": "adam", "tol": 1e-3, "max_iter": 300},
    "a given step": {"learning_rate": 0.01, "max_iter": 3, "tol": None},
}


def data():
    """Return columns and targets above zero."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, 3))
    return X, np.exp(X @ [0.3, -0.2, 0.1] + 0.3 * rng.standard_normal(N_ROWS))


def blocks(X, y):
    """Return the rows in blocks."""
    return [(X[i : i + 40], y[i : i + 40]) for i in range(0, N_ROWS, 40)]


def grouped(loss, X, y):
    """Return the models of three groups."""
    keys = np.repeat([0.0, 1.0, 2.0], N_ROWS // 3)
    return TorchGroupedRegressor(groups=0, loss=loss).fit(np.column_stack((keys, X)), y)


SOURCES = {
    "arrays": lambda loss, X, y: TorchSGDRegressor(loss).fit(X, y),
    "tensors": lambda loss, X, y: TorchSGDRegressor(loss).fit(*map(torch.from_numpy, (X, y))),
    "sparse": lambda loss, X, y: TorchSGDRegressor(loss).fit(scipy.sparse.csr_array(X), y),
    "blocks": lambda loss, X, y: TorchSGDRegressor(loss).fit(blocks(X, y)),
    "a generator": lambda loss, X, y: TorchSGDRegressor(loss).fit(iter(blocks(X, y))),
    "Dask": lambda loss, X, y: TorchSGDRegressor(loss).fit(*map(da.from_array, (X, y))),
    "`partial_fit`": lambda loss, X, y: TorchSGDRegressor(loss).partial_fit(X, y),
    "search": lambda loss, X, y: TorchSGDRegressorCV(loss, alphas=[1.0, 0.1], cv=3).fit(X, y),
    "groups": grouped,
}


def outcome(make):
    """Return a mark for a fit: with a bound, without one, or refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = make()
        except (ValueError, TypeError):
            return "no"
    return "●" if np.isfinite(model.optimality_).all() else "○"


def table(head, cells):
    """Return a table of Markdown: a row a loss."""
    lines = [["loss", *head], ["---"] * (len(head) + 1), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows(columns, make):
    """Return the cells of a table."""
    X, y = data()
    return [
        [name]
        + [outcome(lambda one=one, loss=loss: make(loss, one, X, y)) for one in columns.values()]
        for name, loss in ALL.items()
    ]


def fitted(loss, given, X, y):
    """Return a model with some parameters."""
    return TorchSGDRegressor(loss, random_state=0, **given).fit(X, y)


def page():
    """Return the text of the page."""
    parts = [
        "# What goes with what",
        "Each cell is a small fit, which a test makes anew. ●: with a computed bound on how far "
        "the objective may be above its least; ○: without one; no: refused, by an error that "
        "says why.",
        "## Penalties",
        table(PENALTIES, rows(PENALTIES, fitted)),
        "## Solvers",
        table(SOLVERS, rows(SOLVERS, fitted)),
        "## Sources and other estimators",
        table(SOURCES, rows(SOURCES, lambda loss, fit, X, y: fit(loss, X, y))),
        "A generator can be read once, and that is enough for squared error. Each penalty goes "
        "with each source, and cards, Dask and `torchrun` compute the same sums.",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Memory of a fit beyond the data, each measured in a process of its own."""

from functools import partial

from benchmarks.measure import peak
from benchmarks.measure.model import Model
from benchmarks.measure.sides import extra_bytes
from benchmarks.suites.cases import Case, polynomial_cases
from benchmarks.suites.models import CLOSED_FORM, OURS, polynomial_models, ridge_models
from skorchlite import TorchSGDRegressor

WARM_UP_ROWS = 1_000
WIDE, WIDE_WARM_UP_ROWS = 50, 100  # of many terms, which take memory for each row
# Rows that are kept and working sets take memory of their own.
OTHERS = [
    Model("TorchSGDRegressor('quantile')", partial(TorchSGDRegressor, "quantile")),
    Model(
        "TorchSGDRegressor(penalty='l1', alpha=0.1)",
        partial(TorchSGDRegressor, penalty="l1", alpha=0.1),
    ),
]


def memory_cases(quick=False):
    """List the cases whose peak memory is measured."""
    return [
        Case(*((1_000, 10) if quick else (1_000_000, 50)), "float64"),
        *(case for case in polynomial_cases(quick) if case.dtype == "float64"),
        Case(*((300, 10) if quick else (20_000, 50)), "float64", degree=3, source="ridge"),
    ]


def measure(case):
    """Measure the extra peak memory of ours and of the closed form, a fresh process each."""
    models = _models(case)
    if not peak.STATUS.exists():
        return {"rows": [{"model": model.name, "left_out": peak.UNKNOWN} for model in models]}
    X, y = case.data()
    few = WARM_UP_ROWS if case.n_columns < WIDE else WIDE_WARM_UP_ROWS
    size = {"data_bytes": X.nbytes + y.nbytes}
    return {
        "rows": [{"model": model.name} | size | extra_bytes(model, X, y, few) for model in models]
    }


def _models(case):
    if case.source == "ridge":
        return ridge_models(case.degree, case.n_rows)
    return polynomial_models(case.degree) if case.degree > 1 else [OURS, *OTHERS, CLOSED_FORM]

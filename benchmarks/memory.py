"""Memory of a fit beyond the data, each measured in a process of its own."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

from benchmarks.cases import (
    DEGREE,
    POLYNOMIAL_SIZE,
    QUICK_POLYNOMIAL_SIZE,
    Case,
)
from benchmarks.models import CLOSED_FORM, OURS, Model, polynomial_models
from skorchlite import TorchSGDRegressor

STATUS = Path("/proc/self/status")
WARM_UP_ROWS = 1_000
# Rows that are kept and working sets take memory of their own.
OTHERS = [
    Model("TorchSGDRegressor('quantile')", lambda: TorchSGDRegressor("quantile")),
    Model(
        "TorchSGDRegressor(penalty='l1', alpha=0.1)",
        lambda: TorchSGDRegressor(penalty="l1", alpha=0.1),
    ),
]


def memory_cases(quick=False):
    """List the cases whose peak memory is measured."""
    return [
        Case(*((1_000, 10) if quick else (1_000_000, 50)), "float64"),
        Case(*(QUICK_POLYNOMIAL_SIZE if quick else POLYNOMIAL_SIZE), "float64", degree=DEGREE),
    ]


def measure(case):
    """Measure the extra peak memory of ours and of the closed form, a fresh process each."""
    models = _models(case.degree)
    return {"rows": [{"model": model.name, **_probe(case, i)} for i, model in enumerate(models)]}


def extra_peak(case, model):
    """Return the bytes by which fitting raises this process's peak above the data in memory."""
    X, y = case.data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Libraries load code and start threads on first use, which belongs to no fit.
        model.build().fit(X[:WARM_UP_ROWS].copy(), y[:WARM_UP_ROWS].copy())
        forget_peak()
        before = status_bytes("VmRSS")
        model.build().fit(X, y)
    return {"data_bytes": X.nbytes + y.nbytes, "extra_bytes": status_bytes("VmHWM") - before}


def status_bytes(field):
    """Return a size that the system keeps of this process."""
    # Not getrusage: a child's ru_maxrss starts at the peak of the process that started it.
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


def forget_peak():
    """Let the peak of this process be that from now on."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        # Then an earlier peak stays in the number, which can only make it larger.
        return


def _models(degree):
    return polynomial_models(degree) if degree > 1 else [OURS, *OTHERS, CLOSED_FORM]


def _probe(case, index):
    if not STATUS.exists():
        return {"left_out": "peak memory is read from Linux's /proc"}
    request = json.dumps([case.n_rows, case.n_columns, case.dtype, case.degree, index])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", request],
        cwd=Path(__file__).parents[1],
        # Else glibc may keep what making the data freed, and the fit would take it unseen.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)},
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode != 0:
        return {"left_out": done.stderr.strip().splitlines()[-1] if done.stderr else "no answer"}
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    *fields, index = json.loads(sys.argv[1])
    case = Case(*fields)
    print(json.dumps(extra_peak(case, _models(case.degree)[index])))

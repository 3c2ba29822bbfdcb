"""Memory of a fit beyond the data, each measured in a process of its own."""

import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import astuple
from pathlib import Path

from benchmarks.suites.cases import Case, polynomial_cases
from benchmarks.suites.models import CLOSED_FORM, OURS, Model, polynomial_models, ridge_models
from skorchlite import TorchSGDRegressor

STATUS = Path("/proc/self/status")
WARM_UP_ROWS = 1_000
WIDE, WIDE_WARM_UP_ROWS = 50, 100  # of many terms, which take memory for each row
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
        *(case for case in polynomial_cases(quick) if case.dtype == "float64"),
        Case(*((300, 10) if quick else (20_000, 50)), "float64", degree=3, source="ridge"),
    ]


def measure(case):
    """Measure the extra peak memory of ours and of the closed form, a fresh process each."""
    models = _models(case)
    return {"rows": [{"model": model.name, **_probe(case, i)} for i, model in enumerate(models)]}


def extra_peak(case, model):
    """Return the bytes by which fitting raises this process's peak above the data in memory."""
    X, y = case.data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Libraries load code and start threads on first use, which belongs to no fit.
        few = slice(WARM_UP_ROWS if case.n_columns < WIDE else WIDE_WARM_UP_ROWS)
        model.build().fit(X[few].copy(), y[few].copy())
        forget_peak()
        before, start = status_bytes("VmRSS"), time.perf_counter()
        model.build().fit(X, y)
        seconds = time.perf_counter() - start
    extra = status_bytes("VmHWM") - before
    return {"data_bytes": X.nbytes + y.nbytes, "extra_bytes": extra, "seconds": seconds}


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


def _models(case):
    if case.source == "ridge":
        return ridge_models(case.degree, case.n_rows)
    return polynomial_models(case.degree) if case.degree > 1 else [OURS, *OTHERS, CLOSED_FORM]


def _probe(case, index):
    if not STATUS.exists():
        return {"left_out": "peak memory is read from Linux's /proc"}
    request = json.dumps([*astuple(case), index])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.suites.memory", request],
        cwd=Path(__file__).parents[2],
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
    print(json.dumps(extra_peak(case, _models(case)[index])))

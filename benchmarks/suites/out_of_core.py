"""Fits of files that are larger than the memory allowed, against reading them and no more.

Each run is a process of its own. What is timed is between opening the files and the end of the sum
or the fit; the pages of the files are dropped from the cache before.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure.big_files import (
    N_COLUMNS,
    NUMBERS,
    QUICK_NUMBERS,
    BigFiles,
    column_scales,
    forget_pages,
    open_columns,
    open_targets,
)
from benchmarks.measure.children import ChildError, ask
from benchmarks.measure.oracle import scaled_error
from benchmarks.measure.peak import status_bytes
from benchmarks.measure.turns import median_ratio, times_of

CAP = 1 << 30
ROUNDS, QUICK_ROUNDS = 3, 1
BLOCK_BYTES = 8 << 20
READ, FIT = "read and sum", "TorchSGDRegressor().fit"
MAPPED, PARQUET = "memory-mapped", "Parquet"
IN_MEMORY = "in memory"
BATCHES_AHEAD = 4


def out_of_core_cases(quick=False):
    """Map the name of each case to the function that runs it."""
    files = BigFiles(QUICK_NUMBERS if quick else NUMBERS)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    kinds = [(MAPPED, N_COLUMNS), (MAPPED, N_COLUMNS // 2), (PARQUET, N_COLUMNS)]
    return {
        f"out of core/{kind}/{files.n_numbers // columns}x{columns}": partial(
            compare_reading, files, kind, columns, rounds
        )
        for kind, columns in kinds
    }


def compare_reading(files, kind, n_columns, rounds):
    """Read, and fit, in turn; then compare the coefficients with those of a fit in memory."""
    reason = files.why_not()
    if reason is not None:
        return {"rows": [{"model": FIT, "left_out": reason}]}
    x, y = files.mapped(n_columns)
    where = [str(files.parquet())] if kind == PARQUET else [str(x), str(y)]
    read = [file for place in where for file in _files_of(Path(place))]
    runs = {READ: [], FIT: []}
    usages = {READ: [], FIT: []}
    for _ in range(rounds):
        for model, answers in runs.items():
            forget_pages(*read)
            try:
                answer, usage = ask(__spec__.name, [model, kind, n_columns, *where], CAP)
            except ChildError as error:
                answer, usage = {"failed": str(error)}, None
            answers.append(answer)
            usages[model].append(usage)
    if n_columns not in files.answers:
        files.answers[n_columns] = _in_memory(n_columns, x, y)
    expected = files.answers[n_columns]
    return {
        "bytes": sum(file.stat().st_size for file in read),
        "cap_bytes": CAP,
        "rows": [_record(model, runs, usages, expected, n_columns) for model in runs],
    }


def race_reading(files, rounds, most):
    """Compare a fit of Parquet files with reading them, as a line of the table of peers.

    The ratio is that of the reading to the fit; it is to be at least that of a fit of `most`
    times the reading.
    """
    record = compare_reading(files, PARQUET, N_COLUMNS, rounds)
    rows = {row["model"]: row for row in record["rows"]}
    failed = [row["left_out"] for row in record["rows"] if "left_out" in row]
    if failed:
        return {"rows": [{"model": model, "remarks": failed[:1]} for model in (FIT, READ)]}
    fit, read = rows[FIT]["seconds"], rows[READ]["seconds"]
    return {
        "rows": [
            {"model": FIT, "remarks": []} | times_of(fit, fit),
            {"model": READ, "remarks": [], "wanted": 1 / most} | times_of(read, fit),
        ]
    }


def main(model, kind, n_columns, *where):
    """Do one run; return what it took."""
    before = status_bytes("VmRSS")
    start = time.perf_counter()
    answer = RUNS[kind, model](n_columns, *where)
    return answer | {
        "seconds": time.perf_counter() - start,
        "before_bytes": before,
        "peak_bytes": status_bytes("VmHWM"),
    }


def sum_mapped(n_columns, x, y):
    """Sum slices of the maps."""
    total = 0.0
    for array in (open_columns(x, n_columns), open_targets(y)):
        size = BLOCK_BYTES // array.strides[0]
        for start in range(0, len(array), size):
            total += float(array[start : start + size].sum())
    return {"sum": total}


def fit_mapped(n_columns, x, y):
    """Fit the maps."""
    return _fit(open_columns(x, n_columns), open_targets(y))


def sum_parquet(n_columns, folder):
    """Sum the columns of the batches of a dataset, read as needed: else Arrow holds files whole."""
    from pyarrow import compute, dataset

    options = dataset.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
    batches = dataset.dataset(folder).to_batches(
        batch_size=BLOCK_BYTES // (8 * n_columns),
        batch_readahead=BATCHES_AHEAD,
        fragment_readahead=1,
        fragment_scan_options=options,
    )
    sums = [compute.sum(column).as_py() for batch in batches for column in batch.columns]
    return {"sum": sum(sums)}


def fit_parquet(n_columns, folder):
    """Fit the dataset."""
    from skorchlite import arrow_blocks

    return _fit(arrow_blocks(folder, target="y"))


def fit_in_memory(n_columns, x, y):
    """Fit the same numbers in memory."""
    return _fit(np.fromfile(x).reshape(-1, n_columns), np.fromfile(y))


RUNS = {
    (MAPPED, READ): sum_mapped,
    (MAPPED, FIT): fit_mapped,
    (PARQUET, READ): sum_parquet,
    (PARQUET, FIT): fit_parquet,
    (IN_MEMORY, FIT): fit_in_memory,
}


def _fit(*data):
    from skorchlite import TorchSGDRegressor

    fitted = TorchSGDRegressor().fit(*data)
    return {"coef": fitted.coef_.tolist(), "intercept": fitted.intercept_}


def _in_memory(n_columns, x, y):
    """Return the coefficients of a fit in memory, or why there are none."""
    try:
        return ask(__spec__.name, [FIT, IN_MEMORY, n_columns, str(x), str(y)])[0]
    except ChildError as error:
        return {"failed": str(error)}


def _record(model, runs, usages, expected, n_columns):
    answers = runs[model]
    failed = [answer["failed"] for answer in answers if "failed" in answer]
    if failed:
        return {"model": model, "left_out": f"failed: {failed[0]}"}
    seconds = [answer["seconds"] for answer in answers]
    record = {
        "model": model,
        "seconds": seconds,
        "median": median(seconds),
        "capped_by": usages[model][0].capped_by,
        "group_bytes": _largest(usage.group_bytes for usage in usages[model]),
        "anonymous_bytes": _largest(usage.anonymous_bytes for usage in usages[model]),
        "peak_bytes": _largest(answer["peak_bytes"] for answer in answers),
        "before_bytes": _largest(answer["before_bytes"] for answer in answers),
    }
    if model == FIT and not any("failed" in answer for answer in runs[READ]):
        reading = [answer["seconds"] for answer in runs[READ]]
        record["ratio"] = median_ratio(seconds, reading)
    if model == FIT and "coef" in expected:
        coef, exact = np.array(answers[-1]["coef"]), np.array(expected["coef"])
        record["coef_difference"] = scaled_error(coef, exact, column_scales(n_columns))
    elif model == FIT:
        record["no_difference"] = expected["failed"]
    return record


def _largest(values):
    return max((value for value in values if value is not None), default=None)


def _files_of(place):
    return sorted(place.iterdir()) if place.is_dir() else [place]


if __name__ == "__main__":
    print(json.dumps(main(*json.loads(sys.argv[1]))))

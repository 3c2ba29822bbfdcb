"""What a fit takes on a card, beside a copy of as many bytes and beside the processor.

``python -m benchmarks --rows card`` runs all of it, in at most ``SECONDS``: what no time is left
for is left out. The tests of cards come first, as figures of wrong answers would be worth nothing.
"""

import re
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from statistics import median

import torch

from skorchlite import TorchSGDRegressor

SECONDS = 480  # of all cases together
TEST_SECONDS = 150
N_COLUMNS = 50
MOST_BYTES, QUICK_BYTES = 8_000_000_000, 8_000_000
SHARE_OF_FREE = 0.2
ROUNDS = 5
WANTED_SHARE = 0.7  # of the bandwidth of a copy
FITS_SHAPE, QUICK_FITS_SHAPE = (10_000_000, 100), (5_000, 5)
BATCHES_SHAPE, QUICK_BATCHES_SHAPE = (1_000_000, 50), (5_000, 5)
NO_CARD, NO_TIME, NO_ROOM = "no card here", "no time was left", "no memory was left"
ON_CARD = "in the memory of the card"
PINNED, FROM_HOST = "in pinned memory of the host", "in the memory of the host"
FITS = {
    "squared error": {},
    "huber": {"loss": "huber", "epsilon": 1.35},
    "quantile": {"loss": "quantile", "quantile": 0.5},
}
EPOCH = {
    "batch_size": 512,
    "solver": "sgd",
    "learning_rate": 0.001,
    "preconditioner": None,
    "max_iter": 1,
    "tol": None,
    "random_state": 0,
}
TESTS = Path(__file__).parents[2] / "tests" / "system" / "test_cuda.py"


def card_cases(quick=False):
    """Map the names of the cases to the functions that run them, in this order."""
    clock = _Clock()
    fits = QUICK_FITS_SHAPE if quick else FITS_SHAPE
    batches = QUICK_BATCHES_SHAPE if quick else BATCHES_SHAPE
    cases = {
        "card/tests": partial(run_tests, quick),
        "card/bandwidth": partial(measure_bandwidth, QUICK_BYTES if quick else MOST_BYTES),
        "card/fits": partial(beside_processor, *fits, FITS),
        "card/batches": partial(beside_processor, *batches, {"one epoch, batches of 512": EPOCH}),
    }
    return {name: partial(_on_card, run, clock) for name, run in cases.items()}


class _Clock:
    """The time that is left, from when it is first asked for."""

    def __init__(self):
        self.end = None

    @property
    def left(self):
        now = time.monotonic()
        self.end = self.end or now + SECONDS
        return self.end - now


def _on_card(run, clock):
    if not torch.cuda.is_available():
        return {"rows": [{"where": ON_CARD, "left_out": NO_CARD}]}
    return {"rows": list(run(clock))}


def run_tests(quick, clock):
    """Run the tests of cards in a process of their own, and say how many passed."""
    if quick or not TESTS.exists():
        yield {"where": ON_CARD, "left_out": "not in this run"}
        return
    limit = min(TEST_SECONDS, clock.left)
    command = [sys.executable, "-m", "pytest", "-m", "not exhaustive", str(TESTS)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        yield {"where": ON_CARD, "left_out": f"the tests took more than {limit:.0f} s"}
        return
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    counted = re.search(r"\d+ (?:passed|failed).*", done.stdout)
    yield {"where": ON_CARD, "tests": counted[0] if counted else "none ran", "failed": failed}


def measure_bandwidth(most_bytes, clock):
    """Time fits, and copies of as many bytes; a fit reads each row once or more."""
    n_bytes = min(most_bytes, SHARE_OF_FREE * torch.cuda.mem_get_info()[0])
    for dtype in (torch.float64, torch.float32):
        if clock.left < 0:
            yield {"where": ON_CARD, "dtype": str(dtype), "left_out": NO_TIME}
            continue
        X, y = _rows(int(n_bytes) // (dtype.itemsize * N_COLUMNS), N_COLUMNS, dtype)
        record = partial(_record, dtype=dtype, size=X.nbytes + y.nbytes)
        other = torch.empty_like(X)
        # A copy reads and writes.
        copied = 2 * X.nbytes / _seconds(lambda X=X, other=other: other.copy_(X), clock)
        yield record(ON_CARD, _seconds(partial(_fit, X, y), clock), copied)
        del other
        here = X.cpu(), y.cpu()
        del X, y
        pinned = [part.pin_memory() for part in here]
        target = torch.empty_like(pinned[0], device="cuda")
        move = partial(target.copy_, pinned[0], non_blocking=True)
        sent = pinned[0].nbytes / _seconds(move, clock)
        del target, move
        yield record(PINNED, _seconds(partial(_fit, *pinned), clock), sent)
        del pinned
        arrays = [part.numpy() for part in here]
        yield record(FROM_HOST, _seconds(partial(_fit, *arrays), clock), sent)
        del here, arrays
        torch.cuda.empty_cache()


def beside_processor(n_rows, n_columns, models, clock):
    """Time each model on rows in the memory of the card, and on the same rows on the processor."""
    try:
        data = _rows(n_rows, n_columns, torch.float32)
        here = [part.cpu() for part in data]
    except (torch.OutOfMemoryError, MemoryError):
        yield {"where": ON_CARD, "left_out": NO_ROOM}
        return
    for name, parameters in models.items():
        row = {"where": ON_CARD, "fit": name, "n_rows": n_rows, "n_columns": n_columns}
        for device, given in (("cuda", data), ("cpu", here)):
            if clock.left < 0:
                row[device] = NO_TIME
                continue
            fit = partial(_fit, *given, device=device, **parameters)
            row[device] = _seconds(fit, clock, rounds=ROUNDS if device == "cuda" else 1)
        yield row


def _fit(X, y, device="cuda", **parameters):
    with warnings.catch_warnings():  # an epoch is no fit to the optimum, which it says
        warnings.simplefilter("ignore")
        return TorchSGDRegressor(device=device, **parameters).fit(X, y)


def _record(where, seconds, bandwidth, dtype, size):
    return {
        "where": where,
        "dtype": str(dtype).removeprefix("torch."),
        "bytes": size,
        "median": seconds,
        "bytes_per_second": size / seconds,
        "copy_bytes_per_second": bandwidth,
        "fraction": size / seconds / bandwidth,
    }


def _rows(n_rows, n_columns, dtype):
    generator = torch.Generator("cuda").manual_seed(0)
    made = {"generator": generator, "device": "cuda", "dtype": dtype}
    X = torch.randn(n_rows, n_columns, **made)
    y = X @ torch.randn(n_columns, **made) + torch.randn(n_rows, **made)
    return X, y


def _seconds(call, clock, rounds=ROUNDS):
    """Return the median time of a call, after one to warm up where there are several rounds."""
    if rounds > 1:
        call()
    seconds = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        if clock.left < seconds[-1]:
            break
    return median(seconds)

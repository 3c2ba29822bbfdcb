"""How much of a card's bandwidth a fit uses: of its memory, and of the way to it from the host."""

import time
from functools import partial
from statistics import median

import torch

from skorchlite import TorchSGDRegressor

N_COLUMNS = 50
MOST_BYTES, QUICK_BYTES = 8_000_000_000, 8_000_000
SHARE_OF_FREE = 0.2
ROUNDS = 5
NO_CARD = "no card here"
ON_CARD, FROM_HOST = "in the memory of the card", "in the memory of the host"


def card_cases(quick=False):
    """Map the name of the case to the function that runs it."""
    return {"card/bandwidth": partial(measure_bandwidth, QUICK_BYTES if quick else MOST_BYTES)}


def measure_bandwidth(most_bytes):
    """Time fits, and copies of as many bytes; a fit reads each row once or more."""
    if not torch.cuda.is_available():
        return {"rows": [{"where": ON_CARD, "left_out": NO_CARD}]}
    n_bytes = min(most_bytes, SHARE_OF_FREE * torch.cuda.mem_get_info()[0])
    rows = []
    for dtype in (torch.float64, torch.float32):
        X, y = _rows(int(n_bytes) // (dtype.itemsize * N_COLUMNS), dtype)
        size = X.nbytes + y.nbytes
        other = torch.empty_like(X)
        # A copy reads and writes.
        copied = 2 * X.nbytes / _seconds(lambda X=X, other=other: other.copy_(X))
        rows.append(_record(ON_CARD, dtype, size, _seconds(partial(_fit, X, y)), copied))
        del other
        host_X, host_y = X.cpu(), y.cpu()
        del X, y
        part = torch.empty(1 << 28, dtype=torch.uint8).pin_memory()
        target = torch.empty_like(part, device="cuda")
        sent = part.nbytes / _seconds(lambda part=part, target=target: target.copy_(part))
        arrays = host_X.numpy(), host_y.numpy()
        rows.append(_record(FROM_HOST, dtype, size, _seconds(partial(_fit, *arrays)), sent))
        del host_X, host_y, arrays, part, target
        torch.cuda.empty_cache()
    return {"rows": rows}


def _fit(X, y):
    return TorchSGDRegressor(device="cuda").fit(X, y)


def _record(where, dtype, size, seconds, bandwidth):
    return {
        "where": where,
        "dtype": str(dtype).removeprefix("torch."),
        "bytes": size,
        "median": seconds,
        "bytes_per_second": size / seconds,
        "copy_bytes_per_second": bandwidth,
        "fraction": size / seconds / bandwidth,
    }


def _rows(n_rows, dtype):
    generator = torch.Generator("cuda").manual_seed(0)
    made = {"generator": generator, "device": "cuda", "dtype": dtype}
    X = torch.randn(n_rows, N_COLUMNS, **made)
    y = X @ torch.randn(N_COLUMNS, **made) + torch.randn(n_rows, **made)
    return X, y


def _seconds(call):
    call()
    seconds = []
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return median(seconds)

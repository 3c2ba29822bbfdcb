"""Which device and dtype a fit computes in."""

from typing import Any

import torch

from .conversion import is_single

FLOATS = {"float32": torch.float32, "float64": torch.float64}


_MANY_COLUMNS = 256


def resolve_device(device: Any, X: Any) -> torch.device:
    """Return the torch device to compute on.

    "auto" is where a tensor lives, else a CUDA card if there is one and the data is large enough
    (16 MB) for the work to pay for the transfer, else the CPU.
    """
    if isinstance(device, str) and device == "auto":
        if isinstance(X, torch.Tensor):
            return X.device
        pays = X.shape[0] * X.shape[1] >= 2_000_000
        device = "cuda" if pays and torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    # Any of these is what torch raises for a device that is not there, by its kind.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if "fork" in reason:
            raise ValueError(
                f"device={str(device)!r} cannot be used in a process that was forked from one that "
                "uses it. Start the workers by 'spawn' (multiprocessing.set_start_method), as "
                "joblib does by default, or give device='cpu'."
            ) from error
        raise ValueError(
            f"device={str(device)!r} cannot be used on this machine ({reason}). "
            "Give a device that torch can reach here, or device='auto'."
        ) from error
    if device.type == "meta":
        raise ValueError("device='meta' holds no numbers. Give a real device, or device='auto'.")
    return device


def resolve_dtype(dtype: str, X: Any, device: torch.device) -> torch.dtype:
    """Return the torch dtype of the blocks that the sums are made from.

    Sums in single precision take a pass more to correct. "auto" has them where the data is single
    and they save more than that pass: not on a processor, unless the columns are many.
    """
    has_float64 = device.type != "mps"
    if dtype == "auto":
        pays = is_single(X) and (device.type != "cpu" or X.shape[1] >= _MANY_COLUMNS)
        return torch.float32 if pays or not has_float64 else torch.float64
    if dtype == "float64" and not has_float64:
        raise ValueError(
            f"dtype='float64' cannot be used on device {str(device)!r}: it has no double "
            "precision. Use dtype='float32' or dtype='auto' there, or device='cpu'."
        )
    return FLOATS[dtype]

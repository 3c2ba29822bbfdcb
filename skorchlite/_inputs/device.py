"""The device and the dtype that a fit computes in."""

import os
from typing import Any

import torch

FLOATS = {"float32": torch.float32, "float64": torch.float64}

_MANY_ENTRIES = 2_000_000  # of X, from which a card is faster than the CPU
_MANY_COLUMNS = 256  # from which sums in single precision are faster on the CPU


def resolve_device(device: Any, X: Any, distributed: bool = False) -> torch.device:
    """Return the torch device to compute on.

    Parameters
    ----------
    device : str or torch.device
        "auto" is the device of X if that is a tensor; else a CUDA card if there is one and X is
        large enough (16 MB) for the work to pay for the transfer; else the CPU.
    X : array
        The data, checked.
    distributed : bool, default=False
        Whether the processes of torchrun compute together. Each then has a card of its own.

    Returns
    -------
    device : torch.device
        A card with its number. Without one, it would be the current card of whichever thread uses
        it, and the current card of a reader's thread is the first one.
    """
    device = _chosen(device, X)
    if distributed and str(device) == "cuda" and torch.cuda.device_count():
        # torchrun gives every process of a machine a number.
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
    return _usable(device)


def _chosen(device: Any, X: Any) -> Any:
    """Return the device that was asked for; see ``resolve_device``."""
    if not (isinstance(device, str) and device == "auto"):
        return device
    if isinstance(X, torch.Tensor):
        return X.device
    pays = X.shape[0] * X.shape[1] >= _MANY_ENTRIES
    return "cuda" if pays and torch.cuda.is_available() else "cpu"


def _usable(device: Any) -> torch.device:
    """Return a device as torch has it; raise if this process cannot use it."""
    if device == "cpu":
        return torch.device("cpu")
    try:
        usable = torch.empty(0, device=torch.device(device)).device
    # Which of these torch raises for a device that is missing depends on the kind of device.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
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
    if usable.type == "meta":
        raise ValueError("device='meta' holds no numbers. Give a real device, or device='auto'.")
    return usable


def resolve_dtype(
    dtype: str | torch.dtype, single: bool, n_features: int, device: torch.device
) -> torch.dtype:
    """Return the torch dtype of the blocks that the sums are made from.

    Sums in single precision take another pass to correct. So "auto" is single precision only where
    the data is, and where that saves more than the pass: on a card, or with many columns.

    Parameters
    ----------
    dtype : {"auto", "float32", "float64"}, torch.float32 or torch.float64
    single : bool
        Whether the numbers of X carry single precision.
    n_features : int
    device : torch.device
    """
    has_float64 = device.type != "mps"
    dtype = str(dtype).removeprefix("torch.")
    if dtype == "auto":
        pays = single and (device.type != "cpu" or n_features >= _MANY_COLUMNS)
        return torch.float32 if pays or not has_float64 else torch.float64
    if dtype == "float64" and not has_float64:
        raise ValueError(
            f"dtype='float64' cannot be used on device {str(device)!r}: it has no double "
            "precision. Use dtype='float32' or dtype='auto' there, or device='cpu'."
        )
    return FLOATS[dtype]

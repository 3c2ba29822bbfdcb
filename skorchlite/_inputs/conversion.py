"""Arrays of any library in, and results in the kind and namespace of X out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn import get_config

from .._compat import get_namespace_and_device, is_numpy_namespace, move_to

Home = tuple[Any, Any]  # a namespace, and a device of it


def home_of(X: Any) -> Home | None:
    """Return where dispatch wants the results for X; None for NumPy, or without dispatch.

    Results for a dask collection are small, and NumPy's.
    """
    if not get_config()["array_api_dispatch"] or is_dask(X):
        return None
    xp, _, device = get_namespace_and_device(X)
    return None if is_numpy_namespace(xp) else (xp, device)


def returned(result: torch.Tensor, X: Any) -> Any:
    """Return a result in the kind of the array X that it was computed from."""
    if isinstance(X, torch.Tensor):
        return result
    home = home_of(X)
    return to_numpy(result) if home is None else move_to(result, xp=home[0], device=home[1])


def settled(attributes: Mapping[str, Any], X: Any) -> dict[str, Any]:
    """Return attributes, the fitted arrays but names where dispatch wants them for X."""
    home, attributes = home_of(X), dict(attributes)
    if home is None:
        return attributes
    for name, value in attributes.items():
        fitted = name.endswith("_") and isinstance(value, np.ndarray)
        if fitted and value.dtype.kind in "biuf":
            attributes[name] = move_to(value, xp=home[0], device=home[1])
    return attributes


def beside(array: np.ndarray, like: Any) -> Any:
    """Return an array in the namespace and on the device of a fitted one."""
    if isinstance(like, np.ndarray):
        return array
    if isinstance(like, torch.Tensor):
        return torch.tensor(array, device=like.device)
    return like.__array_namespace__().asarray(array, device=like.device)


_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


_NOT_EXCHANGED = (RuntimeError, BufferError, TypeError, ValueError, AttributeError)


def is_dask(X: Any) -> bool:
    """Return whether X is a collection of dask, which need not be there to know."""
    return type(X).__module__.partition(".")[0] in ("dask", "dask_expr")


def native(array: Any) -> Any:
    """Return an array of another library as a tensor, which shares its memory, on its device.

    Anything else comes back as it is.
    """
    if isinstance(array, np.ndarray | torch.Tensor) or not hasattr(array, "__dlpack__"):
        return array
    if hasattr(array, "__arrow_c_array__"):  # in a form of DLPack that is going out of use
        return array
    try:
        return torch.from_dlpack(array)
    except _NOT_EXCHANGED:  # a device, a dtype or missing values that torch does not know
        return move_to(array, xp=np, device="cpu")


def to_numpy(array: Any) -> Any:
    """Return the numbers of a tensor or array as a NumPy array.

    There is no copy where they lie on the CPU in a dtype that NumPy has.
    """
    array = native(array)
    if not isinstance(array, torch.Tensor):
        return array
    wide = array.dtype in _NUMPY_FLOATS or not array.is_floating_point()
    return (array if wide else array.float()).numpy(force=True)


def is_single(X: Any) -> bool:
    """Return whether the numbers of X carry single precision (or less)."""
    if isinstance(X, torch.Tensor):
        return X.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return X.dtype.kind == "f" and X.dtype.itemsize <= 4

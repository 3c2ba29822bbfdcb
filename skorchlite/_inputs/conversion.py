"""Arrays of any library to tensors and NumPy arrays, and results back to the library of X."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn import get_config

from .._compat import get_namespace_and_device, is_numpy_namespace, move_to


def _dispatch_target(X: Any) -> tuple[Any, Any] | None:
    """Return the namespace and the device that scikit-learn's dispatch wants results for X in.

    None means NumPy, which is also where there is no dispatch.
    """
    if not get_config()["array_api_dispatch"]:
        return None
    xp, _, device = get_namespace_and_device(X)
    return None if is_numpy_namespace(xp) else (xp, device)


def result_like(result: torch.Tensor, X: Any) -> Any:
    """Return a result as an array of the kind of X, which it was computed from."""
    if isinstance(X, torch.Tensor):
        return result
    target = _dispatch_target(X)
    return to_numpy(result) if target is None else move_to(result, xp=target[0], device=target[1])


def attributes_like(attributes: Mapping[str, Any], X: Any) -> dict[str, Any]:
    """Return attributes with the fitted numbers where scikit-learn's dispatch wants them for X."""
    target, attributes = _dispatch_target(X), dict(attributes)
    if target is None:
        return attributes
    for name, value in attributes.items():
        fitted = name.endswith("_") and isinstance(value, np.ndarray)
        if fitted and value.dtype.kind in "biuf":
            attributes[name] = move_to(value, xp=target[0], device=target[1])
    return attributes


def array_like(array: np.ndarray, like: Any) -> Any:
    """Return an array in the namespace and on the device of a fitted one."""
    if isinstance(like, np.ndarray) or hasattr(like, "toarray"):
        return array
    if isinstance(like, torch.Tensor):
        return torch.tensor(array, device=like.device)
    return like.__array_namespace__().asarray(array, device=like.device)


_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)  # bfloat16 is none of NumPy's
_NOT_EXCHANGED = (RuntimeError, BufferError, TypeError, ValueError, AttributeError)


def is_dask(X: Any) -> bool:
    """Return whether X is a collection of dask; dask need not be installed."""
    return type(X).__module__.partition(".")[0] in ("dask", "dask_expr")


def native(array: Any) -> Any:
    """Return an array of another library as a tensor on its device, which shares its memory.

    NumPy arrays, and what is no array, are returned as they are.
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

    They are not copied if they are on the CPU and of a dtype that NumPy has.
    """
    array = native(array)
    if not isinstance(array, torch.Tensor):
        return array
    wide = array.dtype in _NUMPY_FLOATS or not array.is_floating_point()
    return (array if wide else array.float()).numpy(force=True)


def to_dense(array: Any) -> Any:
    """Return the numbers of a sparse matrix, a tensor or an array as a NumPy array."""
    return array.toarray() if hasattr(array, "toarray") else to_numpy(array)


def is_single(X: Any) -> bool:
    """Return whether the numbers of X carry single precision (or less)."""
    if isinstance(X, torch.Tensor):
        return X.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return X.dtype.kind == "f" and X.dtype.itemsize <= 4

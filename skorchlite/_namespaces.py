"""Arrays of other namespaces in, results in the namespace of X out (scikit-learn's array API)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn import get_config

from ._arrays import is_dask, to_numpy
from ._compat import get_namespace_and_device, is_numpy_namespace, move_to
from ._sources.views import viewed

Home = tuple[Any, Any]  # a namespace, and a device of it

_DEVICES = "_tensor_devices"  # key of a pickled state


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


def portable(state: dict) -> dict:
    """Return the state of an estimator with NumPy arrays only, and where its tensors were.

    So it can be loaded where there is no such device, or no such namespace.
    """
    devices = {name: str(v.device) for name, v in state.items() if isinstance(v, torch.Tensor)}
    state = {name: _numpy_inside(value) for name, value in state.items()}
    return state | {_DEVICES: devices} if devices else state


def restored(state: dict) -> dict:
    """Return a portable state with its tensors on their devices again, where there are such.

    A copy is thus like its original, and so is what comes back from another process.
    """
    devices = state.get(_DEVICES, {})
    state = {name: value for name, value in state.items() if name != _DEVICES}
    for name, device in devices.items():
        try:
            state[name] = viewed(state[name]).to(device)
        except (RuntimeError, AssertionError, NotImplementedError):
            break  # it stays in NumPy, and predicts anything where dispatch is off
    return state


def _numpy_inside(value: Any) -> Any:
    return tuple(map(_numpy_inside, value)) if type(value) is tuple else to_numpy(value)

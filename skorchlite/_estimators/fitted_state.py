"""The state of an estimator as a pickle holds it, with plain dictionaries for private classes.

A pickle names the module of each class in it. With private ones it would load only as long as no
file is moved, so that objects of these are stored under the names below, which stay the same.
"""

from typing import Any

import torch

from .._inputs.conversion import to_numpy
from .._inputs.group_table import GroupTable
from .._linalg.views import viewed
from .._objective.moments_objective import RunningMoments
from .._objective.whitening import Whitening
from .._polynomials.basis import Basis
from .._polynomials.degrees import Degrees
from .._polynomials.local_powers import LocalPowers
from .._polynomials.multi_index import terms_of
from .._solvers.incremental.averaged_stream import AveragedStream
from .._solvers.incremental.laplace_stream import LaplaceStream
from .._solvers.incremental.learner import IncrementalLearner
from .._solvers.incremental.loop_stream import LoopStream
from .._solvers.incremental.moment_stream import MomentStream
from .._solvers.newton.preconditioner import Metric
from .._solvers.newton.reparametrization import Coordinates
from .._solvers.stochastic.averages import Average, RecentAverage
from .._solvers.stochastic.optimizers import GradientDescent, TorchOptimizer
from .._solvers.stochastic.proximal import CumulativePenalty, ProximalPenalty
from .._solvers.stochastic.schedules import (
    Adaptive,
    Constant,
    InverseScaling,
    Optimal,
    PassiveAggressive,
    Shrinking,
    TorchSchedule,
)
from .._solvers.stochastic.settings import Settings
from .._solvers.stochastic.sgd import Loop
from .._sources.feature_map import IDENTITY, Identity
from .._sources.origin import Origin
from .group_models import Coefficients

_PACKAGE = __name__.partition(".")[0] + "."
_DEVICES = "_tensor_devices"  # key of a pickled state
_KIND = "skorchlite kind"  # of a dictionary that stands for one of our objects
_STORED: tuple[Any, ...] = (
    *(Identity, Basis, Degrees, terms_of, Origin, RunningMoments, Coordinates, Metric),
    *(MomentStream, LaplaceStream, LoopStream, AveragedStream, Loop, Settings),
    *(GroupTable, Coefficients, LocalPowers, Whitening),
    *(GradientDescent, TorchOptimizer, Average, RecentAverage, ProximalPenalty, CumulativePenalty),
    *(Constant, InverseScaling, Optimal, Shrinking, Adaptive, PassiveAggressive, TorchSchedule),
)
_NAMED = {kind.__name__: kind for kind in _STORED}
# Attributes that pickles of version 0.1.0 may have under another name.
_RENAMED = {
    "Loop": {"corners": "proximal"},
    "LoopStream": {"corner": "kinks"},
    "ProximalPenalty": {"corner": "l1"},
    "CumulativePenalty": {"corner": "l1"},
}


def packed(state: dict) -> dict:
    """Return the state of an estimator with plain dictionaries in place of our own objects."""
    return _Walk(_packed_object).through(state)


def unpacked(state: dict) -> dict:
    """Return a packed state with its objects made again."""
    return _Walk(_made_object).through(state)


class _Walk:
    """A change of what containers hold; what is one object before is one object after."""

    def __init__(self, change: Any):
        self.change, self.seen = change, dict[int, Any]()

    def through(self, value: Any) -> Any:
        """Return the value, or what stands in its place."""
        if id(value) not in self.seen:
            # The value is kept as well: another object could have its number else.
            self.seen[id(value)] = value, self._changed(value)
        return self.seen[id(value)][1]

    def _changed(self, value: Any) -> Any:
        kind = type(value)
        if kind in (list, tuple):
            return kind(map(self.through, value))
        if kind is dict and _KIND not in value:
            return {name: self.through(item) for name, item in value.items()}
        return self.change(value, self.through)


def _packed_object(value: Any, through: Any) -> Any:
    kind = type(value)
    if not kind.__module__.startswith(_PACKAGE):
        return value
    make, made_of, *rest = value.__reduce_ex__(2)
    if make.__name__ == "__newobj__":
        make, *made_of = made_of
    name = make.__name__
    if _NAMED.get(name) is not make:
        raise TypeError(f"{kind.__qualname__} has no name that a pickle could store it by.")
    state = rest[0] if rest else None
    return {_KIND: name, "args": through(list(made_of)), "state": through(state)}


def _made_object(value: Any, through: Any) -> Any:
    if type(value) is not dict:
        return value
    make, args, state = _NAMED[value[_KIND]], through(value["args"]), through(value["state"])
    if not isinstance(make, type):
        return make(*args)
    made = make.__new__(make, *args)
    renamed = _RENAMED.get(value[_KIND], {})
    vars(made).update({renamed.get(name, name): part for name, part in (state or {}).items()})
    if isinstance(made, IncrementalLearner) and made.basis is None:  # as version 0.1.0 had it
        made.basis = IDENTITY
    return made


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
            # Any of these is what torch raises for a device that is not there, by its kind. The
            # array stays in NumPy, and predicts anything where dispatch is off.
            break
    return state


def _numpy_inside(value: Any) -> Any:
    return tuple(map(_numpy_inside, value)) if type(value) is tuple else to_numpy(value)

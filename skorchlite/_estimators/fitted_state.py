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
from .._solvers.stochastic.optimizers import OPTIMIZERS, GradientDescent, TorchOptimizer
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
from .plain_values import MAKERS, PARTS, name_of

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
_OPTIMIZERS = (torch.optim.SGD, *OPTIMIZERS.values())
_NAMED: dict[str, Any] = {
    **{kind.__name__: kind for kind in (*_STORED, *_OPTIMIZERS)},
    **MAKERS,
    "optimizer": lambda name: _NAMED[name],
}
_OF_TORCH = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)  # made of a state
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
        kind, plain = type(value), name_of(value) is None
        if kind in (list, tuple) and plain:
            return kind(map(self.through, value))
        if kind is dict and plain and _KIND not in value:
            return {name: self.through(item) for name, item in value.items()}
        return self.change(value, self.through)


def _packed_object(value: Any, through: Any) -> Any:
    name, kind, state = name_of(value), type(value), None
    if name is not None:
        made_of = PARTS[name](value)
    elif kind is type and value in _OPTIMIZERS:
        name, made_of = "optimizer", [value.__name__]
    elif kind.__module__.startswith(_PACKAGE) or isinstance(value, _OF_TORCH):
        make, made_of, *rest = value.__reduce_ex__(2)
        if make.__name__ == "__newobj__":
            make, *made_of = made_of
        name, state = make.__name__, rest[0] if rest else None
        if _NAMED.get(name) is not make:
            if not isinstance(value, _OF_TORCH):
                raise TypeError(f"{kind.__qualname__} has no name that a pickle could store it by.")
            name, made_of = "new", [make]
    else:
        return value
    return {_KIND: name, "args": through(list(made_of)), "state": through(state)}


def _made_object(value: Any, through: Any) -> Any:
    if type(value) is not dict:
        return value
    make, args, state = _NAMED[value[_KIND]], through(value["args"]), through(value["state"])
    own = isinstance(make, type) and make not in MAKERS.values()
    made = make.__new__(make, *args) if own else make(*args)
    if isinstance(made, torch.optim.Optimizer):
        made.__setstate__(state)
    elif state is not None:
        renamed = _RENAMED.get(value[_KIND], {})
        vars(made).update({renamed.get(name, name): part for name, part in state.items()})
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

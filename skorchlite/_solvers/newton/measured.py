"""The gap of a descent by models, once its coefficients are rounded to doubles."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.objective import Objective
from ..._objective.rounded_value import value_as_returned
from ..base import Solution
from .bounds import AtZero
from .data_rounding import rounded_by
from .frame import Frame
from .small_problems import cheap, gather

Array = NDArray[np.float64]

_EXPLAINED = 1e-8  # of the objective at zero: what rounding of coefficients may be, if all is met
_BLURRED = 1e-6  # of the objective: what rounding of the coefficients may cost without a warning
_MET = 1e-4  # of the objective at zero: the same of the coefficients, and not of their parts
_MOST = 1e-3  # of the objective: what it may, where no coefficients of so many digits do better
_SAFETY = 4.0  # rounding of data, in units of eps
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class End:
    """How the descent of a target ended.

    Parameters
    ----------
    value, lower : float
        The objective, and a lower bound on its minimum.
    at_zero : AtZero
    made : float
        How much rounding of the parts whose sums the coefficients are changes the objective.
    """

    value: float
    lower: float
    at_zero: AtZero
    made: float


def measured(objective: Objective, solution: Solution, ends: list[End], frame: Frame) -> Solution:
    """Return a solution with the gap that its coefficients have, which are rounded to doubles.

    It warns of no gap that other coefficients of as many digits would have too.

    Parameters
    ----------
    objective : Objective
    solution : Solution
    ends : list of End
        Of each target.
    frame : Frame
    """
    values = value_as_returned(objective, solution.v, solution.v_low).tolist()
    # Where nothing is lost, and not all is met, there is no need to know what could be.
    clear = all(
        value > _MET * end.at_zero.value and value - end.lower <= _BLURRED * value
        for value, end in zip(values, ends, strict=True)
    )
    changes = None if clear or not cheap(objective) else _changes(objective, solution.v)
    made_off = _made_off(objective)
    gaps, met, worse = [0.0], True, False
    for j, (value, end) in enumerate(zip(values, ends, strict=True)):
        sizes = solution.v[:-1, j].abs()
        off = frame.moved(sizes, end.value)
        change = _SAFETY * off if changes is None else changes[j]
        # Of derived columns we choose the coefficients, and others would have done better.
        moved = 0.0 if objective.basis.derived else change
        nothing = _nothing(objective, end, moved)
        left, zero = max(value - end.lower, 0.0), AtZero(end.at_zero.value, nothing)
        blurred = off + objective.loss.change(float(made_off @ sizes.numpy()), value)
        # The value has a rounding error itself.
        gaps.append(min(zero.relative(left, value) + zero.part(blurred, value), 1.0))
        left += off if objective.basis.derived else 0.0
        unseen = end.at_zero.nothing + _BLURRED * value + min(moved, _MOST * value)
        worse |= value > nothing and left > unseen
        met &= value <= nothing
    if met and solution.status == "stalled_gap":
        return replace(solution, optimality=max(gaps), status="converged")
    status = "stalled_gap" if worse else solution.status
    return replace(solution, optimality=max(*gaps, solution.optimality), status=status)


def _nothing(objective: Objective, end: End, moved: float) -> float:
    """Return how much of the objective counts as rounding, which moves it by so much."""
    nothing, first = end.at_zero.nothing, end.at_zero.value
    if not objective.penalty.unpenalised(objective.n_features).any():
        return nothing
    # Where every row can be met, what is left of the objective is rounding too.
    return max(nothing, explained(end.made, first), min(moved, _MET * first))


def explained(made: float, first: float) -> float:
    """Return what rounding may leave of an objective where every row is met.

    Parameters
    ----------
    made : float
        How much rounding of the parts whose sums the coefficients are changes the objective.
    first : float
        The objective of the constant model.
    """
    return min(_SAFETY * made, _EXPLAINED * first)


def _made_off(objective: Objective) -> Array:
    """Return how far derived columns are from their exact values, where these differ by row.

    A solution is the best one for the columns as they are computed.
    """
    basis = objective.basis
    if basis.rounding.uniform or not cheap(objective):
        return np.zeros(objective.n_features)
    return np.nan_to_num(rounded_by(objective, _EPS), True, 0.0, 0.0, 0.0)


def _changes(objective: Objective, v: Tensor) -> list[float]:
    """Return what rounding coefficients to doubles can add to the objective of each target.

    Of a small problem, row by row: many rows may be where the loss is flat.
    """
    columns, share = gather(objective)
    far, t = objective.origin.shift / objective.origin.unit(), objective.rows.n_targets
    y, Z, w = columns[:, :t], columns[:, t:], v[:-1]
    raw, intercept = Z @ w + v[-1], v[-1] + far[:t] - far[t:] @ w
    sizes = (Z + far[t:]).abs() @ w.abs() + intercept.abs() + (y + far[:t]).abs()
    off, loss = _SAFETY * _EPS * sizes, objective.loss
    higher = torch.maximum(loss.value(y, raw + off), loss.value(y, raw - off))
    return (share @ (higher - loss.value(y, raw))).tolist()

"""What a descent by models ended at, once its coefficients are rounded to doubles."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..._objective.rounded_value import value_as_returned
from ..base import Solution
from .bounds import AtZero
from .data_rounding import rounded_by
from .frame import Frame
from .small_problems import cheap, gather

_EXPLAINED = 1e-8  # of the objective at zero: what rounding of coefficients may be, if all is met
_BLURRED = 1e-6  # of the objective: what rounding of the coefficients may cost without a word
_MET = 1e-4  # the same of the coefficients themselves, not of what they are made of
_MOST = 1e-3  # of the objective: what it may, where no coefficients of so many digits do better
_SAFETY = 4.0  # rounding of data, in units of eps
_EPS = torch.finfo(torch.float64).eps


def measured(
    objective: Objective,
    solution: Solution,
    descents: Sequence[Any],
    frame: Frame,
    made: list[float],
) -> Solution:
    """Return a solution with the gap that its coefficients have, which are rounded to doubles.

    What no other coefficients of so many digits would do better is no reason to warn.

    Parameters
    ----------
    objective : Objective
    solution : Solution
    descents : list
        Of each target: ``at_zero``, the bound ``lower``, the ``curve`` and the ``loss``.
    frame : Frame
    made : list of float
        What rounding of what the coefficients are sums of changes in each objective.
    """
    values = value_as_returned(objective, solution.v, solution.v_low)
    gaps, met, worse = [0.0], True, False
    free = not (objective.penalty.curvature or objective.penalty.corner)
    # Where nothing is lost, and not all is met, there is no need to know what could be.
    clear = all(
        value > _MET * one.at_zero.value and value - one.lower <= _BLURRED * value
        for value, one in zip(values.tolist(), descents, strict=True)
    )
    changes = None if clear or not cheap(objective) else _changes(objective, solution.v)
    made_off = _made_off(objective)
    for j, (value, one) in enumerate(zip(values.tolist(), descents, strict=True)):
        first, nothing = one.at_zero.value, one.at_zero.nothing
        # Coefficients of made terms are ours to choose, and others would have done better.
        off = frame.moved(solution.v[:-1, j].abs(), one.curve[-1])
        change = _SAFETY * off if changes is None else changes[j]
        moved = 0.0 if objective.basis.derived else change
        if free:  # where every row can be met, what is left of the objective is rounding too
            nothing = max(nothing, explained(made[j], first), min(moved, _MET * first))
        left = max(value - one.lower, 0.0)
        zero, sizes = AtZero(first, nothing), solution.v[:-1, j].abs()
        blurred = off + one.loss.change(float(made_off @ sizes), value)
        # The value is off itself.
        gaps.append(min(zero.relative(left, value) + zero.share(blurred, value), 1.0))
        left += off if objective.basis.derived else 0.0
        unseen = one.at_zero.nothing + _BLURRED * value + min(moved, _MOST * value)
        worse |= value > nothing and left > unseen
        met &= value <= nothing
    status, gap = solution.status, max(gaps)
    if met and status == "stalled_gap":
        return replace(solution, optimality=gap, status="converged")
    gap = max(gap, solution.optimality)
    return replace(solution, optimality=gap, status="stalled_gap" if worse else status)


def explained(made: float, first: float) -> float:
    """Return what rounding may leave of an objective, that of the constant, where all is met.

    Parameters
    ----------
    made : float
        What rounding of what the coefficients are sums of changes.
    first : float
    """
    return min(_SAFETY * made, _EXPLAINED * first)


def _made_off(objective: Objective) -> Tensor:
    """Return how far made columns are from what they stand for, where that is not alike in all.

    A solution is the best for the columns as they are made.
    """
    basis = objective.basis
    if basis.rounding.uniform or not cheap(objective):
        return torch.zeros(objective.n_features, dtype=torch.float64)
    return torch.nan_to_num(rounded_by(objective, _EPS), 0.0, 0.0, 0.0)


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

"""Newton steps on losses with a log link, with a dual point at each that bounds what is left.

A pass over the rows makes the loss to second order about a point, whose minimum together with the
penalty is where the next step leads. The slopes that the losses would have there, were they
parabolas, balance the penalty exactly. So they are a dual point, whose value the next pass computes
from the step: a lower bound on the objective. Near the minimum both meet to second order, so that a
last pass needs no curvature. Rows that are too many to be held are begun from the minimum over a
sample of them.

Where rows with targets of zero can be told from the others by the columns, their predictions go to
zero without end. The objective comes as close to its infimum as is asked for all the same.

References
----------
Green (1984), "Iteratively reweighted least squares for maximum likelihood estimation, and some
robust and resistant alternatives", JRSS B 46(2). Albert, Anderson (1984), "On the existence of
maximum likelihood estimates in logistic regression models", Biometrika 71(1).
"""

from dataclasses import replace
from functools import partial
from math import isfinite, nan

import numpy as np
import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..._objective.rounded_value import value_as_returned
from ..base import Solution, SolverControl, summed
from .expanded_rows import HeldRows, ReadRows
from .frame import Frame
from .log_link_descent import SLIGHT_BLUR, Descent, Form
from .small_problems import cheap

_ROOM_ENTRIES = 1 << 21  # of rows that are held: 16 MB
_ROOM_ROWS = 8  # at least, for each coordinate
_SAMPLE = 0.6  # rows of a sample, relative to the room
_SAMPLE_TOL = 1e-4  # its accuracy: the minimum of all rows is further away
_CLOSER = 1e-4  # times the tolerance
_UNRESOLVED = 1e-6  # of the gradient of the constant model: what no direction may have left


def descend_with_log_link(objective: Objective, control: SolverControl) -> Solution:
    """Minimise an objective whose loss is a ``LogLink``; see ``newton``."""
    frame = Frame(objective, control.dtype, control.data_eps)
    objective = frame.objective
    t, d = objective.rows.n_targets, objective.n_features
    form = Form(objective, frame.kinks, frame.curvature)
    room = max(_ROOM_ENTRIES // (d + 1), _ROOM_ROWS * (d + 1))
    rows: HeldRows | ReadRows
    if objective.rows.fewer_than(room + 1):
        rows = held = HeldRows(objective, frame.coordinates)
        closer = _CLOSER * control.gap  # where a step more costs next to nothing
        descents = [
            Descent(form, control, closer, held.constant(j), held.at_zero(j)) for j in range(t)
        ]
    else:
        sample = HeldRows(objective.sampled(int(_SAMPLE * room)), frame.coordinates)
        rough = replace(control, tol=max(control.gap, _SAMPLE_TOL))
        firsts = [
            Descent(form, rough, rough.gap, sample.constant(j), sample.at_zero(j)) for j in range(t)
        ]
        while len(sample.share) and any(advance(sample, firsts)):
            pass
        rows = ReadRows(objective, frame)
        descents = [Descent(form, control, control.gap, one.u, one.at_zero) for one in firsts]
    while any(advance(rows, descents)):
        control.monitor(
            max(one.n_iter for one in descents),
            sum(one.curve[-1] for one in descents),
            max(one.gap for one in descents),
            partial(_solution, descents, frame),
        )
    return _as_returned(_solution(descents, frame), descents)


def advance(rows: HeldRows | ReadRows, descents: list[Descent]) -> list[bool]:
    """Evaluate the next point of each target that goes on; return which do."""
    trials = {j: one.trial() for j, one in enumerate(descents) if not one.status}
    for j, expansion in rows.expanded(trials).items():
        descents[j].advance(expansion)
    return [not one.status for one in descents]


def _solution(descents: list[Descent], frame: Frame) -> Solution:
    """Return the record of all targets so far."""
    unfinished = [one.status for one in descents if one.status != "converged"]
    v = frame.solution(np.stack([one.u for one in descents], 1))
    convex = frame.objective.loss.convex
    status, gap = "converged", max(one.gap for one in descents) if convex else nan
    if unfinished:
        status = min(unfinished) + ("_gap" if convex else "_norm")
        status = "separated" if "separated" in unfinished else status
    if not frame.resolved and not _is_flat(frame, v, descents):
        status, gap = "unresolved", nan
    return Solution(
        objective=frame.objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=max(one.n_iter for one in descents),
        loss_curve=summed([one.curve for one in descents]),
        optimality=gap,
        rank=frame.rank,
        status=status,
        facts={"norm": max(one.norm for one in descents)},
    )


def _is_flat(frame: Frame, v: Tensor, descents: list[Descent]) -> bool:
    """Return whether no slope is left along columns whose directions may not all be resolved."""
    objective, constant = frame.objective, torch.zeros_like(v)
    value, end = objective.evaluate(v)
    _, start = objective.evaluate(constant)
    if objective.fit_intercept:
        constant[-1] = objective.loss.link(1 - start[-1])  # the slope at zero has the mean of y
        _, start = objective.evaluate(constant)
    scale = torch.where(frame.deviation > 0, 1 / frame.deviation, 0.0)
    sizes = [(scale[:, None] * part[:-1]).norm(dim=0) for part in (end, start)]
    nothing = value.new_tensor([one.at_zero.nothing for one in descents])
    return bool(((sizes[0] <= _UNRESOLVED * sizes[1]) | (value <= nothing)).all())


def _as_returned(solution: Solution, descents: list[Descent]) -> Solution:
    """Return a solution with the gap that its coefficients have, which are rounded to doubles."""
    objective = solution.objective
    known = isfinite(solution.optimality) and solution.status != "separated"
    if not (known and cheap(objective)):
        return solution
    values = value_as_returned(objective, solution.v, solution.v_low).tolist()
    gaps = [
        one.at_zero.relative(value - one.lower, value)
        for value, one in zip(values, descents, strict=True)
    ]
    lost = solution.status == "converged" and max(gaps) > max(descents[0].tol, SLIGHT_BLUR)
    status = "stalled_gap" if lost else solution.status
    return replace(solution, optimality=max(*gaps, solution.optimality), status=status)

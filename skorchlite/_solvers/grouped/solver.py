"""Which problems are solved for many groups at a time, and how."""

import torch

from ..._objective.loss import Loss
from ..._objective.penalties import Penalty
from ..._sources.group_batches import GroupBatch
from .kinked_penalties import solve_with_kinks
from .least_squares import solve_quadratics
from .problem import Centred, GroupProblem, GroupSolutions
from .smooth_losses import solve_smooth


def takes_batches(loss: Loss, penalty: Penalty) -> bool:
    """Return whether many groups are solved at a time.

    They are where loss and penalty have a curvature, and for squared error with any penalty.
    """
    return loss.quadratic or (loss.convex and not loss.kinked and penalty.smooth)


def solve_batch(batch: GroupBatch, n_targets: int, problem: GroupProblem) -> GroupSolutions:
    """Return the solutions of the groups of a batch, intercepts for columns from zero.

    The optimality is NaN where no solution was found, and where the terms have lost digits.

    Parameters
    ----------
    batch : GroupBatch
        Its rows change in place.
    n_targets : int
    problem : GroupProblem
    """
    centred = Centred(batch, n_targets, problem.fit_intercept, not problem.loss.residual)
    if not problem.loss.quadratic:
        solutions = solve_smooth(centred, problem)
    elif problem.penalty.smooth:
        solutions = solve_quadratics(centred, problem)
    else:
        solutions = solve_with_kinks(centred, problem)
    solutions.intercept = centred.intercept(solutions)
    if batch.frames is not None:
        solutions.optimality = solutions.optimality.where(~batch.frames.cancelled, torch.nan)
    return solutions

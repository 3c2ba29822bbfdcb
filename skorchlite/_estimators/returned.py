"""How far the objective of the coefficients that are returned may be above its least."""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import numpy as np
import torch

from .._objective.rounded_value import value_from_zero
from .._solvers.base import Solution
from .._solvers.newton.bounds import AtZero
from .._solvers.newton.preconditioner import Metric
from .._solvers.newton.small_problems import cheap
from .._sources.row_source import Rows

_EXPLAINED = 1e-8  # of the objective at zero: what is left of a target that is met is rounding
_ILL = 1e14  # a condition of the Hessian with which predictions have some 9 digits
SEEN = 1e-6  # of the objective: what rounding may add without a word, where no more need be


def count_rounding(
    solution: Solution,
    linear_model: Callable[[], tuple[np.ndarray, np.ndarray, Rows]],
    caller_coef: np.ndarray,
) -> Solution:
    """Return a solution with what rounding its coefficients has added to the objective counted.

    A solver measures the terms of a polynomial from their mean. Predictions are made of
    coefficients for terms as they are, which may cancel each other and so hold fewer digits. Terms
    that are made for a penalty are combined from others, which may be nothing but rounding errors
    on the rows. Squared error is left out where its terms are far from dependent; and so is what is
    large, where another pass over the rows takes time.

    Parameters
    ----------
    solution : Solution
    linear_model : callable
        Returns coefficients of shape (n_targets, n_terms), intercepts of shape (n_targets,), and
        the terms as rows, whose products are the predictions. It is called where these are needed,
        since the terms of sparse columns are made as a whole.
    caller_coef : ndarray of shape (n_targets, n_features)
        What the penalty is on.
    """
    objective = solution.objective
    loss = objective.loss
    known = isfinite(solution.optimality) and loss.convex and objective.origin.scale is None
    if not (known and cheap(objective)):
        return solution
    combined = objective.basis.penalty_root is not None
    if loss.quadratic and not (combined or _is_ill(solution.metric)):
        return solution
    coef, intercept, terms = linear_model()
    returned = value_from_zero(objective, terms, coef, intercept, caller_coef)
    found, _ = objective.evaluate(solution.v, solution.v_low)
    first, _ = objective.evaluate(torch.zeros_like(solution.v))
    triples = zip(first.tolist(), found.tolist(), returned.tolist(), strict=True)
    added = max(AtZero(a, _EXPLAINED * a).relative(c - b, c) for a, b, c in triples)
    gap = min(solution.optimality + added, max(solution.optimality, 1.0))
    lost = added > SEEN and solution.status == "converged"
    return replace(solution, optimality=gap, status="stalled_gap" if lost else solution.status)


def _is_ill(metric: Metric | None) -> bool:
    """Return whether terms are so nearly dependent that their coefficients cancel each other."""
    return metric is not None and metric.condition > _ILL

"""The solvers, and the rule that chooses one."""

from typing import Any

from .gradient import gradient
from .newton import newton
from .solution import MESSAGES

__all__ = ["MESSAGES", "SOLVERS", "choose_solver"]

SOLVERS = {"newton": newton, "gradient": gradient}

_MANY_COLUMNS = 2_000


def choose_solver(solver: str, objective: Any) -> str:
    """Return the name of the solver, "auto" by what a step costs.

    "newton" needs a curvature, and a d x d matrix at each step unless the loss is quadratic or the
    penalty has corners: then the matrix is made once, or for a working set of the columns. It is
    chosen for built-in losses, but not for more than 2,000 columns in the other cases, which
    "gradient" is for, as it is for losses given as callables.
    """
    loss = objective.loss
    if solver == "newton" and not loss.convex:
        raise ValueError(
            "solver='newton' needs the curvature of the loss, and a loss given as a callable has "
            "none to offer. Use solver='gradient' or solver='auto', or a loss by its name."
        )
    if solver != "auto":
        return solver
    cheap = loss.quadratic or not objective.penalty.smooth or objective.n_features <= _MANY_COLUMNS
    return "newton" if loss.convex and cheap else "gradient"

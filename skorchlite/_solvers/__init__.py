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

    "newton" needs a curvature and, unless the loss is quadratic, a d x d matrix at each step: it is
    chosen for built-in losses up to 2,000 columns, and for squared error, whose matrix is made once
    and for a working set of the columns where there are many. "gradient" is for the rest.
    """
    loss = objective.loss
    if solver == "newton" and not loss.convex:
        raise ValueError(
            "solver='newton' needs the curvature of the loss, and a loss given as a callable has "
            "none to offer. Use solver='gradient' or solver='auto', or a loss by its name."
        )
    if solver != "auto":
        return solver
    small = objective.n_features <= _MANY_COLUMNS
    return "newton" if loss.convex and (loss.quadratic or small) else "gradient"

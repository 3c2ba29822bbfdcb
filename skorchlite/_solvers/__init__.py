"""The solvers, and the rule that chooses one."""

from .newton import newton
from .solution import MESSAGES

__all__ = ["MESSAGES", "SOLVERS", "choose_solver"]

SOLVERS = {"newton": newton}


def choose_solver(solver: str) -> str:
    """Return the name of the solver that "auto" stands for.

    Squared error with no penalty, or a smooth one, is always solved by "newton".
    """
    return "newton" if solver == "auto" else solver

"""Which solver a fit is done by."""

from .._objective.moments import MANY_COLUMNS
from .._objective.objective import Objective
from .base import Solver
from .matrix_free.solver import gradient
from .newton.solver import newton

FULL_BATCH: dict[str, Solver] = {"newton": newton, "gradient": gradient}

_MANY_PRODUCTS = 1e11  # which take a second or two
_MATRIX_ENTRIES = 1 << 26


def is_stochastic(solver: str | type, asked: dict[str, bool]) -> bool:
    """Return whether the solver steps along batches.

    Parameters
    ----------
    solver : str or type
    asked : dict of str to bool
        Parameters that only a stochastic solver has a use for, as the caller wrote them, and
        whether they were given. One that was makes "auto" stochastic.
    """
    given = [name for name, is_given in asked.items() if is_given]
    if solver in FULL_BATCH and given:
        raise ValueError(
            f"solver={solver!r} takes all rows at each step and finds its own step, so that it "
            f"has no use for {' and '.join(given)}. Use solver='sgd', or leave these at their "
            "defaults."
        )
    return solver not in FULL_BATCH and (solver != "auto" or bool(given))


def choose_full_batch(solver: str, objective: Objective) -> str:
    """Return the name of the full-batch solver, "auto" by what a step costs.

    "newton" needs a curvature, and a d x d matrix at each step unless the loss is quadratic or the
    penalty has corners: then the matrix is made once, or for a working set of the columns. It is
    chosen for built-in losses, but not for more than 2,000 columns in the other cases, which
    "gradient" is for, as it is for losses given as callables. It computes with sparse columns
    without their zeros for a quadratic loss only, and the matrix has none: there it is chosen for
    up to 2,000 columns, and of another loss if n_samples * n_features^2 is at most 1e11. Where
    columns are made from those of the data, "gradient" is for more of them than a matrix of 512 MiB
    has room for.
    """
    loss = objective.loss
    if solver == "newton" and not loss.convex:
        raise ValueError(
            "solver='newton' needs the curvature of the loss, and a loss given as a callable has "
            "none to offer. Use solver='gradient' or solver='auto', or a loss by its name."
        )
    if solver != "auto":
        return solver
    few = objective.n_features <= MANY_COLUMNS
    if few and objective.rows.sparse and not loss.quadratic:
        few = objective.rows.n_rows * objective.n_features**2 <= _MANY_PRODUCTS
    dense = not objective.rows.sparse and not _beyond_room(objective)
    cheap = few or not objective.penalty.smooth or (loss.quadratic and dense)
    return "newton" if loss.convex and cheap else "gradient"


def _beyond_room(objective: Objective) -> bool:
    """Return whether neither the Gram matrix of made columns nor the rows have room in memory.

    A matrix that is no larger than the data has.
    """
    if not objective.basis.derived or objective.n_features**2 <= _MATRIX_ENTRIES:
        return False
    few_rows = _MATRIX_ENTRIES // objective.n_features
    return not objective.rows.fewer_than(min(few_rows, objective.n_features))

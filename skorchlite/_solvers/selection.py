"""Which solver a fit uses."""

from .._objective.moments import MANY_COLUMNS
from .._objective.objective import Objective
from .base import Solver
from .matrix_free.solver import gradient
from .newton.solver import newton

FULL_BATCH: dict[str, Solver] = {"newton": newton, "gradient": gradient}

_MANY_PRODUCTS = 1e11  # they take a second or two
_MATRIX_ENTRIES = 1 << 26  # 512 MiB


def is_stochastic(solver: str | type, asked: dict[str, bool]) -> bool:
    """Return whether the solver steps along batches.

    Parameters
    ----------
    solver : str or type
    asked : dict of str to bool
        Whether the caller gave each of the parameters that only a stochastic solver uses, by how
        it was written. One that was given makes "auto" stochastic.
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
    """Return the name of the full-batch solver; "auto" chooses it by what a step costs.

    "newton" needs the curvature of the loss, which callables do not have. It needs a d x d matrix
    at each step, too, unless the loss is quadratic or the penalty has kinks: then the matrix is
    made once, or for a working set of the columns.

    "auto" is "gradient" for a callable, and for more than 2,000 columns where "newton" would need
    the matrix at each step; with a log link only if the rows are more than 2,000 too. For sparse
    columns it is "gradient" for more than 2,000 of them even if the loss is quadratic, since the
    matrix is dense; and for other losses, which "newton" computes with dense blocks, if
    n_samples * n_features^2 is more than 1e11. For columns that are derived from those of the data
    it is "gradient" if neither their matrix nor the rows fit in 512 MiB, and for fewer rows than
    columns of which some are not penalised with "l2".
    """
    loss = objective.loss
    curved = loss.convex or loss.log_link
    if solver == "newton" and not curved:
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
    # Fewer rows than columns have no Gram matrix unless their span holds the solution.
    dense &= objective.penalty.keeps_span or not objective.rows.fewer_than(objective.n_features)
    if loss.log_link and objective.penalty.keeps_span and objective.basis.diagonal:
        # The span of few rows has as few coordinates.
        few |= objective.rows.fewer_than(MANY_COLUMNS)
    cheap = few or not objective.penalty.smooth or (loss.quadratic and dense)
    return "newton" if curved and cheap else "gradient"


def _beyond_room(objective: Objective) -> bool:
    """Return whether neither the Gram matrix of derived columns nor their rows fit in memory.

    Columns that are in the data are taken to fit, and so are fewer rows than columns.
    """
    if not objective.basis.derived or objective.n_features**2 <= _MATRIX_ENTRIES:
        return False
    few_rows = _MATRIX_ENTRIES // objective.n_features
    return not objective.rows.fewer_than(min(few_rows, objective.n_features))

"""Newton steps from piece to piece of a loss that is smooth and quadratic in pieces."""

from .cholesky import factorised, solve_factorised
from .interior_point import InteriorPoint

_STEPS = 12  # guesses of the pieces
_ROUNDED = 1e-14  # of the objective: a guess that is higher by more does not descend
_STILL = 1e-9  # of the largest coordinate: after such a step only rounding is left


def minimised_from_piece_to_piece(steps: InteriorPoint, tol: float, max_iter: int) -> bool:
    """Take Newton steps with the pieces that rows are in; return whether they find the minimum.

    Where each guess of the pieces is lower than the last, a few are enough, at a third of the cost
    of interior point steps. The best point is kept in either case.

    Parameters
    ----------
    steps : InteriorPoint
        Before its first step. The penalty has no kinks.
    tol : float
    max_iter : int
    """
    form, result, u = steps.form, steps.result, steps.u
    rows = form.rows
    while rows and result.n_iter < min(_STEPS, max_iter):
        rows.take_pieces_of(steps.problem.residual(u))
        lower, gradient = factorised(form.matrix()), form.smooth_gradient(u, rows.d)
        step = solve_factorised(lower, -gradient)
        before, u = u, u + step
        result.n_iter += 1
        if not result.keep(u, allowed=_ROUNDED * result.value):
            break
        result.curve.append(result.value)
        if float(abs(step).max()) <= _STILL * float(abs(before).max()):
            result.duals = [form.duals_at(u)]
            steps.find_bound()
            return result.gap <= max(tol, result.blurred)
    return False

"""The least objective that an independent descent comes to, and whether there is one at all."""

import numpy as np
from scipy.optimize import linprog, minimize

NEAR_NOTHING = 1e-9  # of the largest singular value: that of a direction that may be rounding
OPTIONS = {"maxiter": 3_000, "maxfun": 20_000, "ftol": 0, "gtol": 1e-14, "maxcor": 30}


def least(problem, coef, intercept):
    """Return the least objective that L-BFGS-B comes to, from a point and from the constant.

    It descends in columns of mean zero and deviation one and, where the penalty has kinks or signs
    are bounded, in positive and negative parts of the coefficients.
    """
    Z, size, free = problem.Z, problem.size, int(problem.fit_intercept)
    l1, l2 = problem.l1 / size, problem.l2 / size**2
    split = problem.positive or problem.l1.any()
    d = Z.shape[1]

    def both(x):
        u = x[:d] - x[d : 2 * d] if split else x[:d]
        raw = Z @ u + (x[-1] if free else 0.0)
        value = problem.share @ problem.losses(raw) + 0.5 * l2 @ u**2
        slope = problem.slopes(raw).astype(float)
        gradient = Z.T @ slope + l2 * u
        if split:
            value += l1 @ (x[:d] + x[d : 2 * d])
            gradient = np.concatenate([gradient + l1, l1 - gradient])
        return float(value), np.concatenate([gradient, [slope.sum()] * free])

    negative = [(0, 0 if problem.positive else None)] * d
    bounds = ([(0, None)] * d + negative if split else [(None, None)] * d) + [(None, None)] * free
    starts = [(np.zeros(d), problem.level), (coef * size, intercept + problem.mean @ coef)]
    found = [np.inf]
    for u, level in starts:
        u = np.concatenate([np.maximum(u, 0), np.maximum(-u, 0)]) if split else u
        start = np.concatenate([u, [level] * free]).astype(float)
        with np.errstate(over="ignore", invalid="ignore"):
            end = minimize(both, start, jac=True, method="L-BFGS-B", bounds=bounds, options=OPTIONS)
        found.append(float(end.fun))
    return min(found)


def is_separated(problem):
    """Return whether the optimum is at infinity; None where rounding may decide.

    It is where a direction without a penalty lowers the predictions of rows with y = 0, and
    changes those of no others.
    """
    none = problem.y == 0
    if problem.power >= 2 or not none.any():
        return False
    open_ = (problem.l1 == 0) & (problem.l2 == 0)
    Z = problem.Z[:, open_]
    bounds = [(0, 1) if problem.positive else (-1, 1)] * Z.shape[1]
    if problem.fit_intercept:
        Z = np.column_stack([Z, np.ones(len(Z))])
        bounds = [*bounds, (-1, 1)]
    if not Z.shape[1]:
        return False
    U, sizes, _ = np.linalg.svd(Z, full_matrices=False)
    spanned = sizes > NEAR_NOTHING * sizes[0]
    if (spanned & (sizes < 1e-5 * sizes[0])).any() or (~spanned & (sizes > 1e-14 * sizes[0])).any():
        return None
    if not problem.positive:
        Z, bounds = U[:, spanned] * len(U) ** 0.5, (-1, 1)
    others = {"A_eq": Z[~none], "b_eq": np.zeros((~none).sum())} if not none.all() else {}
    end = linprog(Z[none].sum(0), Z[none], np.zeros(none.sum()), bounds=bounds, **others)
    return bool(end.status == 0 and end.fun < -1e-6)

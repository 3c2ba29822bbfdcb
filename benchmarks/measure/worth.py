"""What the answers of the models of a case are worth: at equal footing, in float64.

Each function takes the models, ours first, the data, and what the models found, by name; it
returns what the record of each is to say.
"""

import math

import numpy as np
from scipy import sparse
from sklearn.preprocessing import PolynomialFeatures

from benchmarks.measure.oracle import (
    half_square,
    least_squares,
    mean_loss,
    penalised_loss,
    scaled_error,
)


def objective_worth(models, X, y, found, others=()):
    """Compare the objective of ours, penalty included, at all answers."""
    ours, first = models[0].build(), models[0].name
    if "coef" not in found[first]:
        return _values_worth(found, first)
    same = {
        name: (one["coef"], one["intercept"]) for name, one in found.items() if name not in others
    }
    expand = expansion(ours)
    objective = {name: penalised_loss(ours, X, y, *at, expand) for name, at in same.items()}
    excess = relative_excess(objective)
    worth = {name: {"objective": objective[name], "excess": excess[name]} for name in same}
    worth[first] |= _told(found[first])
    coef, intercept = same.pop(first)
    scale = X.std(axis=0) if expand is None and not sparse.issparse(X) else np.ones(coef.shape)
    for name, (theirs, _) in same.items():
        worth[name]["coef_difference"] = scaled_error(theirs, coef, scale)
    if ours.penalty in ("l1", "elasticnet") or ours.positive:
        worth[first]["zeros"] = int(np.sum(coef == 0))
        for name, (theirs, _) in same.items():
            worth[name]["zeros_apart"] = int(np.sum((theirs == 0) != (coef == 0)))
    if ours.loss == "quantile":
        below = float(np.mean(y - X @ coef - intercept < 0))
        worth[first]["share_below"] = below - ours.quantile
        worth[first]["share_deviation"] = 1 / math.sqrt(len(y))
    return worth


def closed_form_worth(models, X, y, found, others=()):
    """Compare the mean squared errors, and the coefficients with the exact ones."""
    expand, columns = expansion(models[0].build()), X
    if expand is not None:
        columns = expand(X.astype("float64"))
    exact_coef, _, sd = least_squares(columns, y)
    objective = {
        name: mean_loss(X, y, one["coef"], one["intercept"], half_square, expand)
        for name, one in found.items()
    }
    excess = relative_excess(objective)
    return {
        name: {
            "objective": objective[name],
            "excess": excess[name],
            "coef_error": scaled_error(one["coef"], exact_coef, sd),
        }
        | _told(one)
        for name, one in found.items()
    }


def descent_worth(models, X, y, found, others=()):
    """Compare the mean squared error after some steps with that of the closed form."""
    best = mean_loss(X, y, *least_squares(X, y)[:2], half_square)
    worth = {}
    for name, one in found.items():
        value = mean_loss(X, y, one["coef"], one["intercept"], half_square)
        worth[name] = {"objective": value, "excess": value / best - 1}
    return worth


def levels_worth(models, X, y, found, others=()):
    """Say what the levels of ours lose together, and on how many rows neighbours cross."""
    first = models[0].name
    levels, ours = np.asarray(models[0].build().quantile), found[first]
    predicted = X @ ours["coef"].T + ours["intercept"]
    residual = y[:, None] - predicted
    lost = float(np.maximum(levels * residual, (levels - 1) * residual).mean(0).sum())
    crossings = int((np.diff(predicted) < 0).any(1).sum())
    return {first: {"objective": lost, "crossings": crossings} | _told(ours)}


def expansion(estimator):
    """Return what makes of rows the columns that the coefficients belong to; None: the same."""
    degree = getattr(estimator, "degree", 1)
    if degree == 1:
        return None
    terms = PolynomialFeatures(
        degree, include_bias=False, interaction_only=estimator.interaction_only
    )
    return terms.fit_transform


def relative_excess(objective):
    """Map each model to its objective above the best of all, relative."""
    best = min(objective.values())
    return {name: (value - best) / best for name, value in objective.items()}


def _values_worth(found, first):
    """Compare predictions or scores with ours."""
    ours = found[first]["values"]
    spread = max(float(np.ptp(ours)), float(np.abs(ours).max()), np.finfo(float).tiny)
    return {
        name: {"values_difference": float(np.abs(one["values"] - ours).max()) / spread}
        for name, one in found.items()
        if name != first
    }


def _told(found):
    return {name: found[name] for name in ("device", "converged") if name in found}

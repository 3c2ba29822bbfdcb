"""One timed case: every model fitted in turn, and what each answer is worth."""

from functools import partial
from statistics import median

from sklearn.preprocessing import PolynomialFeatures

from benchmarks.measure.oracle import half_square, least_squares, mean_loss, scaled_error
from benchmarks.measure.timing import interleave, median_ratio, plan_rounds, warm_up
from benchmarks.suites.models import linear_answer, linear_models, polynomial_models


def compare(case, repeats, budget):
    """Time the models of one case and measure the objective that each reaches.

    Parameters
    ----------
    case : Case
    repeats : int
        Most rounds.
    budget : float
        Seconds of timed fits.

    Returns
    -------
    record : dict
        For each model, ours first, its times, the ratio of its time to ours, the relative excess
        of its objective over the best of all, and its largest coefficient error. A peer that
        fails says so in its remarks.
    """
    X, y = case.data()
    linear = case.degree == 1
    models = linear_models() if linear else polynomial_models(case.degree, case.n_columns)
    return race(case.name, models, X, y, partial(_worth, case, X, y), repeats, budget)


def race(name, models, X, y, worth_of, repeats, budget):
    """Time models on the same data and measure what each answer is worth.

    Parameters
    ----------
    name : str
        Of the case.
    models : list of Model
        Ours first.
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    worth_of : callable
        Makes of a dict of the fitted models, ours first, one of what to add to their records.
    repeats : int
        Most rounds.
    budget : float
        Seconds of timed fits.

    Returns
    -------
    record : dict
        For each model, ours first, its times, the ratio of its time to ours, and its worth.
    """
    ours = models[0].name
    warm = {model.name: warm_up(model, X, y) for model in models}
    if warm[ours].fitted is None:
        raise RuntimeError(f"{ours} on {name} {warm[ours].remarks[0]}")
    running = [model for model in models if warm[model.name].fitted is not None]
    estimates = {model.name: warm[model.name].seconds for model in running}
    rounds = plan_rounds(running, estimates, repeats, budget)
    seconds = interleave(running, X, y, estimates, rounds)
    worth = worth_of({model.name: warm[model.name].fitted for model in running})
    rows = [
        {"model": model.name, "remarks": warm[model.name].remarks}
        | (_times(seconds[model.name], seconds[ours]) if model.name in seconds else {})
        | worth.get(model.name, {})
        for model in models
    ]
    return {"rows": rows}


def relative_excess(objective):
    """Map each model to its objective above the best of all, relative."""
    best = min(objective.values())
    return {name: (value - best) / best for name, value in objective.items()}


def _times(seconds, ours):
    return {
        "seconds": seconds,
        "median": median(seconds),
        "rounds": len(seconds),
        "ratio": median_ratio(seconds, ours),
    }


def _worth(case, X, y, fitted):
    expand = None
    columns = X
    if case.degree > 1:
        expand = PolynomialFeatures(case.degree, include_bias=False).fit_transform
        columns = expand(X.astype("float64"))
    exact_coef, _, sd = least_squares(columns, y)
    answers = {name: linear_answer(model) for name, model in fitted.items()}
    objective = {
        name: mean_loss(X, y, *answer, half_square, expand) for name, answer in answers.items()
    }
    excess = relative_excess(objective)
    return {
        name: {
            "objective": objective[name],
            "excess": excess[name],
            "coef_error": scaled_error(coef, exact_coef, sd),
            "device": getattr(fitted[name], "device_", None),
        }
        for name, (coef, _) in answers.items()
    }

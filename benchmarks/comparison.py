"""One timed case: every model fitted in turn, and what each answer is worth."""

from statistics import median

from sklearn.preprocessing import PolynomialFeatures

from benchmarks.models import linear_answer, linear_models, polynomial_models
from benchmarks.oracle import half_mean_squared_error, least_squares, scaled_error
from benchmarks.timing import interleave, median_ratio, plan_rounds, warm_up


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
    models = linear_models() if case.degree == 1 else polynomial_models(case.degree)
    ours = models[0].name
    warm = {model.name: warm_up(model, X, y) for model in models}
    if warm[ours].fitted is None:
        raise RuntimeError(f"{ours} on {case.name} {warm[ours].remarks[0]}")
    running = [model for model in models if warm[model.name].fitted is not None]
    estimates = {model.name: warm[model.name].seconds for model in running}
    rounds = plan_rounds(running, estimates, repeats, budget)
    seconds = interleave(running, X, y, estimates, rounds)
    worth = _worth(case, X, y, {name: warm[name].fitted for name in seconds})
    rows = [
        {"model": model.name, "remarks": warm[model.name].remarks}
        | (_times(seconds[model.name], seconds[ours]) if model.name in seconds else {})
        | worth.get(model.name, {})
        for model in models
    ]
    return {"rows": rows}


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
        name: half_mean_squared_error(X, y, *answer, expand) for name, answer in answers.items()
    }
    best = min(objective.values())
    return {
        name: {
            "objective": objective[name],
            "excess": (objective[name] - best) / best,
            "coef_error": scaled_error(coef, exact_coef, sd),
            "device": getattr(fitted[name], "device_", None),
        }
        for name, (coef, _) in answers.items()
    }

"""What the searches of a case are worth: whether they chose alike, and how far errors are apart.

Like the functions of `worth`, each takes the models, ours first, the data, and what the models
found, by name, and returns what the record of each is to say.
"""

import numpy as np

CHOICES = ("alpha", "l1_ratio", "degree")
RTOL = 1e-6  # of an alpha: neighbours on a grid are much farther apart
CHECKED = 3  # splits


def choice_worth(models, X, y, found, others=(), alpha_times=1.0, step=1):
    """Compare what was chosen, and the errors.

    Parameters
    ----------
    models, X, y, found, others
    alpha_times : float, default=1
        What the peer's alphas are, times ours.
    step : int, default=1
        The peer tried every `step`-th alpha of ours, and is compared on these.
    """
    first = models[0].name
    ours = _every_alpha(found[first], step)
    worth = {first: {"chosen": {}}}
    for name, answer in found.items():
        if name != first and name not in others:
            theirs = answer | _best_params(answer)
            if "alpha" in theirs:
                theirs["alpha"] = theirs["alpha"] / alpha_times
            worth[name] = _alike(ours, theirs) | {"errors_apart": _errors_apart(ours, theirs)}
            worth[first]["chosen"] |= _numbers(found[first], theirs)
    return worth


def direct_worth(models, X, y, found, others=(), *, split_of, direct):
    """Compare the errors of what was chosen with those of direct fits, on a few splits.

    Parameters
    ----------
    models, X, y, found, others
    split_of : callable
        Makes of the number of rows the split that each row is left out of.
    direct : callable
        Makes of what ours found, and a number of rows to train on, an estimator.
    """
    first = models[0].name
    ours, left_out = found[first], split_of(len(y))
    paths = ours["mse_path"].reshape(-1, ours["mse_path"].shape[-1])
    errors, apart = paths[paths.mean(axis=1).argmin()], []
    for split in np.linspace(0, len(errors) - 1, CHECKED, dtype=int):
        test = left_out == split
        train = X[~test]
        model = direct(ours, len(train)).fit(train, y[~test])
        apart.append(abs(errors[split] / np.mean((y[test] - model.predict(X[test])) ** 2) - 1))
    chosen = {name: float(ours[name]) for name in ("alpha", "degree") if name in ours}
    return {first: {"chosen": chosen, "errors_apart": float(max(apart))}}


def _every_alpha(answer, step):
    """Return the answer of a search that would have tried every `step`-th alpha."""
    if step == 1:
        return answer
    alphas, errors = answer["alphas"][::step], answer["mse_path"][::step]
    best = errors.mean(axis=1).argmin()
    return {"alpha": alphas[best], "best_score": -errors[best].mean()}


def _numbers(ours, theirs):
    """Return what ours chose, of what the peer chose too, where it is one number."""
    shared = [name for name in CHOICES if name in theirs]
    return {name: float(ours[name]) for name in shared if np.ndim(ours[name]) == 0}


def _best_params(answer):
    """Return the choices of GridSearchCV, whose names may begin with that of a step."""
    params = answer.get("best_params", {})
    return {name.rpartition("__")[2]: value for name, value in params.items()}


def _alike(ours, theirs):
    """Count the choices, one for each target, and those that are the same."""
    same = [
        np.isclose(theirs[name], ours[name], rtol=RTOL, atol=0)
        for name in CHOICES
        if name in ours and name in theirs
    ]
    same = np.logical_and.reduce(np.broadcast_arrays(*same))
    return {"choices": same.size, "choices_alike": int(same.sum())}


def _errors_apart(ours, theirs):
    """Return the largest difference of all errors, or of those of what was chosen, relative."""
    key = "mse_path" if "mse_path" in theirs else "best_score"
    return float(np.max(np.abs(theirs[key] / ours[key] - 1)))

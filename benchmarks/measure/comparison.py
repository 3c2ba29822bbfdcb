"""One case: models in processes of their own, timed in turns, and what each answer is worth."""

from dataclasses import asdict

from benchmarks.measure.sides import SideError, running, stored
from benchmarks.measure.turns import plan_rounds, take_turns, times_of, warm_up


def race(name, models, X, y, worth_of, repeats, budget, work=None):
    """Time models on the same data and measure what each answer is worth.

    Parameters
    ----------
    name : str
        Of the case.
    models : list of Model
        Ours first.
    X : array-like of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    worth_of : callable
        Makes of a dict of what the models found, ours first, one of what to add to their records.
    repeats : int
        Most rounds.
    budget : float
        Seconds of timed fits.
    work : Work, default=None
        The least that ours has to do.

    Returns
    -------
    record : dict
        For each model, ours first, its times, the ratio of its time to ours, and its worth. A
        peer that fails says so in its remarks.
    """
    with stored(X, y) as folder, running(models, folder) as sides:
        warm = warm_up(sides)
        first = warm[models[0].name]
        if not first.works:
            raise RuntimeError(f"{models[0].name} on {name} {first.remarks[0]}")
        at_work = [model for model in models if warm[model.name].works]
        estimates = {model.name: warm[model.name].seconds for model in at_work}
        seconds = take_turns(sides, estimates, plan_rounds(at_work, estimates, repeats, budget))
    failed = {who: error for who, error in seconds.items() if isinstance(error, SideError)}
    ours = seconds[models[0].name]
    if isinstance(ours, SideError):
        raise RuntimeError(f"{models[0].name} on {name} failed: {ours}")
    worth = worth_of({who: warm[who].answer for who in seconds if who not in failed})
    rows = []
    for model in models:
        row = {"model": model.name, "remarks": list(warm[model.name].remarks)}
        if model.threads is not None:
            row["threads"] = model.threads
        if model.name in failed:
            row["remarks"].append(f"failed: {failed[model.name]}")
        elif model.name in seconds:
            row |= times_of(seconds[model.name], ours) | worth.get(model.name, {})
        rows.append(row)
    return {"rows": rows} | ({} if work is None else {"work": asdict(work)})

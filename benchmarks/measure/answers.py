"""What a fitted model, a prediction or a validation found, as plain numbers."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

ATTRIBUTES = ("device_", "converged_", "best_params_")
# Of a search: what was tried, the errors, and what was chosen.
SEARCHED = ("alphas_", "mse_path_", "alpha_", "l1_ratio_", "degree_", "best_score_")


def answer_of(result):
    """Return what can be compared with other models and goes from one process to another.

    Parameters
    ----------
    result : estimator or ndarray or other
        A fitted estimator, or the numbers that a prediction or validation returned.

    Returns
    -------
    answer : dict
        `coef` and `intercept` of a linear model, `values` of an array, and the attributes of
        `ATTRIBUTES` and `SEARCHED` without the underscore.
    """
    if isinstance(result, np.ndarray):
        return {"values": result}
    known = [name for name in (*ATTRIBUTES, *SEARCHED) if hasattr(result, name)]
    found = {name[:-1]: getattr(result, name) for name in known}
    best = getattr(result, "best_estimator_", result)
    if hasattr(best[-1] if isinstance(best, Pipeline) else best, "coef_"):
        found["coef"], found["intercept"] = linear_answer(best)
    return found


def linear_answer(fitted):
    """Return float64 coefficients and intercept in the units of the data the model was given.

    Parameters
    ----------
    fitted : estimator
        A fitted linear model, alone or as the last step of a pipeline. After
        PolynomialFeatures the coefficients are those of the expanded columns.

    Returns
    -------
    coef : ndarray of shape (n_columns,), or with several models in front
    intercept : float, or ndarray of several models
    """
    linear = fitted[-1] if isinstance(fitted, Pipeline) else fitted
    coef = np.asarray(linear.coef_, dtype=np.float64)
    intercept = np.asarray(linear.intercept_, dtype=np.float64)
    intercept = intercept.item() if intercept.size == 1 else intercept
    if isinstance(fitted, Pipeline) and isinstance(fitted[0], StandardScaler):
        coef = coef / fitted[0].scale_
        intercept -= float(coef @ fitted[0].mean_)
    return coef, intercept

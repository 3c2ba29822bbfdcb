"""What is said of a fit of a loss with a log link."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..verdicts import (
    ALARM,
    BOUND,
    CONSTRAINT,
    PREDICT,
    SILENT,
    WARNED,
    Failure,
    Outcome,
    fitted,
)
from .problems import problems
from .references import is_separated, least

WRONG = 2e-9  # a relative excess of the objective, whose tolerance is 1e-10
NOTHING = 1e-13  # of the objective of the constant: what is left of it then is rounding
LEAST = 1e-300  # mean that has a logarithm
LEVEL = 1e-5  # of the slopes of the constant: what is no slope
BLURRED = 1e-10  # of the objective: rounding beside which slopes say nothing
SINGLE = 64 * float(np.finfo(np.float32).eps)  # of a column: what may be rounding of its digits
CLOSE = 0.5  # of what a fit gains over the constant: what chunks may lose of it


def judge(drawn, fit=None):
    """Return what there is to say of a draw."""
    outcome = Outcome()
    model, caught = fitted(drawn, fit, outcome)
    if model is None:
        return outcome
    found = [Found(drawn, model, *one) for one in problems(drawn)]
    for one in found:
        if drawn.parameters.get("positive") and (one.coef < 0).any():
            outcome.fail(CONSTRAINT, "assert (m.coef_ >= 0).all()", f"{one.coef.min()}")
    if drawn.method == "partial_fit":
        _judge_chunks(found, outcome)
        return outcome
    words = [str(w.message) for w in caught if w.category is ConvergenceWarning]
    words = [one for one in words if not one.startswith("The model of all rows")]
    _judge_infinity(found, any("at infinity" in one for one in words), outcome)
    _judge_values(found, words, outcome)
    return outcome


class Found:
    """A solution beside the least objective that is known."""

    def __init__(self, drawn, model, problem, place, rows):
        self.problem = problem
        self.coef = np.asarray(model.coef_, float)[place]
        self.intercept = float(np.asarray(model.intercept_, float)[place])
        grouped = drawn.keys is not None
        self.converged = bool(model.converged_[place[0]] if grouped else model.converged_)
        self.optimality = model.optimality_[place[0]] if grouped else model.optimality_
        self.raw = problem.raw(self.coef, self.intercept)
        mean = np.asarray(model.predict(drawn.rows), float)[rows]
        mean = mean[:, place[-1]] if mean.ndim > 1 else mean
        predicted = np.log(np.clip(mean, LEAST, 1 / LEAST))
        if hasattr(model, "powers_"):  # predictions are made in another basis
            self.raw = predicted
        off = 10 * problem.off(self.coef, self.intercept)
        self.same = bool(
            (np.abs(predicted - self.raw) <= off)[(mean > LEAST) & (mean < 1 / LEAST)].all()
        )
        self.value = problem.value(self.raw, self.coef)
        self.allowed = problem.rounding(self.raw, self.coef, self.intercept)
        self.least = min(self.value, least(problem, self.coef, self.intercept))
        # What is left of a constant's objective is relative to that where it is rounding.
        self.exact = self.value <= NOTHING * problem.constant
        self.scale = max(problem.constant if self.exact else self.value, 1e-300)
        self.allowed += NOTHING * problem.constant
        rank = np.linalg.matrix_rank(problem.Z, tol=1e-13 * max(problem.Z.shape))
        # A fit is over the directions that stand out of the rounding of the data.
        found = model.rank_[place[0]] if grouped else model.rank_
        self.unsure = found is not None and found < rank
        if found is None and drawn.X.dtype == np.float32:
            size, largest = problem.size, np.abs(problem.A).max(0)
            self.unsure = bool((size < SINGLE * largest).any())
        # Digits that the coefficients do not have are those of slopes too.
        self.unsure |= problem.power > 2 and self.allowed > BLURRED * self.value

    @property
    def excess(self):
        """How far the objective is above the least one, relatively."""
        return max(0.0, self.value - self.least - self.allowed) / self.scale

    @property
    def slope(self):
        """The largest slope that is left, relative to that of the constant."""
        problem, coef = self.problem, self.coef
        size = np.append(problem.size, 1.0)
        largest = []
        for raw, w in ((self.raw, coef), (np.full_like(self.raw, problem.level), 0 * coef)):
            slopes = problem.slopes(raw)
            gradient = (problem.A - problem.mean).T @ slopes + problem.l2 * w
            inside = np.maximum(np.abs(gradient) - problem.l1, 0.0)
            slope = np.where(w != 0, gradient + problem.l1 * np.sign(w), inside)
            if problem.positive:
                slope = np.where(w > 0, slope, np.minimum(gradient + problem.l1, 0.0))
            level = [slopes.sum() * problem.fit_intercept]
            largest.append(float(np.abs(np.concatenate([slope, level]) / size).max()))
        rounding = 1e-12 * float(np.abs(problem.slopes(self.raw)).sum())
        return max(0.0, largest[0] - rounding) / max(largest[1], 1e-300)


def _judge_infinity(found, said, outcome):
    """Judge whether the optimum is said to be at infinity where it is."""
    truth = [is_separated(one.problem) for one in found]
    if None in truth:
        outcome.unsure = True
    elif said and not any(truth):
        outcome.fail(SILENT, "assert True, 'no word of infinity'", "the optimum is not at infinity")
    elif any(truth) and not said:
        kind = SILENT if all(one.converged for one in found) else ALARM
        outcome.fail(kind, "assert not m.converged_", "the optimum is at infinity")


def _judge_values(found, words, outcome):
    said = any("at infinity" in one for one in words)
    for one in found:
        convex = one.problem.power <= 2
        if one.unsure:
            outcome.unsure = True
            continue
        wrong = one.excess > WRONG if convex else one.slope > LEVEL and not one.exact
        how = f"{one.value:.9g} where {one.least:.9g} is there, slope {one.slope:.1e}"
        if wrong and one.converged:
            outcome.fail(SILENT, "assert not m.converged_", how)
        elif wrong:
            outcome.warned.append(Failure(WARNED, "assert m.converged_", how))
        elif not one.converged and not said:
            outcome.fail(ALARM, "assert m.converged_", f"converged_ is False, {how}")
        if convex and one.excess > 1e-9 + 1.001 * one.optimality:
            words_of = f"optimality_ is {one.optimality:.2g}, and the excess {one.excess:.2g}"
            outcome.fail(BOUND, f"assert m.optimality_ >= {one.excess:.3g}", words_of)
        if not one.same:
            outcome.fail(PREDICT, "assert False, 'other predictions'", "another mean")
    if words and not said and all(one.converged for one in found):
        outcome.fail(ALARM, "assert True, 'without a warning'", words[0][:100])


def _judge_chunks(found, outcome):
    """Judge how close chunks come to the least objective of all rows."""
    for one in found:
        k, n = len(one.coef) + 1, 1 / np.square(one.problem.share).sum()
        gain = max(one.problem.constant - one.least, 0.0)
        allowed = CLOSE * gain + k / n * one.problem.constant + one.allowed
        if one.value > one.least + allowed:
            words = (
                f"{one.value:.4g}, the constant {one.problem.constant:.4g}, least {one.least:.4g}"
            )
            outcome.fail(PREDICT, "assert False, 'chunks are close to the fit'", words)

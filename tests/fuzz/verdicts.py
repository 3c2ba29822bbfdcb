"""What is said of a fit: four verdicts, each of which a draw may fail."""

import signal
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from tests.support.solvers_of_peers import SLOPES

from .orthonormal import WIDE, orthonormal
from .problems import EPS, GREY, problems
from .programs import smooth_coordinates
from .references import reference

SILENT, CRASH, SLOW, CONSTRAINT = "SILENT", "CRASH", "SLOW", "CONSTRAINT"
ALARM, BOUND, ABSURD, PREDICT = "FALSE ALARM", "FALSE BOUND", "ABSURD", "PREDICT"
WARNED = "WARNED"
KINDS = (SILENT, CRASH, SLOW, CONSTRAINT, ABSURD, BOUND, PREDICT, ALARM)

WRONG = 1e-6  # a relative excess of the objective that is no rounding
TOL = 1e-10  # the default of the estimators
ROUNDINGS = 8  # of the predictions, that are allowed
UNITS = 1e-10  # of the objective of a constant, whose 16th digit is no excess
CLEAR = 1e-5  # a singular value of scaled terms that no rounding has made
FAR_UNITS = 1e5  # times that deviations of columns differ by
SETTLED = 1e-9  # of the objective: a fit that says it is further off need not have its zeros yet
SEEN = 1e-6  # of the targets: a change of the predictions that is no rounding
SECONDS = 1.0  # of processor time, for a small problem
PATIENCE = 3.0  # seconds after which a fit is cut off


@dataclass
class Failure:
    """A verdict that a fit failed, and the line of code that shows it."""

    kind: str
    check: str
    words: str


@dataclass
class Outcome:
    """All that is said of one draw."""

    failures: list = field(default_factory=list)
    warned: list = field(default_factory=list)  # what is wrong, and says so
    unsure: bool = False  # the references leave room for doubt
    seconds: float = 0.0

    def fail(self, kind, check, words):
        """Add a failure."""
        self.failures.append(Failure(kind, check, words))


class OutOfTimeError(BaseException):
    """A fit was cut off."""


@contextmanager
def limited(seconds):
    """Cut off what takes more processor time."""

    def end(*_):
        raise OutOfTimeError

    before = signal.signal(signal.SIGPROF, end)
    # Again and again: an error that is raised in a callback of the interpreter goes nowhere.
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def judge(drawn, fit=None):
    """Return the outcome of a draw.

    Parameters
    ----------
    fit : callable, default=None
        Fits a draw in place of ``Draw.fit``, so that the judge can be judged.
    """
    outcome = Outcome()
    model, caught = fitted(drawn, fit, outcome)
    if model is None:
        return outcome
    categories = {w.category for w in caught}
    _judge_values(drawn, model, categories, outcome)
    if np.exceptions.RankWarning in categories and by_nature(drawn):
        words = "a RankWarning for terms that are equal by the nature of a column"
        outcome.fail(ALARM, "assert True, 'without a warning'", words)
    return outcome


def by_nature(drawn):
    """Return whether terms are no longer dependent without powers of columns of two numbers."""
    problem = problems(drawn)[0]
    if problem.polynomial is None or problem.polynomial.span is None:
        return False
    numbers = [len(np.unique(column)) for column in problem.polynomial.X.T]
    few = np.where(np.array(numbers) < 3, numbers, drawn.powers.max() + 1)
    kept = (drawn.powers < few).all(1)
    unpenalised = replace(problem, l1=0.0, l2=0.0, positive=False)
    return int(kept.sum()) == smooth_coordinates(unpenalised).B.shape[1]


def fitted(drawn, fit, outcome):
    """Return the model, or None with the reason in the outcome, and the warnings of the fit."""
    fit = type(drawn).fit if fit is None else fit
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = timed(drawn, fit, outcome)
    judge_warnings(caught, outcome)
    if model is None:
        return None, caught
    if not (np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()):
        outcome.fail(ABSURD, "assert np.isfinite(m.coef_).all()", "not finite")
        return None, caught
    return model, caught


def timed(drawn, fit, outcome):
    """Return the fitted model, or None with the reason in the outcome."""
    small = drawn.small
    patience = PATIENCE if small else 4 * PATIENCE
    for _ in range(2):
        start = time.process_time()
        try:
            with limited(patience):
                model = fit(drawn)
        except OutOfTimeError:
            outcome.fail(SLOW, "assert t < 1", f"not done in {patience:.0f} s")
            return None
        except Exception as error:
            words = f"{type(error).__name__}: {error}".splitlines()[0][:150]
            outcome.fail(CRASH, "assert m.coef_ is not None", words)
            return None
        outcome.seconds = time.process_time() - start
        if outcome.seconds < SECONDS or not small:
            return model
    outcome.fail(SLOW, "assert t < 1", f"{outcome.seconds:.1f} s")
    return model


def judge_warnings(caught, outcome):
    """Fail an outcome by warnings of another kind than fits give."""
    known = (ConvergenceWarning, np.exceptions.RankWarning)
    for kind, words in Counter(
        (w.category.__name__, str(w.message).splitlines()[0][:150])
        for w in caught
        if not issubclass(w.category, known)
    ):
        outcome.fail(CRASH, "assert m.coef_ is not None", f"{kind}: {words}")


def _judge_values(drawn, model, categories, outcome):
    converged, warned = bool(model.converged_), ConvergenceWarning in categories
    # A bound is over the directions that rank_ counts; of how many it does there is a word.
    fewer = np.exceptions.RankWarning in categories and not converged
    right, wrong, worst = [], None, 0.0
    _judge_terms(drawn, model, outcome)
    for index, found in enumerate(beside_references(drawn, model)):
        outcome.unsure |= not found.sure
        if found.refuted:
            right.append(False)
            continue
        right.append(found.right)
        if not (fewer and model.rank_ < found.best.rank):
            worst = max(worst, found.certain_excess)
        if found.excess > WRONG:
            wrong = wrong or (index, found)
        settled = converged and not model.optimality_ > SETTLED
        _judge_coef(index, found, settled, outcome)
        _judge_prediction(found, outcome)
    if wrong:
        index, found = wrong
        failure = Failure(
            SILENT if converged else WARNED,
            f"assert d.objective(m)[{index}] <= {found.limit!r}",
            f"{found.value:.9g} where {found.best.value:.9g} is there",
        )
        (outcome.failures if converged else outcome.warned).append(failure)
    if all(right) and (warned or not converged):
        how = "converged_ is False" if not converged else "a ConvergenceWarning"
        outcome.fail(ALARM, "assert m.converged_", f"{how}, within {worst:.0e} of the least")
    _judge_optimality(model.optimality_, worst, outcome)


def beside_references(drawn, model):
    """Yield the solution of each target beside its reference."""
    predictions = np.asarray(model.predict(drawn.rows), float)[drawn.kept]
    for index, problem in enumerate(problems(drawn)):
        prediction = predictions[:, index] if predictions.ndim > 1 else predictions
        yield Found(problem, reference(problem), *problem.solution_of(model), prediction)


class Found:
    """A solution beside the reference.

    What 53 bits of the coefficients, or of the predictions of a polynomial, leave open is no
    excess: that is measured at the reference, since coefficients that are absurd are no excuse.
    """

    def __init__(self, problem, best, coef, intercept, prediction):
        self.problem, self.best = problem, best
        self.coef, self.intercept, self.prediction = coef, intercept, prediction
        point = best.point
        if problem.polynomial is None:
            r = problem.residual(coef, intercept)
            self.value = problem.value(coef, intercept)
            own = problem.rounding(coef, intercept)
            needed = problem.rounding(point.coef, point.intercept)
            off = ROUNDINGS * np.minimum(np.maximum(own, needed), 8 * needed)
        else:
            r = problem.y - prediction
            self.value = float(problem.s @ problem.losses(r) + problem.penalty(coef))
            off = 64 * EPS * float(np.abs(problem.y - point.r).max() + np.abs(problem.y).max())
            if point.coef is not None:
                off = np.maximum(off, ROUNDINGS * problem.rounding(point.coef, point.intercept))
        if self.dropped:  # any other combination of these columns might have been
            known = point.coef is not None
            off = off + ROUNDINGS * (problem.data_rounding(point.coef) if known else point.data_off)
        self.residual = r
        # The residuals of either may be short of a kink that rounding sends them over.
        allowed = max(problem.allowance(point.r, off), problem.allowance(r, off))
        self.allowed = allowed + ROUNDINGS * EPS * point.penalty
        # Of the objective of a constant the 16th digit is none.
        self.exact = best.value <= max(64 * self.allowed, EPS * best.constant)
        constants = problem.s @ problem.y, problem.y.mean()  # a fit measures from about either
        self.at_mean = max(problem.value(0 * problem.mean, constant) for constant in constants)
        # Where a constant explains all, in the place of its objective is that of the mean.
        least = (best.constant or self.at_mean) * (1 if self.exact else UNITS)
        self.scale = max(best.value, least, self.allowed, 1e-300)

    @property
    def dropped(self):
        """Whether there are directions that the rounding of the data may have made.

        Terms of a polynomial are followed further than the entries that they are made of in double
        precision.
        """
        problem = self.problem
        if problem.polynomial is not None and problem.data_eps == EPS:
            return False
        free = not (problem.l1 or problem.l2 or problem.positive)
        return free and self.best.rank < problem.A.shape[1]

    @property
    def limit(self):
        """The largest objective that is not wrong."""
        return float(self.best.value + self.allowed + WRONG * self.scale)

    @property
    def excess(self):
        """How far the objective is above the reference, relatively."""
        return max(0.0, self.value - self.best.value - self.allowed) / self.scale

    @property
    def certain_excess(self):
        """The same relative to the larger of the two."""
        return self.excess * self.scale / max(self.scale, self.value, self.exact * self.at_mean)

    @property
    def refuted(self):
        """Whether the reference is below its own bound: it is of columns that were left out."""
        return self.best.value < self.best.lower - 1e-8 * self.scale - self.allowed

    @property
    def sure(self):
        """Whether the bound shows that the reference is the least, and is not refuted itself."""
        if self.value < self.best.lower - 1e-8 * self.scale - self.allowed:
            return False
        return self.best.value - self.best.lower <= 1e-8 * self.scale + self.allowed

    @property
    def right(self):
        """Whether it is the optimum to the tolerance, as far as can be seen."""
        return self.sure and self.value - self.best.value <= TOL * self.scale + self.allowed


def _judge_coef(index, found, settled, outcome):
    problem = found.problem
    row = "m.coef_" if problem.target is None else f"m.coef_[{index}]"
    coef = found.coef
    if problem.positive and (coef < 0).any():
        outcome.fail(CONSTRAINT, "assert (m.coef_ >= 0).all()", f"a coefficient of {coef.min()}")
    zero = zeros(problem, found) & settled
    if (coef[zero] != 0).any():
        j = int(np.flatnonzero(zero & (coef != 0))[0])
        outcome.fail(CONSTRAINT, f"assert {row}[{j}] == 0", f"{coef[j]} where 0 is the optimum")
    if problem.l1 or problem.l2 or problem.positive:
        return
    spare = undetermined(problem, coef, found.best.rank)
    # Beside columns of far larger units the rounding errors of that part are no smaller than it.
    change = problem.centred @ spare
    if np.abs(change).max(initial=0) > SEEN * np.abs(problem.y).max(initial=0):
        return
    # Beside a target that is far away a change of the others is small, and may be all of the fit.
    without = float(problem.s @ problem.losses(found.residual + change))
    if without > found.value + found.allowed + WRONG * found.scale:
        return
    if _far_units(problem) and _is_held(problem, coef, spare):
        return
    size = np.linalg.norm(coef - spare)
    floor = (
        1e-10 * np.abs(problem.y).max() / np.maximum(np.abs(problem.A).max(0, initial=0), 1e-300)
    )
    if np.linalg.norm(spare) > 10 * size + float(np.linalg.norm(floor)):
        outcome.fail(
            ABSURD,
            f"assert np.linalg.norm({row}) < {11 * size:.3g}",
            f"norm {np.linalg.norm(coef):.2g} where {size:.2g} predicts the same",
        )


def _far_units(problem):
    """Return whether the units of columns are so far apart that least norm is not found."""
    live = problem.size[problem.live]
    return problem.polynomial is not None or (
        live.max(initial=0) > FAR_UNITS * live.min(initial=np.inf)
    )


def _is_held(problem, coef, spare):
    """Return whether the part that the data leaves open is no larger than the rest, columns scaled.

    Where units are far apart least norm is promised as far as rounding lets it be found; but
    nothing may cancel that need not be there.
    """
    scaled = np.linalg.norm(spare * problem.size), np.linalg.norm((coef - spare) * problem.size)
    return scaled[0] <= 10 * scaled[1] + 1e-10 * np.abs(problem.y).max(initial=0)


def zeros(problem, found):
    """Return which coefficients are zero in every optimum, by a wide margin.

    They are where the slopes of the rows that give the bound leave less in a column than the
    penalty asks for: all of them where zero itself is the optimum; some where the loss is smooth,
    so that a value that is off by g has slopes that are off by sqrt(2 g) times the deviation.
    """
    best, coef = found.best, found.best.point.coef
    if not problem.l1 or not found.sure or best.slopes is None or coef is None:
        return np.zeros(len(found.coef), bool)
    slope = problem.centred.T @ best.slopes
    slope = slope if problem.positive else np.abs(slope)
    gap = max(best.value - best.lower, 0) + found.allowed
    smooth = np.sqrt(4 * gap) if problem.loss in SLOPES else np.inf
    zero = slope + smooth * problem.size < 0.99 * problem.l1
    nothing = not coef.any() and (slope < 0.99 * problem.l1).all()
    return np.asarray(zero | nothing, bool)


def undetermined(problem, coef, rank):
    """Return the part of coefficients along which predictions do not change, in the units given.

    Of the terms of a polynomial it is none, unless those that change them stand out clearly.
    """
    live, coef = problem.live, np.asarray(coef, WIDE)
    Z = (problem.centred / problem.size)[:, live] * np.sqrt(problem.s)[:, None]
    spare = np.where(live, 0, coef)
    if not live.any():
        return spare.astype(float)
    _, _, directions = np.linalg.svd(Z.astype(float))
    V = directions.T.astype(WIDE)
    length = np.sqrt(np.square(Z @ V).sum(0))
    if problem.polynomial is None:
        noise = np.sqrt(np.square(V.T) @ np.square(problem.cutoff[live] / GREY))
        none = length <= 4 * noise
    elif (length > CLEAR).sum() == rank:
        none = length <= CLEAR
    else:
        return np.zeros(len(coef))
    # Either as what is along those directions, or as what is left beside all others.
    beside = 2 * none.sum() > len(none)
    span = (
        V[:, ~none] * problem.size[live, None] if beside else V[:, none] / problem.size[live, None]
    )
    N = orthonormal(span, 1e-12 * np.sqrt(np.square(span).sum(0))).basis
    along = N @ (N.T @ coef[live])
    spare[live] = coef[live] - along if beside else along
    return spare.astype(float)


def _judge_optimality(optimality, excess, outcome):
    if optimality is None or np.isnan(optimality):
        return
    if optimality < 0:
        outcome.fail(BOUND, "assert m.optimality_ >= 0", f"optimality_ is {optimality:.2g}")
    elif excess > 1e-9 + 1.001 * optimality:
        outcome.fail(
            BOUND,
            f"assert m.optimality_ >= {excess:.3g}",
            f"optimality_ is {optimality:.2g}, and the excess {excess:.2g}",
        )


def _judge_prediction(found, outcome):
    problem, solution = found.problem, (found.coef, found.intercept)
    expected = problem.y - problem.residual(*solution)
    off = np.abs(found.prediction - expected)
    rounding = problem.rounding(*solution)
    if problem.polynomial is not None:  # which has predictions from another basis
        rounding = 100 * (rounding + rounding.max())
        rounding = rounding + problem.mapped_rounding(found.coef)
    if not (off <= 64 * rounding).all():
        outcome.fail(
            PREDICT,
            "assert np.allclose(m.predict(d.rows), d.columns @ m.coef_.T + m.intercept_)",
            f"predictions and coefficients differ by {float(off.max()):.2g}",
        )


def _judge_terms(drawn, model, outcome):
    """Judge which terms a polynomial has."""
    if hasattr(model, "powers_") and not np.array_equal(model.powers_, drawn.powers):
        outcome.fail(PREDICT, "assert (m.powers_ == d.powers).all()", "other terms")

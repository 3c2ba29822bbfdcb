"""That the judge catches wrong answers, each planted, and lets right ones pass."""

import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skorchlite import TorchPolyRegressor

from .__main__ import main
from .draws import Draw, draw
from .problems import problems
from .references import reference
from .report import lines_of
from .verdicts import (
    ABSURD,
    ALARM,
    BOUND,
    CONSTRAINT,
    CRASH,
    PREDICT,
    SILENT,
    SLOW,
    judge,
)


def plain(n=40, d=3, **parameters):
    """A problem that any solver gets right."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    y = X @ np.arange(1.0, d + 1) + rng.standard_normal(n)
    return Draw(0, X, y, parameters={"loss": "squared_error", **parameters})


def changed(**attributes):
    """Return a fit whose attributes are changed, each by a function of what it was."""

    def fit(drawn):
        model = drawn.fit()
        for name, change in attributes.items():
            setattr(model, name, change(getattr(model, name)))
        return model

    return fit


def kinds(drawn, fit=None):
    return {failure.kind for failure in judge(drawn, fit).failures}


@pytest.mark.parametrize(
    "drawn",
    [
        plain(),
        plain(penalty="l1", alpha=0.1),
        plain(positive=True),
        plain(n=3, d=5),
        replace(plain(d=1), estimator=TorchPolyRegressor, parameters={"degree": 3}),
        replace(plain(), y=np.random.default_rng(1).standard_normal((40, 2))),
    ],
    ids=["plain", "l1", "positive", "wide", "polynomial", "targets"],
)
def test_a_right_answer_passes(drawn):
    assert kinds(drawn) == set()


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "log_cosh"])
def test_a_perturbed_coefficient_is_silent_where_the_fit_says_converged(loss):
    perturbed = changed(coef_=lambda coef: coef * 1.01, optimality_=lambda _: np.nan)
    assert SILENT in kinds(plain(loss=loss), perturbed)


def test_the_objective_of_a_polynomial_is_that_of_its_predictions():
    def fit(drawn):
        model = drawn.fit()
        predict = model.predict
        model.predict = lambda X: predict(X) * 1.01
        return model

    drawn = replace(plain(d=1), estimator=TorchPolyRegressor, parameters={"degree": 3})
    assert {SILENT, PREDICT} <= kinds(drawn, fit)


def test_a_fit_that_was_cut_short_may_not_say_converged():
    def fit(drawn):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return drawn.model().set_params(max_iter=1, solver="gradient").fit(*drawn.data())

    def lying(drawn):
        model = fit(drawn)
        model.converged_ = True
        return model

    drawn = plain(loss="huber", epsilon=0.1)
    assert SILENT in kinds(drawn, lying)
    outcome = judge(drawn, fit)
    assert outcome.warned
    assert SILENT not in {failure.kind for failure in outcome.failures}


@pytest.mark.parametrize("least", [-1.0, -1e-300])
def test_a_coefficient_below_zero_breaks_a_constraint(least):
    def below(coef):
        return np.append(coef[:-1], least)

    drawn = plain(positive=True)
    drawn.X[:, -1] *= -1  # whose coefficient is zero
    assert CONSTRAINT in kinds(drawn, changed(coef_=below))


def test_a_coefficient_that_should_be_zero_breaks_a_constraint():
    tiny = changed(coef_=lambda coef: coef + 1e-12)
    assert kinds(plain(penalty="l1", alpha=50.0), tiny) == {CONSTRAINT}


@pytest.mark.parametrize(
    "seconds, n, expected", [(1.1, 40, {SLOW}), (0.9, 40, set()), (9, 101, set())]
)
def test_a_fit_of_a_small_problem_that_takes_a_second_is_slow(seconds, n, expected, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("tests.fuzz.verdicts.time.process_time", lambda: clock[0])

    def fit(drawn):
        clock[0] += seconds
        return drawn.fit()

    assert kinds(plain(n=n), fit) == expected


def test_a_fit_without_an_end_is_cut_off(monkeypatch):
    def fit(drawn):
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.verdicts.PATIENCE", 0.2)
    assert kinds(plain(), fit) == {SLOW}


def test_exceptions_and_warnings_that_no_page_names_are_crashes():
    def failing(drawn):
        raise IndexError("amax(): Expected reduction dim 0 to have non-zero size.")

    def warning(drawn):
        warnings.warn("invalid value encountered in multiply", RuntimeWarning, stacklevel=1)
        return drawn.fit()

    assert kinds(plain(), failing) == {CRASH}
    assert kinds(plain(), warning) == {CRASH}


def test_a_right_answer_that_warns_is_a_false_alarm():
    def warning(drawn):
        warnings.warn("not there yet", ConvergenceWarning, stacklevel=1)
        return drawn.fit()

    assert kinds(plain(), warning) == {ALARM}
    assert kinds(plain(), changed(converged_=lambda _: False)) == {ALARM}


def test_a_bound_is_not_negative_and_not_below_the_excess():
    assert kinds(plain(), changed(optimality_=lambda _: -0.5)) == {BOUND}
    off = changed(coef_=lambda coef: coef * 1.1, optimality_=lambda _: 1e-6)
    assert BOUND in kinds(plain(), off)
    unknown = changed(coef_=lambda coef: coef * 1.1, optimality_=lambda _: np.nan)
    assert BOUND not in kinds(plain(), unknown)


def test_coefficients_that_cancel_are_absurd():
    def absurd(coef):
        return coef + np.array([1e5, 0, -1e5])

    drawn = plain()
    drawn.X[:, 2] = drawn.X[:, 0]
    assert kinds(drawn) == set()
    assert ABSURD in kinds(drawn, changed(coef_=absurd))
    assert kinds(drawn, changed(coef_=lambda coef: coef * np.nan)) == {ABSURD}


def test_terms_that_cancel_are_absurd():
    b = np.random.default_rng(0).integers(0, 2, 50) * 1.0
    y = 2 * b + np.random.default_rng(1).standard_normal(50)
    drawn = Draw(0, b[:, None], y, None, TorchPolyRegressor, {"degree": 2})
    assert ABSURD in kinds(drawn, changed(coef_=lambda coef: coef + np.array([1e5, -1e5])))


def test_a_rank_warning_for_a_binary_column_is_a_false_alarm():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 2, 50), rng.standard_normal(50)])
    drawn = Draw(0, X, rng.standard_normal(50), None, TorchPolyRegressor, {"degree": 2})

    def warning(drawn):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = drawn.fit()
        warnings.warn("degree 2 asks for more", np.exceptions.RankWarning, stacklevel=1)
        return model

    assert ALARM in kinds(drawn, warning)
    drawn.parameters["degree"] = [1, 60]
    assert ALARM not in kinds(drawn, warning)


# --- the references ----------------------------------------------------------------------


def test_draws_are_the_same_each_time():
    for seed in range(20):
        one, other = draw(seed), draw(seed)
        np.testing.assert_array_equal(one.X, other.X)
        np.testing.assert_array_equal(one.y, other.y)
        assert one.parameters == other.parameters


def exact_mean_loss(problem, coef, intercept):
    """The mean of |r| in rational arithmetic, and how far the rounding of coefficients moves it."""
    coef, intercept = [Fraction(float(w)) for w in coef], Fraction(float(intercept))
    total, weight = Fraction(0), Fraction(0)
    for row, y, s in zip(problem.A, problem.y, problem.s, strict=True):
        terms = [Fraction(float(x)) * w for x, w in zip(row, coef, strict=True)]
        total += Fraction(float(s)) * abs(Fraction(float(y)) - intercept - sum(terms))
        weight += Fraction(float(s))
    return float(total / weight)


def test_objectives_are_those_of_rational_arithmetic():
    """To far less than the rounding of coefficients, columns dependent or not."""
    seeds = (draw(seed) for seed in range(400))
    kept = [d for d in seeds if d.kind == "linear/absolute_error/none" and len(d.X) < 40]
    assert len(kept) > 5
    for problem in (p for d in kept for p in problems(d)):
        point = reference(problem).point
        rounding = problem.s @ problem.rounding(point.coef, point.intercept)
        exact = exact_mean_loss(problem, point.coef, point.intercept)
        assert abs(point.value - exact) <= 0.5 * float(rounding) + 1e-15 * exact


@pytest.mark.slow
def test_bounds_show_that_the_references_are_the_least():
    unsure = []
    for seed in range(300):
        for problem in problems(draw(seed)):
            best = reference(problem)
            largest = float(np.abs(problem.y).max())
            rounding = 1e-18 + 1e-17 * (largest + largest**2)
            assert best.lower <= best.value * (1 + 1e-8) + rounding
            if best.value - best.lower > 1e-6 * max(best.value, 1e-10 * best.constant):
                unsure.append(seed)
    assert len(unsure) <= 15, unsure


# --- what is printed ---------------------------------------------------------------------


def test_the_three_lines_can_be_run():
    plain = (draw(seed) for seed in range(1000))
    drawn = next(d for d in plain if d.kind == "linear/squared_error/none" and not kinds(d))
    lines = lines_of(drawn, judge(drawn, changed(coef_=lambda coef: coef + 1.0)).failures[0])
    assert len(lines) == 3
    space = {}
    exec("\n".join(lines), space)
    space["m"].coef_ = space["m"].coef_ + 1.0
    with pytest.raises(AssertionError):
        exec(lines[2], space)


def test_the_command_counts_what_it_judged(capsys):
    status = main(["--draws", "3", "--seed", "0", "--quiet"])
    out = capsys.readouterr().out
    assert status in (0, 1)
    assert "3 draws, seeds 0 to 2" in out
    assert "SILENT" in out

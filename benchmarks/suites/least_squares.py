"""Plain least squares, linear and polynomial: the models of a case, against the closed form."""

from dataclasses import replace
from functools import partial
from math import comb

from benchmarks.measure.roofline import gram_work
from benchmarks.measure.worth import closed_form_worth
from benchmarks.suites.cases import timed_cases
from benchmarks.suites.models import linear_models, polynomial_models
from benchmarks.suites.problem import Problem


def least_squares_problems(quick=False):
    """List the problems of the section."""
    return [
        Problem(
            case.name,
            case.data,
            partial(_models, case),
            worth=closed_form_worth,
            work=partial(expanded_work, case.degree),
        )
        for case in timed_cases(quick)
    ]


def expanded_work(degree, X):
    """The work of least squares on terms up to a degree: their products, but the rows once."""
    terms = n_terms(X.shape[1], degree)
    small, large = sorted((len(X), terms))
    return replace(gram_work(X), operations=large * small * (small + 1))


def n_terms(n_columns, degree):
    """Count the terms up to a degree, without the constant."""
    return comb(n_columns + degree, degree) - 1


def _models(case, X, y):
    if case.degree == 1:
        return linear_models()
    return polynomial_models(case.degree, case.n_columns)

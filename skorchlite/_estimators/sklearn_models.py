"""Fitted objects of scikit-learn that predict what a model does, without torch."""

from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    PoissonRegressor,
    TweedieRegressor,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PolynomialFeatures,
    StandardScaler,
)

from .._polynomials.basis import Basis
from .._polynomials.multi_index import Terms
from .._polynomials.on_domain import OnDomain

Array = NDArray[np.float64]

_MANY_TERMS = 20_000  # beyond which terms with a coefficient of zero are too many to form


def linear_model(
    coef: Array,
    intercept: Any,
    power: float | None,
    fit_intercept: bool = True,
    positive: bool = False,
    alpha: float = 0.0,
) -> Any:
    """Return a fitted linear model: LinearRegression or, with a log link, that of the power.

    Parameters
    ----------
    coef : array of shape (n_features,) or (n_targets, n_features)
    intercept : np.float64 or array of shape (n_targets,)
    power : float or None
        None for predictions that are linear.
    fit_intercept, positive, alpha
        Parameters that the model gets if it has them.
    """
    if power is None:
        model = LinearRegression(fit_intercept=fit_intercept, positive=positive)
        model.coef_, model.intercept_ = coef, intercept
        model.n_features_in_ = coef.shape[-1]
        return model
    bare = _log_link(power, alpha=alpha, fit_intercept=fit_intercept)
    if not np.ndim(intercept):
        return _log_linear_model(bare, coef, intercept)
    model = MultiOutputRegressor(bare)
    each = zip(coef, intercept, strict=True)
    model.estimators_ = [_log_linear_model(clone(bare), *one) for one in each]
    model.n_features_in_ = coef.shape[-1]
    return model


def _log_link(power: float, **params: Any) -> Any:
    if power == 1:
        return PoissonRegressor(**params)
    if power == 2:
        return GammaRegressor(**params)
    return TweedieRegressor(power=power, link="log", **params)


def _log_linear_model(model: Any, coef: Array, intercept: float) -> Any:
    # A fit to one row sets what scikit-learn keeps in private attributes.
    model.fit(np.zeros((1, len(coef))), [1.0])
    model.coef_, model.intercept_ = coef, intercept
    return model


def polynomial_model(
    basis: Basis,
    coef: Array,
    intercept: Array,
    *,
    single: bool,
    clip: bool,
    power: float | None,
) -> Pipeline:
    """Return a fitted pipeline that forms terms and multiplies them with coefficients.

    Parameters
    ----------
    basis : Basis
    coef, intercept : array
        As of ``OnDomain``.
    single : bool
        Whether y had one axis.
    clip : bool
        Whether numbers outside of the range of a column are replaced by its ends.
    power : float or None
        As of ``linear_model``.
    """
    if basis.kind == "raw" and not clip:  # of rows that are sparse, and stay so
        degrees = basis.terms.degrees
        forms = _powers(basis.terms, degrees.least)
        own = _arranged(basis.terms, coef, forms)
        return _pipeline([], [("terms", forms)], own, intercept, single, power)
    model = OnDomain(basis, coef, intercept)
    mapped = [("scale", _scaler(model.low, model.width)), ("map", _mapper(len(model.low), clip))]
    found = model.coefficients("power")
    if model.keeps_digits(*found):
        forms = _powers(model.terms, 1)
        own = _arranged(model.terms, found[0], forms)
        return _pipeline(mapped, [("terms", forms)], own, found[1], single, power)
    found = model.coefficients("chebyshev")
    if model.keeps_digits(*found):
        steps, own = _chebyshev(model.terms, found[0])
        return _pipeline(mapped, steps, own, found[1], single, power)
    raise ValueError(
        "The parts that predictions are the sum of are so much larger than these, in powers and "
        "in Chebyshev's polynomials on domain_, that digits would be lost. It is where data leaves "
        "most of its domain empty, or for a degree that is too high for it. to_module() evaluates "
        "the terms that the model was fitted in."
    )


def _pipeline(
    mapped: list[tuple[str, Any]],
    forms: list[tuple[str, Any]],
    coef: Array,
    intercept: Any,
    single: bool,
    power: float | None,
) -> Pipeline:
    if single:
        coef, intercept = coef[0], intercept[0]
    return Pipeline([*mapped, *forms, ("regression", linear_model(coef, intercept, power))])


def _scaler(low: Array, width: Array) -> StandardScaler:
    """Return the step that maps columns to [0, 1]; MinMaxScaler would lose digits far from zero."""
    scaler = StandardScaler().fit(np.zeros((1, len(low))))
    scaler.mean_, scaler.scale_, scaler.var_ = low, width, width**2
    return scaler


def _mapper(n_features: int, clip: bool) -> MinMaxScaler:
    """Return the step that maps [0, 1] to [-1, 1]."""
    ends = np.repeat([[0.0], [1.0]], n_features, 1)
    return MinMaxScaler(feature_range=(-1, 1), clip=clip).fit(ends)


def _powers(terms: Terms, least: int) -> PolynomialFeatures:
    """Return the transformer that forms the terms, and those that bounds of columns leave out."""
    degrees = terms.degrees
    forms = PolynomialFeatures(
        degree=degrees.most if least == 1 else (least, degrees.most),
        interaction_only=max(degrees.of_columns) == 1,
        include_bias=False,
    )
    return _with_columns(forms, terms.n_features, len(terms))


def _with_columns(forms: PolynomialFeatures, n_columns: int, n_terms: int) -> PolynomialFeatures:
    forms.fit(np.zeros((1, n_columns)))
    if forms.n_output_features_ > max(_MANY_TERMS, n_terms):
        raise ValueError(
            f"PolynomialFeatures would form {forms.n_output_features_:,} terms, of which the model "
            f"has {n_terms:,}. Use to_module(), which forms these alone, or fewer columns."
        )
    return forms


def _arranged(terms: Terms, coef: Array, forms: PolynomialFeatures) -> Array:
    """Return coefficients for all terms that a transformer forms, zero for those left out."""
    if forms.n_output_features_ == len(terms):  # in the same order
        return coef.copy()
    numbers = {tuple(powers): i for i, powers in enumerate(forms.powers_.tolist())}
    found = np.zeros((len(coef), forms.n_output_features_))
    found[:, [numbers[tuple(powers)] for powers in terms.powers.tolist()]] = coef
    return found


def _chebyshev(terms: Terms, coef: Array) -> tuple[list[tuple[str, Any]], Array]:
    """Return steps that form products of Chebyshev's polynomials, and the coefficients for these.

    They are NumPy's functions, so that a pickle of them needs nothing else.
    """
    n_columns, degree = terms.n_features, terms.degree
    width = degree + 1  # with the polynomial of degree zero
    steps = [
        ("chebyshev", FunctionTransformer(chebvander, kw_args={"deg": degree})),
        ("columns", FunctionTransformer(np.reshape, kw_args={"shape": (-1, n_columns * width)})),
    ]
    forms = PolynomialFeatures(
        degree=min(n_columns, terms.degrees.most), interaction_only=True, include_bias=False
    )
    steps.append(("terms", _with_columns(forms, n_columns * width, len(terms))))
    factors = [
        tuple(column * width + k for column, k in enumerate(powers) if k)
        for powers in terms.powers.tolist()
    ]
    formed = {tuple(np.flatnonzero(row).tolist()): i for i, row in enumerate(forms.powers_)}
    found = np.zeros((len(coef), forms.n_output_features_))
    found[:, [formed[columns] for columns in factors]] = coef
    return steps, found

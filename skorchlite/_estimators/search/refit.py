"""The model that a search has chosen, fitted to all rows."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._inputs.fit_data import Data
from ..._polynomials.basis import Basis
from ..._solvers.base import Solution, SolverControl
from ..._solvers.newton.solver import newton
from ..._solvers.newton.unpenalised_columns import with_unpenalised
from ..._sources.row_source import TargetRows
from .search import Search

Array = NDArray[np.float64]
Attributes = dict[str, Any]


def refitted(search: Search, share: float, alphas: Array) -> tuple[Attributes, Solution]:
    """Return the fitted attributes of the chosen model, and a solution to warn of.

    Parameters
    ----------
    search : Search
    share : float
    alphas : array of shape (n_targets,)
        Targets that have a weight in common are fitted together.
    """
    data, parts = search.data, []
    for alpha in np.unique(alphas):
        targets = np.flatnonzero(alphas == alpha)
        own = data
        if len(targets) < len(alphas):
            rows = TargetRows(data.rows, targets.tolist())
            own = replace(data, rows=rows, single_target=False)
        fit = _fitted if data.rows.rereadable else partial(_from_moments, targets=targets)
        parts.append((targets, *fit(search, share, float(alpha), own)))
    if len(parts) == 1:
        return parts[0][1:]
    # Of what a fit warns of, the worst part says most.
    solution = max((part[2] for part in parts), key=lambda s: (s.status != "converged", s.change))
    return _together([part[:2] for part in parts]), solution


def _fitted(search: Search, share: float, alpha: float, data: Data) -> tuple[Attributes, Solution]:
    model = search.estimator._estimator(share, alpha)
    search.estimator._name_columns(model)
    solution = model._fit(data, (None, None), None)
    own = {*model.get_params(deep=False), "_stream", "n_features_in_", "feature_names_in_"}
    return {name: value for name, value in vars(model).items() if name not in own}, solution


def _from_moments(
    search: Search, share: float, alpha: float, data: Data, targets: NDArray[np.intp]
) -> tuple[Attributes, Solution]:
    """Return the same of rows that cannot be read again, but whose moments are kept."""
    model = search.estimator._estimator(share, alpha)
    control = SolverControl(model.tol, model.max_iter, data.dtype, data.eps)
    objective = search.summed(share, alpha, targets)
    solution = with_unpenalised(objective, None, control, newton)
    solution = solution.knowing(dtype=data.dtype)
    found = {**model._fitted(data, solution), "solver_": "newton"}
    del found["_stream"]
    return found, solution


def _together(parts: list[tuple[NDArray[np.intp], Attributes]]) -> Attributes:
    """Return the attributes of models of some of the targets each, as those of one model."""
    found = dict(parts[0][1]) | {"_whitening": None}
    order = np.concatenate([targets for targets, _ in parts]).argsort()

    def each(name: str) -> list[Any]:
        return [attributes[name] for _, attributes in parts]

    for name in ("coef_", "intercept_"):
        found[name] = np.concatenate(each(name))[order]
    if "_basis_solution" in found:  # of a polynomial, in the terms that it was fitted in
        solutions = [_in_terms_of(found["_basis"], attributes) for _, attributes in parts]
        coefs, intercepts = (np.concatenate(part)[order] for part in zip(*solutions, strict=True))
        found["_basis_solution"] = coefs, intercepts
    for name, worst in (("n_iter_", max), ("t_", max), ("optimality_", max), ("converged_", all)):
        found[name] = worst(each(name))
    # Those that ended before the others stay where they are.
    curves, length = each("loss_curve_"), max(map(len, each("loss_curve_")))
    found["loss_curve_"] = [sum(c[min(i, len(c) - 1)] for c in curves) for i in range(length)]
    return found


def _in_terms_of(basis: Basis, attributes: Attributes) -> tuple[Array, Array]:
    """Return (coef of shape (n_targets, n_terms), intercept) for the terms of a basis."""
    coef, intercept = attributes["_basis_solution"]
    own: Basis = attributes["_basis"]
    if own.has_same_terms(basis):
        return coef, intercept
    # Penalties of some size may have been better in other terms.
    parts, _ = basis.conversion.coefficients_of(own)
    return coef @ parts[:-1].T, intercept + coef @ parts[-1]

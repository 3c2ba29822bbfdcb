"""The warnings of models of groups that did not converge."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from .group_models import OneFit
from .stack_level import caller_level

_COMMON = (
    "The model of all rows, which other groups are predicted by and shrinkage pulls towards, did "
    "not converge."
)
_FAR = (
    " Powers of columns this far from zero, relative to their range in a group, cancel each other. "
    "Lower the degree, or subtract from each column what is near its values; with penalty='l2' "
    "other terms are found for groups with more rows than terms, or of one column."
)
_SEPARATED = (
    "In {} of {} groups, as in {!r}, the optimum is at infinity: all targets are zero, or the "
    "columns tell rows with y = 0 from all others. There the objective falls as long as "
    "predictions go to zero, and the coefficients are where that no longer matters. Use a penalty "
    "(penalty='l2') or shrinkage, which helps all groups but those without a target above zero."
)


def warn_of_groups(
    estimator: Any, far: list[int], separated: NDArray[np.bool_], common: OneFit | None
) -> None:
    """Warn of models that did not converge.

    Parameters
    ----------
    estimator : TorchGroupedRegressor
        A fitted one.
    far : list of int
        The numbers of groups in which digits cancel between powers of the columns.
    separated : array of shape (n_groups,)
        Of which groups the optimum is at infinity.
    common : OneFit or None
        The model of all rows.
    """
    messages = []
    (bad,) = np.nonzero(~estimator.converged_ & ~separated)
    if len(bad):
        messages.append(_of_groups(estimator, bad, far))
    if separated.any():
        group = _name(estimator, separated.argmax())
        messages.append(_SEPARATED.format(separated.sum(), estimator.n_groups_, group))
    if common is not None and not common.estimator.converged_:
        messages.append(_COMMON + _FAR * (common.raw is not None))
    for message in messages:
        warnings.warn(message, ConvergenceWarning, stacklevel=caller_level(least=3))


def _name(estimator: Any, number: Any) -> Any:
    """Return the key of a group as users write it."""
    key = estimator.groups_[number]
    return key.item() if isinstance(key, np.generic) else key


def _of_groups(estimator: Any, bad: NDArray[np.int64], far: list[int]) -> str:
    """Return what to say of groups that did not converge, whose numbers are given."""
    worst = bad[np.nan_to_num(estimator.optimality_[bad], nan=np.inf).argmax()]
    group, gap = _name(estimator, worst), estimator.optimality_[worst]
    known = f"the objective of group {group!r} may be {gap:.1e} above its optimum, relatively"
    unknown = f"of group {group!r} no bound on the objective could be computed"
    message = (
        f"{len(bad)} of {estimator.n_groups_} groups did not converge to tol={estimator.tol:.1e}: "
        f"{unknown if np.isnan(gap) else known}. Increase max_iter or tol, or use a penalty "
        "(penalty='l2'). converged_ tells which they are."
    )
    return message + _FAR if np.isin(bad, far).any() else message

"""The candidates of a search by cross-validation, and what came out of each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted


@dataclass(frozen=True)
class Candidate:
    """A degree, a share of "l1" and a weight of the penalty, with its errors on the test samples.

    Parameters
    ----------
    degree, l1_ratio : object
        None where the search has one for all candidates.
    alpha : float
    errors : ndarray of shape (n_splits,)
    """

    degree: Any
    l1_ratio: Any
    alpha: float
    errors: np.ndarray

    @property
    def mean(self) -> float:
        """The mean error over the splits, infinite where it is no number."""
        mean = float(self.errors.mean())
        return mean if np.isfinite(mean) else np.inf

    @property
    def name(self) -> str:
        """The name of those that differ in alpha alone."""
        parts = {"degree": self.degree, "l1_ratio": self.l1_ratio}
        return ", ".join(f"{name}={value}" for name, value in parts.items() if value is not None)


def candidates_of(estimator: Any) -> list[Candidate]:
    """Return the candidates of a fitted search, in its order.

    Raises
    ------
    AttributeError
        If the estimator is no search.
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, "mse_path_") or not hasattr(estimator, "cv_results_"):
        raise AttributeError(
            f"{type(estimator).__name__} has no path of candidates. Give a fitted "
            "TorchSGDRegressorCV or TorchPolyRegressorCV."
        )
    params = estimator.cv_results_["params"]
    errors = np.reshape(estimator.mse_path_, (len(params), -1))
    return [
        Candidate(one.get("degree"), one.get("l1_ratio"), one.get("alpha", 0.0), own)
        for one, own in zip(params, errors, strict=True)
    ]


def is_chosen(candidate: Candidate, estimator: Any) -> bool:
    """Return whether a candidate has the degree and the share of "l1" that a search has chosen."""
    share = candidate.l1_ratio is None or candidate.l1_ratio == estimator.l1_ratio_
    # Numbers in a tuple and in a list are other degrees, which an equality of arrays would miss.
    return share and (candidate.degree is None or str(candidate.degree) == str(estimator.degree_))

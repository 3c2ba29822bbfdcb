"""What a search has found of each candidate, and which one it chooses."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stack_level import caller_level

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """Pairs of a share of "l1" and a weight of the penalty.

    Parameters
    ----------
    shares : list of float
    alphas : array of shape (n_shares, n_alphas)
        In descending order.
    """

    shares: list[float]
    alphas: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """How many shares there are, and how many weights for each."""
        return self.alphas.shape

    def parameters(self, named: tuple[str, ...]) -> list[dict[str, float]]:
        """Return the parameters of each candidate, of those that have these names."""
        found = []
        for share, alphas in zip(self.shares, self.alphas, strict=True):
            for alpha in alphas.tolist():
                pair = {"alpha": alpha, "l1_ratio": share}
                found.append({name: pair[name] for name in named})
        return found


def chosen(scores: Array, rule: str) -> tuple[int, int]:
    """Return the numbers of the share and the weight that a rule chooses.

    Parameters
    ----------
    scores : array of shape (n_shares, n_alphas, n_splits)
        Of which larger ones are better; weights descend.
    rule : {"best", "one_standard_error"}
    """
    mean = scores.mean(-1)
    if not np.isfinite(mean).any():
        raise ValueError(
            "No candidate has a finite score: the scores of all are NaN or infinite. Check the "
            "scoring and the splits (R2, say, needs two samples in each)."
        )
    share, best = np.unravel_index(np.nanargmax(mean), mean.shape)
    if rule == "one_standard_error" and scores.shape[-1] > 1:
        of_best = scores[share, best]
        within = mean[share] >= mean[share, best] - of_best.std(ddof=1) / len(of_best) ** 0.5
        best = np.flatnonzero(within)[0]  # the largest weight
    return int(share), int(best)


def results(
    candidates: Candidates, named: tuple[str, ...], scores: Array, seconds: tuple[float, float]
) -> dict[str, Any]:
    """Return the dictionary that GridSearchCV calls ``cv_results_``.

    Parameters
    ----------
    candidates : Candidates
    named : tuple of str
        The parameters that were searched.
    scores : array of shape (n_shares, n_alphas, n_splits)
    seconds : tuple of float
        What fitting and scoring took in all. The candidates share the passes over the rows, so that
        each is given the same part.
    """
    flat = scores.reshape(-1, scores.shape[-1])
    n, n_splits = flat.shape
    params = candidates.parameters(named)
    found: dict[str, Any] = {}
    for name, total in zip(("fit", "score"), seconds, strict=True):
        found[f"mean_{name}_time"] = np.full(n, total / (n * n_splits))
        found[f"std_{name}_time"] = np.zeros(n)
    for name in named:
        found[f"param_{name}"] = np.ma.array([one[name] for one in params])
    found["params"] = params
    for split in range(n_splits):
        found[f"split{split}_test_score"] = flat[:, split].copy()
    mean = flat.mean(1)
    found["mean_test_score"], found["std_test_score"] = mean, flat.std(1)
    worse = np.where(np.isnan(mean), np.inf, -mean)  # a mean that is no number comes last
    found["rank_test_score"] = 1 + np.searchsorted(np.sort(worse), worse).astype(np.int32)
    return found


def warn_of_end(alphas: Array, number: int, widest: bool) -> None:
    """Warn where the weight that was chosen is at an end of those that were tried.

    Parameters
    ----------
    alphas : array of shape (n_alphas,)
        In descending order.
    number : int
        Of the weight that was chosen.
    widest : bool
        Whether the first leaves all coefficients at zero, as larger ones would.
    """
    if len(alphas) < 2 or 0 < number < len(alphas) - 1 or (widest and not number):
        return
    end, further = ("largest", "larger") if number == 0 else ("least", "smaller")
    message = (
        f"alpha_={alphas[number]:.4g} is the {end} of the weights that were tried, so that a "
        f"{further} one may be better. Give alphas that reach further, or a smaller eps."
    )
    warnings.warn(message, UserWarning, stacklevel=caller_level(least=5))

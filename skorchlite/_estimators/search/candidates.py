"""What a search has found of each candidate, and which one it chooses."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stack_level import caller_level

Array = NDArray[np.float64]

_TIED = 1e-12  # of a score: less than that between two of them is rounding


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


@dataclass(frozen=True)
class Found:
    """What came out of all candidates.

    Parameters
    ----------
    losses : array of shape (n_shares, n_alphas, n_splits, n_targets)
    scores : array of shape (n_shares, n_alphas, n_splits)
        Of which larger ones are better.
    seconds : tuple of float
        What fitting and scoring took in all.
    errors : array of shape (n_shares, n_alphas, n_targets) or None
        The standard errors of the mean losses where these are means over rows, which are left out
        one at a time; None where they are means over splits.
    """

    losses: Array
    scores: Array
    seconds: tuple[float, float]
    errors: Array | None = None

    def chosen(self, rule: str) -> tuple[int, Any]:
        """Return the numbers of the share and the weight that a rule chooses.

        Parameters
        ----------
        rule : {"best", "one_standard_error"}
        """
        error = _error(self.scores)
        if self.errors is not None:
            error = np.sqrt((self.errors**2).mean(-1))
        share, numbers = _best(self.scores.mean(-1)[..., None], error[..., None], rule)
        return share, int(numbers[0])

    def chosen_by_target(self, rule: str) -> tuple[int, NDArray[np.intp]]:
        """Return the number of the share, and that of the weight of each target."""
        scores = -self.losses
        error = _error(np.moveaxis(scores, 2, -1)) if self.errors is None else self.errors
        return _best(scores.mean(2), error, rule)

    def score_of(self, share: int, numbers: Any) -> Any:
        """Return the mean score of a weight, or of one for each target."""
        if np.ndim(numbers):
            losses = self.losses[share].mean(1)
            return -losses[numbers, np.arange(losses.shape[1])]
        return float(self.scores[share, numbers].mean())

    def beyond(self, share: int, numbers: Any) -> NDArray[np.intp]:
        """Return those of the chosen weights that score unlike the weight next to them.

        Where a weight at an end scores like it, as where all coefficients are zero or the targets
        are constant, nothing suggests one beyond.
        """
        chosen = np.atleast_1d(numbers)
        means = self.scores[share].mean(-1)[:, None]
        if np.ndim(numbers):
            means = -self.losses[share].mean(1)
        targets, last = np.arange(means.shape[1]), len(means) - 1
        beside = np.where(chosen == 0, min(1, last), chosen - 1)
        own, other = means[chosen, targets], means[beside, targets]
        return chosen[abs(own - other) > _TIED * abs(own)]


def _error(scores: Array) -> Array:
    """Return the standard error of the mean over the last axis, 0 of a single score."""
    n = scores.shape[-1]
    return scores.std(-1, ddof=1) / n**0.5 if n > 1 else np.zeros(scores.shape[:-1])


def _best(mean: Array, error: Array, rule: str) -> tuple[int, NDArray[np.intp]]:
    """Return the number of the share, and those of the weights for each target.

    Parameters
    ----------
    mean, error : array of shape (n_shares, n_alphas, n_targets)
        Of scores, and of these means.
    rule : str
    """
    mean = np.where(np.isfinite(mean), mean, -np.inf)
    if not np.isfinite(mean.max(1)).all():
        raise ValueError(
            "No candidate has a finite score. Check the scoring and the splits (R2, say, needs two "
            "samples in each), or use larger alphas."
        )
    share = int(mean.max(1).sum(1).argmax())
    mean, error = mean[share], error[share]
    best, targets = mean.argmax(0), np.arange(mean.shape[1])
    if rule == "one_standard_error":  # the largest weight that is as good
        best = (mean >= (mean - error)[best, targets]).argmax(0)
    return share, best


def results(candidates: Candidates, named: tuple[str, ...], found: Found) -> dict[str, Any]:
    """Return the dictionary that GridSearchCV calls ``cv_results_``.

    The candidates share the passes over the rows, so that each is given the same part of the time.

    Parameters
    ----------
    candidates : Candidates
    named : tuple of str
        The parameters that were searched.
    found : Found
    """
    flat = found.scores.reshape(-1, found.scores.shape[-1])
    n, n_splits = flat.shape
    params = candidates.parameters(named)
    table: dict[str, Any] = {}
    for name, total in zip(("fit", "score"), found.seconds, strict=True):
        table[f"mean_{name}_time"] = np.full(n, total / (n * n_splits))
        table[f"std_{name}_time"] = np.zeros(n)
    for name in named:
        table[f"param_{name}"] = np.ma.array([one[name] for one in params])
    table["params"] = params
    if found.errors is None:
        for split in range(n_splits):
            table[f"split{split}_test_score"] = flat[:, split].copy()
        table["std_test_score"] = flat.std(1)
    mean = table["mean_test_score"] = flat.mean(1)
    worse = np.where(np.isnan(mean), np.inf, -mean)  # a mean that is no number comes last
    table["rank_test_score"] = 1 + np.searchsorted(np.sort(worse), worse).astype(np.int32)
    return table


def warn_of_end(alphas: Array, numbers: NDArray[np.intp], widest: bool) -> None:
    """Warn where a weight that was chosen is at an end of those that were tried.

    Parameters
    ----------
    alphas : array of shape (n_alphas,)
        In descending order.
    numbers : array of int
        Of the weights that were chosen.
    widest : bool
        Whether the first leaves all coefficients at zero, as larger ones would.
    """
    last = len(alphas) - 1
    ends = [0] if not widest and (numbers == 0).any() else []
    ends += [last] if (numbers == last).any() else []
    if not last or not ends:
        return
    end, further = ("largest", "larger") if ends[0] == 0 else ("least", "smaller")
    message = (
        f"alpha_={alphas[ends[0]]:.4g} is the {end} of the weights that were tried, so that a "
        f"{further} one may be better. Give alphas that reach further, or a smaller eps."
    )
    warnings.warn(message, UserWarning, stacklevel=caller_level(least=5))

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
        one at a time, NaN unless the rule needs them; None where they are means over splits.
    """

    losses: Array
    scores: Array
    seconds: tuple[float, float]
    errors: Array | None = None

    def means(self, by_target: bool) -> tuple[Array, Array]:
        """Return the mean scores of each target, or of all as one, and the errors of these means.

        Both are of shape (n_shares, n_alphas, n_targets). What is not finite is never chosen.
        """
        if by_target:
            mean, error = -self.losses.mean(2), _error(np.moveaxis(self.losses, 2, -1))
        else:
            mean, error = self.scores.mean(-1)[..., None], _error(self.scores)[..., None]
        if self.errors is not None:
            of_all = np.sqrt((self.errors**2).mean(-1, keepdims=True))
            error = self.errors if by_target else of_all
        return np.where(np.isfinite(mean), mean, -np.inf), error

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


def chosen(parts: list[Found], rule: str, by_target: bool) -> tuple[int, int, Any]:
    """Return the numbers of the part, the share and the weight that a rule chooses.

    Parameters
    ----------
    parts : list of Found
        From the least model to the largest.
    rule : {"best", "one_standard_error"}
    by_target : bool
        Whether each target has a weight of its own, of which there is then an array.
    """
    found = [part.means(by_target) for part in parts]
    totals = [mean.max(1).sum(1) for mean, _ in found]  # of the best weights of each share
    if not np.isfinite(max(map(np.max, totals))):
        if parts[0].errors is not None:
            raise ValueError(
                "A sample determines a coefficient nearly alone, so that rounding makes the errors "
                "of the formula for cv='loo'. Give cv=sklearn.model_selection.LeaveOneOut(), which "
                "fits the others, or larger alphas."
            )
        raise ValueError(
            "No candidate has a finite score. Check the scoring and the splits (R2, say, needs two "
            "samples in each), or use larger alphas."
        )
    which = int(np.argmax([total.max() for total in totals]))
    share = int(totals[which].argmax())
    mean, error = (values[share] for values in found[which])
    numbers = mean.argmax(0)
    if rule == "one_standard_error":  # the least model and the largest weight that are as good
        least = (mean - error)[numbers, np.arange(mean.shape[1])]
        for which, (mean, _) in enumerate(found):
            share = int(totals[which].argmax())
            if (mean[share].max(0) >= least).all():
                break
        numbers = (mean[share] >= least).argmax(0)
    return which, share, numbers if by_target else int(numbers[0])


def together(parts: list[Found]) -> Found:
    """Return what came out of all parts, with an axis for these in front."""
    errors = [part.errors for part in parts if part.errors is not None]
    return Found(
        np.stack([part.losses for part in parts]),
        np.stack([part.scores for part in parts]),
        (sum(part.seconds[0] for part in parts), sum(part.seconds[1] for part in parts)),
        np.stack(errors) if errors else None,
    )


def results(params: list[dict[str, Any]], found: Found) -> dict[str, Any]:
    """Return the dictionary that GridSearchCV calls ``cv_results_``.

    The candidates share the passes over the rows, so that each is given the same part of the time.

    Parameters
    ----------
    params : list of dict
        The parameters of each candidate.
    found : Found
    """
    flat = found.scores.reshape(-1, found.scores.shape[-1])
    n, n_splits = flat.shape
    table: dict[str, Any] = {}
    for name, total in zip(("fit", "score"), found.seconds, strict=True):
        table[f"mean_{name}_time"] = np.full(n, total / (n * n_splits))
        table[f"std_{name}_time"] = np.zeros(n)
    for name in params[0]:
        table[f"param_{name}"] = _masked([one[name] for one in params])
    table["params"] = params
    if found.errors is None:
        for split in range(n_splits):
            table[f"split{split}_test_score"] = flat[:, split].copy()
        table["std_test_score"] = flat.std(1)
    mean = table["mean_test_score"] = flat.mean(1)
    worse = np.where(np.isnan(mean), np.inf, -mean)  # a mean that is no number comes last
    table["rank_test_score"] = 1 + np.searchsorted(np.sort(worse), worse).astype(np.int32)
    return table


def _masked(values: list[Any]) -> np.ma.MaskedArray:
    """Return values as GridSearchCV has them, of which each is one entry."""
    if all(np.ndim(value) == 0 for value in values):
        return np.ma.array(values)
    found = np.ma.array(np.empty(len(values), object))
    for number, value in enumerate(values):
        found[number] = value
    return found


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


def warn_of_largest(labels: dict[str, Any]) -> None:
    """Warn that the search with the largest models, which have these parameters, is the best."""
    for name, value in labels.items():
        message = (
            f"{name}_={value} is the largest that was tried, so that a larger one may be better. "
            "Try larger ones too."
        )
        warnings.warn(message, UserWarning, stacklevel=caller_level(least=5))

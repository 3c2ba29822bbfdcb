"""The splits of a cross-validation, as sets of keys that rows have."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from ..._objective.keyed_moments import KeyedMoments
from ..._sources.row_keys import CyclicKeys, GivenKeys, RowKeys

Index = NDArray[np.intp]
_SPARE_KEYS = 64  # more than a few for each split, whose moments are kept at a time


@dataclass(frozen=True)
class Splits:
    """Which rows each split trains on, and which it tests on.

    Parameters
    ----------
    n_rows : int
    parts : list of (train, test)
        Numbers of rows, ascending.
    """

    n_rows: int
    parts: list[tuple[Index, Index]]

    @classmethod
    def made(cls, cv: Any, X: Any, y: Any, n_rows: int, params: dict[str, Any]) -> "Splits":
        """Return the splits that a cross-validator makes; see ``check_cv`` of scikit-learn.

        Parameters
        ----------
        cv : int, splitter, iterable or None
        X, y : object
            As the user passed them, of which splitters use the shape.
        n_rows : int
        params : dict
            What goes to the splitter, as ``groups``.
        """
        # Splitters need no more of what scikit-learn cannot index than the number of rows.
        if getattr(X, "shape", (None,))[0] != n_rows:
            X, y = np.empty((n_rows, 0)), None
        found = check_cv(cv).split(X, y, **params)
        parts = [(_numbers(train, n_rows), _numbers(test, n_rows)) for train, test in found]
        if not parts:
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates?"
            )
        for number, (train, test) in enumerate(parts):
            _check(number, train, test, n_rows)
        return cls(n_rows, parts)

    def by_keys(self) -> Iterator["Folds"]:
        """Yield all splits, as many at a time as have few keys, the rows of which are used alike.

        Splits that overlap at random, as those of ``RepeatedKFold``, cut the rows into so many.
        """
        first = 0
        while first < len(self.parts):
            folds, first = self._folds_from(first)
            yield folds

    def _folds_from(self, first: int) -> tuple["Folds", int]:
        """Return splits from number ``first`` on, and the number of the next."""
        keys, roles = np.zeros(self.n_rows, np.int64), np.zeros((0, 1), np.int64)
        for number in range(first, len(self.parts)):
            role = np.zeros(self.n_rows, np.int64)
            for part, value in zip(self.parts[number], (1, 2), strict=True):
                role[part] += value
            pairs = keys * 4 + role
            present = np.bincount(pairs, minlength=4 * roles.shape[1]) > 0
            limit = 4 * (number + 1 - first) + _SPARE_KEYS
            if number > first and present.sum() > limit:
                return Folds.of(GivenKeys(keys, roles.shape[1]), roles, first), number
            found = np.flatnonzero(present)
            keys = (present.cumsum() - 1)[pairs]
            roles = np.concatenate((roles[:, found // 4], found[None] % 4))
        return Folds.of(GivenKeys(keys, roles.shape[1]), roles, first), len(self.parts)


@dataclass(frozen=True)
class Folds:
    """Splits as sets of keys.

    Parameters
    ----------
    keys : RowKeys
    train, test : array of bool, of shape (n_splits, n_keys)
    first : int, default=0
        The number of the first split.
    """

    keys: RowKeys
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    first: int = 0

    @classmethod
    def of(cls, keys: RowKeys, roles: NDArray[np.int64], first: int) -> "Folds":
        """Return the folds where each key has a role in each split: 1 to train, 2 to test."""
        return cls(keys, (roles & 1) > 0, (roles & 2) > 0, first)

    @classmethod
    def of_all(cls, n_rows: int) -> "Folds":
        """Return one split, which trains and tests on all rows."""
        whole = np.ones((1, 1), bool)
        return cls(GivenKeys(np.zeros(n_rows, np.int64), 1), whole, whole)

    @classmethod
    def in_turn(cls, n_folds: int) -> "Folds":
        """Return folds that rows which are not counted belong to in turn."""
        test = np.eye(n_folds, dtype=bool)
        return cls(CyclicKeys(n_folds), ~test, test)

    def sets(self, moments: KeyedMoments) -> tuple[KeyedMoments, KeyedMoments]:
        """Return the moments of what each split trains on, and of what it tests on."""
        (splits, tested) = np.nonzero(self.test)
        once = len(self.test) == moments.n_keys and len(splits) == moments.n_keys
        if once and (self.test == ~self.train).all() and len(set(tested)) == moments.n_keys:
            return moments.without_each()[tested], moments[tested]
        return moments.of_sets(self.train), moments.of_sets(self.test)


def _numbers(index: Any, n_rows: int) -> Index:
    """Return the numbers of rows that an index or a mask names, ascending."""
    index = np.asarray(index)
    if index.dtype == bool:
        index = np.flatnonzero(index)
    return np.sort(np.where(index < 0, index + n_rows, index).astype(np.intp))


def _check(number: int, train: Index, test: Index, n_rows: int) -> None:
    for name, part in (("training", train), ("test", test)):
        if not len(part):
            raise ValueError(
                f"Split {number} of cv has no {name} samples. Use fewer folds, or another splitter."
            )
        if part[0] < 0 or part[-1] >= n_rows:
            raise ValueError(
                f"Split {number} of cv names sample {part[0] if part[0] < 0 else part[-1]}, and "
                f"there are {n_rows}."
            )
        if (part[1:] == part[:-1]).any():
            raise ValueError(
                f"Split {number} of cv has {name} samples more than once. Give them weights."
            )


def check_weights(folds: Folds, train: KeyedMoments, test: KeyedMoments) -> None:
    """Raise if the weights of all rows of a set are zero."""
    for name, part in (("training", train), ("test", test)):
        empty = np.flatnonzero(part.weight <= 0)
        if len(empty):
            raise_no_weight(folds.first + int(empty[0]), name)


def raise_no_weight(number: int, name: str) -> None:
    """Raise the error of a set whose weights are all zero."""
    raise ValueError(
        f"The sample weights of all {name} samples of split {number} of cv are zero. Use fewer "
        "folds, or a splitter that spreads the samples with weight."
    )

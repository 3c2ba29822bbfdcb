"""The splits of a cross-validation, as sets of keys that rows have."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import LeaveOneGroupOut, check_cv

from ..._objective.keyed_moments import KeyedMoments
from ..._sources.row_keys import CyclicKeys, GivenKeys, RowKeys

Index = NDArray[np.intp]
_SPARE_KEYS = 64  # more than a few for each split, whose moments are kept at a time
_LEAST, _MOST = 10, 500  # splits that are worth a pass over the rows, and in one
_ENTRIES = 1 << 23  # of the moments of all splits; they are kept about six times on the way


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

    def rows_of(self, split: int, n_rows: int) -> tuple[Index, Index]:
        """Return the numbers of the rows that a split trains on, and tests on."""
        keys = self.keys.of(0, n_rows).numpy()
        return np.flatnonzero(self.train[split][keys]), np.flatnonzero(self.test[split][keys])

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
        one_each = np.array_equal(splits, np.arange(len(self.test)))
        if one_each and (self.test == ~self.train).all():
            return moments.without_each()[tested], moments[tested]
        return moments.of_sets(self.train), moments.of_sets(self.test)


@dataclass(frozen=True)
class Splits:
    """The splits that a cross-validator makes.

    Splits that overlap at random, as those of ``RepeatedKFold``, cut the rows into ever more sets
    whose rows are used alike. They are in several ``folds`` then, which take a pass over the rows
    each, and so are splits of which the moments would take much memory.

    Parameters
    ----------
    n_rows : int
    folds : list of Folds
    """

    n_rows: int
    folds: list[Folds]

    @classmethod
    def made(
        cls, cv: Any, X: Any, y: Any, n_rows: int, params: dict[str, Any], most: int = _MOST
    ) -> "Splits":
        """Return the splits of a cross-validator; see ``check_cv`` of scikit-learn.

        Parameters
        ----------
        cv : int, splitter, iterable or None
        X, y : object
            As the user passed them, of which splitters use the shape.
        n_rows : int
        params : dict
            What goes to the splitter, as ``groups``.
        most : int
            How many splits there may be in each of the ``folds``.
        """
        # Splitters need no more of what scikit-learn cannot index than the number of rows.
        if _count(X) != n_rows:
            X, y = np.empty((n_rows, 0)), None
        found = check_cv(cv).split(X, y, **params)
        if type(cv) is LeaveOneGroupOut:
            next(found)  # which raises what it would
            # It tests on each group in turn. Of a thousand, a thousand lists of all other rows
            # would take longer than the search.
            _, keys = np.unique(np.asarray(params["groups"]), return_inverse=True)
            return cls(n_rows, list(_each_left_out(keys, most)))
        folds = list(_folds(found, n_rows, most))
        if not folds:
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates?"
            )
        return cls(n_rows, folds)

    @property
    def count(self) -> int:
        """The number of splits."""
        return sum(len(part.test) for part in self.folds)

    def rows_of(self, split: int) -> tuple[Index, Index]:
        """Return the numbers of the rows that a split trains on, and tests on."""
        part = next(one for one in self.folds if split < one.first + len(one.test))
        return part.rows_of(split - part.first, self.n_rows)


def _count(values: Any) -> int | None:
    """Return the number of rows of what has a shape, or of a list; None for anything else."""
    if hasattr(values, "shape"):
        return values.shape[0] if values.shape else None
    return len(values) if isinstance(values, Sequence) else None


def most_splits(n_columns: int, n_targets: int) -> int:
    """Return of how many splits the moments are kept at a time, for so many columns."""
    entries = n_columns * (n_columns + n_targets)
    return min(max(_ENTRIES // max(entries, 1), _LEAST), _MOST)


def _each_left_out(keys: NDArray[np.intp], most: int) -> Iterator[Folds]:
    """Yield splits that test on the rows of each key and train on all others."""
    n_keys = int(keys.max()) + 1
    for first in range(0, n_keys, most):
        n = min(most, n_keys - first)
        # The rows of all other keys have one in common.
        rest = n_keys > n
        own = np.where((keys >= first) & (keys < first + n), keys - first, n)
        test = np.eye(n, n + rest, dtype=bool)
        yield Folds(GivenKeys(own, n + rest), ~test, test, first)


def _folds(splits: Iterable[tuple[Any, Any]], n_rows: int, most: int) -> Iterator[Folds]:
    """Yield the splits, as many at a time as have few keys."""
    keys, roles, first = np.zeros(n_rows, np.int64), np.zeros((0, 1), np.int64), 0
    for number, (train, test) in enumerate(splits):
        role = _roles(number, train, test, n_rows)
        pairs = keys * 4 + role
        present = np.bincount(pairs, minlength=4 * roles.shape[1]) > 0
        too_many = present.sum() > 4 * (number + 1 - first) + _SPARE_KEYS
        if number > first and (too_many or number - first >= most):
            yield Folds.of(GivenKeys(keys, roles.shape[1]), roles, first)
            roles, first, pairs = np.zeros((0, 1), np.int64), number, role
            present = np.bincount(pairs, minlength=4) > 0
        found = np.flatnonzero(present)
        keys = (present.cumsum() - 1)[pairs]
        roles = np.concatenate((roles[:, found // 4], found[None] % 4))
    if len(roles):
        yield Folds.of(GivenKeys(keys, roles.shape[1]), roles, first)


def _roles(number: int, train: Any, test: Any, n_rows: int) -> NDArray[np.int64]:
    """Return what a split uses each row for: 1 to train, 2 to test, 3 for both."""
    role = np.zeros(n_rows, np.int64)
    for name, value, index in (("training", 1, train), ("test", 2, test)):
        index = np.asarray(index)
        if index.dtype == bool and index.ndim == 1:
            if len(index) != n_rows:
                raise ValueError(
                    f"Split {number} of cv has a mask of {len(index)} samples, and there are "
                    f"{n_rows}."
                )
            index = np.flatnonzero(index)
        if not index.size:
            raise ValueError(
                f"Split {number} of cv has no {name} samples. Use fewer folds, or another splitter."
            )
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise ValueError(
                f"Split {number} of cv has {name} samples that are no list of integers, nor a mask."
            )
        wrong = index[(index < -n_rows) | (index >= n_rows)]
        if len(wrong):
            raise ValueError(
                f"Split {number} of cv names sample {wrong[0]}, and there are {n_rows}."
            )
        times = np.bincount(index % n_rows, minlength=n_rows)
        if times.max() > 1:
            raise ValueError(
                f"Split {number} of cv has {name} samples more than once. Give them weights."
            )
        role += value * times
    return role


def check_weights(folds: Folds, train: KeyedMoments, test: KeyedMoments) -> None:
    """Raise if the weights of all rows of a set are zero."""
    for name, part in (("training", train), ("test", test)):
        empty = np.flatnonzero(part.weight <= 0)
        if len(empty):
            raise_no_weight(folds.first + int(empty[0]), name)


def raise_no_weight(number: int, name: str) -> None:
    """Raise the error of a set without samples, or whose weights are all zero."""
    raise ValueError(
        f"Split {number} of cv has no {name} samples, or the weights of all are zero. Use fewer "
        "folds, or a splitter that spreads the samples with weight."
    )

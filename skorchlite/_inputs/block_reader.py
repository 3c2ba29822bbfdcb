"""Checked blocks of a stream, pass after pass."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np

from .conversion import is_single, to_numpy
from .streams import Triple, blocks_of
from .tables import ArrowTable, Frame, SparseTable
from .validation import check_finite, check_fit, check_predict

_CONVERTED_ENTRIES = 2 << 20  # of a table, up to which all of it is converted at once
_SEARCHED_ROWS = 4_096  # at a time, for a number that is not finite


@dataclass(frozen=True)
class BlockForm:
    """What the first block of a stream tells of the others.

    Parameters
    ----------
    n_features : int
    single : bool
        Whether the numbers of X carry single precision.
    target_shape : tuple of int or None
        The shape of the targets of a row; None without targets.
    weighted : bool
    sparse_kind : type or None
        The class of the sparse matrix that X is; None where X is dense.
    """

    n_features: int
    single: bool
    target_shape: tuple[int, ...] | None
    weighted: bool
    sparse_kind: Any

    @classmethod
    def of(cls, X: Any, y: Any, weight: Any) -> Self:
        """Return the form of a checked block."""
        return cls(
            n_features=X.shape[1],
            single=is_single(X),
            target_shape=None if y is None else tuple(y.shape[1:]),
            weighted=weight is not None,
            sparse_kind=type(X.matrix) if isinstance(X, SparseTable) else None,
        )

    def check_targets(self, y: Any, weight: Any, where: str) -> None:
        """Raise if a block has targets of another shape, or weights where the first has none."""
        shape, weighted = None if y is None else tuple(y.shape[1:]), weight is not None
        if (shape, weighted) != (self.target_shape, self.weighted):
            raise ValueError(
                f"The blocks do not go together: that {where} has targets of shape "
                f"{tuple(y.shape)}, {'with' if weighted else 'without'} weights."
            )


class BlockReader:
    """Passes over the checked blocks of a stream; see ``opened``.

    Parameters
    ----------
    estimator : object
    source : iterable
    targets : bool
        Whether there must be targets.
    first : tuple
        The first block, checked.
    rest : iterator
        The blocks after it, checked as they are read.

    Attributes
    ----------
    form : BlockForm
    n_rows, n_weighted : int or None
        How many rows there are, and how many with weight; None until a pass has ended.
    rereadable : bool
        Whether the source can be iterated again.
    """

    def __init__(
        self, estimator: Any, source: Iterable, targets: bool, first: Triple, rest: Iterator[Triple]
    ):
        self.estimator, self.source, self.targets = estimator, source, targets
        self.form = BlockForm.of(*first)
        self.n_rows: int | None = None
        self.n_weighted: int | None = None
        self.rereadable = not isinstance(source, Iterator)
        # The pass that the first block began, which the first reading of all blocks takes up.
        self._begun: list[Triple] = [first]
        self._rest: Iterator[Triple] | None = self._counted(rest, first)

    @classmethod
    def opened(
        cls, estimator: Any, source: Iterable, *, reset: bool = False, targets: bool = True
    ) -> Self:
        """Return a reader of a stream, whose first block is read and checked.

        Parameters
        ----------
        estimator : object
        source : iterable
        reset : bool, default=False
            Whether the first block sets ``n_features_in_`` and ``feature_names_in_`` of the
            estimator; else it must have the columns that the estimator was fitted to.
        targets : bool, default=True
            Whether there must be targets.
        """
        blocks = _checked(estimator, source, targets, reset)
        first = next(blocks, None)
        if first is None:
            raise ValueError(f"{type(source).__name__} yields no rows.")
        return cls(estimator, source, targets, first, blocks)

    @property
    def n_features(self) -> int:
        """The number of columns of X."""
        return self.form.n_features

    @property
    def n_targets(self) -> int:
        """The number of columns of y; 1 where y has one dimension, or there is none."""
        return self.form.target_shape[0] if self.form.target_shape else 1

    def as_sparse(self, X: Any) -> SparseTable:
        """Return the X of a block, which may be dense, as a sparse matrix like the first."""
        return X if isinstance(X, SparseTable) else SparseTable(self.form.sparse_kind(X[:]))

    def ahead(self, count: int) -> list[Triple]:
        """Return the blocks that hold the first ``count`` rows; the next pass begins with them."""
        if self._rest is None:
            self._rest = self._begin()
        n_rows = sum(X.shape[0] for X, *_ in self._begun)
        while n_rows < count and (block := next(self._rest, None)) is not None:
            self._begun.append(block)
            n_rows += block[0].shape[0]
        return self._begun

    def blocks(self) -> Iterator[Triple]:
        """Return an iterator over ``(X, y, sample_weight)`` that begins with the first block."""
        begun, rest = self._begun, self._rest
        self._begun, self._rest = [], None
        return self._begin() if rest is None else chain(begun, rest)

    def _begin(self) -> Iterator[Triple]:
        """Return the blocks of another pass."""
        if not self.rereadable:
            raise ValueError(
                f"{type(self.source).__name__} can be iterated once, and more passes over the rows "
                "are needed. Give what begins anew each time it is iterated: a list of blocks, a "
                "DataLoader, or an object whose __iter__ opens the source. Squared error with "
                "solver='auto' needs one pass (up to 2,000 columns; in another basis than powers "
                "for a polynomial with an intercept and all lower terms only), and partial_fit "
                "never more."
            )
        return self._counted(_checked(self.estimator, self.source, self.targets, form=self.form))

    def _counted(self, blocks: Iterable[Triple], first: Triple | None = None) -> Iterator[Triple]:
        """Yield the blocks of a pass, and check at its end that it had as many rows as the others.

        ``first`` is a block that the pass has yielded before.
        """
        n_rows, n_weighted = (0, 0) if first is None else (first[0].shape[0], _n_weighted(first))
        for block in blocks:
            n_rows += block[0].shape[0]
            n_weighted += _n_weighted(block)
            yield block
        if not n_rows:
            raise ValueError(
                f"{type(self.source).__name__} yields no rows, though it did before: it does not "
                "begin anew."
            )
        if self.n_rows not in (None, n_rows):
            raise ValueError(
                f"{type(self.source).__name__} yields {n_rows} rows now and had {self.n_rows} "
                "before. It must yield the same ones each time it is iterated."
            )
        self.n_rows, self.n_weighted = n_rows, n_weighted


def _n_weighted(block: Triple) -> int:
    """Return how many rows of a block have weight."""
    X, _, weight = block
    return X.shape[0] if weight is None else int((weight > 0).sum())


def _checked(
    estimator: Any,
    source: Iterable,
    targets: bool,
    reset: bool = False,
    form: BlockForm | None = None,
) -> Iterator[Triple]:
    """Yield the blocks of a pass, checked.

    Parameters
    ----------
    estimator : object
    source : iterable
    targets : bool
        Whether there must be targets.
    reset : bool, default=False
        Whether the first block sets the columns of the estimator.
    form : BlockForm, default=None
        Of the first block; None if the pass begins with it.
    """
    first_row, warned = 0, False
    for number, *block in blocks_of(source):
        where = f"in block {number}, which begins with row {first_row}"
        named = hasattr(block[0], "columns")
        # Where names are missing, scikit-learn warns at each check; once a pass is enough.
        model = _without_names(estimator) if warned and not named else estimator
        X, y, weight = _checked_block(model, block, targets, reset, where, first_row)
        reset, warned = False, warned or not named
        form = form or BlockForm.of(X, y, weight)
        form.check_targets(y, weight, where)
        first_row += X.shape[0]
        yield X, y, weight


def _without_names(estimator: Any) -> Any:
    model = copy.copy(estimator)
    vars(model).pop("feature_names_in_", None)
    return model


def _checked_block(
    estimator: Any, block: Sequence[Any], targets: bool, reset: bool, where: str, first_row: int
) -> Triple:
    """Return a block checked; an error says where the block, or the wrong row, is."""
    X, y, weight = block
    if targets and y is None:
        raise ValueError(f"There are no targets {where}. A block is (X, y[, sample_weight]).")
    try:
        if targets:
            X, y, weight = check_fit(estimator, X, y, weight, reset, whole=False)
        else:
            X, y, weight = check_predict(estimator, X), None, None
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error}\n(This is {where}.)") from error
    names, X = getattr(X, "names", None), _converted(X)
    try:
        check_finite(type(estimator).__name__, X, y, weight, first_row, names)
    except ValueError as error:
        rows = (_bad_row(part) for part in (X, y, weight) if part is not None)
        row = next(row for row in rows if row is not None)
        raise ValueError(
            f"{error}\n(This is {where}, and in row {row} of it, all counted from 0.)"
        ) from error
    return X, y, weight


def _converted(X: Any) -> Any:
    """Return the numbers of a small table with columns as one array.

    Each slice of a table is converted anew, and a block is sliced several times.
    """
    small = isinstance(X, ArrowTable | Frame) and X.shape[0] * X.shape[1] <= _CONVERTED_ENTRIES
    return X[0 : X.shape[0]] if small else X


def _bad_row(part: Any) -> int | None:
    """Return the first row that has a number that is not finite; None if there is no such row."""
    for start in range(0, part.shape[0], _SEARCHED_ROWS):
        numbers = np.asarray(to_numpy(part[start : start + _SEARCHED_ROWS]))
        bad = ~np.isfinite(numbers.reshape(len(numbers), -1)).all(1)
        if bad.any():
            return start + int(bad.argmax())
    return None

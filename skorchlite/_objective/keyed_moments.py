"""Moments of the rows of each key, such as a fold or a group: one pass makes them all.

Moments of several keys together are made by adding. To subtract those of one key from those of all
would lose the digits of what is left where that key is far larger.

References
----------
Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance: analysis and
recommendations", The American Statistician 37(3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._exceptions import OutOfRangeError
from .._sources.column_sums import ColumnSums
from .._sources.design import paired, staged
from .._sources.origin import Origin
from .._sources.origin_choice import plain_origin
from .._sources.row_keys import RowKeys
from .._sources.row_source import Rows
from .many_keys import many_sums
from .moments import FAR_MEAN

Array = NDArray[np.float64]

_RUNS = 2  # of rows with the same key in a block, for each key
_FEW_KEYS = 64  # that each have their own sums: more are summed together


@dataclass(frozen=True)
class KeyedMoments:
    """The moments of each key, measured from an origin that all have in common; float64.

    Parameters
    ----------
    weight : array of shape (n_keys,)
        The sum of the weights.
    mean : array of shape (n_keys, n_targets + n_features)
        Of the targets, then the features. Where products are about zero, it is zero.
    products : array of shape (n_keys, n_features, n_targets + n_features)
        ``sum_i s_i x_i a_i^T`` about the mean, of the features with targets and features.
    squares : array of shape (n_keys, n_targets)
        ``sum_i s_i y_i^2`` about the mean.
    """

    weight: Array
    mean: Array
    products: Array
    squares: Array

    @property
    def n_keys(self) -> int:
        """The number of keys."""
        return len(self.weight)

    @property
    def n_targets(self) -> int:
        """The number of targets."""
        return self.squares.shape[1]

    @property
    def features(self) -> Array:
        """Products of features, of shape (n_keys, n_features, n_features)."""
        return self.products[:, :, self.n_targets :]

    @property
    def targets(self) -> Array:
        """Products of features with targets, of shape (n_keys, n_features, n_targets)."""
        return self.products[:, :, : self.n_targets]

    def __getitem__(self, keys: Any) -> Self:
        """Return the moments of some of the keys, by slice, index or mask."""
        parts = self.weight, self.mean, self.products, self.squares
        return type(self)(*(part[keys] for part in parts))

    def leading(self, n_features: int) -> Self:
        """Return the moments of the first features, and of all targets."""
        k = self.n_targets + n_features
        products = self.products[:, :n_features, :k]
        return type(self)(self.weight, self.mean[:, :k], products, self.squares)

    def combined(
        self, parts: Array, constants: Array | None = None, shift: Array | None = None
    ) -> "KeyedMoments":
        """Return the moments of ``constants + parts @ features``, and of the targets.

        Parameters
        ----------
        parts : array of shape (n_combinations, n_features)
        constants : array of shape (n_combinations,), default=None
            If given, products are about zero instead of about the means.
        shift : array of shape (n_targets + n_features,), default=None
            Of the origin, from which the means are measured; given with ``constants``.
        """
        t, turned = self.n_targets, parts.T
        products = np.concatenate((parts @ self.targets, parts @ self.features @ turned), 2)
        if constants is None or shift is None:
            mean = np.concatenate((self.mean[:, :t], self.mean[:, t:] @ turned), 1)
            return KeyedMoments(self.weight, mean, products, self.squares)
        whole = self.mean + shift
        mean = np.concatenate((whole[:, :t], constants + whole[:, t:] @ turned), 1)
        weighted = self.weight[:, None] * mean
        products += weighted[:, t:, None] * mean[:, None, :]
        squares = self.squares + weighted[:, :t] * mean[:, :t]
        return KeyedMoments(self.weight, np.zeros_like(mean), products, squares)

    def merged(self, other: "KeyedMoments") -> "KeyedMoments":
        """Return those of the rows of both, key by key; a single key goes with each of the other.

        Keys without weight have no part in it.
        """
        weight = self.weight + other.weight
        share = np.divide(other.weight, weight, out=np.zeros_like(weight), where=weight > 0)
        away, t = other.mean - self.mean, self.n_targets
        moved = (self.weight * share)[:, None] * away
        products = moved[:, t:, None] * away[:, None, :]
        products += self.products
        products += other.products
        squares = self.squares + other.squares + moved[:, :t] * away[:, :t]
        return KeyedMoments(weight, self.mean + share[:, None] * away, products, squares)

    def together(self) -> "KeyedMoments":
        """Return the moments of all rows, as one key."""
        return reduce(KeyedMoments.merged, self._each())

    def without_each(self) -> "KeyedMoments":
        """Return, for each key, the moments of the rows of all others."""
        none = _nothing(self.mean.shape[1], self.n_targets)
        before, after = [none], [none]
        for one in list(self._each())[:-1]:
            before.append(before[-1].merged(one))
        for one in list(self[:0:-1]._each()):
            after.append(after[-1].merged(one))
        return concatenated(before).merged(concatenated(after[::-1]))

    def of_sets(self, member: NDArray[np.bool_]) -> "KeyedMoments":
        """Return the moments of sets of keys, as a key each.

        Parameters
        ----------
        member : array of shape (n_sets, n_keys)
        """
        each = list(self._each())
        none = _nothing(self.mean.shape[1], self.n_targets)
        sets = [
            reduce(KeyedMoments.merged, (each[key] for key in np.flatnonzero(row)), none)
            for row in member
        ]
        return concatenated(sets)

    def _each(self) -> Iterator["KeyedMoments"]:
        return (self[key : key + 1] for key in range(self.n_keys))


def _nothing(width: int, n_targets: int) -> KeyedMoments:
    """Return the moments of no rows, as one key."""
    products = np.zeros((1, width - n_targets, width))
    return KeyedMoments(np.zeros(1), np.zeros((1, width)), products, np.zeros((1, n_targets)))


def concatenated(parts: list[KeyedMoments]) -> KeyedMoments:
    """Return the moments of the keys of all parts."""
    names = "weight", "mean", "products", "squares"
    return KeyedMoments(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def keyed_moments(rows: Rows, keys: RowKeys, origin: Origin, centre: bool) -> KeyedMoments:
    """Return the moments of each key, in one pass, or two where their means differ much.

    They take the memory of ``n_keys * n_features * (n_targets + n_features)`` numbers, twice while
    they are made. Of more keys than that has room for, take some after the other: rows whose key is
    -1 are left out.

    Parameters
    ----------
    rows : Rows
    keys : RowKeys
    origin : Origin
        Near the data, and without a scale.
    centre : bool
        Whether to take products about the means instead of about zero.

    Raises
    ------
    OutOfRangeError
        If a sum is not finite.
    """
    found, near = _summed(rows, keys, origin, centre, None)
    if centre and rows.rereadable and not rows.sparse and near is not None:
        found, _ = _summed(rows, keys, origin, centre, near)
    return found


def _far(moments: KeyedMoments, moved: Array | float) -> NDArray[np.bool_]:
    """Return which means are so far from what was subtracted that products lost digits."""
    own = np.diagonal(moments.features, axis1=1, axis2=2)
    squares = np.concatenate((moments.squares, own), 1)
    return (moments.mean - moved) ** 2 * moments.weight[:, None] > FAR_MEAN * squares


def _summed(
    rows: Rows, keys: RowKeys, origin: Origin, centre: bool, near: Array | None
) -> tuple[KeyedMoments, Array | None]:
    """Return the moments, and what to measure from in another pass, None if none is needed.

    Parameters
    ----------
    rows, keys, origin, centre
        As of ``keyed_moments``.
    near : array of shape (n_keys, n_targets + n_features) or None
        What the columns of each key are measured from, near its own mean; None for the origin or,
        of many keys, for its first row.
    """
    add_up = partial(keyed_sums, origin=origin, keys=keys, centre=centre, near=near)
    (parts,) = rows.total(add_up)
    t, shift = rows.n_targets, origin.shift.numpy()
    found, far = None, np.zeros((keys.n_keys, len(shift)), bool)
    near = np.broadcast_to(shift, far.shape).copy()
    for products, squares, start in parts:
        moved = 0.0 if start is None else start - shift
        with np.errstate(all="ignore"):  # what is not finite is found below
            part = moments_of_keys(products, squares, t, centre, moved)
            far |= _far(part, moved)
        if start is not None:
            new = (part.weight > 0) & (found is None or found.weight == 0)
            near[new] = start[new]
        found = part if found is None else found.merged(part)
    assert found is not None, "there is a partition at least"
    if not all(np.isfinite(part).all() for part in (found.products, found.squares)):
        raise OutOfRangeError
    near[far] = (found.mean + shift)[far]
    return found, near if far.any() else None


def moments_of_keys(
    products: Array, squares: Array, t: int, centre: bool, moved: Array | float
) -> KeyedMoments:
    """Return the moments of keys from sums of ``[features, 1]`` times ``[targets, features, 1]``.

    Parameters
    ----------
    products : array of shape (n_keys, n_features + 1, n_targets + n_features + 1)
    squares : array of shape (n_keys, n_targets)
    t : int
        The number of targets.
    centre : bool
    moved : array of shape (n_keys, n_targets + n_features) or float
        What the columns were measured from, less the origin.
    """
    weight, total = products[:, -1, -1].copy(), products[:, -1, :-1]
    mean = np.zeros_like(total)
    np.divide(total, weight[:, None], out=mean, where=(weight > 0)[:, None])
    cross = products[:, :-1, :-1]
    if not centre:
        return KeyedMoments(weight, np.zeros_like(mean), cross.copy(), squares)
    cross = cross - total[:, t:, None] * mean[:, None, :]
    # Rounding alone makes a sum of squares negative.
    squares = np.maximum(squares - total[:, :t] * mean[:, :t], 0.0)
    return KeyedMoments(weight, (mean + moved) * (weight > 0)[:, None], cross, squares)


def keyed_sums(
    rows: Rows, origin: Origin, keys: RowKeys, centre: bool, near: Array | None
) -> tuple[list]:
    """Return products and squares of each key, and what its columns are measured from.

    They are in a list, since each partition has its own. None is for the origin.
    """
    if keys.n_keys > _FEW_KEYS and not rows.sparse:
        if not centre:
            near = np.broadcast_to(origin.shift.numpy(), (keys.n_keys, len(origin.shift))).copy()
        return ([tuple(part.numpy() for part in many_sums(rows, keys, near))],)
    if rows.sparse:
        sums = _sparse_sums(rows, origin, keys)
    else:
        sums = _dense_sums(rows, origin, keys, near)
    products, squares = zip(*sums, strict=True)
    return ([(torch.stack(products).numpy(), torch.stack(squares).numpy(), near)],)


def _dense_sums(
    rows: Rows, origin: Origin, keys: RowKeys, near: Array | None
) -> list[tuple[Tensor, Tensor]]:
    """Return the products and the squares of each key; see ``moments_of_keys``."""
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    sums = [ColumnSums(t, k, rows.device) for _ in range(keys.n_keys)]
    shifts = None if near is None else torch.from_numpy(near).to(rows.device)
    # Subtracted from the numbers as they are, since each subtraction rounds.
    origin = origin if shifts is None else plain_origin(rows, True)
    for key, A, weight in _segments(rows, origin, keys):
        if shifts is not None:
            A[:, :k] -= shifts[key].to(A.dtype)
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        sums[key].add(A)
    return [one.result() for one in sums]


def _sparse_sums(rows: Rows, origin: Origin, keys: RowKeys) -> list[tuple[Tensor, Tensor]]:
    """Return the same of rows that are kept without their zeros, which are not moved.

    The mean of a column with many zeros is not far from zero beside its deviation.
    """
    t, d = rows.n_targets, rows.n_features
    codes, sums = keys.of(rows.first, rows.n_rows), []
    for key in range(keys.n_keys):
        (numbers,) = (codes == key).nonzero(as_tuple=True)
        products = torch.zeros(d + 1, t + d + 1, dtype=torch.float64)
        squares = torch.zeros(t, dtype=torch.float64)
        part = rows.taken(numbers + rows.first)
        for y, Z, weight in paired(part, origin, torch.float64):
            weighted = y if weight is None else y * weight[:, None]
            products[:, :t] += (Z.T @ weighted).cpu()
            products[:, t:] += Z.gram(weight).cpu()
            squares += (y * weighted).sum(0).cpu()
        sums.append((products, squares))
    return sums


def _segments(
    rows: Rows, origin: Origin, keys: RowKeys
) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """Yield ``(key, A, sample_weight)``, those rows of a staged block that have the key."""
    dtype = torch.float32 if rows.device.type == "mps" else torch.float64
    first = rows.first
    for A, weight in staged(rows, origin, dtype):
        codes = keys.of(first, len(A))
        first += len(A)
        present, counts = codes.unique_consecutive(return_counts=True)
        if len(present) > _RUNS * keys.n_keys:  # each of a few is added as it is
            codes, order = codes.sort(stable=True)
            order = order.to(A.device)
            A, weight = A[order], None if weight is None else weight[order]
            present, counts = codes.unique_consecutive(return_counts=True)
        stop = 0
        for key, count in zip(present.tolist(), counts.tolist(), strict=True):
            start, stop = stop, stop + count
            if key >= 0:
                yield key, A[start:stop], None if weight is None else weight[start:stop]

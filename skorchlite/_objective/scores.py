"""Sums of scores over the rows, of which covariances of coefficients are made.

The score of a row is ``s psi u``: its weight, the slope of its loss, and its columns in coordinates
in which these are orthonormal on the rows; see ``Whitening``. Columns are turned to these before
they are multiplied where they are nearly dependent, else after, which takes less time.

References
----------
White (1980), "A heteroskedasticity-consistent covariance matrix estimator and a direct test for
heteroskedasticity", Econometrica 48(4). MacKinnon, White (1985), "Some heteroskedasticity-
consistent covariance matrix estimators with improved finite sample properties", Journal of
Econometrics 29(3).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._linalg.gram import SymmetricSum
from .._linalg.operators import DesignOperator
from .._sources.design import multiplied, staged, width_of
from .._sources.device_sums import DeviceSums, weight_of
from .._sources.origin import Origin
from .._sources.row_keys import GivenKeys
from .._sources.row_source import Rows
from .leverages import Leverages, squared_norms
from .loss import Loss

_PIECE = 1 << 20  # entries of a piece of rows, which stay in the cache from product to product
_MULTIPLE = 64  # of rows, for fast products


@dataclass(frozen=True)
class Scores:
    """What is summed over the rows; a pass sends it to where they are.

    Parameters
    ----------
    origin : Origin
    turn : Tensor of shape (n_columns + 1, n_params)
    point : Tensor of shape (n_columns + 1, n_targets)
        The coefficients of the model, for columns and targets that are measured from the origin.
    loss : Loss
    margin : tuple of float
        How far above a kink a residual may be that counts as one at the kink, for each target.
    power : int, default=0
        Of ``1 / (1 - leverage)`` that the squares of scores are multiplied by.
    meat, bread : bool, default=False
        Whether to sum squares of scores, and curvatures of the loss.
    dependent : bool, default=False
        Whether the columns are so nearly dependent that their products would lose digits.
    gradient : bool, default=True
        Whether to sum the scores themselves, which takes a product more.
    expected : bool, default=False
        Whether curvatures are those that are expected for the predictions.
    keys : GivenKeys or None, default=None
        The clusters of the rows, over which scores are summed. Rows that are sparse are made dense
        for these, block by block.
    """

    origin: Origin
    turn: Tensor
    point: Tensor
    loss: Loss
    margin: tuple[float, ...]
    power: int = 0
    meat: bool = False
    bread: bool = False
    dependent: bool = False
    gradient: bool = True
    expected: bool = False
    keys: GivenKeys | None = None

    def __call__(self, rows: Rows) -> tuple:
        """Return the sums over rows.

        Returns
        -------
        n_rows, weight : float
            The number of rows with weight, and the sum of their weights.
        least : list of float
            The least ``1 - leverage``, where leverages were asked for.
        of_targets : Tensor of shape (4, n_targets)
            Weighted sums of squared targets, measured from the origin, of squared slopes, of
            curvatures, and of squared slopes over curvatures where these are the expected ones.
        scores : Tensor of shape (n_params, n_targets)
            Zeros if not asked for.
        meat, bread : Tensor of shape (n_targets, n_params, n_params)
            Sums of ``(s psi)^2 u u^T`` and ``s psi' u u^T``; zeros if not asked for.
        counts : Tensor of shape (n_keys,)
            The number of rows with weight in each cluster.
        clusters : Tensor of shape (n_targets, n_keys, n_params)
            The sums of scores over each cluster.
        """
        double = torch.float32 if rows.device.type == "mps" else torch.float64
        kind: type[_Pass] = _OfTurnedColumns if self.dependent else _OfColumns
        if (rows.sparse or not rows.formed) and self.keys is None:
            kind = _OfOperators
        return kind(self, rows, double).sums()


class _Pass(ABC):
    """The sums of a pass; subclasses make the products of the columns.

    Parameters
    ----------
    scores : Scores
    rows : Rows
    dtype : torch.dtype
    """

    def __init__(self, scores: Scores, rows: Rows, dtype: torch.dtype):
        self.scores, self.rows, self.dtype = scores, rows, dtype
        self.turn = scores.turn.to(rows.device, dtype)
        self.point = scores.point.to(rows.device, dtype)
        self.totals = DeviceSums(rows.device, (), (), (4, rows.n_targets), self.point.shape)
        self.margin = torch.tensor(scores.margin, dtype=dtype, device=rows.device)
        self.least = torch.ones((), dtype=dtype, device=rows.device)
        self.no_curvature = self.point.new_zeros(rows.n_targets)
        t, n_keys = rows.n_targets, 0 if scores.keys is None else scores.keys.n_keys
        self.counts = self.point.new_zeros(n_keys)
        self.clusters = self.point.new_zeros(t, n_keys, len(self.point))
        self.meat = [self.empty() for _ in range(t * scores.meat)]
        self.bread = [self.empty() for _ in range(t * scores.bread)]

    def sums(self) -> tuple:
        """Return the sums over all rows; see ``Scores``."""
        for y, Z, weight in self.blocks():
            self._add(y, Z, weight)
        n_rows, weight, of_targets, scores = self.totals.fetched()
        least = [float(self.least)] if self.scores.power else []
        turn = self.scores.turn
        found = self._all_turned(self.meat), self._all_turned(self.bread)
        clusters = self.counts.cpu().double(), self.clusters.cpu().double() @ turn
        return float(n_rows), float(weight), least, of_targets, turn.T @ scores, *found, *clusters

    def _add(self, y: Tensor, Z: Any, weight: Tensor | None) -> None:
        loss, raw_prediction = self.scores.loss, Z @ self.point
        below = y - self.margin if loss.kinked else y
        slope = loss.gradient(below, raw_prediction)
        if weight is not None:
            weight = weight[:, None].to(y.dtype)
        weighted = _times(slope, weight)
        if loss.quadratic or loss.kinked:  # the sum of weights, or none
            curvature = None
        else:
            of_loss = loss.expected_curvature if self.scores.expected else loss.curvature
            curvature = _times(of_loss(y, raw_prediction), weight)
        flat = pearson = self.no_curvature
        if curvature is not None:
            flat = curvature.sum(0)
            if self.scores.expected:
                pearson = _dots(weighted, weighted / curvature)
        parts = _dots(_times(y, weight), y), _dots(weighted, slope), flat, pearson
        there = len(y) if weight is None else (weight > 0).sum()
        along = Z.T @ weighted if self.scores.gradient else 0.0
        self.totals.add(there, weight_of(y, weight), torch.stack(parts), along)
        if self.scores.keys is not None:
            self.add_clusters(Z, weighted)
        jobs: list[tuple[Any, Tensor]] = []
        if self.bread and curvature is not None:
            jobs += zip(self.bread, curvature.sqrt().T, strict=True)
        if self.meat:
            jobs += zip(self.meat, self._corrected(Z, weighted, weight).T, strict=True)
        for job, (total, factors) in enumerate(jobs):
            self.add_products(total, Z, factors[:, None], last=job == len(jobs) - 1)

    def _corrected(self, Z: Any, weighted: Tensor, weight: Tensor | None) -> Tensor:
        """Return slopes over the root of ``1 - leverage`` to a power."""
        power = self.scores.power
        if not power or not len(weighted):
            return weighted
        left = 1 - self.leverages(Z, None if weight is None else weight[:, 0])[:, None]
        self.least = torch.minimum(self.least, left.min())
        return weighted / (left if power == 2 else left.sqrt())

    def _all_turned(self, totals: list[Any]) -> Tensor:
        k = self.turn.shape[1]
        if not totals:
            return torch.zeros(len(self.scores.margin), k, k, dtype=torch.float64, device="cpu")
        return torch.stack(list(map(self.turned, totals)))

    @abstractmethod
    def empty(self) -> Any:
        """Return an empty sum of products of columns."""

    @abstractmethod
    def blocks(self) -> Iterator[tuple[Tensor, Any, Tensor | None]]:
        """Yield targets, columns and weights."""

    @abstractmethod
    def leverages(self, Z: Any, weight: Tensor | None) -> Tensor:
        """Return the weighted squared norm of each row in the turned coordinates."""

    def add_clusters(self, Z: Any, slopes: Tensor) -> None:
        """Add columns times slopes to the sums of their clusters."""
        raise TypeError("columns are formed for the sums of clusters")

    @abstractmethod
    def add_products(self, total: Any, Z: Any, factors: Tensor, last: bool) -> None:
        """Add products of rows times factors, of shape (n_rows, 1); no more after the last."""

    def turned(self, total: Any) -> Tensor:
        """Return a sum of products in the turned coordinates."""
        turn = self.scores.turn
        return turn.T @ self.result(total) @ turn

    @abstractmethod
    def result(self, total: Any) -> Tensor:
        """Return a sum of products of columns."""


def _times(columns: Tensor, weight: Tensor | None) -> Tensor:
    return columns if weight is None else columns * weight


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of the columns of one with those of the other."""
    return torch.linalg.vecdot(a, b, dim=0)


class _OfColumns(_Pass):
    """The sums over rows whose columns are formed."""

    def __init__(self, scores: Scores, rows: Rows, dtype: torch.dtype):
        super().__init__(scores, rows, dtype)
        t, k = rows.n_targets, rows.n_targets + rows.n_features
        turn = self.turn.new_zeros(width_of(k), self.turn.shape[1])
        turn[t : k + 1] = self.turn
        self._leverages = Leverages(turn, scores.power)
        self._place: Tensor | None = None
        self._codes: Any = None  # of the clusters of a block

    def empty(self) -> Any:
        """Return an empty sum of products of columns."""
        return SymmetricSum(width_of(self.rows.n_targets + self.rows.n_features))

    def blocks(self) -> Iterator[tuple[Tensor, Any, Tensor | None]]:
        """Yield targets, columns and weights of the rows that have weight."""
        t, k = self.rows.n_targets, self.rows.n_targets + self.rows.n_features
        done, keys = self.rows.first, self.scores.keys
        most = max(_PIECE // (width_of(k) * _MULTIPLE), 1) * _MULTIPLE
        for A, weight in staged(self.rows, self.scores.origin, self.dtype, most=most):
            A[:, k] = 1  # products of the block before may have scaled it
            if keys is not None:
                self._codes = keys.of(done, len(A)).to(A.device)
                if len(self._codes) < len(A):
                    raise ValueError(f"clusters has {len(keys.keys)} entries, fewer than samples.")
                done += len(A)
            if weight is not None and bool((weight == 0).any()):
                there = weight > 0
                A, weight = A[there], weight[there]
                self._codes = None if keys is None else self._codes[there]
            self._whole = A  # whose width suits products
            yield A[:, :t], A[:, t : k + 1], weight

    def leverages(self, Z: Tensor, weight: Tensor | None) -> Tensor:
        """Return the weighted squared norm of each row in the turned coordinates."""
        return self._leverages.of(self._whole, weight)

    def add_clusters(self, Z: Tensor, slopes: Tensor) -> None:
        """Add columns times slopes to the sums of their clusters."""
        self.counts += torch.bincount(self._codes, minlength=len(self.counts))
        for total, slope in zip(self.clusters, slopes.T, strict=True):
            total.index_add_(0, self._codes, Z * slope[:, None])

    def add_products(self, total: Any, Z: Tensor, factors: Tensor, last: bool) -> None:
        """Add products of rows times factors, of shape (n_rows, 1); no more after the last."""
        A = self._whole
        if last:
            total.add(A.mul_(factors))
            return
        if self._place is None or len(self._place) != len(A):
            self._place = torch.empty_like(A)
        total.add(torch.mul(A, factors, out=self._place))

    def result(self, total: Any) -> Tensor:
        """Return a sum of products."""
        own = slice(self.rows.n_targets, self.rows.n_targets + self.rows.n_features + 1)
        found: Tensor = total.result().cpu()
        return found[own, own]


class _OfTurnedColumns(_OfColumns):
    """The same for columns that are so nearly dependent that their products lose digits."""

    def empty(self) -> Any:
        """Return an empty sum of products of turned columns."""
        return SymmetricSum(self.turn.shape[1])

    def add_products(self, total: Any, Z: Tensor, factors: Tensor, last: bool) -> None:
        """Add products of turned rows times factors."""
        total.add((Z @ self.turn).mul_(factors))

    def turned(self, total: Any) -> Tensor:
        """Return a sum of products in the turned coordinates."""
        found: Tensor = total.result().cpu()
        return found


class _OfOperators(_Pass):
    """The sums over rows whose columns are not formed, such as sparse ones."""

    def empty(self) -> Any:
        """Return an empty sum of products of columns."""
        return []

    def blocks(self) -> Iterator[tuple[Tensor, Any, Tensor | None]]:
        """Yield targets, columns and weights."""
        yield from multiplied(self.rows, self.scores.origin, self.dtype)

    def leverages(self, Z: DesignOperator, weight: Tensor | None) -> Tensor:
        """Return the weighted squared norm of each row in the turned coordinates."""
        return _times(squared_norms(Z, self.turn), weight)

    def add_products(self, total: Any, Z: DesignOperator, factors: Tensor, last: bool) -> None:
        """Add products of rows times factors."""
        gram = Z.gram(factors[:, 0].square())
        total[:] = [total[0].add_(gram) if total else gram]

    def result(self, total: Any) -> Tensor:
        """Return a sum of products."""
        width = len(self.turn)
        return total[0].cpu() if total else torch.zeros(width, width, dtype=torch.float64)

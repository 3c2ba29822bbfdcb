"""The columns of a linear model: those of X."""

from .._solvers.base import Solution
from .._solvers.incremental.learner import IncrementalLearner
from .._sources.feature_map import FeatureMap
from .._sources.row_source import Rows


class Columns:
    """The columns that a model is linear in, as the parameters of an estimator ask for them."""

    def count(self, n_features: int) -> int:
        """Return how many there are for so many of X."""
        return n_features

    def add_up(self, n_features: int) -> bool:
        """Return whether sums over chunks, one after the other, make the model of all rows."""
        return True

    def fit(self, rows: Rows) -> Rows:
        """Return the rows of a fit with these columns in place of those of X."""
        return rows

    def of(self, rows: Rows, basis: FeatureMap) -> Rows:
        """Return other rows with the columns that an earlier fit has made."""
        return rows

    def go_on(self, rows: Rows, basis: FeatureMap) -> Rows:
        """Return the rows of a chunk, which may reach further, with the columns of those before."""
        return rows

    def widen(self, stream: IncrementalLearner, rows: Rows) -> None:
        """Make the columns of a stream fit for a chunk that reaches further than those before."""

    def certified(self, solution: Solution) -> Solution:
        """Return the solution with no more certainty than its columns allow."""
        return solution

    def validated(self, solution: Solution, validation: Rows) -> list[float]:
        """Return the loss of a solution on other rows, as a curve of one point."""
        objective = solution.objective
        loss = objective.mean_loss(solution.v, self.of(validation, objective.basis))
        return [objective.units.total(loss)]

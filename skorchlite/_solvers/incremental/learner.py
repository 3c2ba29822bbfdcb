"""What every learner of chunks has."""

from abc import ABC, abstractmethod

from torch import Tensor

from ..._objective.moments_objective import Pair
from ..._objective.objective import Objective
from ..._sources.feature_map import FeatureMap
from ..base import Solution, SolverControl
from ..stochastic.settings import Settings


class IncrementalLearner(ABC):
    """What is learned from one chunk after the other, none of which is kept.

    Parameters
    ----------
    basis : FeatureMap
        That makes the columns.
    fit_intercept : bool

    Attributes
    ----------
    solver : str
        Its name, as ``solver_`` has it.
    takes_other_terms : bool
        Whether what was learned can be written in the columns of another feature map.
    """

    solver: str
    takes_other_terms = False

    def __init__(self, basis: FeatureMap, fit_intercept: bool):
        self.basis, self.fit_intercept = basis, bool(fit_intercept)

    def check(self, fit_intercept: bool) -> None:
        """Raise if the chunks so far were learned with an intercept and this one is not, or so."""
        if bool(fit_intercept) != self.fit_intercept:
            raise ValueError(
                f"fit_intercept={fit_intercept} was set after chunks that were learned with "
                f"fit_intercept={self.fit_intercept}, and none of them is kept. Call fit to begin "
                "anew."
            )

    def change_basis(self, basis: FeatureMap, terms: Pair, n_targets: int, centre: bool) -> None:
        """Go on in the columns of another feature map, where ``takes_other_terms``.

        Parameters
        ----------
        basis : FeatureMap
        terms : Pair
            These columns in the present ones, in doubled precision.
        n_targets : int
        centre : bool
            Whether the moments are about the mean.
        """
        raise TypeError(f"{type(self).__name__} keeps coefficients, which are of the same columns")

    @abstractmethod
    def follow(self, settings: Settings) -> None:
        """Learn from the next chunk by these settings, but for the seed, or raise."""

    @abstractmethod
    def learn(self, objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
        """Learn from a chunk, and return the solution so far.

        Parameters
        ----------
        objective : Objective
            Over the rows of the chunk.
        start : Tensor of shape (n_features + 1, n_targets) or None
            Where an earlier fit ended, in coordinates of the objective; of use to the first chunk.
        control : SolverControl
        """

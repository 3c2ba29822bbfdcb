"""The models of groups: their coefficients, for terms that may differ from group to group."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._polynomials.local_powers import LocalPowers

Array = NDArray[np.float64]


@dataclass
class Coefficients:
    """Coefficients of models, and what the columns were mapped by before terms were made of them.

    Parameters
    ----------
    coef : array of shape (n_models, n_targets, n_features)
    intercept : array of shape (n_models, n_targets)
    centre, half : array of shape (n_models, n_columns)
    """

    coef: Array
    intercept: Array
    centre: Array
    half: Array

    @classmethod
    def of(cls, coef: Array, intercept: Array, n_columns: int) -> "Coefficients":
        """Return those of models of columns as they are, in the shapes of fitted attributes."""
        n, last = len(coef), coef.shape[-1]
        centre = np.zeros((n, n_columns))
        return cls(coef.reshape(n, -1, last), intercept.reshape(n, -1), centre, centre + 1)

    def with_one(self, other: "Coefficients") -> "Coefficients":
        """Return these models, and others after them."""
        names = "coef", "intercept", "centre", "half"
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return Coefficients(*map(np.concatenate, pairs))

    def scaled(self, factor: float | Array) -> "Coefficients":
        """Return models that predict so many times as much, or have so much of each coefficient.

        With a factor for each coefficient, of shape (n_features,), there is no intercept.
        """
        times = factor if np.ndim(factor) == 0 else 0.0
        return replace(self, coef=factor * self.coef, intercept=times * self.intercept)

    def plus(self, other: "Coefficients", terms: LocalPowers) -> "Coefficients":
        """Return models that predict the sum of what these and others do, mapped as these are."""
        frames = other.centre, other.half, self.centre, self.half
        turn = terms.moved(*map(torch.from_numpy, frames))
        moved = (torch.from_numpy(other.coef) @ turn.mT).numpy()
        coef = self.coef + moved[..., :-1]
        return replace(self, coef=coef, intercept=self.intercept + other.intercept + moved[..., -1])

    def like(self, number: float) -> "Coefficients":
        """Return one model like these, whose coefficients are all the same number."""
        parts = (np.full_like(part[:1], number) for part in vars(self).values())
        return Coefficients(*parts)

    def of_columns(self, terms: LocalPowers | None) -> tuple[Array, Array]:
        """Return the coefficients and the intercepts for powers of the columns as they are."""
        if terms is None or not terms.mapped:
            return self.coef, self.intercept
        turn = terms.turn(torch.from_numpy(self.centre), torch.from_numpy(self.half))
        found = (torch.from_numpy(self.coef) @ turn.mT).numpy()
        return np.ascontiguousarray(found[..., :-1]), self.intercept + found[..., -1]


@dataclass(frozen=True)
class OneFit:
    """What an estimator was fitted to.

    Parameters
    ----------
    estimator : object
    models : Coefficients
        Of one model.
    raw : (coef, intercept) or None
        Those for powers of the columns as they are, of shapes (n_targets, n_features) and
        (n_targets,), where digits cancel between these. None where they are made of ``models``.
    separated : bool
        Whether the optimum is at infinity.
    """

    estimator: Any
    models: Coefficients
    raw: tuple[Array, Array] | None = None
    separated: bool = False

    def of_columns(self, terms: LocalPowers | None) -> tuple[Array, Array]:
        """Return coefficients and intercept for powers of the columns as they are."""
        if self.raw is not None:
            return self.raw
        coef, intercept = self.models.of_columns(terms)
        return coef[0], intercept[0]

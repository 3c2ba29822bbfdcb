"""The rows of many groups in coordinates of least squares."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .problem import Centred, GroupProblem


@dataclass
class Form:
    """The rows of groups in coordinates of least squares, and the penalty there.

    Parameters
    ----------
    P : Tensor of shape (n_batch, n_rows, k)
        With a column of ones, if there is an intercept.
    share : Tensor of shape (n_batch, n_rows)
    curvature : Tensor of shape (n_batch, k, k)
        Of the penalty.
    pulled : Tensor of shape (n_batch, k, n_targets)
        The slope against which coefficients are pulled from zero.
    constant : Tensor of shape (n_targets,)
        The penalty at zero.
    least_share : Tensor of shape (n_batch,)
    """

    P: Tensor
    share: Tensor
    curvature: Tensor
    pulled: Tensor
    constant: Tensor
    least_share: Tensor

    @classmethod
    def of(cls, centred: Centred, factor: Tensor, problem: GroupProblem) -> "Form":
        """Return the form in coordinates ``w = factor @ u``."""
        columns, d = factor.mT @ centred.Z.mT, factor.shape[1]
        n_free = int(problem.fit_intercept)
        if n_free:
            columns = torch.cat((columns, torch.ones_like(columns[:, :1])), 1)
        P = columns.mT
        curvature = P.new_zeros(len(P), d + n_free, d + n_free)
        pulled = P.new_zeros(len(P), d + n_free, centred.t)
        constant = P.new_zeros(centred.t)
        if problem.curved:
            curvature[:, :d, :d] = factor.mT @ (problem.curvature(P[..., :d])[:, None] * factor)
        if problem.common is not None:
            pulled[:, :d] = factor.mT @ problem.pulled(P)
            constant = 0.5 * problem.pull * problem.common.square().sum(0).to(P)
        share = centred.share
        least = share.where(share > 0, 1.0).amin(1)
        return cls(P, share, curvature, pulled, constant, least)

    def only(self, groups: Tensor) -> "Form":
        """Return the form of some of the groups."""
        return replace(
            self,
            P=self.P.mT[groups].mT,
            share=self.share[groups],
            curvature=self.curvature[groups],
            pulled=self.pulled[groups],
            least_share=self.least_share[groups],
        )

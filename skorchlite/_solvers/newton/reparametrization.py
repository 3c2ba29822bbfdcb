"""A preconditioner as a change of variables, which descents step in.

In ``u``, with ``v = factor @ u`` or ``v = unit * u``, columns have like curvature; with a factor
that least squares gives, all directions have. The optimum in ``v`` does not depend on it.
"""

import torch
from torch import Tensor

from ..._objective.moments import MANY_COLUMNS
from ..._objective.objective import Objective
from .preconditioner import Metric
from .quadratic_model import quadratic_model
from .scaled import Scaled


class Coordinates:
    """``v`` as a linear function of ``u``; the identity where there is neither factor nor unit.

    Parameters
    ----------
    n_rows : int
        Of v: the coefficients and, if there is one, the intercept.
    factor : Tensor of shape (n_rows, n_directions), default=None
    unit : Tensor of shape (n_rows, 1), default=None
    metric : Metric, default=None
        Where the factor comes from.
    """

    def __init__(
        self,
        n_rows: int,
        factor: Tensor | None = None,
        unit: Tensor | None = None,
        metric: Metric | None = None,
    ):
        self.factor, self.unit, self.metric = factor, unit, metric
        self.size = n_rows if factor is None else factor.shape[1]

    @property
    def plain(self) -> bool:
        """Whether u is v itself."""
        return self.factor is None and self.unit is None

    def to(self, like: Tensor) -> "Coordinates":
        """Return the same on the device and in the dtype of a tensor."""
        factor, unit = (
            None if part is None else part.to(like) for part in (self.factor, self.unit)
        )
        return Coordinates(self.size, factor, unit, self.metric)

    def to_v(self, u: Tensor, out: Tensor | None = None) -> Tensor:
        """Return v at u."""
        if self.factor is not None:
            return torch.mm(self.factor, u, out=out)
        return u if self.unit is None else torch.mul(self.unit, u, out=out)

    def pull(self, gradient: Tensor) -> Tensor:
        """Return the gradient in u from that in v."""
        if self.factor is not None:
            return self.factor.T @ gradient
        return gradient if self.unit is None else self.unit * gradient

    def kink_slopes(self, objective: Objective) -> Tensor:
        """Return the slope of the l1 penalty in each coordinate, of shape (size, 1)."""
        slopes = torch.zeros(self.size, 1, dtype=torch.float64)
        if objective.penalty.smooth:
            return slopes
        slopes[: objective.n_features, 0] = objective.column_penalty.l1
        return slopes if self.unit is None else slopes * self.unit.cpu()

    def start(self, v: Tensor) -> Tensor:
        """Return u at v, or nearest to it."""
        if self.factor is not None:  # torch has no such solver of rank-deficient systems on a card
            return torch.linalg.lstsq(self.factor.cpu(), v.cpu(), driver="gelsd").solution.to(v)
        return v.clone() if self.unit is None else torch.where(self.unit > 0, v / self.unit, 0.0)


def make_coordinates(
    objective: Objective, preconditioner: str | None, dtype: torch.dtype, data_eps: float
) -> tuple[Objective, Coordinates]:
    """Return the objective and the coordinates for a preconditioner.

    The objective has its columns measured from their mean, unless there is no preconditioner.

    Parameters
    ----------
    objective : Objective
    preconditioner : {"auto", "gram", "diagonal"} or None
        "auto" is "gram" unless the penalty has kinks, which must stay kinks of single coordinates,
        or the columns are many; then "diagonal".
    dtype : torch.dtype
        Of the blocks in the pass that makes the Gram matrix.
    data_eps : float
        Relative rounding of the data itself.
    """
    smooth, n_rows = objective.penalty.smooth, objective.n_features + objective.fit_intercept
    if preconditioner is None:
        return objective, Coordinates(n_rows)
    if preconditioner == "gram" and not smooth:
        raise ValueError(
            "preconditioner='gram' mixes the coefficients, so that a penalty with 'l1' or "
            "positive=True has no step of its own there. Use preconditioner='diagonal' or 'auto'."
        )
    if preconditioner == "auto":
        few = smooth and objective.n_features <= MANY_COLUMNS
        preconditioner = "gram" if few else "diagonal"
    if preconditioner == "diagonal":
        scaled = Scaled(objective, data_eps)
        return scaled.objective, Coordinates(n_rows, unit=scaled.unit[:n_rows])
    model = quadratic_model(objective, dtype, data_eps)
    metric, factor = model.metric, torch.from_numpy(model.metric.factor)
    if objective.fit_intercept:
        factor = torch.block_diag(factor, factor.new_ones(1, 1))
    return model.objective, Coordinates(n_rows, factor=factor, metric=metric)

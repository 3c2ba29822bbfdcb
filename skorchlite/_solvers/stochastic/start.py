"""Where a stochastic descent starts: the coordinates, and the optimizer of a point in them."""

from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..base import Solution, SolverControl
from ..newton.reparametrization import Coordinates, make_coordinates
from .optimizers import Optimizer, make_optimizer
from .settings import Settings


@dataclass(frozen=True)
class Start:
    """The start of a descent.

    Parameters
    ----------
    objective : Objective
        With columns measured from where the coordinates have them.
    coordinates : Coordinates
    optimizer : Optimizer
        Of the point to start from, in these coordinates.
    """

    objective: Objective
    coordinates: Coordinates
    optimizer: Optimizer

    def solution(
        self, v: Tensor, curve: list[float], status: str = "completed", n_updates: int = 0
    ) -> Solution:
        """Return the solution of a descent that ended at v, with one number of the curve an epoch.

        Where the columns leave the solution undetermined, it is the one of least norm.
        """
        objective, metric = self.objective, self.coordinates.metric
        if metric is not None and metric.rank < objective.n_features:
            excess = metric.excess(v[:-1].numpy(), objective.units.to_caller)
            v = torch.cat((v[:-1] - torch.from_numpy(excess), v[-1:]))
        return Solution(
            objective=objective,
            v=v.clone(),
            v_low=torch.zeros_like(v),
            n_iter=len(curve),
            loss_curve=list(curve),
            rank=None if metric is None else metric.rank,
            status=status,
            n_updates=n_updates,
        )


def make_start(
    objective: Objective, start: Tensor | None, settings: Settings, control: SolverControl
) -> Start:
    """Return the start that the settings ask for.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
        In coordinates of the objective, None for zero.
    settings : Settings
    control : SolverControl
    """
    before, dtype = objective.origin, control.dtype
    objective, coordinates = make_coordinates(
        objective, settings.preconditioner, dtype, control.data_eps
    )
    shape = coordinates.size, objective.rows.n_targets
    u = torch.zeros(shape, dtype=dtype, device=objective.rows.device)
    if start is not None:
        v = objective.units.carried(start, before)[: objective.n_features + objective.fit_intercept]
        u.copy_(coordinates.start(v))
    rate = settings.learning_rate
    optimizer = make_optimizer(
        settings.solver,
        u,
        float(rate) if isinstance(rate, Real) else settings.eta0,
        settings.solver_params,
        own_step=rate == "auto",
    )
    check_kinks(optimizer, settings, objective)
    return Start(objective, coordinates.to(u), optimizer)


def check_kinks(optimizer: Optimizer, settings: Settings, objective: Objective) -> None:
    """Raise if the penalty has kinks, and steps of this optimizer do not lead to its optimum."""
    if objective.penalty.smooth or optimizer.proximal:
        return
    given = f" with solver_params={settings.solver_params}" if settings.solver_params else ""
    kinked = "positive=True" if objective.penalty.positive else "a penalty with 'l1'"
    raise ValueError(
        f"solver={settings.solver_name!r}{given} scales or accumulates its steps, after which "
        f"{kinked} leads elsewhere than to the optimum. Use solver='sgd' without momentum, or "
        "solver='auto'."
    )

"""A solve that is a part of another one: it went on from there, or is over some of the columns."""

from collections.abc import Callable
from dataclasses import replace

from .base import Monitor, Solution


def continued(last: Solution, n_iter: int, curve: list[float]) -> Solution:
    """Return the solution of a descent that went on after so many steps with that loss curve."""
    return replace(last, n_iter=n_iter + last.n_iter, loss_curve=[*curve, *last.loss_curve])


def monitor_of_whole(
    monitor: Monitor, n_iter: int, whole: Callable[[Solution], Solution]
) -> Monitor:
    """Return a monitor for a part of a descent that reports to the monitor of the whole.

    Parameters
    ----------
    monitor : Monitor
        Of the whole.
    n_iter : int
        Steps before the part.
    whole : callable
        Returns the solution of the whole from that of the part.
    """

    def report(n: int, value: float, gap: float | None, ended: Callable[[], Solution]) -> None:
        monitor(n_iter + n, value, gap, lambda: whole(ended()))

    return report

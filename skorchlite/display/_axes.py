"""What all displays draw with: axes, styles and scales of matplotlib."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Style = Mapping[str, Any] | None


def axes_of(display: Any, ax: Any) -> Any:
    """Return the axes to draw on, new ones for None; set ``ax_`` and ``figure_`` of a display."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot requires matplotlib. You can install matplotlib with "
            '`pip install "skorchlite[plot]"`'
        ) from error
    if ax is None:
        _, ax = plt.subplots(layout="constrained")  # with room for a legend beside the axes
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def line_style(given: Style, **defaults: Any) -> dict[str, Any]:
    """Return the style of a line; what is given, by any of its names, goes before the defaults."""
    from matplotlib import cbook, lines

    return {**defaults, **cbook.normalize_kwargs(dict(given or {}), lines.Line2D)}


def area_style(given: Style, **defaults: Any) -> dict[str, Any]:
    """Return the style of a filled area."""
    from matplotlib import cbook, collections

    return {**defaults, **cbook.normalize_kwargs(dict(given or {}), collections.Collection)}


def point_style(given: Style, color: Any) -> dict[str, Any]:
    """Return the style of points, of a colour unless another one is given."""
    own = dict(given or {})
    colored = not own.keys().isdisjoint(("c", "color", "facecolor", "facecolors"))
    return {"s": 16, "alpha": 0.5, **({} if colored else {"color": color}), **own}


def count_in_integers(ax: Any) -> None:
    """Put no ticks between integers on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def set_penalty_scale(ax: Any, alphas: Sequence[ArrayLike]) -> None:
    """Make the axis of weights of a penalty logarithmic, with a part for zero if it is one."""
    every = np.unique(np.concatenate([np.ravel(part) for part in alphas]))
    positive = every[every > 0]
    if len(every) > 1 and len(positive) == len(every):
        ax.set_xscale("log")
    elif len(positive):
        ax.set_xscale("symlog", linthresh=positive[0])


def mark(ax: Any, position: float, text: str) -> Any:
    """Draw a vertical line where a parameter was chosen."""
    return ax.axvline(position, color="black", linestyle="--", linewidth=1, label=text)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise if a parameter is none of its choices."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"Unknown {name}: {value!r}. Should be one of {known}.")

"""The errors of the candidates of a search, for each weight of the penalty or each degree."""

from itertools import groupby
from operator import attrgetter
from typing import Any, Self

import numpy as np

from ._axes import (
    Style,
    area_style,
    axes_of,
    check_choice,
    count_in_integers,
    line_style,
    mark,
    set_penalty_scale,
)
from ._candidates import candidates_of

_STYLES = ("errorbar", "fill_between", None)


class ValidationPathDisplay:
    """The mean error on the test samples of each candidate of a search, and how sure it is.

    The mean is over the splits, and its standard error is the deviation over the splits divided by
    the root of their number.

    It is recommended to use ``from_estimator``. All parameters are stored as attributes.

    Parameters
    ----------
    param_name : {"alpha", "degree"}
        What the candidates of a curve differ in.
    param_range : list of lists
        The values of the parameter, for each curve. Degrees that are no integers are those of one
        curve.
    errors : list of ndarray of shape (n_candidates, n_splits)
        The errors of the candidates of each curve.
    best_param : object
        The value that was chosen; of "alpha" it may be an array, with one for each target.
    names : list of str, default=None
        The names of the curves.
    error_name : str, default="Error"
        The name of the error.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure with the curves.
    lines_ : list of Line2D or None
        The curves, or None where ``std_display_style="errorbar"``.
    fill_between_ : list of PolyCollection or None
        The standard errors around the curves, or None where they are not filled.
    errorbar_ : list of ErrorbarContainer or None
        The curves where ``std_display_style="errorbar"``, else None.
    best_lines_ : list of Line2D
        The marks of what was chosen.

    See Also
    --------
    CoefficientPathDisplay : The coefficients of the same models.
    sklearn.model_selection.ValidationCurveDisplay : Scores for values of any parameter.

    Examples
    --------
    >>> import numpy as np
    >>> from skorchlite import TorchPolyRegressorCV
    >>> from skorchlite.display import ValidationPathDisplay
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-1, 1, 200)
    >>> y = x**3 - x + 0.1 * rng.standard_normal(200)
    >>> model = TorchPolyRegressorCV([1, 2, 3, 4], penalty=None, rule="one_standard_error")
    >>> model = model.fit(x[:, None], y)
    >>> display = ValidationPathDisplay.from_estimator(model)
    >>> display.lines_[0].get_xdata()
    array([1, 2, 3, 4])
    >>> display.ax_.get_xlabel()
    'degree'
    """

    def __init__(
        self,
        *,
        param_name: str,
        param_range: Any,
        errors: Any,
        best_param: Any,
        names: Any = None,
        error_name: str = "Error",
    ) -> None:
        self.param_name = param_name
        self.param_range = param_range
        self.errors = errors
        self.best_param = best_param
        self.names = names
        self.error_name = error_name

    def plot(
        self,
        ax: Any = None,
        *,
        error_name: str | None = None,
        std_display_style: str | None = "fill_between",
        line_kw: Style = None,
        fill_between_kw: Style = None,
        errorbar_kw: Style = None,
    ) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes object to plot on. If `None`, a new figure and axes is created.
        error_name : str, default=None
            The label of the vertical axis, in place of that of the display.
        std_display_style : {"errorbar", "fill_between"} or None, default="fill_between"
            How the standard errors are drawn; None: they are not. Of one split there are none.
        line_kw, fill_between_kw, errorbar_kw : dict, default=None
            Keyword arguments of ``ax.plot``, ``ax.fill_between`` and ``ax.errorbar``.

        Returns
        -------
        display : ValidationPathDisplay
            Object that stores what was drawn.
        """
        check_choice("std_display_style", std_display_style, _STYLES)
        ax = axes_of(self, ax)
        names = self.names or ["Mean over the splits"] * len(self.errors)
        bars: list[Any] = []
        areas: list[Any] = []
        lines: list[Any] = []
        for x, errors, name in zip(self._positions(ax), self.errors, names, strict=True):
            mean, deviation = errors.mean(1), _standard_error(errors)
            style = {"label": name, "marker": "o" if self.param_name == "degree" else None}
            if std_display_style == "errorbar":
                style = line_style(errorbar_kw, capsize=2, **style)
                bars.append(ax.errorbar(x, mean, deviation, **style))
                continue
            lines += ax.plot(x, mean, **line_style(line_kw, **style))
            if std_display_style == "fill_between" and deviation is not None:
                label = None if areas else "±1 standard error"
                color = lines[-1].get_color()
                style = area_style(fill_between_kw, alpha=0.3, color=color, label=label)
                areas.append(ax.fill_between(x, mean - deviation, mean + deviation, **style))
        self.lines_, self.fill_between_, self.errorbar_ = lines or None, areas or None, bars or None
        if self.param_name == "alpha":
            set_penalty_scale(ax, self.param_range)
        ax.set(xlabel=self.param_name, ylabel=error_name or self.error_name)
        ax.legend(fontsize="small")
        return self

    def _positions(self, ax: Any) -> list[Any]:
        """Return where the values are on the axis, and mark those that were chosen."""
        values = self.param_range[0]
        if all(np.ndim(value) == 0 for value in values):
            self.best_lines_ = [
                mark(ax, value, f"{self.param_name}={value:.3g}")
                for value in np.unique(self.best_param)
            ]
            if self.param_name == "degree":
                count_in_integers(ax)
            return self.param_range
        # Degrees of each column, or with a least one, are no numbers: they come one after another.
        texts = [str(value) for value in values]
        ax.set_xticks(range(len(texts)), texts)
        chosen = str(self.best_param)
        self.best_lines_ = [mark(ax, texts.index(chosen), f"degree={chosen}")]
        return [np.arange(len(texts))] * len(self.errors)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        param_name: str | None = None,
        ax: Any = None,
        error_name: str | None = None,
        std_display_style: str | None = "fill_between",
        line_kw: Style = None,
        fill_between_kw: Style = None,
        errorbar_kw: Style = None,
    ) -> Self:
        """Plot the errors of the candidates of a search by cross-validation.

        Parameters
        ----------
        estimator : TorchSGDRegressorCV or TorchPolyRegressorCV
            Fitted estimator.
        param_name : {"alpha", "degree"} or None, default=None
            The horizontal axis. With "alpha" there is a curve for each degree and each
            ``l1_ratio`` that was tried; with "degree" there is one, of the best of these for each
            degree. None is "alpha" where more than one was tried, else "degree".
        ax, error_name, std_display_style, line_kw, fill_between_kw, errorbar_kw
            As of ``plot``.

        Returns
        -------
        display : ValidationPathDisplay
            Object that stores what was drawn.

        Raises
        ------
        AttributeError
            If the estimator is no search.
        """
        check_choice("param_name", param_name, ("alpha", "degree", None))
        found = candidates_of(estimator)
        curves = [list(curve) for _, curve in groupby(found, attrgetter("name"))]
        if param_name is None:
            param_name = "alpha" if max(map(len, curves)) > 1 else "degree"
        if param_name == "degree":
            if found[0].degree is None:
                raise ValueError(
                    f"{type(estimator).__name__} tries weights of the penalty, and no degrees. "
                    "Give param_name='alpha'."
                )
            degrees = groupby(found, lambda one: str(one.degree))
            curves = [[min(own, key=attrgetter("mean")) for _, own in degrees]]
        display = cls(
            param_name=param_name,
            param_range=[[getattr(one, param_name) for one in curve] for curve in curves],
            errors=[np.stack([one.errors for one in curve]) for curve in curves],
            best_param=getattr(estimator, f"{param_name}_"),
            names=None if len(curves) == 1 else [curve[0].name for curve in curves],
            error_name="Mean squared error" if estimator.loss == "squared_error" else "Mean loss",
        )
        return display.plot(
            ax,
            error_name=error_name,
            std_display_style=std_display_style,
            line_kw=line_kw,
            fill_between_kw=fill_between_kw,
            errorbar_kw=errorbar_kw,
        )


def _standard_error(errors: np.ndarray) -> np.ndarray | None:
    n_splits = errors.shape[1]
    return errors.std(1, ddof=1) / n_splits**0.5 if n_splits > 1 else None

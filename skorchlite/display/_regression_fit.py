"""Data and the curve that was fitted to it, along one column."""

from inspect import signature
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils import check_consistent_length, check_random_state

from ._axes import Style, area_style, axes_of, check_choice, line_style, point_style
from ._grid import along, checked, column_of

_STYLES = ("fill_between", None)


class RegressionFitDisplay:
    """Data and the predictions along one column, the others held at their means.

    It is recommended to use ``from_estimator`` or ``from_predictions``. All parameters are stored
    as attributes.

    Parameters
    ----------
    x : ndarray of shape (n_samples,)
        The column of the samples.
    y_true : ndarray of shape (n_samples,) or (n_samples, n_targets)
        Their targets.
    x_curve : ndarray of shape (n_points,)
        Where the curve is drawn.
    y_pred : ndarray of shape (n_points,) or (n_points, n_outputs)
        The predictions there. Of several outputs for one target, such as quantiles, each is a
        curve through the same samples.
    y_std : ndarray of the shape of y_pred, default=None
        Their standard deviations.
    names : list of str, default=None
        The names of the outputs.
    feature_name, target_name : str, default=None
        The labels of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with samples and curves.
    figure_ : matplotlib Figure
        Figure with samples and curves.
    scatter_ : list of PathCollection
        The samples of each target.
    lines_ : list of Line2D
        The curve of each output.
    fill_between_ : list of PolyCollection or None
        The bands around the curves; None where there are no standard deviations.

    See Also
    --------
    sklearn.metrics.PredictionErrorDisplay : Predictions, or residuals, of all columns together.
    sklearn.inspection.PartialDependenceDisplay : Averages over the samples, for any model.

    Examples
    --------
    >>> import numpy as np
    >>> from skorchlite import TorchPolyRegressor
    >>> from skorchlite.display import RegressionFitDisplay
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(1950, 2020, 100)
    >>> y = 7 + 0.01 * (x - 1990) ** 2 + rng.standard_normal(100)
    >>> model = TorchPolyRegressor(degree=2).fit(x[:, None], y)
    >>> display = RegressionFitDisplay.from_estimator(model, x[:, None], y)
    >>> [line.get_label() for line in display.lines_]
    ['Prediction']
    >>> display.fill_between_[0].get_label()
    '±2 standard deviations'
    """

    def __init__(
        self,
        *,
        x: Any,
        y_true: Any,
        x_curve: Any,
        y_pred: Any,
        y_std: Any = None,
        names: Any = None,
        feature_name: str | None = None,
        target_name: str | None = None,
    ) -> None:
        self.x = x
        self.y_true = y_true
        self.x_curve = x_curve
        self.y_pred = y_pred
        self.y_std = y_std
        self.names = names
        self.feature_name = feature_name
        self.target_name = target_name

    def plot(
        self,
        ax: Any = None,
        *,
        std_display_style: str | None = "fill_between",
        n_std: float = 2,
        scatter_kw: Style = None,
        line_kw: Style = None,
        fill_between_kw: Style = None,
    ) -> Self:
        """Plot samples and curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes object to plot on. If `None`, a new figure and axes is created.
        std_display_style : {"fill_between"} or None, default="fill_between"
            How the standard deviations are drawn, if there are any; None: they are not.
        n_std : float, default=2
            How many standard deviations a band reaches to either side.
        scatter_kw, line_kw, fill_between_kw : dict, default=None
            Keyword arguments of ``ax.scatter``, ``ax.plot`` and ``ax.fill_between``.

        Returns
        -------
        display : RegressionFitDisplay
            Object that stores what was drawn.
        """
        check_choice("std_display_style", std_display_style, _STYLES)
        ax = axes_of(self, ax)
        y_true, y_pred = _by_output(self.y_true), _by_output(self.y_pred)
        banded = self.y_std is not None and std_display_style is not None
        self.lines_, self.scatter_, areas = [], [], []
        for name, of_output in zip(self._names(len(y_pred)), y_pred, strict=True):
            style = line_style(line_kw, label=name, linewidth=2, zorder=2.2)
            self.lines_ += ax.plot(self.x_curve, of_output, **style)
        colors = [line.get_color() for line in self.lines_]
        if banded:
            labels = [f"±{n_std:g} standard deviations", *[None] * len(y_pred)]  # once
            parts = zip(y_pred, _by_output(self.y_std), colors, labels, strict=False)
            for of_output, std, color, label in parts:
                style = area_style(fill_between_kw, label=label, alpha=0.25, color=color)
                ends = of_output - n_std * std, of_output + n_std * std
                areas.append(ax.fill_between(self.x_curve, *ends, **style))
        self.fill_between_ = areas or None
        for of_target, color in zip(y_true, colors if len(y_true) > 1 else ["0.4"], strict=True):
            self.scatter_.append(ax.scatter(self.x, of_target, **point_style(scatter_kw, color)))
        ax.set(xlabel=self.feature_name, ylabel=self.target_name)
        ax.legend(fontsize="small")
        return self

    def _names(self, n_outputs: int) -> list[str]:
        if self.names is not None:
            return list(self.names)
        return ["Prediction"] if n_outputs == 1 else [f"Prediction {i}" for i in range(n_outputs)]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        feature: Any = 0,
        grid_resolution: int = 200,
        names: Any = None,
        subsample: Any = 1_000,
        random_state: Any = None,
        ax: Any = None,
        std_display_style: str | None = "fill_between",
        n_std: float = 2,
        scatter_kw: Style = None,
        line_kw: Style = None,
        fill_between_kw: Style = None,
    ) -> Self:
        """Plot samples, and the predictions of a fitted regressor along one column of X.

        Parameters
        ----------
        estimator : estimator instance
            Fitted regressor, or a pipeline that ends with one.
        X : {array-like, dataframe} of shape (n_samples, n_features)
            Samples. The columns besides that of ``feature`` are held at their means; of a data
            frame, those that are no numbers at their most frequent value.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their targets.
        feature : int or str, default=0
            The column along which the curve is drawn; of a data frame it may be a name.
        grid_resolution : int, default=200
            How many points the curve has, from the least to the largest number of the column.
        names : list of str, default=None
            The names of the outputs. None for the quantiles of an estimator that has several, the
            columns of a data frame y, or numbers.
        subsample : float, int or None, default=1_000
            How many samples are drawn, as in PredictionErrorDisplay: a part of them, a number, or
            None for all.
        random_state : int, RandomState instance or None, default=None
            Of the choice of these samples.
        ax, std_display_style, n_std, scatter_kw, line_kw, fill_between_kw
            As of ``plot``. The bands are those of an estimator whose ``predict`` has
            ``return_std``, where its fit allows it: of skorchlite, squared error without a penalty.

        Returns
        -------
        display : RegressionFitDisplay
            Object that stores what was drawn.
        """
        X = checked(X)
        name, x = column_of(X, feature)
        x_curve = np.linspace(np.nanmin(x), np.nanmax(x), grid_resolution)
        wanted = std_display_style is not None
        y_pred, y_std = _predicted(estimator, along(X, name, x_curve), wanted)
        y_true, own_names = np.asarray(y), _names_in(estimator, y, y_pred)
        chosen = _chosen(len(x), subsample, random_state)
        display = cls(
            x=x[chosen],
            y_true=y_true[chosen],
            x_curve=x_curve,
            y_pred=y_pred,
            y_std=y_std,
            names=own_names if names is None else names,
            feature_name=name,
            target_name=getattr(y, "name", None) or "y",
        )
        return display.plot(
            ax,
            std_display_style=std_display_style,
            n_std=n_std,
            scatter_kw=scatter_kw,
            line_kw=line_kw,
            fill_between_kw=fill_between_kw,
        )

    @classmethod
    def from_predictions(
        cls,
        x: Any,
        y_true: Any,
        y_pred: Any,
        *,
        y_std: Any = None,
        names: Any = None,
        subsample: Any = 1_000,
        random_state: Any = None,
        ax: Any = None,
        std_display_style: str | None = "fill_between",
        n_std: float = 2,
        scatter_kw: Style = None,
        line_kw: Style = None,
        fill_between_kw: Style = None,
    ) -> Self:
        """Plot samples, and predictions on them as a curve.

        Parameters
        ----------
        x : array-like of shape (n_samples,)
            The column that is the horizontal axis.
        y_true : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        y_pred : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, joined in the order of x.
        y_std : array-like of the shape of y_pred, default=None
            Standard deviations of these.
        names : list of str, default=None
            The names of the outputs.
        subsample, random_state
            As of ``from_estimator``.
        ax, std_display_style, n_std, scatter_kw, line_kw, fill_between_kw
            As of ``plot``.

        Returns
        -------
        display : RegressionFitDisplay
            Object that stores what was drawn.
        """
        x, y_true, y_pred = np.asarray(x, float), np.asarray(y_true), np.asarray(y_pred)
        check_consistent_length(x, y_true, y_pred, y_std)
        order = np.argsort(x, kind="stable")
        chosen = _chosen(len(x), subsample, random_state)
        display = cls(
            x=x[chosen],
            y_true=y_true[chosen],
            x_curve=x[order],
            y_pred=y_pred[order],
            y_std=None if y_std is None else np.asarray(y_std)[order],
            names=names,
            feature_name="x",
            target_name="y",
        )
        return display.plot(
            ax,
            std_display_style=std_display_style,
            n_std=n_std,
            scatter_kw=scatter_kw,
            line_kw=line_kw,
            fill_between_kw=fill_between_kw,
        )


def _by_output(values: Any) -> np.ndarray:
    """Return numbers of shape (n_samples,) or (n_samples, n_outputs) output by output."""
    return np.atleast_2d(np.asarray(values).T)


def _predicted(estimator: Any, X: Any, wanted: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return predictions, and their standard deviations where these are wanted and there are any.

    An estimator may have them for some of its fits only, and raises for others.
    """
    if wanted and "return_std" in signature(estimator.predict).parameters:
        try:
            y_pred, y_std = estimator.predict(X, return_std=True)
        except ValueError:
            pass
        else:
            return np.asarray(y_pred), np.asarray(y_std)
    return np.asarray(estimator.predict(X)), None


def _names_in(estimator: Any, y: Any, y_pred: np.ndarray) -> list[str] | None:
    if y_pred.ndim == 1:
        return None
    levels: Any = getattr(estimator, "quantile", None)
    if np.ndim(levels) == 1 and len(levels) == y_pred.shape[1]:
        return [f"quantile {level:g}" for level in levels]
    names = list(getattr(y, "columns", []))
    return [str(name) for name in names] if len(names) == y_pred.shape[1] else None


def _chosen(n_samples: int, subsample: Any, random_state: Any) -> Any:
    """Return which samples are drawn."""
    if subsample is None:
        return slice(None)
    whole = isinstance(subsample, Integral)
    if not (subsample > 0 if whole else 0 < subsample < 1):
        raise ValueError(
            f"subsample={subsample} should be a positive integer, a number between 0 and 1, or "
            "None."
        )
    count = subsample if whole else int(n_samples * subsample)
    if count >= n_samples:
        return slice(None)
    return check_random_state(random_state).permutation(n_samples)[:count]

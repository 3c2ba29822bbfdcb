"""The objective, and the loss on validation rows, step by step."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._axes import Style, axes_of, check_choice, count_in_integers, line_style

_SCALES = ("linear", "log", "symlog", None)
_ORDER = 10  # how many times the largest number is the least one where a scale is logarithmic


class LossCurveDisplay:
    """The objective after each step of a fit, and the loss on its validation rows.

    It is recommended to use ``from_estimator``. All parameters are stored as attributes.

    Parameters
    ----------
    loss_curves : list of array-like
        ``loss_curve_`` of each model.
    validation_loss_curves : list of (array-like or None), default=None
        ``validation_loss_curve_`` of each model, None where it has none. A curve ends where that
        of the objective does; one of a single number is of the end of a fit.
    first_steps : list of int, default=None
        The number of the step that each objective is that of: 0 where a curve begins before the
        first step, which is the default.
    names : list of str, default=None
        The names of the models.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure with the curves.
    lines_ : list of Line2D
        The curve of the objective of each model.
    validation_lines_ : list of (Line2D or None)
        The curve of the validation loss of each model.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores for numbers of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skorchlite import TorchSGDRegressor
    >>> from skorchlite.display import LossCurveDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> y = X @ [1.0, 2.0, 3.0] + rng.normal(size=500)
    >>> sgd = TorchSGDRegressor(solver="sgd", early_stopping=True, random_state=0).fit(X, y)
    >>> newton = TorchSGDRegressor("huber").fit(X, y)
    >>> display = LossCurveDisplay.from_estimator([sgd, newton], name=["sgd", "newton"])
    >>> [line.get_label() for line in display.ax_.lines]
    ['sgd, training', 'sgd, validation', 'newton, training']
    """

    def __init__(
        self,
        *,
        loss_curves: Any,
        validation_loss_curves: Any = None,
        first_steps: Any = None,
        names: Any = None,
    ) -> None:
        self.loss_curves = loss_curves
        self.validation_loss_curves = validation_loss_curves
        self.first_steps = first_steps
        self.names = names

    def plot(
        self,
        ax: Any = None,
        *,
        yscale: str | None = None,
        line_kw: Style = None,
        validation_line_kw: Style = None,
    ) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes object to plot on. If `None`, a new figure and axes is created.
        yscale : {"linear", "log", "symlog"} or None, default=None
            The scale of the losses. None is "log" where all are above zero and the largest is ten
            times the least, else "linear".
        line_kw : dict, default=None
            Keyword arguments of ``ax.plot`` for the curves of the objective.
        validation_line_kw : dict, default=None
            The same for those of the validation loss, which are dashed.

        Returns
        -------
        display : LossCurveDisplay
            Object that stores what was drawn.
        """
        check_choice("yscale", yscale, _SCALES)
        ax, n_models = axes_of(self, ax), len(self.loss_curves)
        validations = self.validation_loss_curves or [None] * n_models
        firsts, names = self.first_steps or [0] * n_models, self.names or [None] * n_models
        self.lines_, self.validation_lines_ = [], []
        models = zip(self.loss_curves, validations, firsts, names, strict=True)
        for curve, validation, first, name in models:
            steps = first + np.arange(len(curve))
            style = line_style(line_kw, label=_label(name, "training"), marker=_marker(curve))
            (line,) = ax.plot(steps, curve, **style)
            self.lines_.append(line)
            held = None
            if validation is not None:
                style = line_style(
                    validation_line_kw,
                    label=_label(name, "validation"),
                    marker=_marker(validation),
                    linestyle="--",
                    color=line.get_color(),
                )
                ends = steps[-1] + 1 + np.arange(-len(validation), 0)
                (held,) = ax.plot(ends, validation, **style)
            self.validation_lines_.append(held)
        ax.set_yscale(yscale or _scale_of([*self.loss_curves, *validations]))
        ax.set(xlabel="Iteration", ylabel="Objective")
        count_in_integers(ax)
        ax.legend()
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: Any = None,
        ax: Any = None,
        yscale: str | None = None,
        line_kw: Style = None,
        validation_line_kw: Style = None,
    ) -> Self:
        """Plot the loss curves of one fitted estimator or of several.

        Parameters
        ----------
        estimator : estimator or list of estimators
            Each with ``loss_curve_``, and ``validation_loss_curve_`` where it was fitted with
            validation rows.
        name : str or list of str, default=None
            The names of the models; None for those of their classes, where there are several.
        ax, yscale, line_kw, validation_line_kw
            As of ``plot``.

        Returns
        -------
        display : LossCurveDisplay
            Object that stores what was drawn.

        Raises
        ------
        AttributeError
            If an estimator has no loss curve.

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchSGDRegressor
        >>> from skorchlite.display import LossCurveDisplay
        >>> X = np.arange(6.0)[:, None]
        >>> model = TorchSGDRegressor("huber").fit(X, [1.0, 2.9, 5.2, 7.1, 8.8, 11.0])
        >>> LossCurveDisplay.from_estimator(model).ax_.get_xlabel()
        'Iteration'
        """
        estimators = list(estimator) if isinstance(estimator, list | tuple) else [estimator]
        names = [name] if name is None or isinstance(name, str) else list(name)
        if name is None and len(estimators) > 1:
            names = [f"{type(one).__name__} {i}" for i, one in enumerate(estimators)]
        if len(names) != len(estimators):
            raise ValueError(
                f"There are {len(estimators)} estimators and {len(names)} names. Give a name for "
                "each."
            )
        for one in estimators:
            _check_has_curve(one)
        display = cls(
            loss_curves=[np.asarray(one.loss_curve_, float) for one in estimators],
            validation_loss_curves=[_validation_of(one) for one in estimators],
            first_steps=[int(len(one.loss_curve_) == one.n_iter_) for one in estimators],
            names=None if names == [None] else names,
        )
        return display.plot(
            ax, yscale=yscale, line_kw=line_kw, validation_line_kw=validation_line_kw
        )


def _check_has_curve(estimator: Any) -> None:
    check_is_fitted(estimator)
    if not hasattr(estimator, "loss_curve_"):
        raise AttributeError(
            f"{type(estimator).__name__} has no loss_curve_. Give an estimator of one fit, such as "
            "TorchSGDRegressor, or a search with refit=True."
        )


def _validation_of(estimator: Any) -> Any:
    curve = getattr(estimator, "validation_loss_curve_", None)
    return None if curve is None else np.asarray(curve, float)


def _label(name: str | None, of: str) -> str:
    return of.capitalize() if name is None else f"{name}, {of}"


def _marker(curve: Any) -> str | None:
    return "o" if len(curve) == 1 else None  # a line of one point is not seen


def _scale_of(curves: list[Any]) -> str:
    every = np.concatenate([np.ravel(curve) for curve in curves if curve is not None])
    every = every[np.isfinite(every)]
    wide = len(every) and every.min() > 0 and every.max() >= _ORDER * every.min()
    return "log" if wide else "linear"

"""The coefficients of a model for each weight of its penalty."""

from typing import Any, Self

import numpy as np

from ._axes import Style, axes_of, line_style, mark, set_penalty_scale
from ._candidates import candidates_of, is_chosen


class CoefficientPathDisplay:
    """The coefficients for each weight of the penalty that a search has tried.

    It is recommended to use ``from_estimator``. All parameters are stored as attributes.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        The weights of the penalty.
    coef_path : ndarray of shape (n_alphas, n_features)
        The coefficients for each.
    alpha : float, default=None
        The weight that was chosen, which is marked.
    feature_names : array-like of str of shape (n_features,), default=None
        The names of the coefficients; None for x0, x1, ...

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the paths.
    figure_ : matplotlib Figure
        Figure with the paths.
    lines_ : list of Line2D
        The path of each coefficient, in their order.
    alpha_line_ : Line2D or None
        The mark of the chosen weight.

    See Also
    --------
    ValidationPathDisplay : The errors of the same models.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skorchlite import TorchSGDRegressorCV
    >>> from skorchlite.display import CoefficientPathDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = TorchSGDRegressorCV(penalty="l1").fit(X, y)
    >>> display = CoefficientPathDisplay.from_estimator(model)
    >>> len(display.lines_)
    10
    >>> display.ax_.get_xscale()
    'log'
    """

    def __init__(
        self, *, alphas: Any, coef_path: Any, alpha: Any = None, feature_names: Any = None
    ) -> None:
        self.alphas = alphas
        self.coef_path = coef_path
        self.alpha = alpha
        self.feature_names = feature_names

    def plot(self, ax: Any = None, *, n_names: int = 10, line_kw: Style = None) -> Self:
        """Plot the paths.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes object to plot on. If `None`, a new figure and axes is created.
        n_names : int, default=10
            How many coefficients have a colour and a name in the legend: those that are largest in
            absolute value anywhere on the path. Others are drawn in grey.
        line_kw : dict, default=None
            Keyword arguments of ``ax.plot``.

        Returns
        -------
        display : CoefficientPathDisplay
            Object that stores what was drawn.
        """
        beside = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if ax is None else {}
        ax = axes_of(self, ax)
        path = np.asarray(self.coef_path)
        names = self.feature_names
        names = [f"x{j}" for j in range(path.shape[1])] if names is None else names
        named = np.argsort(-abs(path).max(0), kind="stable")[:n_names]
        self.lines_ = []
        for j, name in enumerate(names):
            style = {"label": name, "zorder": 2.1} if j in named else {"color": "0.75"}
            self.lines_ += ax.plot(self.alphas, path[:, j], **line_style(line_kw, **style))
        self.alpha_line_ = (
            None if self.alpha is None else mark(ax, self.alpha, f"alpha={self.alpha:.3g}")
        )
        set_penalty_scale(ax, [self.alphas])
        ax.set(xlabel="alpha", ylabel="Coefficient")
        ax.legend(fontsize="small", **beside)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        target: int = 0,
        n_names: int = 10,
        ax: Any = None,
        line_kw: Style = None,
    ) -> Self:
        """Plot the paths of a search by cross-validation.

        Parameters
        ----------
        estimator : TorchSGDRegressorCV or TorchPolyRegressorCV
            Fitted with a penalty. The paths are those with ``l1_ratio_``, and ``degree_``.
        target : int, default=0
            The number of the target whose coefficients are drawn, where y was 2-d.
        n_names, ax, line_kw
            As of ``plot``.

        Returns
        -------
        display : CoefficientPathDisplay
            Object that stores what was drawn.

        Raises
        ------
        AttributeError
            If the estimator is no search.
        """
        alphas = [one.alpha for one in candidates_of(estimator) if is_chosen(one, estimator)]
        path, alpha = np.asarray(estimator.coef_path_), np.asarray(estimator.alpha_)
        display = cls(
            alphas=np.array(alphas),
            coef_path=path[:, target] if path.ndim == 3 else path,
            alpha=float(alpha[target] if alpha.ndim else alpha),
            feature_names=_names_of(estimator),
        )
        return display.plot(ax, n_names=n_names, line_kw=line_kw)


def _names_of(estimator: Any) -> Any:
    if hasattr(estimator, "get_feature_names_out") and hasattr(estimator, "coef_"):
        return estimator.get_feature_names_out()  # those of terms
    return None if hasattr(estimator, "powers_") else getattr(estimator, "feature_names_in_", None)

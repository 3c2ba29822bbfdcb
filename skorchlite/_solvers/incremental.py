"""What learns from one chunk after the other."""

from typing import Any


class IncrementalLearner:
    """What all that learns from chunks has.

    Parameters
    ----------
    basis : object or None
        Of the row source.
    fit_intercept : bool
    """

    def __init__(self, basis: Any, fit_intercept: bool):
        self.basis, self.fit_intercept = basis, bool(fit_intercept)

    def check(self, fit_intercept: bool) -> None:
        """Raise if the chunks so far were learned with an intercept, and this one is not, or so."""
        if bool(fit_intercept) != self.fit_intercept:
            raise ValueError(
                f"fit_intercept={fit_intercept} was set after chunks that were learned with "
                f"fit_intercept={self.fit_intercept}, and none of them is kept. Call fit to begin "
                "anew."
            )

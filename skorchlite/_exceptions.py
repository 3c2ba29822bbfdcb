"""Errors that more than one part of the package raises or handles."""


class OutOfRangeError(ArithmeticError):
    """A sum over the rows overflows, or is so small that it loses its digits."""


class NoWeightError(ValueError):
    """All sample weights are zero."""

    def __init__(self, message: str = "Sample weights must contain at least one non-zero number."):
        super().__init__(message)  # a pickled error is made again from these arguments


class LostRankError(RuntimeError):
    """A process of the group no longer answers."""


class Stopped(Exception):  # noqa: N818 (no error, like StopIteration)
    """A callback asked for the end of the fit.

    Parameters
    ----------
    solution : Solution
        Where the fit had come to.
    """

    def __init__(self, solution: object):
        super().__init__("a callback asked for the end of the fit")
        self.solution = solution

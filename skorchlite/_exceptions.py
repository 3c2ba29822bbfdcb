"""Errors that more than one part of the package raises or handles."""


class OutOfRangeError(ArithmeticError):
    """A sum over the rows is not finite, or so small that its digits are lost."""


class NoWeightError(ValueError):
    """No row has a weight."""

    def __init__(self, message: str = "Sample weights must contain at least one non-zero number."):
        super().__init__(message)  # which a pickled error is made from again


class LostRankError(RuntimeError):
    """A process of the group no longer answers."""


class Stopped(Exception):  # noqa: N818 (no error, like StopIteration)
    """A callback asked for the end of the fit, with this solution."""

    def __init__(self, solution: object):
        super().__init__("a callback asked for the end of the fit")
        self.solution = solution

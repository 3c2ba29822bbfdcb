"""A judge that stands: seeded problems, references that are not ours, and verdicts on each fit.

``python -m tests.fuzz --seconds 60 --seed 0`` runs it for as long as one likes. It prints what
fails as three lines of code, in which ``draw(seed)`` makes the problem again.
"""

from .draws import Draw, draw

__all__ = ["Draw", "draw"]

"""The same for losses with a log link, which have no exact references.

``python -m tests.fuzz.log_links --seconds 60 --seed 0`` runs it. What a fit leaves is compared with
where L-BFGS-B of SciPy comes to from there and from zero, and a linear programme says whether the
optimum is at infinity. Above a power of 2, where the loss is not convex, slopes are judged.
"""

from .draws import draw

__all__ = ["draw"]

"""Newton descent on all rows at once.

``solver.py`` chooses among four descents:

- ``least_squares.py``: squared error with a smooth penalty, on ``quadratic_model.py``, whose
  preconditioner is made by ``preconditioner.py``, ``spectral_metric.py`` or ``underdetermined.py``.
- ``prox_newton.py``: squared error with a penalty that has kinks; ``active_set.py`` takes a step,
  on columns that ``gathered_columns.py`` keeps where they are many.
- ``general_loss.py``: other losses, by local models in the coordinates of ``frame.py``.
  ``measured.py`` says how close the rounded coefficients are.
- ``working_set.py``: the same on some of many columns.

A local model with the penalty is a ``local_problem.py``. Of a loss in pieces it is minimised by
``piecewise_descent.py``, which puts ``semismooth_newton.py``, ``interior_point.py``,
``narrowed.py`` and ``crossover.py`` one after another; of a loss with a curvature everywhere by
``damped_newton.py``. ``bounds.py`` says how far any point is from the optimum.
"""

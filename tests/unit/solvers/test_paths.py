"""Paths of penalties for many problems at once."""

import numpy as np

from skorchlite._solvers.paths import kinked_path
from skorchlite._solvers.paths.kinked_path import KinkedProblems


def test_a_problem_whose_solution_was_lost_is_not_tried_at_smaller_penalties(monkeypatch):
    hessians = np.stack((np.eye(2), np.ones((2, 2))))  # two columns that are one
    gradient, ones = np.ones((2, 2)), np.ones((2, 2))
    problems = KinkedProblems(hessians, np.arange(2), gradient, ones, 0 * ones, False)
    tried, minimised = [], kinked_path._minimised

    def counted(some, alpha, u):
        tried.append(some.of.tolist())
        return minimised(some, alpha, u)

    monkeypatch.setattr(kinked_path, "_minimised", counted)
    alphas = np.array([2.0, 0.5, 0.25, 0.125])
    u, lost = kinked_path.kinked_path(problems, np.tile(alphas, (2, 1)))
    assert tried == [[0, 1], [0, 1], [0], [0]]
    np.testing.assert_array_equal(lost, [[False] * 4, [False, True, True, True]])
    np.testing.assert_allclose(u[0], np.maximum(1 - alphas, 0)[:, None] * [1, 1])

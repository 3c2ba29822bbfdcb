"""Paths of penalties for many problems at once."""

import numpy as np
import pytest

from skorchlite._solvers.paths import kinked_path
from skorchlite._solvers.paths.kinked_path import KinkedProblems


def test_a_problem_whose_solution_was_lost_is_not_tried_at_smaller_penalties(monkeypatch):
    hessians = np.stack((np.eye(2), np.ones((2, 2))))
    gradient, ones = np.array([[1.0, 1.0], [1.0, -1.0]]), np.ones((2, 2))  # of no columns
    problems = KinkedProblems(hessians, np.arange(2), gradient, ones, 0 * ones, False)
    tried, minimised = set(), kinked_path._minimised

    def counted(some, alpha, *others):
        tried.update(zip(some.of.tolist(), alpha[:, 0].tolist(), strict=True))
        return minimised(some, alpha, *others)

    monkeypatch.setattr(kinked_path, "_minimised", counted)
    alphas = np.array([2.0, 0.5, 0.25, 0.125])
    u, lost = kinked_path.kinked_path(problems, np.tile(alphas, (2, 1)))
    assert {alpha for number, alpha in tried if number == 0} == set(alphas)
    assert min(alpha for number, alpha in tried if number == 1) == 0.5
    np.testing.assert_array_equal(lost, [[False] * 4, [False, True, True, True]])
    np.testing.assert_allclose(u[0], np.maximum(1 - alphas, 0)[:, None] * [1, 1])


def wide(positive, l2):
    """More columns than rows, half of which are in the models of small penalties."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 80))
    X = (X - X.mean(0)) / X.std(0)
    gradient = (X.T @ (X[:, :15].sum(1) + rng.standard_normal(40)) / 40)[None]
    ones = np.ones((1, 80))
    return KinkedProblems(
        (X.T @ X / 40)[None], np.zeros(1, int), gradient, ones, l2 * ones, positive
    )


@pytest.mark.parametrize("least", [1e-2, 1e-3])
@pytest.mark.parametrize("n_alphas", [2, 8])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_penalties_far_from_each_other_are_reached_where_guesses_go_in_a_circle(
    l2, positive, n_alphas, least, monkeypatch
):
    problems = wide(positive, l2)
    gradient = problems.gradient
    largest = gradient.max() if positive else abs(gradient).max()
    alphas = largest * np.geomspace(1, least, n_alphas)
    _, gone = kinked_path._minimised(problems, alphas[-1:, None], 0 * gradient, 8)
    assert gone.all()
    solved, count = kinked_path._solved, []
    monkeypatch.setattr(kinked_path, "_solved", lambda *args: count.append(0) or solved(*args))
    u, lost = kinked_path.kinked_path(problems, alphas[None])
    assert not lost.any()
    for point, alpha in zip(u[0], alphas, strict=True):
        slope = problems.hessians[0] @ point + alpha * l2 * point - gradient[0]
        at_zero, slack = point == 0, alpha * (1 + 1e-9)
        assert (slope[at_zero] >= -slack).all() and (positive or (slope[at_zero] <= slack).all())
        np.testing.assert_allclose(slope[~at_zero], -alpha * np.sign(point[~at_zero]), rtol=1e-8)
    # Two for each change of columns, of which some leave again, and those that led nowhere.
    assert len(count) <= 5 * np.count_nonzero(u[0, -1])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("kind", ["twice", "one of each kind"])
def test_columns_that_depend_on_others_are_left_out_where_they_gain_nothing(kind, positive):
    rng = np.random.default_rng(0)
    if kind == "twice":
        X = np.repeat(rng.standard_normal((60, 8)), 2, axis=1)
    else:
        X = np.hstack([np.eye(8)[rng.integers(0, 8, 60)] for _ in range(2)])
    X = (X - X.mean(0)) / X.std(0)
    gradient = (X.T @ (X[:, ::3].sum(1) + rng.standard_normal(60)) / 60)[None]
    ones = np.ones_like(gradient)
    hessians, of = (X.T @ X / 60)[None], np.zeros(1, int)
    problems = KinkedProblems(hessians, of, gradient, ones, 0 * ones, positive)
    alphas = gradient.max() * np.geomspace(1, 1e-3, 20)
    u, lost = kinked_path.kinked_path(problems, alphas[None])
    assert not lost.any()
    for point, alpha in zip(u[0], alphas, strict=True):
        slope, at_zero, slack = hessians[0] @ point - gradient[0], point == 0, alpha * (1 + 1e-9)
        assert (slope[at_zero] >= -slack).all() and (positive or (slope[at_zero] <= slack).all())
        np.testing.assert_allclose(slope[~at_zero], -alpha * np.sign(point[~at_zero]), rtol=1e-8)

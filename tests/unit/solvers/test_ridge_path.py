"""Paths of penalties against dense solves, with penalties that are quadratic forms."""

import numpy as np
import pytest

from skorchlite._objective.keyed_moments import KeyedMoments
from skorchlite._solvers.paths.ridge_path import RidgePath, spans
from skorchlite._solvers.paths.scaled_moments import scaled_moments

ALPHAS = np.array([10.0, 1.0, 1e-2, 1e-3])


def moments(n=60, d=5, t=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, d)
    y = rng.standard_normal((n, t)) + X[:, :1]
    X, y = X - X.mean(0), y - y.mean(0)
    products = X.T @ np.concatenate((y, X), 1)
    mean = np.zeros((1, t + d))
    return KeyedMoments(np.array([float(n)]), mean, products[None], (y * y).sum(0)[None])


def root_of(kind, d=5):
    rng = np.random.default_rng(1)
    return {
        "none": None,
        "diagonal": 10.0 ** rng.uniform(-1, 1, d),
        "matrix": np.triu(rng.standard_normal((d, d))),
    }[kind]


@pytest.mark.parametrize("kind", ["none", "diagonal", "matrix"])
def test_a_penalty_on_a_product_with_a_matrix(kind):
    found, root = moments(), root_of(kind)
    problem = scaled_moments(found, 0, np.zeros(5))
    path = RidgePath(problem, ALPHAS.min(), ALPHAS.max(), root)
    assert path.exact
    coef = path.coef(ALPHAS)
    matrix = np.eye(5) if root is None else np.diag(root) if root.ndim == 1 else root
    hessian, gradient = found.features[0] / 60, found.targets[0] / 60
    for alpha, w in zip(ALPHAS, coef, strict=True):
        direct = np.linalg.solve(hessian + alpha * matrix.T @ matrix, gradient)
        np.testing.assert_allclose(w, direct, rtol=1e-8, atol=1e-10 * abs(direct).max())


@pytest.mark.parametrize("kind", ["none", "diagonal", "matrix"])
def test_estimated_rounding_errors_are_those_of_perturbed_products(kind):
    found, root = moments(), root_of(kind)
    rng = np.random.default_rng(2)
    size = np.finfo(float).eps
    path = RidgePath(scaled_moments(found, 0, np.zeros(5)), 1e-3, 1e-3, root)
    coef = path.coef(np.array([1e-3]))
    directions, sizes = path.rounding(coef)
    noise = 1 + 1e6 * size * rng.choice([-1, 1], found.products.shape)
    noisy = KeyedMoments(found.weight, found.mean, found.products * noise, found.squares)
    noisy.features[0][:] = (noisy.features[0] + noisy.features[0].T) / 2
    other = RidgePath(scaled_moments(noisy, 0, np.zeros(5)), 1e-3, 1e-3, root)
    moved = np.linalg.solve(directions, (other.coef(np.array([1e-3])) - coef)[0])
    assert (np.linalg.norm(moved, axis=0) <= 1.01e6 * sizes[0]).all()
    assert (np.linalg.norm(moved, axis=0) >= 1e3 * sizes[0]).all()


def test_a_column_that_does_not_vary_has_no_coefficient():
    found = moments()
    found.products[0, 2], found.products[0, :, 4] = 0.0, 0.0
    path = RidgePath(scaled_moments(found, 0, np.zeros(5)), 0.1, 1.0, root_of("matrix"))
    assert path.exact and not path.coef(np.array([1.0, 0.1]))[:, 2].any()


def test_weights_of_very_different_sizes_share_no_eigenvectors():
    alphas = np.array([1e12, 1e3, 1.0, 1e-300, 0.0])
    assert spans(alphas) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    assert spans(ALPHAS) == [slice(0, 4)]
    assert spans(np.array([5e-324])) == [slice(0, 1)]

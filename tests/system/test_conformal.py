"""Conformal intervals by MAPIE about our models, as the example makes them."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "conformal.py"
N_DRAWS, N_FIT, N_CONFORMAL, N_NEW = 30, 300, 300, 1_000


@pytest.fixture(scope="module")
def example():
    pytest.importorskip("mapie")
    return runpy.run_path(EXAMPLE)


@pytest.mark.parametrize("kind", ["one_width", "quantiles", "between_folds"])
def test_new_targets_are_inside_as_often_as_is_said(kind, example):
    level, wave = example["LEVEL"], example["wave"]
    shares = []
    for draw in range(N_DRAWS):
        given, held, new = (
            wave(n, 3 * draw + part) for part, n in enumerate((N_FIT, N_CONFORMAL, N_NEW))
        )
        shares.append(example["inside"](example[kind](*given, *held), *new)[0].mean())
    # Of one draw the share deviates by what the held and the new samples leave to chance.
    deviation = np.sqrt(level * (1 - level) * (1 / N_CONFORMAL + 1 / N_NEW) / N_DRAWS)
    assert level - 4 * deviation < np.mean(shares) < level + 1 / N_CONFORMAL + 4 * deviation


def test_the_example_shows_all_kinds(example, capsys):
    example["main"]()
    assert capsys.readouterr().out.count("of targets inside") == 3

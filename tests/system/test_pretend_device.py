"""The tests of cards on the pretended ones of ``pretend_device``, where there is no real card."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.system.pretend_device import TESTED

ROOT = Path(__file__).parents[2]
FILES = ["test_cuda.py", "test_card_budgets.py"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real card"),
    pytest.mark.skipif(
        not torch.__version__.startswith(TESTED), reason=f"made for torch {', '.join(TESTED)}"
    ),
]


def on_pretended_cards(*arguments):
    """Run tests in a process that believes in cards; return how many passed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["-p", "tests.system.pretend_device", "-W", "error", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return int(passed[1])


def test_tests_of_cards_pass_on_pretended_cards():
    files = [f"tests/system/{name}" for name in FILES]
    assert on_pretended_cards(*files, "-m", "not exhaustive") > 90


@pytest.mark.exhaustive
def test_all_tests_of_cards_pass_on_pretended_cards():
    assert on_pretended_cards("tests/system/test_cuda.py", "-m", "exhaustive") > 800


def test_array_api_tests_pass_on_pretended_cards():
    # A tensor on a pretended card is of a class of its own, which one of the tests asks for.
    ours = "cuda and not test_without_dispatch_attributes_are_of_numpy"
    assert on_pretended_cards("tests/conformance/test_array_api.py", "-k", ours) > 20

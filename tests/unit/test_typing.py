"""What a type checker makes of code that uses the package."""

import subprocess
import sys
from pathlib import Path

import pytest

import skorchlite

CODE = """
from skorchlite import TorchPolyRegressor, TorchSGDRegressor, arrow_blocks

linear: TorchSGDRegressor = TorchSGDRegressor("huber", epsilon=0.5).fit([[1.0], [2.0]], [1.0, 2.0])
curve: TorchPolyRegressor = TorchPolyRegressor(2).partial_fit([[1.0], [2.0]], [1.0, 2.0])
score: float = linear.score([[1.0]], [1.0])
wrong: int = linear.score([[1.0]], [1.0])
"""


def test_the_package_says_that_it_is_typed():
    assert Path(skorchlite.__file__).with_name("py.typed").exists()


@pytest.mark.slow
def test_strict_checks_of_a_caller_find_his_error_alone(tmp_path):
    file = tmp_path / "caller.py"
    file.write_text(CODE)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(file)]
    root = Path(skorchlite.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1 and "caller.py:7" in errors[0], done.stdout

"""The benchmark runs, and the README shows what it measured."""

import json
import subprocess

import pytest

from benchmarks.__main__ import main
from benchmarks.measure import against
from benchmarks.report import large_tables, readme

pytestmark = pytest.mark.slow


def test_readme_shows_the_committed_figures():
    record = json.loads(readme.RESULTS.read_text(encoding="utf-8"))
    assert readme.section(record) in readme.README.read_text(encoding="utf-8")
    assert not record["settings"]["quick"]


@pytest.mark.parametrize(
    "row",
    [
        "diabetes/442x10/float64",
        "degree-3",
        "losses",
        "raw columns",
        "nist",
        "out of core/Parquet",
        "processes",
        "rows/",
        "sparse/",
        "card",
    ],
)
def test_quick_run_writes_its_record(row, tmp_path, capsys):
    main(["--quick", "--rows", row, "--out", str(tmp_path)])
    record = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    kinds = "timed", "losses", "stochastic", "accuracy", "memory", *large_tables.KINDS
    cases = {name: case for kind in kinds for name, case in record[kind].items()}
    assert cases and all(row in name for name in cases)
    assert row in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert row in capsys.readouterr().out


def test_a_checkout_is_timed_against_a_revision(capsys):
    chosen = ["--against", "HEAD", "--quick", "--rows", "import", "--threshold", "100"]
    assert main(chosen) == 0
    assert "| import skorchlite |" in capsys.readouterr().out
    listed = ["git", "worktree", "list"]
    folders = subprocess.run(listed, cwd=against.ROOT, capture_output=True, text=True, check=True)
    assert "/base" not in folders.stdout


def test_what_got_slower_fails():
    assert against.ratios([(1.0, 1.2), (1.1, 1.1), (1.0, 1.3)]) == (pytest.approx(1.1), 1.2)

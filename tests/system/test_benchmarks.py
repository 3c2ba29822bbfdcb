"""The benchmark runs, and README and site show what it measured."""

import json
import subprocess

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.measure import against
from benchmarks.measure.choices import choice_worth
from benchmarks.measure.model import Model
from benchmarks.report import peer_tables, readme, tables

pytestmark = pytest.mark.slow


def test_readme_and_site_show_the_committed_figures():
    record = json.loads(readme.RESULTS.read_text(encoding="utf-8"))
    assert readme.section(record) in readme.PAGE.read_text(encoding="utf-8")
    assert readme.few(record) in readme.README.read_text(encoding="utf-8")
    assert not record["settings"]["quick"]


@pytest.mark.parametrize(
    "row",
    [
        "peers/lasso/442x10",
        pytest.param("search/", marks=pytest.mark.exhaustive),
        "search/ridge, 100 alphas x 5 folds",
        pytest.param("search/ridge, leave one of", marks=pytest.mark.exhaustive),
        pytest.param("search/by group, huber", marks=pytest.mark.exhaustive),
        pytest.param("small/cross_val_score/50x3", marks=pytest.mark.exhaustive),
        "crowd/lasso",
        "diabetes/442x10/float64",
        pytest.param("degree-3", marks=pytest.mark.exhaustive),
        pytest.param("losses", marks=pytest.mark.exhaustive),
        pytest.param("raw columns", marks=pytest.mark.exhaustive),
        "nist",
        "out of core/Parquet",
        pytest.param("processes", marks=pytest.mark.exhaustive),
        "rows/",
        pytest.param("sparse/", marks=pytest.mark.exhaustive),
        "sparse/one-hot",
        "card",
    ],
)
def test_quick_run_writes_its_record(row, tmp_path, capsys):
    main(["--quick", "--rows", row, "--out", str(tmp_path)])
    record = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    cases = {name: case for kind in tables.SECTIONS for name, case in record[kind].items()}
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


def test_a_suite_is_chosen_by_its_name(tmp_path, capsys):
    chosen = ["--quick", "--suite", "accuracy", "--rows", "i", "--out", str(tmp_path)]
    main(chosen)
    record = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert record["accuracy"]
    assert not any(record[kind] for kind in tables.SECTIONS if kind != "accuracy")
    with pytest.raises(SystemExit):
        main(["--suite", "none"])
    assert "none" in capsys.readouterr().err


def test_the_table_of_peers_says_who_missed_what_was_wanted():
    ours = {"model": "ours", "remarks": [], "median": 2.0, "ratio": 1.0, "excess": 0.0}
    peer = {"model": "peer", "remarks": ["slow"], "median": 3.0, "ratio": 1.5, "excess": 1e-3}
    rows = [
        ours,
        peer | {"least_ratio": 1.4, "wanted": 2.0},
        peer | {"model": "other", "least_ratio": 2.5, "wanted": 2.0},
        {"model": "dead", "remarks": ["failed: ended with 3"], "wanted": 1.0},
    ]
    text = peer_tables.peers_table({"peers/work": {"rows": rows, "least_seconds": 0.5}})
    missed, reached, failed = text.splitlines()[2:]
    assert missed.startswith("| work | peer | 2 s | 3 s | **1.5x** | **1.4x** | 2x | 0.0e+00 |")
    assert missed.endswith("| 500 ms | 4x | slow |")
    assert "| 1.5x | 2.5x |" in reached
    assert "| failed | failed | failed |" in failed and "ended with 3" in failed


def test_a_search_is_compared_on_what_both_tried():
    alphas, errors = np.array([4.0, 3.0, 2.0, 1.0]), np.array([[9.0, 7.0], [1, 3], [6, 4], [8, 8]])
    ours = {"alphas": alphas, "mse_path": errors, "alpha": 3.0, "best_score": -2.0}
    models = [Model("ours", object), Model("few", object), Model("fit", object)]
    found = {"ours": ours, "few": {"alpha": 20.0, "best_score": -5.5}, "fit": {"coef": 0}}
    worth = choice_worth(models, None, None, found, ("fit",), alpha_times=10, step=2)
    assert worth["ours"] == {"chosen": {"alpha": 3.0}}
    assert worth["few"] == {"choices": 1, "choices_alike": 1, "errors_apart": pytest.approx(0.1)}
    assert "fit" not in worth
    del found["few"], found["fit"]
    found["many"] = {"alpha": np.array([3.0, 4.0]), "best_score": np.array([-2.0, -8.0])}
    ours |= {"alpha": np.array([3.0, 3.0]), "best_score": np.array([-2.0, -4.0])}
    worth = choice_worth(models, None, None, found)
    assert worth["many"] == {"choices": 2, "choices_alike": 1, "errors_apart": 1.0}


def test_the_table_of_searches_says_who_chose_the_same():
    times = {"remarks": [], "median": 2.0, "ratio": 1.0, "least_ratio": 1.0}
    rows = [
        times | {"model": "ours", "chosen": {"alpha": 0.5, "degree": 12.0}},
        times | {"model": "one", "choices": 1, "choices_alike": 0, "errors_apart": 1e-3},
        times | {"model": "many", "choices": 3000, "choices_alike": 2999, "errors_apart": 0.0},
    ]
    one, many = peer_tables.search_table({"search/work": {"rows": rows}}).splitlines()[2:]
    assert "| alpha 0.5, degree 12 | no | 1.0e-03 |" in one
    assert "| 2,999 of 3,000 | 0.0e+00 |" in many


def test_a_fit_that_a_crowd_slows_is_marked():
    alone, one = {"model": "a", "median": 1.0}, {"model": "b", "median": 2.0, "ratio": 1.0}
    default = {"model": "c", "median": 7.0, "ratio": 3.5, "at_most": 3.0, "over_alone": 7.0}
    case = {"busy": 6, "rows": [alone, one, default]}
    (line,) = peer_tables.crowd_table({"crowd/lasso/9x9/beside 6": case}).splitlines()[2:]
    assert line == "| lasso/9x9 | 6 | 1 s | 2 s | 7 s | **3.5x** | 3x | 7x |"


def test_what_got_slower_fails():
    assert against.ratios([(1.0, 1.2), (1.1, 1.1), (1.0, 1.3)]) == (pytest.approx(1.1), 1.2)

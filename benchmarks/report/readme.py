"""Put the figures of the last full run into README and site.

The command is `python -m benchmarks.report.readme`.
"""

import json
from pathlib import Path

from benchmarks.report import large_tables, peer_tables, tables
from benchmarks.report.markdown import duration, factor, table

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results" / "results.json"
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
# What the README shows of the aims: three that win and three that lose, of different kinds.
CHOSEN = {
    "least squares float64/1000000x50": "scikit-learn-intelex LinearRegression()",
    "quantile/442x10": "QuantileRegressor(highs)",
    "huber, raw columns/10000x20": "StandardScaler() + HuberRegressor(alpha=0, tol=1e-9)",
    "LinearRegression/442x10": "LinearRegression()",
    "least squares float32/1000000x50": "scikit-learn-intelex LinearRegression()",
    "one epoch, batches of 1/100000x20": "SGDRegressor",
}


def section(record):
    """Render what the site shows of a record."""
    parts = [tables.environment(record), *peer_tables.sections(record, "##", details=False)]
    timed, losses = record["timed"], record["losses"]
    parts += ["## Sizes and dtypes", tables.legend(timed), tables.summary(timed)]
    parts += ["## Losses and penalties", tables.losses_legend(losses)]
    parts.append(tables.losses_summary(losses))
    parts += ["## Descent by batches", tables.stochastic_legend()]
    parts.append(tables.stochastic_table(record["stochastic"]))
    parts.append("## Accuracy and memory")
    for kind in ("accuracy", "memory"):
        parts += [tables.SECTIONS[kind](name, case) for name, case in record[kind].items()]
    parts += large_tables.sections(record, level="##")
    return "\n\n".join(parts)


def few(record):
    """Render what the README shows of a record."""
    rows = []
    for name, peer in CHOSEN.items():
        ours, *peers = record["peers"][f"peers/{name}"]["rows"]
        (row,) = (one for one in peers if one["model"] == peer)
        times = duration(ours["median"]), duration(row["median"])
        rows.append([name.replace("/", ", "), peer, *times, factor(row["ratio"])])
    return table(["work", "against", "ours", "peer", "peer / ours"], rows)


def put(path, text):
    """Replace the text between the marks of a file."""
    head, rest = path.read_text(encoding="utf-8").split(BEGIN)
    tail = rest.split(END)[1]
    path.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")


def main():
    """Put both."""
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    put(PAGE, section(record))
    put(README, few(record))


if __name__ == "__main__":
    main()

"""Put the figures of the last full run into the README: `python -m benchmarks.report.readme`."""

import json
from pathlib import Path

from benchmarks.report import large_tables, peer_tables, tables

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results" / "results.json"
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"


def section(record):
    """Render what the README shows of a record."""
    parts = [tables.environment(record), *peer_tables.sections(record, "###", details=False)]
    parts += [tables.legend(record["timed"]), tables.summary(record["timed"])]
    losses = record["losses"]
    parts += ["### losses and penalties", tables.losses_legend(losses)]
    parts.append(tables.losses_summary(losses))
    parts += ["### descent by batches", tables.stochastic_legend()]
    parts.append(tables.stochastic_table(record["stochastic"]))
    for kind in ("accuracy", "memory"):
        parts += [tables.SECTIONS[kind](name, case) for name, case in record[kind].items()]
    parts += large_tables.sections(record, level="###")
    return "\n\n".join(parts)


def main():
    """Replace the text between the marks."""
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    head, rest = README.read_text(encoding="utf-8").split(BEGIN)
    tail = rest.split(END)[1]
    text = f"{head}{BEGIN}\n\n{section(record)}\n\n{END}{tail}"
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

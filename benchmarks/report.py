"""The record of a run as Markdown and JSON."""

import json

FILES = ("results.md", "results.json")
# Two objectives this close are the same answer to any reader of a fit.
SAME_OBJECTIVE = 1e-6


def write(record, folder):
    """Write `results.md` and `results.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = (markdown(record), json.dumps(record, indent=1) + "\n")
    for name, text in zip(FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")


def markdown(record):
    """Render the whole record."""
    parts = ["# Benchmark results", environment(record)]
    if record["timed"]:
        parts += ["## Time", legend(record["timed"]), summary(record["timed"])]
    for kind, title in (("timed", None), ("accuracy", "## Accuracy"), ("memory", "## Memory")):
        if title and record[kind]:
            parts.append(title)
        parts += [SECTIONS[kind](name, case) for name, case in record[kind].items()]
    return "\n\n".join(parts) + "\n"


def environment(record):
    """Render machine, versions, threads and what was left out."""
    lines = [
        f"- date: {record['date']}",
        *(
            f"- {title}: {_pairs(record[title])}"
            for title in ("machine", "versions", "threads", "settings")
        ),
        *(f"- left out: {name} ({reason})" for name, reason in record["left_out"].items()),
    ]
    return "\n".join(lines)


def timed_section(name, case):
    """Render one timed case."""
    head = ["model", "median", "rounds", "time / ours", "excess", "coef error", "remarks"]
    rows = [
        [
            row["model"],
            _time(row.get("median")),
            str(row.get("rounds", "")),
            _ratio(row.get("ratio")),
            _small(row.get("excess")),
            _small(row.get("coef_error")),
            "; ".join(_remarks(row)),
        ]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{_table(head, rows)}"


def accuracy_section(name, case):
    """Render one accuracy case."""
    return (
        _digits_section(name, case) if "digits" in case["rows"][0] else _errors_section(name, case)
    )


def memory_section(name, case):
    """Render one memory case."""
    rows = [[row["model"], _mebibytes(row.get("data_bytes")), _extra(row)] for row in case["rows"]]
    return f"### {name}\n\n{_table(['model', 'data', 'extra peak of the fit'], rows)}"


SECTIONS = {"timed": timed_section, "accuracy": accuracy_section, "memory": memory_section}


def legend(cases):
    """Say how to read the tables of times."""
    ratios = [row["ratio"] for case in cases.values() for row in case["rows"][1:] if "ratio" in row]
    losses = sum(ratio < 1 for ratio in ratios)
    return (
        "Each peer's time divided by ours, the median over the rounds that both ran: above 1 ours "
        f"is faster; below 1, in bold, ours is slower. Ours is faster in {len(ratios) - losses} "
        f"comparisons and slower in {losses}. A star marks a peer that stayed more than "
        f"{SAME_OBJECTIVE:g} (relative) above the best objective reached, a dagger a case where "
        "ours did.\n\n"
        "In the tables of the cases, *excess* is the objective (half the mean squared error, in "
        "float64) above the best of all models, relative; *coef error* is the largest error of a "
        "coefficient against least squares on standardised float64 columns, each in the unit of "
        "its column's standard deviation, relative to the largest coefficient."
    )


def summary(cases):
    """Render one line a timed case."""
    peers = list(dict.fromkeys(row["model"] for case in cases.values() for row in case["rows"][1:]))
    rows = []
    for name, case in cases.items():
        ours = case["rows"][0]
        models = {row["model"]: row for row in case["rows"]}
        verdicts = [_verdict(models[peer], ours) if peer in models else "" for peer in peers]
        rows.append([name, _time(ours["median"]), *verdicts])
    return _table(["case", "ours", *peers], rows)


def _verdict(peer, ours):
    if "ratio" not in peer:
        return "failed"
    ratio = _ratio(peer["ratio"])
    star = r"\*" if peer["excess"] > SAME_OBJECTIVE else ""
    dagger = "†" if ours["excess"] > SAME_OBJECTIVE else ""
    return (f"**{ratio}**" if peer["ratio"] < 1 else ratio) + star + dagger


def _digits_section(name, case):
    note = (
        "Correct digits: log relative error, capped at 15, the worst over coefficients and "
        "intercept. Ceiling: what rounding the data to float64 leaves. The linear models follow "
        "PolynomialFeatures where the degree is above 1."
    )
    columns = list(case["rows"][0]["digits"])
    rows = [
        [
            row["set"],
            str(row["degree"]),
            *(f"{row['digits'][column]:.1f}" for column in columns),
            f"{row['ceiling']:.1f}",
        ]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{note}\n\n{_table(['set', 'degree', *columns, 'ceiling'], rows)}"


def _errors_section(name, case):
    note = "Relative error of the coefficients, each by itself, in the units of the data."
    rows = [
        [row["model"], row["against"], _small(row["largest"]), _small(row["median"])]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{note}\n\n{_table(['model', 'against', 'largest', 'median'], rows)}"


def _remarks(row):
    return ([f"on {row['device']}"] if row.get("device") else []) + row["remarks"]


def _extra(row):
    return row["left_out"] if "left_out" in row else _mebibytes(row["extra_bytes"])


def _table(head, rows):
    return "\n".join(_line(cells) for cells in (head, ["---"] * len(head), *rows))


def _line(cells):
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _pairs(values):
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _time(seconds):
    if seconds is None:
        return "failed"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _ratio(ratio):
    return "" if ratio is None else f"{ratio:.3g}x"


def _small(value):
    return "" if value is None else f"{value:.1e}"


def _mebibytes(size):
    return "" if size is None else f"{size / 2**20:.1f} MiB"

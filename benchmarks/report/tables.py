"""The record of a run as Markdown and JSON."""

import json

from benchmarks.report import large_tables, peer_tables
from benchmarks.report.markdown import (
    TIMES_HEAD,
    bold_below_one,
    duration,
    least_note,
    mebibytes,
    over_least,
    pairs,
    small,
    table,
    times,
)
from benchmarks.report.peer_tables import SAME_OBJECTIVE, verdict

FILES = ("results.md", "results.json")


def write(record, folder):
    """Write `results.md` and `results.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = (markdown(record), json.dumps(record, indent=1) + "\n")
    for name, text in zip(FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")


def markdown(record):
    """Render the whole record."""
    parts = ["# Benchmark results", environment(record), *peer_tables.sections(record)]
    if record["timed"]:
        parts += ["## Time", legend(record["timed"]), summary(record["timed"])]
    parts += [timed_section(name, case) for name, case in record["timed"].items()]
    if record["losses"]:
        parts += ["## Losses and penalties", losses_legend(record["losses"])]
        parts.append(losses_table(record["losses"]))
    if record["stochastic"]:
        parts += ["## Descent by batches", stochastic_legend()]
        parts.append(stochastic_table(record["stochastic"]))
    for kind, title in (("accuracy", "## Accuracy"), ("memory", "## Memory")):
        if record[kind]:
            parts.append(title)
        parts += [SECTIONS[kind](name, case) for name, case in record[kind].items()]
    parts += large_tables.sections(record)
    return "\n\n".join(parts) + "\n"


def environment(record):
    """Render machine, versions, threads, measured rates and what was left out."""
    rates = [
        f"- measured with {threads}: {rate['bytes_per_second'] / 1e9:.3g} GB/s read, "
        + ", ".join(
            f"{speed / 1e9:.3g} GFLOP/s in products of {dtype}"
            for dtype, speed in rate["operations_per_second"].items()
        )
        for threads, rate in record.get("roofline", {}).items()
    ]
    lines = [
        f"- date: {record['date']}",
        *(
            f"- {title}: {pairs(record[title])}"
            for title in ("machine", "versions", "threads", "settings")
        ),
        *rates,
        *(f"- left out: {name} ({reason})" for name, reason in record["left_out"].items()),
    ]
    return "\n".join(lines)


def timed_section(name, case):
    """Render one timed case."""
    head = [*TIMES_HEAD, "time / least possible", "excess", "coef error", "remarks"]
    rows = [
        [
            *times(row),
            over_least(case, row),
            small(row.get("excess")),
            small(row.get("coef_error")),
            "; ".join(_remarks(row)),
        ]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{least_note(case)}{table(head, rows)}"


def accuracy_section(name, case):
    """Render one accuracy case."""
    (first, *_) = case["rows"]
    if "curve" in first:
        return _curves_section(name, case)
    return _digits_section(name, case) if "digits" in first else _errors_section(name, case)


def memory_section(name, case):
    """Render one memory case."""
    rows = [
        [row["model"], mebibytes(row.get("data_bytes")), _extra(row), duration(row.get("seconds"))]
        for row in case["rows"]
    ]
    head = ["model", "data", "extra peak of the fit", "time of that fit"]
    return f"### {name}\n\n{table(head, rows)}"


def losses_section(name, case):
    """Render one problem of the losses and penalties."""
    return f"### {name}\n\n{losses_table({name: case})}"


def stochastic_section(name, case):
    """Render one problem of descent by batches."""
    return f"### {name}\n\n{stochastic_table({name: case})}"


SECTIONS = {
    **{kind: section for kind, (_, _, section, _) in peer_tables.KINDS.items()},
    "timed": timed_section,
    "losses": losses_section,
    "stochastic": stochastic_section,
    "accuracy": accuracy_section,
    "memory": memory_section,
    **{kind: section for kind, (_, _, section) in large_tables.KINDS.items()},
}

# Kinds of which all cases are shown in one table as well.
WHOLE = {kind: whole for kind, (_, _, _, whole) in peer_tables.KINDS.items()}


def legend(cases):
    """Say how to read the tables of times."""
    return (
        "Each peer's time divided by ours, the median over the rounds that both ran: above 1 ours "
        f"is faster; below 1, in bold, ours is slower. {_score(cases)} A star marks a peer that "
        f"stayed more than {SAME_OBJECTIVE:g} (relative) above the best objective reached, a "
        "dagger a case where ours did. *Least possible* is the longer one of the times in which "
        "the machine, at its measured rates, reads the data once and does the operations.\n\n"
        "In the tables of the cases, *excess* is the objective (half the mean squared error, in "
        "float64) above the best of all models, relative; *coef error* is the largest error of a "
        "coefficient against least squares on standardised float64 columns, each in the unit of "
        "its column's standard deviation, relative to the largest coefficient."
    )


def losses_legend(cases):
    """Say how to read the table of the losses and penalties."""
    return (
        "Ratios are marked like those of least squares: in bold where ours is slower, with a star "
        "where the peer, with a dagger where ours stayed above the best objective. "
        f"{_score(cases)} The objective is that of ours, penalty included, in float64; *excess* is "
        "how far it is above the best of all models, relative. Coefficients are compared with "
        "ours: the largest difference, each in the unit of its column's standard deviation, "
        "relative to the largest coefficient. The factor of alpha_max is alpha relative to the "
        "least one that makes every coefficient zero. The share below is that of the residuals "
        "below zero, less the quantile."
    )


def losses_table(cases):
    """Render one line a peer."""
    head = ["case", "ours", "ours / least possible", "peer", "its time", "peer / ours"]
    head += ["excess of ours", "remarks"]
    rows = [
        [
            name,
            duration(ours["median"]),
            over_least(cases[name], ours),
            row["model"],
            duration(row.get("median")),
            verdict(row, ours),
            small(ours["excess"]),
            "; ".join(_agreement(row, ours)),
        ]
        for name, ours, row in _peers(cases)
    ]
    return table(head, rows)


def losses_summary(cases):
    """Render the table of the losses and penalties without what is the same in most lines."""
    rows = [
        [name, duration(ours["median"]), row["model"], verdict(row, ours)]
        for name, ours, row in _peers(cases)
    ]
    return table(["case", "ours", "peer", "peer / ours"], rows)


def stochastic_legend():
    """Say how to read the table of descent by batches."""
    return (
        "All models of a case run the same number of epochs, with batches of the same size where "
        "there are batches; a fit begins from nothing and includes what it measures first. "
        "*Excess* is half the mean squared error at the end above that of the closed form, "
        "relative. Where ours is slower than the peer the ratio is in bold."
    )


def stochastic_table(cases):
    """Render one line a model."""
    head = ["case", "model", "time", "time / ours", "time / least possible", "excess", "remarks"]
    rows = [
        [
            name,
            row["model"],
            duration(row.get("median")),
            "" if row is case["rows"][0] else bold_below_one(row.get("ratio")),
            over_least(case, row),
            small(row.get("excess")),
            "; ".join(row["remarks"]),
        ]
        for name, case in cases.items()
        for row in case["rows"]
    ]
    return table(head, rows)


def summary(cases):
    """Render one line a timed case."""
    peers = list(dict.fromkeys(row["model"] for case in cases.values() for row in case["rows"][1:]))
    rows = []
    for name, case in cases.items():
        ours = case["rows"][0]
        models = {row["model"]: row for row in case["rows"]}
        verdicts = [verdict(models[peer], ours) if peer in models else "" for peer in peers]
        rows.append([name, duration(ours["median"]), over_least(case, ours), *verdicts])
    return table(["case", "ours", "ours / least possible", *peers], rows)


def _score(cases):
    # A model of another objective is none to win against.
    ratios = [row["ratio"] for _, _, row in _peers(cases) if "excess" in row]
    losses = sum(ratio < 1 for ratio in ratios)
    return f"Ours is faster in {len(ratios) - losses} comparisons and slower in {losses}."


def _peers(cases):
    """List the peers of all cases, each after the name of its case and the record of ours."""
    return [
        (name, case["rows"][0], row) for name, case in cases.items() for row in case["rows"][1:]
    ]


def _agreement(peer, ours):
    notes = []
    if "share_below" in ours:
        share, expected = ours["share_below"], ours["share_deviation"]
        notes.append(f"share below {share:+.1e} (1/sqrt(n): {expected:.1e})")
    if "coef_difference" in peer:
        notes.append(f"coefficients within {small(peer['coef_difference'])}")
    if "zeros_apart" in peer:
        apart, zeros = peer["zeros_apart"], ours["zeros"]
        notes.append(f"{apart} zeros apart" if apart else f"the same {zeros} zeros")
    if peer.get("excess", 0) > SAME_OBJECTIVE:
        notes.append(f"excess of the peer {small(peer['excess'])}")
    if "ratio" in peer and "excess" not in peer:
        notes.append("another objective: what the loss costs")
    if ours["device"] != "cpu":
        notes.append(f"ours on {ours['device']}")
    return notes + [f"ours: {remark}" for remark in ours["remarks"]] + peer["remarks"]


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
    return f"### {name}\n\n{note}\n\n{table(['set', 'degree', *columns, 'ceiling'], rows)}"


def _curves_section(name, case):
    note = (
        "The largest distance of the fitted curve from the smooth function that the noise (sd 0.1) "
        "was added to."
    )
    columns = list(case["rows"][0]["errors"])
    rows = [
        [
            row["curve"],
            str(row["n_rows"]),
            str(row["degree"]),
            *(small(row["errors"][column]) for column in columns),
        ]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{note}\n\n{table(['x', 'rows', 'degree', *columns], rows)}"


def _errors_section(name, case):
    note = "Relative error of the coefficients, each by itself, in the units of the data."
    rows = [
        [row["model"], row["against"], small(row["largest"]), small(row["median"])]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{note}\n\n{table(['model', 'against', 'largest', 'median'], rows)}"


def _remarks(row):
    return ([f"on {row['device']}"] if row.get("device") else []) + row["remarks"]


def _extra(row):
    return row["left_out"] if "left_out" in row else mebibytes(row["extra_bytes"])

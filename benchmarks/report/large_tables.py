"""What is measured of data that is large, as Markdown: tables, and how to read them."""

from itertools import chain

from benchmarks.report.markdown import (
    bold_below_one,
    duration,
    factor,
    least_note,
    mebibytes,
    small,
    table,
)
from benchmarks.suites.card import WANTED_SHARE
from benchmarks.suites.processes import RANKS
from benchmarks.suites.sparse import OURS

MOST_TIMES_READING = 1.5
LEAST_SPEED_UP = 1.6
MOST_DIFFERENCE = 1e-10


def sections(record, level="##"):
    """Render what a record has of each kind: a title, how to read it, and the tables."""
    return chain.from_iterable(
        (f"{level} {title}", legend, *(section(name, case) for name, case in record[kind].items()))
        for kind, (title, legend, section) in KINDS.items()
        if record.get(kind)
    )


def out_of_core_section(name, case):
    """Render the runs on one kind of file."""
    head = [
        "run",
        "time",
        "time / reading",
        "anonymous memory",
        "resident",
        "counted by the group",
        "coefficients within",
    ]
    rows = [
        [row["model"], row["left_out"], *[""] * 5]
        if "left_out" in row
        else [
            row["model"],
            duration(row["median"]),
            _at_most(MOST_TIMES_READING, row.get("ratio"), factor),
            mebibytes(row["anonymous_bytes"]),
            mebibytes(row["peak_bytes"]),
            mebibytes(row["group_bytes"]),
            row.get("no_difference")
            or _at_most(MOST_DIFFERENCE, row.get("coef_difference"), small),
        ]
        for row in case["rows"]
    ]
    note = ""
    if "cap_bytes" in case:
        capped_by = {row["capped_by"] for row in case["rows"] if "capped_by" in row}
        note = (
            f"{case['bytes'] / 1e9:.2g} GB of files; at most {mebibytes(case['cap_bytes'])} of "
            f"memory ({', '.join(sorted(capped_by))}).\n\n"
        )
    return f"### {name}\n\n{note}{table(head, rows)}"


def process_section(name, case):
    """Render the times of one process and of two."""
    head = ["loss", "how", "time", "speed-up", "coefficients within"]
    rows = [
        ["", row["model"], row["left_out"], "", ""]
        if "left_out" in row
        else [
            row["loss"],
            row["model"],
            duration(row["median"]),
            _speed_up(row["ratio"]) if row["model"] == RANKS else factor(row["ratio"]),
            _at_most(MOST_DIFFERENCE, row.get("coef_difference"), small),
        ]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{table(head, rows)}"


def growth_section(name, case):
    """Render one line a number of rows."""
    head = [
        "rows",
        "fit",
        "a million rows",
        "times the line before",
        "making the rows alone",
        "extra peak",
        "coefficients within",
    ]
    rows = [
        [f"{row['n_rows']:,}", row["left_out"], *[""] * 5]
        if "left_out" in row
        else [
            f"{row['n_rows']:,}",
            duration(row["median"]),
            duration(row["median"] / row["n_rows"] * 1e6),
            factor(row.get("growth")),
            duration(row["making"]),
            mebibytes(row["extra_bytes"]),
            _at_most(MOST_DIFFERENCE, row["coef_difference"], small),
        ]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{table(head, rows)}"


def sparse_section(name, case):
    """Render a race at equal objective, or what a fit takes beyond the matrix."""
    raced = "wanted" in case["rows"][0]
    render = _raced if raced else _beyond
    return f"### {name}\n\n{least_note(case)}{render(case['rows'])}"


def card_section(name, case):
    """Render which part of the bandwidth fits use, what they take, or how many tests passed."""
    first = case["rows"][0]
    render = _beside_processor if "fit" in first else _tested if "tests" in first else _bandwidths
    return f"### {name}\n\n{render(case['rows'])}"


def _bandwidths(rows):
    head = ["rows are", "dtype", "data", "fit", "bytes a second", "a copy", "fraction"]
    return table(
        head,
        [
            [row["where"], row.get("dtype", ""), "", row["left_out"], "", "", ""]
            if "left_out" in row
            else [
                row["where"],
                row["dtype"],
                mebibytes(row["bytes"]),
                duration(row["median"]),
                _gigabytes(row["bytes_per_second"]),
                _gigabytes(row["copy_bytes_per_second"]),
                _at_least(WANTED_SHARE, row["fraction"]),
            ]
            for row in rows
        ],
    )


def _at_least(target, share):
    return f"{share:.0%}" if share >= target else f"**{share:.0%}**"


def _beside_processor(rows):
    return table(
        ["fit", "rows", "columns", "on the card", "on the processor", "ratio"],
        [
            [
                row["fit"],
                f"{row['n_rows']:,}",
                f"{row['n_columns']:,}",
                *(took if isinstance(took, str) else duration(took) for took in times),
                "" if any(isinstance(took, str) for took in times) else factor(times[1] / times[0]),
            ]
            for row in rows
            for times in [(row["cuda"], row["cpu"])]
        ],
    )


def _tested(rows):
    return table(
        ["tests of cards", "failed"],
        [[row["tests"], ", ".join(row["failed"]) or "none"] for row in rows],
    )


OUT_OF_CORE_LEGEND = (
    "Each run is a process of its own that may take no more memory than the cap: where a memory "
    "control group could be made, it counts the pages of the files, too, so that they cannot be "
    "kept for the next run (it then counts up to the cap, whatever the process does with it); "
    "else RLIMIT_DATA limits what the process allocates. The pages of the files are dropped from "
    "the cache before each run, though not from that of a host that the machine may be a guest "
    "of. Runs take turns. *Time* is from the opening of the files to the sum of all numbers, or "
    "to the fitted model; *anonymous memory* and *resident* are peaks of the whole process, "
    "libraries included, the latter with the pages of files that it maps. Coefficients are "
    "compared with those of a fit in memory, each in the unit of its column's standard deviation, "
    "relative to the largest. The aim is at most "
    f"{MOST_TIMES_READING:g} times the time of reading, and {MOST_DIFFERENCE:g}; what misses it is "
    "in bold."
)
PROCESSES_LEGEND = (
    "Times of `fit` alone, all processes waiting for each other before and after; launches take "
    "turns. *Without a word between them* two processes fit half of the rows each and do not add "
    "up their sums: what the cores could do at best. The aim for two processes is "
    f"{LEAST_SPEED_UP:g} times the speed of one; what misses it is in bold. Coefficients are "
    "compared with those of the one."
)
GROWTH_LEGEND = (
    "Blocks of rows are made as they are read, and none is kept. The time of a fit includes the "
    "making of them, which is also shown alone. *Extra peak* is the resident memory of the process "
    "beyond that before its first fit. Coefficients are compared with the normal equations of the "
    "same rows."
)
SPARSE_LEGEND = (
    "Ridge regression (alpha 1, as `Ridge` has it). Both models are run with one tolerance after "
    "the other; timed, in turn, is the first with which each comes as near to the best objective "
    "of all runs as *wanted*, relative. Where ours is slower the ratio is in bold. For one-hot "
    "columns, peaks of memory beyond the matrix; in bold where they exceed it."
)
CARD_LEGEND = (
    "Bytes of the data over the time of a fit, against those that a copy moves in the same time: "
    "within the memory of the card, where a copy reads and writes, or to it from pinned memory. "
    f"A fit that reads the rows twice counts them once. The aim is {WANTED_SHARE:.0%}; what misses "
    "it is in bold. Fits beside the processor are of single precision."
)

KINDS = {
    "out_of_core": ("Out of core", OUT_OF_CORE_LEGEND, out_of_core_section),
    "processes": ("Several processes", PROCESSES_LEGEND, process_section),
    "rows": ("Number of rows", GROWTH_LEGEND, growth_section),
    "sparse": ("Sparse rows", SPARSE_LEGEND, sparse_section),
    "card": ("On a card", CARD_LEGEND, card_section),
}


def _raced(rows):
    head = ["wanted", "model", "tol", "time", "time / ours", "excess"]
    return table(
        head,
        [
            [small(row["wanted"]), row["model"], "", row["left_out"], "", ""]
            if "left_out" in row
            else [
                small(row["wanted"]),
                row["model"],
                f"{row['tol']:g}",
                duration(row["median"]),
                "" if row["model"] == OURS else bold_below_one(row.get("ratio")),
                small(row["excess"]),
            ]
            for row in rows
        ],
    )


def _beyond(rows):
    head = ["model", "matrix", "fit", "beyond the matrix", "predict", "beyond the matrix"]
    return table(
        head,
        [
            [row["model"], "", row["left_out"], "", "", ""]
            if "left_out" in row
            else [
                row["model"],
                mebibytes(row["matrix_bytes"]),
                duration(row["fit"]),
                _at_most(row["matrix_bytes"], row["fit_bytes"], mebibytes),
                duration(row["predict"]),
                _at_most(row["matrix_bytes"], row["predict_bytes"], mebibytes),
            ]
            for row in rows
        ],
    )


def _at_most(target, value, render):
    """Render a value, in bold where it is above the target."""
    text = render(value)
    return f"**{text}**" if value is not None and value > target else text


def _speed_up(ratio):
    return f"**{factor(ratio)}**" if ratio < LEAST_SPEED_UP else factor(ratio)


def _gigabytes(rate):
    return f"{rate / 1e9:.3g} GB/s"

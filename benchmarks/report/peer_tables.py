"""Tables of one line a peer: the aims, searches, the small fits, and fits in a crowd."""

from benchmarks.report.markdown import (
    TIMES_HEAD,
    bold_below_one,
    duration,
    factor,
    least_note,
    mebibytes,
    over_least,
    small,
    table,
    times,
)

SAME_OBJECTIVE = 1e-6
RATIOS = (
    "Each model is in a process of its own; they take turns. *Peer / ours* is the median over "
    "the rounds of the peer's time over ours, *of the least* the ratio of the least times; "
    "above 1 ours is faster. What misses the *wanted* ratio by both is in bold."
)
LEAST = (
    "The *least possible* is the time that reading the data once, or its sums of products, "
    "takes at the measured bandwidth and peak of the machine."
)


def peers_legend():
    """Say how to read the table of aims."""
    return (
        f"{RATIOS} *Excess* is the objective above the best of all, relative; for descent by "
        f"batches, above that of the closed form. {LEAST} Extra memory is the peak beyond the data."
    )


def peers_table(cases):
    """Render the aims, one line a peer."""
    return _aims(cases, {"excess of ours": _excess_of_ours, "of the peer": _excess_of_peer})


def search_legend():
    """Say how to read the table of searches."""
    return (
        f"{RATIOS} *Alike* is whether the peer chose the same of what both tried. *Apart* is the "
        "largest relative difference of the errors on the rows left out, of those that the peer "
        "tells. One fit beside a search shows how many fits the search costs; the errors are then "
        f"compared with those of direct fits. {LEAST}"
    )


def search_table(cases):
    """Render the searches, one line a peer."""
    return _aims(cases, {"chosen": _chosen, "alike": _alike, "apart": _apart_of_either})


def _aims(cases, columns):
    """Render a line a peer: its time, and columns that a function of ours and it fills in."""
    head = ["work", "against", "ours", "peer", "peer / ours", "of the least", "wanted", *columns]
    head += ["least possible", "ours / that", "remarks"]
    rows = []
    for name, case in cases.items():
        ours, *peers = case["rows"]
        least = case.get("least_seconds")
        for row in peers:
            rows.append(
                [
                    name.partition("/")[2],
                    row["model"],
                    duration(ours.get("median")),
                    duration(row.get("median")),
                    _reached(row, "ratio"),
                    _reached(row, "least_ratio"),
                    factor(row.get("wanted")),
                    *(cell(ours, row) for cell in columns.values()),
                    "" if least is None else duration(least),
                    over_least(case, ours),
                    "; ".join(_remarks(ours, row)),
                ]
            )
    return table(head, rows)


def small_legend():
    """Say how to read the table of small tables."""
    return (
        "Each peer's time over that of ours on small tables, the median over the rounds; below 1, "
        "in bold, ours is slower. A star marks a peer, a dagger ours, that stayed more than "
        f"{SAME_OBJECTIVE:g} (relative) above the best objective. Columns are standardised."
    )


def small_table(cases):
    """Render a line for each kind of work and a column for each size."""
    cells, sizes = {}, {}
    for name, case in cases.items():
        _, title, size = name.split("/")
        ours, *peers = case["rows"]
        sizes[size] = None
        for row in peers:
            cells.setdefault((title, row["model"]), {})[size] = verdict(row, ours)
    rows = [
        [title, peer, *(by_size.get(size, "") for size in sizes)]
        for (title, peer), by_size in cells.items()
    ]
    return table(["work", "against", *sizes], rows)


def race_section(name, case):
    """Render one case with the spread of the times."""
    head = [*TIMES_HEAD, "of the least", "wanted", "time / least possible", "excess", "apart"]
    head += ["extra memory", "remarks"]
    rows = [
        [
            *times(row),
            factor(row.get("least_ratio")),
            factor(row.get("wanted")),
            over_least(case, row),
            small(row.get("excess")),
            small(_apart(row)),
            mebibytes(row.get("extra_bytes")),
            "; ".join(row["remarks"]),
        ]
        for row in case["rows"]
    ]
    return f"### {name}\n\n{least_note(case)}{table(head, rows)}"


def crowd_legend():
    """Say how to read the table of fits in a crowd."""
    return (
        "Times of a fit alone with one thread, and beside processes that keep the cores busy with "
        "one thread and with the number that ours takes by itself. It is to take at most as many "
        "times that of one thread in the same crowd as *at most* says; what takes more is in bold."
    )


def crowd_table(cases):
    """Render one line a crowd."""
    head = [
        "fit",
        "busy processes",
        "one thread, alone",
        "one thread",
        "default",
        "default / one thread",
        "at most",
        "default / alone",
    ]
    rows = []
    for name, case in cases.items():
        title = name.removeprefix("crowd/").rpartition("/")[0]
        if "left_out" in case["rows"][0]:
            rows.append([title, str(case["busy"]), case["rows"][0]["left_out"], *[""] * 5])
            continue
        alone, one, default = case["rows"]
        over = factor(default["ratio"])
        rows.append(
            [
                title,
                str(case["busy"]),
                *(duration(row["median"]) for row in (alone, one, default)),
                f"**{over}**" if default["ratio"] > default["at_most"] else over,
                factor(default["at_most"]),
                factor(default["over_alone"]),
            ]
        )
    return table(head, rows)


def crowd_section(name, case):
    """Render one crowd."""
    return f"### {name}\n\n{crowd_table({name: case})}"


def verdict(peer, ours):
    """Render a ratio with the marks of who stayed above the best objective."""
    if "ratio" not in peer:
        return "failed"
    star = r"\*" if peer.get("excess", 0) > SAME_OBJECTIVE else ""
    dagger = "†" if ours.get("excess", 0) > SAME_OBJECTIVE else ""
    return bold_below_one(peer["ratio"]) + star + dagger


# A title, how to read it, one case, and all cases in one table.
KINDS = {
    "peers": ("Aims", peers_legend, race_section, peers_table),
    "search": ("Searches", search_legend, race_section, search_table),
    "small": ("Small tables", small_legend, race_section, small_table),
    "crowd": ("In a crowd", crowd_legend, crowd_section, crowd_table),
}


def sections(record, level="##", details=True):
    """Render what a record has of each kind: a title, how to read it, the table, and each case."""
    for kind, (title, legend, section, whole) in KINDS.items():
        if record.get(kind):
            yield from (f"{level} {title}", legend(), whole(record[kind]))
            if details:
                yield from (section(name, case) for name, case in record[kind].items())


def _excess_of_ours(ours, peer):
    return small(ours.get("excess"))


def _excess_of_peer(ours, peer):
    return small(peer.get("excess"))


def _chosen(ours, peer):
    return ", ".join(f"{name} {value:.3g}" for name, value in ours.get("chosen", {}).items())


def _alike(ours, peer):
    if "choices" not in peer:
        return ""
    alike, choices = peer["choices_alike"], peer["choices"]
    if choices == 1:
        return "yes" if alike else "no"
    return f"{alike:,} of {choices:,}"


def _apart(row):
    kinds = ("errors_apart", "coef_difference", "values_difference")
    return next((row[kind] for kind in kinds if kind in row), None)


def _apart_of_either(ours, peer):
    return small(_apart({**ours, **peer}))


def _reached(row, key):
    if key not in row:
        return "failed"
    # Both are below it where it is missed: noise shifts one, but seldom both.
    missed = max(row["ratio"], row["least_ratio"]) < row.get("wanted", 0)
    return f"**{factor(row[key])}**" if missed else factor(row[key])


def _remarks(ours, peer):
    notes = []
    if peer.get("extra_bytes") is not None:
        sizes = (
            f"{mebibytes(row['extra_bytes'])} ({factor(row['extra_bytes'] / row['data_bytes'])})"
            for row in (ours, peer)
        )
        notes.append("extra memory (of the data's) {} of ours, {} of the peer".format(*sizes))
    if ours.get("converged") is False:
        notes.append("ours did not converge")
    return notes + [f"ours: {remark}" for remark in ours["remarks"]] + peer["remarks"]

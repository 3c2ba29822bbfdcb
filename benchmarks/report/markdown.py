"""Tables and numbers in Markdown."""


def table(head, rows):
    """Render a table, with the columns named in the head."""
    return "\n".join(_line(cells) for cells in (head, ["---"] * len(head), *rows))


def pairs(values):
    """Render a dict in one line."""
    return ", ".join(f"{key} {value}" for key, value in values.items())


def duration(seconds):
    """Render seconds."""
    if seconds is None:
        return "failed"
    if seconds < 1e-6:
        return f"{1e9 * seconds:.3g} ns"
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} us"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def limits(values):
    """Render two times."""
    return "" if values is None else " to ".join(map(duration, values))


TIMES_HEAD = ["model", "median", "least", "quartiles", "rounds", "time / ours"]


def times(row):
    """Render the times of a model, the cells under ``TIMES_HEAD``."""
    return [
        row["model"],
        duration(row.get("median")),
        duration(row.get("least")),
        limits(row.get("quartiles")),
        str(row.get("rounds", "")),
        factor(row.get("ratio")),
    ]


def over_least(case, row):
    """Render a time over the least that the job can take, where that is known."""
    known = "least_seconds" in case and "median" in row
    return factor(row["median"] / case["least_seconds"]) if known else ""


def least_note(case):
    """Say what the job must cost at least, where that is known."""
    if "least_seconds" not in case:
        return ""
    return f"Its bytes and operations take at least {duration(case['least_seconds'])}.\n\n"


def bold_below_one(ratio):
    """Render a ratio, in bold where it is below one."""
    return f"**{factor(ratio)}**" if ratio is not None and ratio < 1 else factor(ratio)


def factor(ratio):
    """Render a ratio."""
    return "" if ratio is None else f"{ratio:.3g}x"


def small(value):
    """Render a small number."""
    return "" if value is None else f"{value:.1e}"


def mebibytes(size):
    """Render a number of bytes."""
    return "" if size is None else f"{size / 2**20:.1f} MiB"


def _line(cells):
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"

"""The figures as text and as Markdown, from the dictionary that `measure` returns."""


def nat(value: float) -> str:
    """A number with two decimals and a minus sign that is one."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def shown(figure: dict, key: str) -> str:
    """A number of a figure in its unit."""
    value = figure[key]
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if figure["unit"] == "share" else nat(value)


def interval(figure: dict) -> str:
    """The 95 % interval."""
    if figure["low"] is None:
        return "–"
    if figure["unit"] == "share":
        return f"{100 * figure['low']:.1f}–{100 * figure['high']:.1f}"
    return f"{nat(figure['low'])} to {nat(figure['high'])}"


def expected(figure: dict) -> str:
    """What is expected, or nothing."""
    share = figure["unit"] == "share"
    said = {key: None if figure[key] is None else
            f"{100 * figure[key]:g}" if share else f"{figure[key]:g}".replace("-", "−")
            for key in ("least", "most")}
    unit = " %" if share else " nat"
    if said["least"] and said["most"]:
        return f"{said['least']}–{said['most']}{unit}"
    if said["least"]:
        return f"≥ {said['least']}{unit}"
    return f"≤ {said['most']}{unit}" if said["most"] else ""


def lines(result: dict) -> list[list[str]]:
    """Rows of cells: name, value, interval, n, expected, state. What nothing is expected of is
    indented: it belongs to the row above it."""
    made = []
    for figure in result["figures"]:
        name = figure["name"] if figure["state"] else f"  {figure['name']}"
        made.append([name, shown(figure, "value"), interval(figure), f"{figure['n']:,}",
                     expected(figure), figure["state"] or ""])
    return made


HEADS = ["figure", "value", "95 %", "n", "expected", ""]


def text(result: dict) -> str:
    """For a terminal."""
    cells = [HEADS, *lines(result)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(HEADS))]
    rows = []
    for row in cells:
        first = row[0].ljust(widths[0])
        middle = [cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4], strict=True)]
        rest = [cell.ljust(width) for cell, width in zip(row[4:], widths[4:], strict=True)]
        rows.append("  ".join([first, *middle, *rest]).rstrip())
    rows += [f"PROBLEM {row}: {problem}" for row, problem in result["problems"].items()]
    return "\n".join(rows)


def markdown(result: dict, only_expected: bool = False) -> str:
    """The rows of a Markdown table, its head included."""
    rows = ["| figure | value | 95 % | n | expected | |", "|---|---:|---:|---:|---|---|"]
    for cells in lines(result):
        if only_expected and not cells[-1]:
            continue
        name = cells[0] if not cells[0].startswith("  ") else f"– {cells[0].strip()}"
        rows.append("| " + " | ".join([name.replace("|", "\\|"), *cells[1:]]) + " |")
    rows += [f"| {row} | not measured: {problem} | | | | |"
             for row, problem in result["problems"].items()]
    return "\n".join(rows)


def value(result: dict, row: str, name: str) -> float | None:
    """The value of the first figure of a row whose name holds `name`; `None` without one."""
    found = (figure["value"] for figure in result["figures"]
             if figure["row"] == row and name in figure["name"])
    return next(found, None)

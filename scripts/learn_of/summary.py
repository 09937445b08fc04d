"""Many runs as a table, a picture and one object."""

import itertools
import json
import random
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

from figures_of.counting import wilson

from .arms import ARMS

# ways to deal runs into two groups that are looked at; of more, as many are drawn
WAYS_MAX = 20_000


def cells(lines: list[dict]) -> dict:
    """Runs by arm and personas."""
    found = defaultdict(list)
    for line in lines:
        found[line["arm"], line["personas"]].append(line)
    return dict(sorted(found.items(), key=lambda cell: (list(ARMS).index(cell[0][0]), cell[0][1])))


def pooled(runs: list[dict], name: str) -> dict | None:
    """A share over the replies of all runs of a cell, with Wilson's interval: it knows nothing of
    how runs differ, which `…_each` shows."""
    shares = [run["report"][name] for run in runs if run["report"].get(name)]
    if not shares:
        return None
    return share(sum(one["met"] for one in shares), sum(one["n"] for one in shares))


def share(met: int, n: int) -> dict:
    """A share with its 95 % interval."""
    low, high = wilson(met, n) if n else (0.0, 1.0)
    return {"met": met, "n": n, "share": met / n if n else 0.0, "low": low, "high": high}


def to_preference(run: dict) -> tuple[int, bool]:
    """Sessions until the preference was met three times in a row, and whether it ever was."""
    report = run["report"]
    count = report["sessions_to_preference"]
    return (count, True) if count else (report["sessions"], False)


def log_rank(one: list[tuple[int, bool]], other: list[tuple[int, bool]]) -> float | None:
    """Exact p of the log-rank statistic (Mantel 1966) under every way to deal the runs into two
    groups of these sizes; none where nothing can be said."""
    runs = one + other
    if not one or not other or not any(reached for _, reached in runs):
        return None
    seen = abs(off_expectation(runs, set(range(len(one)))))
    ways = list(itertools.combinations(range(len(runs)), len(one)))
    if len(ways) > WAYS_MAX:
        ways = random.Random(0).sample(ways, WAYS_MAX)
    as_far = sum(abs(off_expectation(runs, set(way))) >= seen - 1e-9 for way in ways)
    return as_far / len(ways)


def off_expectation(runs: list[tuple[int, bool]], group: set[int]) -> float:
    """How many more of a group reached it than if all did alike."""
    off = 0.0
    for at in sorted({time for time, reached in runs if reached}):
        under_risk = [place for place, (time, _) in enumerate(runs) if time >= at]
        reached = [place for place in under_risk if runs[place] == (at, True)]
        share = sum(place in group for place in under_risk) / len(under_risk)
        off += sum(place in group for place in reached) - len(reached) * share
    return off


def cell_figures(runs: list[dict], controls: dict[str, list[dict]]) -> dict:
    """The figures of one arm and personas; `controls`: the runs of each control."""
    times = [to_preference(run) for run in runs]
    median = statistics.median(time for time, _ in times)
    reports = [run["report"] for run in runs]
    change = [report["task_accuracy_change"]["change"] for report in reports
              if report.get("task_accuracy_change")]
    probes = [report["probe_after"] - report["probe_before"] for report in reports
              if None not in (report.get("probe_after"), report.get("probe_before"))]
    delays = [report["feedback_to_live_s"]["max"] for report in reports
              if report.get("feedback_to_live_s")]
    return {
        "runs": len(runs), "seeds": sorted(run["seed"] for run in runs),
        "turns": reports[0]["turns"], "sessions": reports[0]["sessions"],
        "satisfaction_first": pooled(runs, "satisfaction_first"),
        "satisfaction_last": pooled(runs, "satisfaction_last"),
        "satisfaction_last_each": [report["satisfaction_last"]["share"] for report in reports],
        "sessions_to_preference": median if median_reached(times) else None, "reached": sum(hit for _, hit in times),
        "log_rank_p": {control: log_rank(times, [to_preference(run) for run in some])
                       for control, some in controls.items()},
        "task_accuracy_before": pooled(runs, "task_accuracy_before"),
        "task_accuracy_after": pooled(runs, "task_accuracy_after"),
        "task_accuracy_change_worst": min(change, default=None),
        "probe_change": statistics.mean(probes) if probes else None,
        "feedback_to_live_s_max": max(delays, default=None),
        "failed_requests": sum(report["failed_requests"] for report in reports),
        "stores_clean": all(run["store_clean"] for run in runs),
    }


def median_reached(times: list[tuple[int, bool]]) -> bool:
    """Whether the median run reached it."""
    return sum(hit for _, hit in times) * 2 > len(times)


def figures(lines: list[dict]) -> dict:
    """Everything, cell by cell; the first cell that learns stands at the top as well."""
    by_cell = cells(lines)
    made = {}
    for (arm, personas), runs in by_cell.items():
        controls = {other: some for (other, who), some in by_cell.items()
                    if who == personas and other != arm and ARMS[other].is_control}
        made[f"{arm}/{personas}"] = cell_figures(runs, controls)
    first = next(iter(made.values()), {})
    names = ("satisfaction_first", "satisfaction_last", "sessions_to_preference",
             "task_accuracy_before", "task_accuracy_after")
    shown = {name: first.get(name) for name in names}
    short = {name: value["share"] if isinstance(value, dict) else value
             for name, value in shown.items()}
    return {**short, "cells": made}


def table(made: dict) -> str:
    """For people."""
    percent = lambda share: "–" if share is None else f"{100 * share['share']:.1f} %"  # noqa: E731
    number = lambda value, form: "–" if value is None else format(value, form)  # noqa: E731
    told = lambda ps: ", ".join(f"{name} {number(p, '.3g')}"  # noqa: E731
                                for name, p in ps.items()) or "–"
    lines = ["| arm / who | runs | satisfied first | last (95 %) | sessions to preference | reached "
             "| p | tasks before | after | probe | to live, s | failed |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, cell in made["cells"].items():
        last = cell["satisfaction_last"]
        ends = f"{percent(last)} ({100 * last['low']:.0f}–{100 * last['high']:.0f})"
        lines.append(
            f"| {name} | {cell['runs']} | {percent(cell['satisfaction_first'])} | {ends} "
            f"| {number(cell['sessions_to_preference'], 'g')} of {cell['sessions']} "
            f"| {cell['reached']} of {cell['runs']} | {told(cell['log_rank_p'])} "
            f"| {percent(cell['task_accuracy_before'])} | {percent(cell['task_accuracy_after'])} "
            f"| {number(cell['probe_change'], '+.3f')} "
            f"| {number(cell['feedback_to_live_s_max'], '.1f')} | {cell['failed_requests']} |")
    return "\n".join(lines)


def curve(runs: list[dict]) -> list[list[int]]:
    """Satisfaction over turns, all runs together: at every turn where one has a new version, each
    counts with the newest that it had then."""
    points = [[(at["turns"], at["satisfaction"]) for at in run["report"]["curve"]] for run in runs]
    last = max(run["report"]["turns"] for run in runs)
    turns = sorted({turn for own in points for turn, _ in own} | {last})
    drawn = []
    for at in turns:
        newest = [max((p for p in own if p[0] <= at), key=lambda p: p[0])[1] for own in points]
        drawn.append([at, sum(s["met"] for s in newest), sum(s["n"] for s in newest)])
    return drawn


def draw(binary: Path, lines: list[dict], out: Path) -> Path:
    """The picture: a curve for each cell, at most six."""
    curves = [{"name": f"{arm}, {who}", "points": curve(runs)}
              for (arm, who), runs in list(cells(lines).items())[:6]]
    seeds = max((len(runs) for runs in cells(lines).values()), default=0)
    told = {"title": "First replies as the users want them, while it learns",
            "note": f"held-out prompts at T 0.6, replies of up to {seeds} runs together; bands are "
                    "95 % intervals of these replies", "curves": curves}
    source, picture = out / "learn.json", out / "learn.svg"
    source.write_text(json.dumps(told))
    subprocess.run([binary, "eval", "--draw", source, "--plot", picture], check=True)
    return picture

"""What a bench gives back: rows of figures, ratios between them, and which of them hold what was promised."""

import json
import os
import platform
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "bench-results.json"
APART = ("growth",)
"""Runs of their own: the names of their rows and targets begin with this word and a colon."""
Row = dict[str, Any]


def row(
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    n: int | None = None,
    cpu_us: float | None = None,
    goal: float | None = None,
    goal_p99: float | None = None,
) -> Row:
    """A row of one or more measured values: their median and, of at least 20 where less is better, their p99.

    n: what was counted, if not the values themselves. cpu_us: CPU of one operation in the processes measured, in µs.
    """
    ordered = sorted(values)
    found: Row = {"name": name, "unit": unit, "median": statistics.median(ordered), "n": n or len(ordered)}
    if len(ordered) >= 20 and not more_is_better(unit):
        found["p99"] = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    told = {"cpu_us": cpu_us, "goal": goal, "goal_p99": goal_p99}
    return found | {word: value for word, value in told.items() if value is not None}


def absent(name: str, unit: str, why: str) -> Row:
    """A row of what cannot be measured on this machine."""
    return {"name": name, "unit": unit, "median": None, "n": 0, "absent": why}


def ratio(name: str, rows: Sequence[Row], over: str, under: str, want: float, figure: str = "median") -> Row:
    """How many times the row named `under` the row named `over` is, which should be at least `want`.

    figure: `median` or `cpu_us`. got and holds are None where either was not measured.
    """
    by_name = {each["name"]: each.get(figure) for each in rows}
    above, below = by_name.get(over), by_name.get(under)
    got = above / below if above is not None and below else None
    return {"name": name, "want": want, "got": got, "holds": None if got is None else got >= want}


def more_is_better(unit: str) -> bool:
    """Whether a goal in this unit is the least that is wanted, and not the most."""
    return unit.endswith("/s") or unit == "share"


def targets(found: Row) -> list[Row]:
    """A row's goals with what came of them: name, want, got, holds."""
    pairs = [("median", "goal", ""), ("p99", "goal_p99", ", p99")]
    return [
        {
            "name": found["name"] + suffix,
            "want": found[goal],
            "got": found[figure],
            "holds": found[figure] >= found[goal] if more_is_better(found["unit"]) else found[figure] <= found[goal],
        }
        for figure, goal, suffix in pairs
        if found.get(goal) is not None and found.get(figure) is not None
    ]


def write(path: Path, versions: Mapping[str, str], rows: Sequence[Row], held: Sequence[Row]) -> None:
    """The results file, made anew but for what runs of their own (APART) put there."""
    before = _read(path)
    kept = _only(before, lambda word: word in APART)
    told = {word: said for word, said in before["versions"].items() if word in APART}
    _put(path, {**versions, **told}, os.getloadavg(), [*rows, *kept["rows"]], [*held, *kept["targets"]])


def write_apart(path: Path, run: str, told: str, rows: Sequence[Row], held: Sequence[Row]) -> None:
    """Put a run of its own, one of APART, into the results file, where all others stay; `told` stands among the
    versions and says when and how it ran."""
    before = _read(path)
    kept = _only(before, lambda word: word != run)
    load = before["load"] if kept["rows"] else os.getloadavg()
    _put(path, {**before["versions"], run: told}, load, [*kept["rows"], *rows], [*kept["targets"], *held])


def _only(results: Mapping[str, Any], wanted: Callable[[str], bool]) -> dict[str, list[Row]]:
    return {
        word: [each for each in results[word] if wanted(each["name"].partition(": ")[0])]
        for word in ("rows", "targets")
    }


def _put(
    path: Path, versions: Mapping[str, str], load: Sequence[float], rows: Sequence[Row], held: Sequence[Row]
) -> None:
    targets = [{word: each[word] for word in ("name", "want", "got", "holds")} for each in held]
    results = {"versions": versions, "load": [round(each, 2) for each in load], "rows": [*map(_shape, rows)]}
    path.write_text(json.dumps({**results, "targets": targets}, indent=1) + "\n")


def machine() -> dict[str, str]:
    """What this machine is, without saying which it is."""
    try:
        models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        models = []
    linux = ".".join(platform.release().split(".")[:2])
    return {"cpu": f"{os.cpu_count()} × {models[0] if models else platform.machine()}", "linux": linux}


def now() -> str:
    """When a run was, to the minute, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _shape(row: Row) -> Row:
    """A row as the file has it; `absent` stands in those that could not be measured, and says why."""
    shown = ("name", "unit", "median", "p99", "cpu_us", "n")
    return {word: row.get(word) for word in shown} | ({"absent": row["absent"]} if "absent" in row else {})


def _read(path: Path) -> dict[str, Any]:
    """What the file holds; nothing where there is none, or one of another shape."""
    empty: dict[str, Any] = {"versions": {}, "load": [], "rows": [], "targets": []}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return empty
    return found if isinstance(found, dict) and found.keys() >= empty.keys() else empty

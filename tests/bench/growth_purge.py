"""The purge of a day's mail beside all that is kept: how fast it goes, and what PostgreSQL looks at for it."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg
from rich.table import Table

from leasebox.infra import db, metrics
from leasebox.leases import service as leases
from leasebox.leases.model import LeasePolicy
from leasebox.mail import service
from leasebox.mail.jobs import purge
from tests.bench.figures import Row
from tests.bench.growth_plans import Look, Watched

LASTS_S = 60.0
"""How long a purge is watched; what is left then stays."""
_TABLES = ("leases", "messages", "mails", "mail_bodies", "thread_references")
_SCANS = """
SELECT relname, seq_scan, seq_tup_read, idx_tup_fetch, n_tup_del FROM pg_stat_user_tables WHERE relname = ANY ($1)
"""
_DUE = """
SELECT count(*) AS leases, coalesce(sum(used_messages), 0) AS messages FROM leases
WHERE purged_at IS NULL AND expires_at < $1
"""


class Purged(NamedTuple):
    """What came of it."""

    rows: list[Row]
    targets: list[Row]
    table: Table


class Tomorrow:
    """A clock that is a day ahead, so that a day's mail is due."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=1)


def policy() -> LeasePolicy:
    """As it is by default."""
    return LeasePolicy(("inbox.leasebox.test",), timedelta(hours=72), timedelta(days=90), 100 * 2**20, 1_000)


async def measured(url: str, words: str) -> Purged:
    """Look at one batch by EXPLAIN, then let the worker's own purge run for a minute at most."""
    due, looks, erased = await _looked(url)
    before = await _scans(url)
    count, took = await _run(url)
    await asyncio.sleep(1.2)  # PostgreSQL's counters come a second late
    after = await _scans(url)
    read = sum(after[name]["seq_tup_read"] - before[name]["seq_tup_read"] for name in _TABLES)
    rows: list[Row] = [
        {"name": f"growth: purge, {words}", "unit": "messages/s", "median": count / took, "n": count},
        {"name": f"growth: purge, a message, {words}", "unit": "ms", "median": took / count * 1000, "n": count},
        {
            "name": f"growth: purge, pages looked at for a message, {words}",
            "unit": "pages of 8 KB",
            "median": sum(each.buffers for each in looks) / max(1, erased),
            "n": erased,
        },
        {
            "name": f"growth: purge, rows looked at for a message, {words}",
            "unit": "rows",
            "median": sum(each.looked_at for each in looks) / max(1, erased),
            "n": erased,
        },
        {
            "name": f"growth: purge, rows read by scans of whole tables, {words}",
            "unit": "rows",
            "median": read,
            "n": count,
        },
    ]
    target = {
        "name": f"growth: rows of what is kept read by a purge, {words}",
        "want": 0,
        "got": read,
        "holds": not read,
    }
    return Purged(rows, [target], _table(words, due, rows, looks))


async def _looked(url: str) -> tuple[asyncpg.Record, list[Look], int]:
    """One batch under EXPLAIN, undone again."""
    connection = await asyncpg.connect(url, connection_class=db.Connection)
    await db._teach_json(connection)
    try:
        due = await connection.fetchrow(_DUE, Tomorrow().now() - policy().retention)
        await connection.execute("BEGIN")
        tx = Watched(connection)
        _, erased = await leases.purge_due(tx, service.erase_of_leases, policy(), Tomorrow().now(), 20)
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()
    return due, tx.looks, erased


async def _run(url: str) -> tuple[int, float]:
    database = await db.connect(url, at_most=2)
    before, began = metrics.PURGED_MESSAGES._value.get(), time.perf_counter()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LASTS_S):
                await purge(database, policy(), Tomorrow())
    finally:
        took = time.perf_counter() - began
        await database.close()
    return int(metrics.PURGED_MESSAGES._value.get() - before), took


async def _scans(url: str) -> dict[str, asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return {row["relname"]: row for row in await connection.fetch(_SCANS, list(_TABLES))}
    finally:
        await connection.close()


def _table(words: str, due: asyncpg.Record, rows: list[Row], looks: list[Look]) -> Table:
    title = f"purge, {words}: {due['messages']:,} messages of {due['leases']:,} leases are due"
    table = Table(title=title, title_justify="left")
    for name in ("what", "", "rows looked at", "pages"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        table.add_row(row["name"].removeprefix("growth: "), f"{row['median']:,.3g} {row['unit']}", "", "")
    for look in looks:
        scans = f" SCANS {', '.join(look.scanned)}" if look.scanned else ""
        table.add_row(f"  {look.sql[:60]}{scans}", f"{look.ms:.1f} ms", f"{look.looked_at:,}", f"{look.buffers:,}")
    return table

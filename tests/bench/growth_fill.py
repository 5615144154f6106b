"""Fills a migrated, quiet database with years of use in minutes: for `growth`, and for nobody's data that matters.

Every row that real leases and mails leave is written: mailboxes, leases, addresses, audit rows, usage, mails, bodies,
messages, facts with their positions, thread references. Ids are UUIDv7 of the moments that the rows tell of, which
spread over a month; tenants have very different shares. Of the seals only the leaves stand there that the sealer goes
on from, signed as its own. Keys and indexes are dropped before and made and checked again afterwards, by the database's
own description of them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple
from unittest.mock import patch

import asyncpg

from leasebox.audit import merkle
from leasebox.audit.heads import Head, Signer
from leasebox.infra import embedded_postgres
from leasebox.values.ids import TenantId
from leasebox.values.keys import DerivedKey
from tests.bench import growth_rows

BATCH = 200_000
# How the engine runs while it is filled; a fill that is interrupted is thrown away.
_IN_HASTE = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "autovacuum": "off",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    "shared_buffers": "512MB",
    "max_worker_processes": "8",
    "max_parallel_maintenance_workers": "2",
}
_SESSION = {"synchronous_commit": "off", "work_mem": "256MB", "maintenance_work_mem": "768MB"}
_FILLED = (
    "tenants", "agents", "mailboxes", "leases", "addresses", "audit_rows", "usage_events", "mails", "mail_bodies",
    "messages", "message_search", "facts", "fact_positions", "thread_references",
)  # fmt: skip
Tell = Callable[[str, int, int], None]
"""Told of what is done: of which step, how many parts, of how many."""


class Size(NamedTuple):
    """How much to fill in. A tenth of the ended leases did within the retention (72 h); these hold 3/10 of all mail."""

    messages: int
    ended: int

    @property
    def live(self) -> int:
        return max(200, self.messages // 28)


def in_haste() -> object:
    """The engines that start within run without care for a crash."""
    return patch.dict(embedded_postgres._OPTIONS, _IN_HASTE)


async def fill(url: str, size: Size, tenant_id: TenantId, sealer: DerivedKey, logs: Sequence[str], tell: Tell) -> None:
    """Fill the database; a good part of it belongs to `tenant_id`, which must be there."""
    async with _connections(url, 2) as (first, second):
        dropped = await _strip(first)
        await _prepare(first, size, tenant_id)
        for name, sql in growth_rows.OF_LEASES.items():
            tell(name, 0, 1)
            await first.execute(sql)
        await _in_parallel((first, second), growth_rows.OF_MAILS, await _count(first), tell)
        await first.execute(growth_rows.AFTER)
        for log in logs:
            await _as_if_sealed(first, log, sealer)
        await first.execute("DROP TABLE fill_leases, fill_mails, fill_kinds, fill_tenants; DROP FUNCTION fill_id")
        await _dress((first, second), dropped, tell)
        for done, table in enumerate(_FILLED):
            tell("vacuum", done, len(_FILLED))
            await first.execute(f"VACUUM (ANALYZE) {table}")


@asynccontextmanager
async def _connections(url: str, count: int) -> AsyncIterator[list[asyncpg.Connection]]:
    opened = [await asyncpg.connect(url, server_settings=_SESSION) for _ in range(count)]
    try:
        yield opened
    finally:
        for each in opened:
            await each.close()


_KEYS = """
SELECT conname AS name, conrelid::regclass::text AS of, contype, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE contype IN ('p', 'u', 'f') AND (conrelid = ANY ($1::regclass[]) OR confrelid = ANY ($1))
ORDER BY contype = 'f' DESC
"""
_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index WHERE indrelid = ANY ($1::regclass[])
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
ORDER BY indexrelid::regclass::text = 'message_search_idx' DESC
"""


async def _strip(db: asyncpg.Connection) -> list[list[str]]:
    """Drop keys and indexes; what makes them again, in three steps of which each needs the one before."""
    filled = list(_FILLED)
    keys, indexes = await db.fetch(_KEYS, filled), await db.fetch(_INDEXES, filled)
    for key in keys:
        await db.execute(f"ALTER TABLE {key['of']} DROP CONSTRAINT {key['name']}")
    for index in indexes:
        await db.execute(f"DROP INDEX {index['name']}")
    again = {
        kind: [
            f"ALTER TABLE {k['of']} ADD CONSTRAINT {k['name']} {k['definition']}" for k in keys if k["contype"] in kind
        ]
        for kind in ((b"p", b"u"), (b"f",))
    }
    return [[each["definition"] for each in indexes], again[b"p", b"u"], again[(b"f",)]]


async def _dress(connections: Sequence[asyncpg.Connection], steps: Sequence[Sequence[str]], tell: Tell) -> None:
    total, done = sum(map(len, steps)), 0
    for step in steps:
        waiting = list(step)

        async def work(db: asyncpg.Connection, waiting: list[str] = waiting) -> None:
            nonlocal done
            while waiting:
                statement = waiting.pop(0)
                tell("keys and indexes", done, total)
                # Two foreign keys at once want the same tables in another order.
                while True:
                    try:
                        await db.execute(statement)
                        break
                    except asyncpg.DeadlockDetectedError:
                        await asyncio.sleep(0.1)
                done += 1

        await asyncio.gather(*map(work, connections))


async def _prepare(db: asyncpg.Connection, size: Size, tenant_id: TenantId) -> None:
    await db.execute(growth_rows.FILL_ID)
    await db.execute("CREATE UNLOGGED TABLE fill_tenants (n int PRIMARY KEY, id uuid, agent_id uuid)")
    await db.execute(
        "INSERT INTO fill_tenants SELECT 0, tenant_id, id FROM agents WHERE tenant_id = $1 LIMIT 1", tenant_id
    )
    await db.execute(growth_rows.OTHER_TENANTS)
    await db.execute(growth_rows.KIND_TABLE)
    await db.copy_records_to_table("fill_kinds", records=_kinds(), columns=growth_rows.KIND_COLUMNS)
    await db.execute("UPDATE fill_kinds SET search = to_tsvector('simple', subject || ' ' || sender || ' ' || body)")
    await db.execute("ANALYZE fill_kinds")
    kept = max(1, size.ended // 10)
    await db.execute(
        growth_rows.LEASE_PLAN.format(
            ended=size.ended,
            live=size.live,
            of_ended=0.3 * size.messages / kept,
            of_live=0.7 * size.messages / size.live,
            tenants=growth_rows.TENANTS,
        )
    )
    await db.execute("ANALYZE fill_leases")
    await db.execute(growth_rows.MAIL_PLAN)
    await db.execute("CREATE INDEX ON fill_mails USING brin (n); ANALYZE fill_mails")


async def _count(db: asyncpg.Connection) -> int:
    return int(await db.fetchval("SELECT count(*) FROM fill_mails"))


async def _in_parallel(
    connections: Sequence[asyncpg.Connection], statements: dict[str, str], rows: int, tell: Tell
) -> None:
    parts = [(name, sql, first) for name, sql in statements.items() for first in range(1, rows + 1, BATCH)]
    total, waiting = len(parts), parts[::-1]

    async def work(db: asyncpg.Connection) -> None:
        while waiting:
            name, sql, first = waiting.pop()
            tell(name, total - len(waiting) - 1, total)
            await db.execute(sql, first, min(first + BATCH, rows + 1))

    await asyncio.gather(*map(work, connections))


async def _as_if_sealed(db: asyncpg.Connection, log: str, key: DerivedKey) -> None:
    """Let the sealer find everything sealed: the leaves that the tree goes on from, and a head of ours over them.

    What the hashes are made of is not looked at again, except by an audit.
    """
    table = {"audit": "audit_rows", "facts": "facts", "usage": "usage_events"}[log]
    size = int(await db.fetchval(f"SELECT count(*) FROM {table}"))
    last = await db.fetchval(f"SELECT id FROM {table} ORDER BY xid DESC, id DESC LIMIT 1")
    wanted = merkle.perfect_subtrees(size)
    hashes = tuple(random.Random(leaf).randbytes(merkle.HASH_BYTES) for _, leaf in wanted)
    for (level, index), found in zip(wanted, hashes, strict=True):
        leaf = ((index + 1) << level) - 1
        row_id = last if leaf == size - 1 else await db.fetchval("SELECT gen_random_uuid()")
        nodes = bytes(merkle.HASH_BYTES * level) + found
        await db.execute(
            "INSERT INTO seal_leaves VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", log, leaf, row_id, nodes
        )
    number = int(await db.fetchval("SELECT coalesce(max(number) + 1, 0) FROM seal_heads WHERE log = $1", log))
    signer = Signer(f"leasebox-{key.kid}/{log}", key)
    root = merkle.Frontier(size, hashes).root()
    note = signer.sign(Head(signer.verifier.name, size, root, datetime.now(UTC), None))
    await db.execute("INSERT INTO seal_heads VALUES ($1, $2, $3, $4)", log, number, size, note)


def _kinds() -> list[tuple[int, str, str, str, str, str, bool]]:
    """Mails as services send them, from words that are as unevenly common as in any language."""
    dice = random.Random(6)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(dice.choices(letters, k=dice.randint(3, 9))) for _ in range(5_000)]
    weights = [1 / (place + 3) for place in range(len(words))]

    def said(count: int) -> str:
        return " ".join(dice.choices(words, weights, k=count))

    kinds = []
    for number in range(growth_rows.KINDS):
        name, is_code = dice.choice(words), number % 5 < 2
        domain = f"{name}.example"
        subject = f"Your {name} code" if is_code else said(4)
        body = f"{said(4)}. Your verification code is" if is_code else f"{said(8)}. Reference"
        kinds.append((number, domain, f"no-reply@{domain}", name.title(), subject, body, is_code))
    return kinds

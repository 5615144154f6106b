"""A database whose audit log is being sealed, and somebody who tampers with it behind our back."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg

from leasebox.audit import jobs, service
from leasebox.audit.heads import Head, Signer, unchecked
from leasebox.audit.logs import AUDIT, FACTS
from leasebox.audit.model import Act
from leasebox.audit.tables import Log
from leasebox.audit.verify import Exported, Figures, Wrong, verify
from leasebox.infra import db
from leasebox.values.ids import AuditId, TenantId
from leasebox.values.keys import DerivedKey, Purpose, derive
from leasebox.values.secret import Secret
from tests.databases import take_rights
from tests.fakes.clock import FakeClock

KEY = derive(Secret("m" * 32), Purpose.AUDIT_HEAD)
STRANGE_KEY = derive(Secret("s" * 32), Purpose.AUDIT_HEAD)
TABLES = ("audit_rows", "facts", "seal_leaves", "seal_heads")
# What a place in the log is called in SQL: `ROW % 17` is the id of the row under leaf 17.
ROW = "(SELECT row_id FROM seal_leaves WHERE log = 'audit' AND leaf = %d)"


def public(key: DerivedKey) -> bytes:
    return Signer("any", key).verifier.public


class Sealed:
    """The log, a connection for whoever does what the program never would, and what we do with it."""

    def __init__(self, database: db.Database, raw: "asyncpg.Connection[Any]", url: str) -> None:
        self.db = database
        self.raw = raw
        self.url = url
        self.clock = FakeClock()

    async def write(self, count: int, **more: Any) -> None:
        """Rows in one transaction."""
        acts = [self.act(number, **more) for number in range(count)]

        async def body(tx: db.Tx) -> None:
            for act in acts:
                await service.record(tx, act)

        await self.db.transact(body)

    def act(self, number: int, **more: Any) -> Act:
        now = self.clock.now()
        told = {"actor": "agt_1", "action": "lease.release", "resource": f"lse_{number}", "request_id": "req_1", **more}
        return Act(now, tenant_id=TenantId.new(now), detail={"n": number, "price": 1.5}, **told)

    async def write_fast(self, count: int) -> None:
        """Many rows, by the database alone."""
        await self.raw.execute(
            """INSERT INTO audit_rows (id, at, actor, action, resource, outcome, request_id, detail)
               SELECT gen_random_uuid(), now(), 'agt_1', 'lease.release', 'lse_' || n, 'done', 'req_1', '{}'
               FROM generate_series(1, $1::int) AS n""",
            count,
        )

    async def seal(self, key: DerivedKey = KEY, logs: Sequence[Log] = (AUDIT,), batch: int = 1_000) -> int:
        return await jobs.seal(self.db, logs, key, self.clock, batch=batch)

    async def verify(self, *exported: str, log: Log = AUDIT, trusted: DerivedKey = KEY) -> Figures | Wrong:
        kept = [Exported(note, head_of(note)) for note in exported]
        return await verify(self.db, log, [public(trusted)], kept, lambda done, total: None)

    async def sound(self, *exported: str, log: Log = AUDIT) -> Figures:
        found = await self.verify(*exported, log=log)
        assert isinstance(found, Figures), found
        return found

    async def wrong(self, *exported: str, trusted: DerivedKey = KEY) -> Wrong:
        found = await self.verify(*exported, trusted=trusted)
        assert isinstance(found, Wrong), found
        return found

    async def note(self, number: int) -> str:
        """The text of a head."""
        found: str = await self.raw.fetchval("SELECT note FROM seal_heads WHERE log = 'audit' AND number = $1", number)
        return found

    async def row_id(self, leaf: int) -> AuditId:
        return AuditId.of(await self.raw.fetchval(f"SELECT {ROW % leaf}"))

    async def tamper(self, *statements: str) -> None:
        """Past the triggers, as the tables' owner may."""
        async with self.raw.transaction():
            for table in TABLES:
                await take_rights(self.raw, table)
            for statement in statements:
                await self.raw.execute(statement)
            for table in TABLES:
                await self.raw.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            await self.raw.execute("SELECT withdraw_rights()")

    async def remember(self) -> None:
        """Keep copies of all tables."""
        for table in TABLES:
            await self.raw.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")

    async def restore(self) -> None:
        """Make everything as it was."""
        back = [f"INSERT INTO {table} SELECT * FROM kept_{table}" for table in TABLES]
        await self.tamper(f"TRUNCATE {', '.join(TABLES)}", *back)


@contextlib.asynccontextmanager
async def sealed_on(url: str) -> AsyncIterator[Sealed]:
    """On a database that is migrated already."""
    database, raw = await db.connect(url, at_most=10), await asyncpg.connect(url)
    try:
        yield Sealed(database, raw, url)
    finally:
        await raw.close()
        await database.close()


def head_of(note: str) -> Head:
    head = unchecked(note)
    assert head is not None
    return head


__all__ = ["AUDIT", "FACTS", "KEY", "ROW", "STRANGE_KEY", "Sealed", "head_of", "public", "sealed_on"]

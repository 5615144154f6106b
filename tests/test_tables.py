"""The migrations make exactly the tables that the code declares, on the embedded PostgreSQL and on Debian's 15."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from leasebox.infra import migrate
from leasebox.infra.embedded import EngineUrls
from leasebox.infra.facts_log import Xid8
from leasebox.tables import metadata
from tests import debian
from tests.databases import drop, execute

COLUMNS = """
SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
       || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
       || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') || ' ' || a.attidentity::text
       || a.attgenerated::text || ' ' || a.attstorage::text AS line
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""
CONSTRAINTS = """
SELECT c.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid) AS line
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND k.contype <> 'n'
"""
POLICIES = """
SELECT c.relname || ' ' || c.relrowsecurity || ' ' || c.relforcerowsecurity || ' ' || p.polname || ' ' || p.polcmd::text
       || ' ' || p.polpermissive || ' ' || (p.polroles = '{0}') || ' ' || coalesce(pg_get_expr(p.polqual, c.oid), '')
       || ' CHECK ' || coalesce(pg_get_expr(p.polwithcheck, c.oid), '') AS line
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_policy p ON p.polrelid = c.oid
WHERE n.nspname = 'public' AND (c.relrowsecurity OR c.relforcerowsecurity OR p.oid IS NOT NULL)
"""
INDEXES = "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = 'public'"


@pytest.fixture(scope="module", params=["embedded", "debian"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server's URL."""
    if request.param == "debian":
        with debian.postgres_15() as url:
            yield url
        return
    engines: EngineUrls = request.getfixturevalue("engines")
    yield engines.database_url or ""


async def fresh(server: str, name: str) -> str:
    """A new database of that name; its URL."""
    await drop(server, name)
    await execute(server, f"CREATE DATABASE {name}")
    return server.replace("/leasebox?", f"/{name}?", 1) if "?" in server else server.removesuffix("postgres") + name


@pytest.fixture(scope="module")
async def migrated(server: str) -> str:
    url = await fresh(server, "by_migration")
    await asyncio.to_thread(migrate.upgrade, url)
    return url


async def on(url: str, look: object) -> object:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=NullPool
    )
    async with engine.begin() as connection:
        return await connection.run_sync(look)  # type: ignore[arg-type]


async def lines(url: str, sql: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(sql)
    await connection.close()
    return {row["line"] for row in rows if "alembic_version" not in row["line"]}


async def test_alembic_finds_no_difference(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ischema_names, "xid8", Xid8)  # SQLAlchemy reflects what it knows only

    def compare(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, metadata)

    assert await on(migrated, compare) == []


@pytest.mark.parametrize(
    "sql", [COLUMNS, CONSTRAINTS, INDEXES, POLICIES], ids=["columns", "constraints", "indexes", "policies"]
)
async def test_nor_does_the_catalogue(server: str, migrated: str, sql: str) -> None:
    declared = await fresh(server, "by_declaration")
    await on(declared, metadata.create_all)
    wanted, found = await lines(declared, sql), await lines(migrated, sql)
    assert len(wanted) > 10
    assert found - wanted == set(), "migrated, not declared"
    assert wanted - found == set(), "declared, not migrated"


async def test_nothing_is_pending_afterwards(migrated: str) -> None:
    assert await asyncio.to_thread(migrate.pending, migrated) == []
    assert await migrate.current(migrated) == migrate.revisions()[-1]
    assert await asyncio.to_thread(migrate.upgrade, migrated) == []


# The tables that are added to only, and those whose rows change but stay.
ADDED_TO = """
audit_rows credit_note_charges credit_notes fact_positions facts invoice_events invoice_settlements ledger_transfers
price_versions seal_heads seal_leaves usage_events
"""
STAYING = "invoice_lines invoices payment_proofs tenant_funds"
GRANTS = """
SELECT c.relname || ' ' || a.privilege_type AS line
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
"""


async def test_nobody_has_a_right_to_what_the_triggers_refuse(migrated: str) -> None:
    granted = await lines(migrated, GRANTS)
    names = {name for name in metadata.tables if f"{name} TRUNCATE" not in granted}
    assert names == {*ADDED_TO.split(), *STAYING.split()}
    assert {line for line in granted if line.partition(" ")[0] in names} == {f"{n} UPDATE" for n in STAYING.split()}


async def test_rights_are_withdrawn_again_after_a_restore_that_left_them_out(migrated: str) -> None:
    before = await lines(migrated, GRANTS)
    connection = await asyncpg.connect(migrated)
    for table in (*ADDED_TO.split(), *STAYING.split()):
        await connection.execute(f"GRANT ALL ON {table} TO CURRENT_USER")
    assert await lines(migrated, GRANTS) > before
    await connection.close()
    await asyncio.to_thread(migrate.withdraw_rights, migrated)
    assert await lines(migrated, GRANTS) == before


async def test_a_row_that_others_point_at_can_be_locked_but_not_changed(engines: EngineUrls) -> None:
    """What a foreign key asks for: with no right to UPDATE any column it could not be checked."""
    url = await fresh(engines.database_url or "", "by_migration_locked")
    await asyncio.to_thread(migrate.upgrade, url)
    connection = await asyncpg.connect(url)
    for table in ("ledger_transfers", "credit_notes"):
        await connection.execute(f"SELECT FROM {table} FOR KEY SHARE")
    for change in ("UPDATE ledger_transfers SET note = 'x'", "DELETE FROM payment_proofs", "TRUNCATE payment_proofs"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await connection.execute(change)
    await connection.close()


@pytest.mark.parametrize("sql", ["UPDATE audit_rows SET actor = 'x'", "DELETE FROM audit_rows", "TRUNCATE audit_rows"])
async def test_audit_rows_are_never_changed_or_removed(migrated: str, sql: str) -> None:
    """Whatever rights the owner gives itself back."""
    connection = await asyncpg.connect(migrated)
    await connection.execute("GRANT ALL ON audit_rows TO CURRENT_USER")
    insert = """INSERT INTO audit_rows (id, at, actor, action, resource, outcome, request_id, detail)
        VALUES (gen_random_uuid(), now(), 'agt_1', 'test', 'x', 'done', 'req', '{}')"""
    await connection.execute(insert)
    before = await connection.fetchval("SELECT count(*) FROM audit_rows")
    with pytest.raises(asyncpg.RestrictViolationError, match="never changed or removed"):
        await connection.execute(sql)
    assert await connection.fetchval("SELECT count(*) FROM audit_rows WHERE actor = 'agt_1'") == before
    await connection.execute("SELECT withdraw_rights()")
    await connection.close()


def test_every_table_of_a_slice_is_among_them() -> None:
    package = Path(migrate.__file__).parents[1]
    declared = {word for path in package.rglob("*.py") for word in _declared(path.read_text())}
    assert declared == set(metadata.tables)
    assert len(declared) > 10


def _declared(text: str) -> Iterator[str]:
    parts = text.split("Table(\n")
    yield from (part.split('"')[1] for part in parts[1:])

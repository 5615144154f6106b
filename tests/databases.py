"""Migrated databases for tests. One is emptied and lent again: copying the template would be half of all the time."""

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg

_NUMBER = itertools.count()
_PATIENCE = "2s"
# What a test could have changed of the tables themselves. Copies have their template's oids.
_SHAPE = """
SELECT md5(string_agg(it, ',' ORDER BY it)) FROM (
    SELECT concat_ws(' ', 'class', oid, relname, relowner, relacl, reloptions, relrowsecurity, relforcerowsecurity)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'column', attrelid, attnum, attname, atttypid, attnotnull, attisdropped, attacl)
    FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    UNION ALL SELECT concat_ws(' ', 'default', oid, adbin) FROM pg_attrdef
    UNION ALL SELECT concat_ws(' ', 'index', indexrelid, indisvalid) FROM pg_index
    UNION ALL SELECT concat_ws(' ', 'trigger', oid, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', 'routine', oid, xmin) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', 'constraint', oid, convalidated) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', 'policy', oid, xmin) FROM pg_policy
    UNION ALL SELECT concat_ws(' ', 'schema', nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
    UNION ALL SELECT concat_ws(' ', 'setting', setrole, setconfig) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS shape (it)
"""
# Autovacuum is not ours to end; it makes way for a TRUNCATE by itself.
_OTHERS = """
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user
"""
_KEPT = ("alembic_version",)


class _Template(NamedTuple):
    """What a fresh database has. guarded: tables with triggers against TRUNCATE; seeds: rows of those not empty.

    withheld: tables that even their owner has no right to TRUNCATE.
    """

    shape: str
    tables: tuple[str, ...]
    guarded: tuple[str, ...]
    withheld: tuple[str, ...]
    seeds: dict[str, list[str]]


class Databases:
    """Copies of one migrated template, each for one borrower at a time."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._name = template
        self._free: list[str] = []
        self._template: _Template | None = None

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[str]:
        """The URL of a database that is as if just migrated."""
        name = self._free.pop() if self._free else await self._copied()
        url = database_named(self._server_url, name)
        yield url
        if await self._emptied(url):
            self._free.append(name)
        else:
            await drop(self._server_url, name)

    async def _copied(self) -> str:
        if self._template is None:
            self._template = await _looked_at(database_named(self._server_url, self._name))
        name = f"test_{os.getpid()}_{next(_NUMBER)}"
        await execute(self._server_url, f"CREATE DATABASE {name} TEMPLATE {self._name}")
        return name

    async def _emptied(self, url: str) -> bool:
        """Whether it is as if just migrated again; not where its tables were changed, or somebody holds on to it."""
        assert self._template is not None
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(f"SELECT pg_terminate_backend(pid, 2000) {_OTHERS}")
            if not await _same_shape(connection, self._template):
                return False
            await _empty(connection, self._template)
        except asyncpg.LockNotAvailableError:
            return False
        else:
            return True
        finally:
            await connection.close()


def database_named(url: str, name: str) -> str:
    """The same server's URL with another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def execute(url: str, sql: str) -> None:
    """One statement over a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def take_rights(connection: Any, table: str) -> None:
    """Give the owner back what migration 0018 withdrew, and stop the triggers: what a forger would do first."""
    await connection.execute(f"GRANT ALL ON {table} TO CURRENT_USER; ALTER TABLE {table} DISABLE TRIGGER USER")


async def drop(url: str, name: str) -> None:
    """Drop a database, if it is there, as soon as autovacuum has left it: that is not ours to end."""
    for _ in range(100):
        try:
            await execute(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectInUseError):
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError(f"{name} is still in use after 10 s")


async def _looked_at(url: str) -> _Template:
    connection = await asyncpg.connect(url)
    try:
        names = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        tables = tuple(row[0] for row in await connection.fetch(names))
        on_truncate = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgtype & 32 > 0"
        guarded = tuple(row[0] for row in await connection.fetch(on_truncate))
        rights = [await connection.fetchval("SELECT has_table_privilege($1, 'TRUNCATE')", name) for name in tables]
        withheld = tuple(name for name, right in zip(tables, rights, strict=True) if not right)
        seeds = {table: await _rows(connection, table) for table in tables}
        return _Template(
            await connection.fetchval(_SHAPE),
            tables,
            guarded,
            withheld,
            {name: rows for name, rows in seeds.items() if rows},
        )
    finally:
        await connection.close()


async def _rows(connection: Any, table: str) -> list[str]:
    return [row[0] for row in await connection.fetch(f"SELECT row_to_json(t)::text FROM {table} t")]


async def _same_shape(connection: Any, template: _Template) -> bool:
    if await connection.fetchval(_SHAPE) != template.shape:
        return False
    return all([await _rows(connection, table) == template.seeds[table] for table in _KEPT])


async def _empty(connection: Any, template: _Template) -> None:
    looks = " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in template.tables if table not in _KEPT
    )
    used = [row[0] for row in await connection.fetch(looks)]
    seeds = {table: rows for table, rows in template.seeds.items() if table not in _KEPT}
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
        await connection.execute(_switched(template, "DISABLE") + _right(template, "GRANT %s TO CURRENT_USER"))
        await connection.execute(f"TRUNCATE {', '.join({*used, *seeds})} CASCADE")
        await connection.execute(_switched(template, "ENABLE") + _right(template, "REVOKE %s FROM CURRENT_USER"))
        for table, rows in seeds.items():
            seed = f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $1::json)"
            await connection.execute(seed, json.dumps([json.loads(row) for row in rows]))


def _switched(template: _Template, how: str) -> str:
    return "".join(f"ALTER TABLE {table} {how} TRIGGER USER;" for table in template.guarded)


def _right(template: _Template, how: str) -> str:
    return how % f"TRUNCATE ON {', '.join(template.withheld)}" if template.withheld else ""

"""Bring a database to the tables that the code declares (Alembic, forward only).

Revisions are numbered files, so whether anything is pending is known without importing Alembic (0.3 s).
"""

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg

from leasebox.values.errors import Unavailable

_FILE = re.compile(r"(\d{4})_\w+\.py\Z")


def folder() -> Path:
    """The migrations: inside an installed package, or beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "_migrations"
    return inside if inside.is_dir() else package.parents[1] / "migrations"


def revisions() -> list[str]:
    """All revisions in order, `0001` first."""
    return sorted(match[1] for path in (folder() / "versions").iterdir() if (match := _FILE.match(path.name)))


async def current(database_url: str) -> str | None:
    """The revision a database is at, None when it is empty. Raises Unavailable."""
    connection = await _connected(database_url)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return found
    finally:
        await connection.close()


def pending(database_url: str) -> list[str]:
    """Revisions that the database still lacks. Raises Unavailable."""
    at = asyncio.run(current(database_url))
    return [revision for revision in revisions() if at is None or revision > at]


def withdraw_rights(database_url: str) -> None:
    """Take from the tables' owner what nothing needs (0018): a restore may have left that out. Raises Unavailable."""

    async def withdraw() -> None:
        connection = await _connected(database_url)
        try:
            await connection.execute("SELECT withdraw_rights()")
        finally:
            await connection.close()

    asyncio.run(withdraw())


def upgrade(database_url: str) -> list[str]:
    """Apply what is pending, each revision in its own transaction; which were applied. Raises Unavailable."""
    todo = pending(database_url)
    if todo:
        from alembic import command  # noqa: PLC0415 - 0.3 s that a database in order need not wait for
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(folder()).replace("%", "%%"))  # configparser expands %(…)s
        config.attributes["database_url"] = database_url
        command.upgrade(config, "head")
    return todo


async def _connected(database_url: str) -> Any:
    try:
        return await asyncpg.connect(database_url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        raise Unavailable(f"The database does not answer: {fault}", retry_after_s=2) from fault

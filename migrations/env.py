"""Alembic's entry: one connection, one advisory lock against a second migrator, forward only."""

import asyncio

import asyncpg
from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from leasebox.tables import metadata

_LOCK = 7_306_852_210  # any constant: two `leasebox up` against one database migrate one after the other


def _migrate(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


async def _run() -> None:
    url: str = context.config.attributes["database_url"]
    # asyncpg reads the URL here as everywhere: SQLAlchemy would not understand ?sslmode=require.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=pool.NullPool
    )
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
    await engine.dispose()


asyncio.run(_run())

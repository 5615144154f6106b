"""The database that an operator's command works on: the given one, else the embedded one, running or started for it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from leasebox.cli import refuse
from leasebox.cli.startup import engines_of
from leasebox.config import Settings
from leasebox.infra import db, migrate, reach
from leasebox.infra.db import Database
from leasebox.infra.embedded import attach
from leasebox.values.errors import Unavailable

T = TypeVar("T")


def on_database(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do this on the database of these settings; refuses where it cannot be reached or lacks migrations."""

    async def connected(url: str) -> T:
        database = await db.connect(url, at_most=2, statement_cache=settings.statement_cache)
        try:
            return await work(database)
        finally:
            await database.close()

    with _database(settings) as url:
        if broken := reach.database_fault(url):
            refuse([broken])
        if pending := migrate.pending(url):
            refuse([f"the database lacks the migrations {', '.join(pending)}: run `leasebox migrate`"])
        try:
            return asyncio.run(connected(url))
        except Unavailable as fault:
            refuse([fault.message])


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    running = attach(settings.home)
    if settings.database_url:
        yield settings.database_url.reveal()
    elif running and running.database_url:
        yield running.database_url
    else:
        with engines_of(settings) as (_, url, _redis_url):
            yield url

"""What every role's process has: an event loop, a signal to stop, the database and Redis."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import msgspec
import uvloop

from leasebox.config import Settings
from leasebox.infra import cache, db, log, migrate
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database
from leasebox.leases.model import LeasePolicy
from leasebox.values.clock import Clock, SystemClock
from leasebox.values.errors import Unavailable

_YOUNG_OBJECTS = 20_000


class Backbone(msgspec.Struct, frozen=True):
    """What all slices stand on."""

    db: Database
    cache: Cache
    clock: Clock


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` on uvloop; the event it gets is set by SIGTERM or SIGINT.

    Exits with status 1 and one line when a server that it cannot start without does not answer.
    """

    async def guarded() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await main(stop)

    try:
        uvloop.run(guarded())
    except Unavailable as fault:
        log.get("process").critical("cannot start", why=fault.message)
        sys.exit(1)


@contextlib.asynccontextmanager
async def backbone(settings: Settings, connections: int = 10) -> AsyncIterator[Backbone]:
    """Database and Redis for as long as the context lasts, migrated. Raises Unavailable when one does not answer."""
    async with connected(settings, connections) as base:
        await migrated(base.db)
        yield base


@contextlib.asynccontextmanager
async def connected(settings: Settings, connections: int = 10) -> AsyncIterator[Backbone]:
    """The same while the last migration may still be under way: for what can be built without a table."""
    clock = SystemClock()
    redis = cache.connect(_revealed(settings.redis_url), clock)
    database = await db.connect(
        _revealed(settings.database_url),
        wakes=redis,
        at_most=connections,
        statement_cache=settings.statement_cache,
    )
    try:
        yield Backbone(database, redis, clock)
    finally:
        await database.close()
        await redis.close()


async def migrated(database: Database) -> None:
    """Wait for the last migration: `leasebox up` starts the roles while it migrates."""
    wanted = migrate.revisions()[-1]
    while (await database.revision() or "") < wanted:  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.02)
    if await database.climbs_the_wall():
        log.get("process").warning(
            "no second wall between tenants",
            why="the role of DATABASE_URL is a superuser or has BYPASSRLS",
            fix="make a role with NOSUPERUSER NOBYPASSRLS the owner of the database",
        )


def settle() -> None:
    """Call when everything is built: what lives for ever need not be looked at by each collection (p99 51 → 10 ms).

    Nor need what lives for one call: reference counts free it, and by Python's own 700 objects a collection came with
    every second call, for a twentieth of its CPU. Cycles, which nearly only exceptions make, wait a little longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


def lease_policy(settings: Settings) -> LeasePolicy:
    """The operator's settings of leasing."""
    return LeasePolicy(
        domains=settings.mail_domains,
        retention=timedelta(hours=settings.retention_hours),
        name_hold=timedelta(days=settings.name_hold_days),
        quota_bytes=settings.lease_quota_mib * 1024 * 1024,
        quota_messages=settings.lease_quota_mails,
    )


def _revealed(secret: object) -> str:
    reveal = getattr(secret, "reveal", None)
    if reveal is None:
        raise ValueError("a role needs DATABASE_URL and REDIS_URL")
    text: str = reveal()
    return text

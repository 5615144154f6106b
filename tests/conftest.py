"""Fixtures on real engines: one embedded PostgreSQL and Valkey a test process, a fresh database a test."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from leasebox.infra import migrate
from leasebox.infra.embedded import Engines, EngineUrls
from tests.fakes.clock import FakeClock
from tests.kit import House, opened, settings_for

_NUMBER = itertools.count()


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUrls]:
    """The embedded engines of this test process."""
    running = Engines(tmp_path_factory.mktemp("engines"))
    urls = running.start()
    try:
        yield urls
    finally:
        running.stop()


@pytest.fixture(scope="session")
def template(engines: EngineUrls) -> str:
    """The name of a migrated database that others are copied from."""
    assert engines.database_url is not None
    name = f"template_{os.getpid()}"
    asyncio.run(_execute(engines.database_url, f"CREATE DATABASE {name}"))
    migrate.upgrade(database_named(engines.database_url, name))
    return name


@pytest.fixture
async def database_url(engines: EngineUrls, template: str) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    assert engines.database_url is not None
    name = f"test_{os.getpid()}_{next(_NUMBER)}"
    await _execute(engines.database_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield database_named(engines.database_url, name)
    await _drop(engines.database_url, name)


@pytest.fixture
def redis_url(engines: EngineUrls) -> str:
    """The Valkey of this test process; keys are random enough not to meet those of another test."""
    assert engines.redis_url is not None
    return engines.redis_url


@pytest.fixture
async def house(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A whole instance in this process, with a clock to set."""
    async with opened(settings_for(database_url, redis_url, str(tmp_path)), FakeClock()) as one:
        yield one


def database_named(url: str, name: str) -> str:
    """The same server's URL with another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def _drop(url: str, name: str) -> None:
    """Drop a database; autovacuum may be at work in it, and is not ours to end."""
    for _ in range(100):
        try:
            await _execute(url, f"DROP DATABASE {name} WITH (FORCE)")
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectInUseError):
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError(f"{name} is still in use after 10 s")


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()

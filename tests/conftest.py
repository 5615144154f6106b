"""Fixtures on real engines: one embedded PostgreSQL and Valkey a test process, a fresh database a test."""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from leasebox.infra import migrate
from leasebox.infra.embedded import Engines, EngineUrls
from tests.databases import Databases, database_named, execute
from tests.fakes.clock import FakeClock
from tests.kit import House, opened, settings_for

# structlog loaded before us takes rich for traces, with all local variables: a second for some, and meanwhile
# Redis' answers come too late for whoever shares the loop.
structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUrls]:
    """The embedded engines of this test process."""
    # A second of CPU, which would otherwise fall into the first sign-in and let its neighbours' questions time out.
    importlib.import_module("siwe")
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
    asyncio.run(execute(engines.database_url, f"CREATE DATABASE {name}"))
    migrate.upgrade(database_named(engines.database_url, name))
    return name


@pytest.fixture(scope="session")
def databases(engines: EngineUrls, template: str) -> Databases:
    """Copies of the template, to be lent and given back."""
    assert engines.database_url is not None
    return Databases(engines.database_url, template)


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A migrated database that is this test's own while it runs."""
    async with databases.lent() as url:
        yield url


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

"""Fixtures of webhooks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leasebox.infra.embedded import EngineUrls
from tests.fakes.receiver import Receiver
from tests.kit import House
from tests.kit_mail import database
from tests.webhooks.hooks import Works, hooked


@pytest.fixture
async def run(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """An instance whose webhooks may reach loopback addresses."""
    async with hooked(database_url, redis_url, tmp_path) as house:
        yield house


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers 200."""
    async with Receiver().listening() as one:
        yield one


@pytest.fixture
async def works(run: House) -> AsyncIterator[Works]:
    """Its worker, a step at a time."""
    one = Works(run)
    yield one
    one.fetcher.close()
    await asyncio.sleep(0)


@pytest.fixture(scope="module")
async def shared(engines: EngineUrls, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One instance for the tests of a module that deliver nothing and keep apart by being tenants of their own."""
    async with database(engines, template) as url:
        assert engines.redis_url is not None
        async with hooked(url, engines.redis_url, tmp_path_factory.mktemp("home")) as house:
            yield house

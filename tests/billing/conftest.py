"""Fixtures of billing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leasebox.billing import price_list
from leasebox.billing.prices import DEFAULT_PRICES
from leasebox.infra.db import Database, connect
from tests.billing.payer import Payer
from tests.billing.shop import shop_settings
from tests.fakes.clock import FakeClock
from tests.kit import House, opened


@pytest.fixture
async def shop(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """An instance that gives 2 leases an hour and 3 readings a day for nothing."""
    async with opened(shop_settings(tmp_path, database_url, redis_url), FakeClock()) as one:
        yield one


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The verbs' database, with the default prices in force."""
    database = await connect(database_url, at_most=20)
    await database.transact(lambda tx: price_list.publish(tx, DEFAULT_PRICES, FakeClock().now()))
    yield database
    await database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def payer(db: Database, clock: FakeClock) -> Payer:
    """A tenant bound to a wallet, that has used nothing."""
    return await Payer.new(db, clock.now())

"""The cooldown's one statement: what it answers, and what it leaves behind."""

from datetime import UTC, datetime, timedelta

import pytest

from leasebox.identity import service as identity
from leasebox.sending import store
from leasebox.sending.model import Taken
from leasebox.values.ids import TenantId
from tests.kit import House

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
async def tenant(house: House) -> TenantId:
    caller = await house.db.transact(lambda tx: identity.found_tenant(tx, "nobody", NOON, "req_test"))
    return caller.tenant_id


async def take(house: House, tenant_id: TenantId, recipients: int, at: datetime = NOON) -> Taken:
    return await house.db.transact(lambda tx: store.take(tx, tenant_id, recipients, at))


async def test_recipients_are_kept_one_by_one_and_in_rising_order(house: House, tenant: TenantId) -> None:
    assert await house.db.read(lambda tx: store.look(tx, tenant)) == ()
    assert await take(house, tenant, 2) is Taken.COUNTED
    assert await take(house, tenant, 1, NOON - timedelta(hours=1)) is Taken.COUNTED
    assert await take(house, tenant, 1, NOON + timedelta(hours=1)) is Taken.COUNTED
    assert await house.db.read(lambda tx: store.look(tx, tenant)) == [NOON, NOON, NOON, NOON + timedelta(hours=1)]
    assert await take(house, tenant, 7) is Taken.REFUSED
    assert await take(house, tenant, 6, NOON + timedelta(days=2)) is Taken.COUNTED
    assert await house.db.read(lambda tx: store.look(tx, tenant)) == [NOON + timedelta(days=2)] * 6


async def test_a_tenant_with_a_wallet_is_not_counted(house: House) -> None:
    agent = await house.agent()
    tenant_id = TenantId.parse(agent.session["tenant_id"])
    assert await take(house, tenant_id, 11) is Taken.BOUND
    assert await house.db.read(lambda tx: store.look(tx, tenant_id)) is None
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM cooldowns")) == 0

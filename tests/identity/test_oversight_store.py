"""SQL of what operators decide about tenants."""

from leasebox.identity import oversight_store
from leasebox.values.ids import TenantId
from leasebox.values.rate import Rate
from tests.kit import House


async def test_one_rate_a_name_and_tenant(house: House) -> None:
    tenant, now = TenantId.parse((await house.agent()).session["tenant_id"]), house.clock.now()
    for subject in (None, tenant):
        for count in (1, 2):
            rate = Rate(count, 60)
            await house.db.transact(
                lambda tx, subject=subject, rate=rate: oversight_store.put_rate(tx, "api", subject, rate, "x", now)  # type: ignore[misc]
            )
    rows = await house.db.read(oversight_store.list_rates)
    assert [(row["tenant_id"], row["count"]) for row in rows] == [(None, 2), (tenant, 2)]
    assert await house.db.transact(lambda tx: oversight_store.drop_rate(tx, "api", None)) == 1
    assert len(await house.db.read(oversight_store.list_rates)) == 1


async def test_a_tenant_that_is_none(house: House) -> None:
    nobody = TenantId.new(house.clock.now())
    assert await house.db.transact(lambda tx: oversight_store.lock_tenant(tx, nobody)) is None

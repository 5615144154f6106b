"""The row behind a login is the latest lease's, whatever was leased under that address before."""

from leasebox.leases import logins_store
from leasebox.values.ids import LeaseId
from tests.kit import House


async def test_the_latest_lease_of_an_address(house: House) -> None:
    agent = await house.agent()
    first = await agent.lease(local_part="often")
    await agent.http.post(f"/v2/mailboxes/leases/{first['lease_id']}/release")
    house.clock.advance(seconds=1)
    second = await agent.lease(local_part="often")
    row = await house.db.read(lambda tx: logins_store.find(tx, second["address"]))
    assert row is not None
    assert str(LeaseId.of(row["id"])) == second["lease_id"]
    assert (row["tenant_status"], row["agent_status"]) == ("active", "active")
    assert await house.db.read(lambda tx: logins_store.find(tx, "Often@inbox.leasebox.test")) is None

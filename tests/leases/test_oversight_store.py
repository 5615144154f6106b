"""SQL of an operator's verbs on leases."""

from leasebox.leases import oversight_store
from leasebox.values.ids import LeaseId
from leasebox.wiring.process import lease_policy
from tests.kit import House


async def test_releasing_an_old_lease_leaves_the_address_to_the_newer_one(house: House) -> None:
    agent = await house.agent()
    old = await agent.lease(local_part="again")
    await agent.http.post(f"/v2/mailboxes/leases/{old['lease_id']}/release")
    new = await agent.lease(local_part="again")
    now, hold = house.clock.now(), lease_policy(house.settings).name_hold
    ids = [LeaseId.parse(old["lease_id"])]
    assert await house.db.transact(lambda tx: oversight_store.release(tx, ids, now, hold)) == 0
    row = await house.db.read(lambda tx: tx.one("SELECT lease_id, leased_until FROM addresses"))
    assert row is not None
    assert (LeaseId.of(row["lease_id"]), row["leased_until"] > now) == (LeaseId.parse(new["lease_id"]), True)


async def test_a_released_name_is_held_from_the_release_on(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(local_part="named", ttl_hours=100)
    now, hold = house.clock.now(), lease_policy(house.settings).name_hold
    ids = [LeaseId.parse(lease["lease_id"])]
    assert await house.db.transact(lambda tx: oversight_store.release(tx, ids, now, hold)) == 1
    row = await house.db.read(lambda tx: tx.one("SELECT leased_until, held_until FROM addresses"))
    assert row is not None
    assert (row["leased_until"], row["held_until"]) == (now, now + hold)
    stranger = await (await house.agent()).ask_lease(local_part="named")
    assert stranger.status_code == 409


async def test_a_lease_that_is_none(house: House) -> None:
    nothing = LeaseId.new(house.clock.now())
    assert await house.db.transact(lambda tx: oversight_store.lock(tx, nothing)) is None
    assert await house.db.read(lambda tx: oversight_store.tenant_of(tx, nothing)) is None

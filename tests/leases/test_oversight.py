"""An operator's verbs on leases, against the tenant's own at the same moment."""

import asyncio

from leasebox.infra.db import Tx
from leasebox.leases import oversight
from leasebox.values.ids import LeaseId, TenantId
from leasebox.wiring.process import lease_policy
from tests.kit import House


async def test_release_by_both_at_once_is_done_once(house: House) -> None:
    agent = await house.agent()
    policy, now = lease_policy(house.settings), house.clock.now()
    for _ in range(5):
        lease = await agent.lease()
        wanted = LeaseId.parse(lease["lease_id"])

        async def end(tx: Tx, wanted: LeaseId = wanted) -> None:
            await oversight.release(tx, wanted, "", policy, actor="wallet:0x1", at=now, request_id="req")

        await asyncio.gather(
            house.db.transact(end), agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
        )
    sql = "SELECT resource FROM audit_rows WHERE action = 'lease.release'"
    released = [row["resource"] for row in await house.db.read(lambda tx: tx.all(sql))]
    assert len(released) == len(set(released)) == 5


async def test_a_freeze_and_a_renewal_at_once_leave_a_frozen_lease(house: House) -> None:
    agent, now = await house.agent(), house.clock.now()
    lease = await agent.lease()
    wanted = LeaseId.parse(lease["lease_id"])

    async def freeze(tx: Tx) -> None:
        await oversight.freeze(tx, wanted, "", actor="wallet:0x1", at=now, request_id="req")

    path = f"/v2/mailboxes/leases/{lease['lease_id']}"
    renewals = [agent.http.post(f"{path}/renew", json={"ttl_hours": 2}) for _ in range(10)]
    answers = await asyncio.gather(*renewals, house.db.transact(freeze))
    assert {each.status_code for each in answers[:-1]} <= {200, 403}  # type: ignore[union-attr]
    assert (await agent.http.get(path)).json()["lease_status"] == "frozen"


async def test_all_of_one_tenant_and_of_nobody_else(house: House) -> None:
    one, other = await house.agent(), await house.agent()
    for agent in (one, one, other):
        await agent.lease()
    policy, now = lease_policy(house.settings), house.clock.now()
    tenant = TenantId.parse(one.session["tenant_id"])
    for count in (2, 0):
        assert await house.db.transact(lambda tx: oversight.release_all(tx, tenant, policy, now)) == count
    live = "SELECT count(*) FROM leases WHERE state <> 'released'"
    assert await house.db.read(lambda tx: tx.value(live)) == 1

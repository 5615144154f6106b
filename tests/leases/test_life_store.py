"""SQL of the life of leases: words are taken once, also while somebody else holds the row."""

import asyncio
from datetime import timedelta

from leasebox.infra.db import Tx
from leasebox.leases import life_store
from leasebox.values.ids import LeaseId, MailboxId, TenantId
from tests.kit import House
from tests.kit_mail import value

TELL_AT = "SELECT tell_at FROM leases WHERE id = $1"


async def test_a_word_is_due_until_it_is_taken(house: House) -> None:
    agent = await house.agent()
    lease_id = LeaseId.parse((await agent.lease())["lease_id"])
    due = await value(house, TELL_AT, lease_id)
    assert await house.db.transact(lambda tx: life_store.take_due(tx, due - timedelta(seconds=1), 9)) == []
    (row,) = await house.db.transact(lambda tx: life_store.take_due(tx, due, 9))
    assert (LeaseId.of(row["id"]), row["ended"]) == (lease_id, False)
    assert await value(house, TELL_AT, lease_id) == row["expires_at"]
    (row,) = await house.db.transact(lambda tx: life_store.take_due(tx, row["expires_at"], 9))
    assert row["ended"]
    assert await value(house, TELL_AT, lease_id) is None


async def test_what_somebody_is_telling_is_left_to_it(house: House) -> None:
    agent = await house.agent()
    await agent.lease()
    house.clock.advance(hours=2)
    now = house.clock.now()
    holding, may_end = asyncio.Event(), asyncio.Event()

    async def hold(tx: Tx) -> int:
        taken = await life_store.take_due(tx, now, 9)
        holding.set()
        await may_end.wait()
        return len(taken)

    first = asyncio.create_task(house.db.transact(hold))
    await holding.wait()
    async with asyncio.timeout(5):
        assert await house.db.transact(lambda tx: life_store.take_due(tx, now, 9)) == []
    may_end.set()
    assert await first == 1


async def test_only_released_leases_are_taken_as_released(house: House) -> None:
    agent = await house.agent()
    lease_id = LeaseId.parse((await agent.lease())["lease_id"])
    assert await house.db.transact(lambda tx: life_store.take_released(tx, [lease_id])) == []
    assert await value(house, TELL_AT, lease_id) is not None


async def test_mailboxes_are_their_tenants_and_say_how_their_latest_lease_stands(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    lease = await agent.lease()
    box = MailboxId.parse(lease["mailbox_id"])
    own, theirs = (TenantId.parse(each.session["tenant_id"]) for each in (agent, other))
    await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/pause")
    (latest,) = await house.db.read(lambda tx: life_store.latest(tx, own, [box, MailboxId(int=7)]))
    assert (latest["state"], latest["frozen_at"]) == ("paused", None)
    assert latest["expires_at"].isoformat().replace("+00:00", "Z") == lease["expires_at"]
    assert await house.db.read(lambda tx: life_store.latest(tx, theirs, [box])) == []
    assert await house.db.read(lambda tx: life_store.last_end(tx, theirs, [box])) is None

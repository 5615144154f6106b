"""The statements of leases in races that routes cannot stage: clocks that differ, and transactions held open."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from leasebox.infra.db import Tx
from leasebox.leases import store
from leasebox.leases.model import LeaseOrder, LeasePolicy
from leasebox.leases.store import Filter
from leasebox.values.ids import AgentId, LeaseId, MailboxId, TenantId
from leasebox.wiring import process
from tests import kit_mail
from tests.kit import Agent, House

house = kit_mail.shared_house
HOUR = timedelta(hours=1)


class Tenant:
    """Leases by statements, at times of its own choosing."""

    def __init__(self, house: House, agent: Agent) -> None:
        self.house = house
        self.tenant_id = TenantId.parse(agent.session["tenant_id"])
        self.agent_id = AgentId.parse(agent.agent_id)

    @property
    def policy(self) -> LeasePolicy:
        return process.lease_policy(self.house.settings)

    async def grant(self, tx: Tx, name: str, at: datetime, origin: str = "chosen") -> Any:
        order = LeaseOrder(self.agent_id, "test", 1, name, "inbox.leasebox.test", {"a": 1})
        address = f"{name}@inbox.leasebox.test"
        return await store.grant(tx, self.tenant_id, order, address, origin, "$hash", self.policy, at, at + HOUR)

    async def granted(self, name: str, at: datetime, origin: str = "chosen") -> LeaseId:
        row = await self.claim(name, at, origin)
        assert row is not None
        return LeaseId.of(row["id"])

    async def claim(self, name: str, at: datetime, origin: str = "chosen") -> Any:
        return await self.house.db.transact(lambda tx: self.grant(tx, name, at, origin))


@pytest.fixture
async def tenant(house: House) -> Tenant:
    return Tenant(house, await house.agent())


async def test_a_claim_that_fails_writes_nothing(house: House, tenant: Tenant) -> None:
    now = house.clock.now()
    other = Tenant(house, await house.agent())
    await tenant.granted("claimed", now)
    assert await other.claim("claimed", now) is None
    assert await other.claim("claimed", now + 100 * HOUR) is None
    for table in ("leases", "mailboxes"):
        assert await kit_mail.value(house, f"SELECT count(*) FROM {table} WHERE tenant_id = $1", other.tenant_id) == 0


async def test_generated_and_chosen_names_never_meet(house: House, tenant: Tenant) -> None:
    now, later = house.clock.now(), house.clock.now() + timedelta(days=4_000)
    await tenant.granted("drawn", now, "generated")
    await tenant.granted("picked", now)
    for name, origin in (("drawn", "generated"), ("drawn", "chosen"), ("picked", "generated")):
        assert await tenant.claim(name, later, origin) is None
    assert await tenant.claim("picked", later) is not None


async def test_a_mailbox_that_was_erased_begins_anew_with_its_next_lease(house: House, tenant: Tenant) -> None:
    now = house.clock.now()
    first = await tenant.claim("reborn", now)
    mailbox_id = MailboxId.of(first["mailbox_id"])
    assert await house.db.transact(lambda tx: store.erase_mailbox(tx, tenant.tenant_id, mailbox_id, now)) == 1
    assert await house.db.read(lambda tx: store.find_mailbox(tx, tenant.tenant_id, mailbox_id)) is None
    again = await tenant.claim("reborn", now + HOUR)
    assert again["mailbox_id"] == first["mailbox_id"]
    assert await house.db.read(lambda tx: store.find_mailbox(tx, tenant.tenant_id, mailbox_id)) is not None


async def test_a_lease_that_lost_its_address_to_a_newer_one_is_not_renewed(house: House, tenant: Tenant) -> None:
    """Another process's clock is a little ahead: it sees the lease ended and grants it anew while we renew."""
    now = house.clock.now()
    old = await tenant.granted("skewed", now - HOUR + timedelta(seconds=1))
    claimed, proceed = asyncio.Event(), asyncio.Event()

    async def grant_slowly(tx: Tx) -> Any:
        row = await tenant.grant(tx, "skewed", now + timedelta(seconds=2))
        claimed.set()
        await proceed.wait()
        return row

    granting = asyncio.create_task(house.db.transact(grant_slowly))
    await claimed.wait()
    until, policy = now + 5 * HOUR, tenant.policy
    renewing = asyncio.create_task(
        house.db.transact(lambda tx: store.renew(tx, tenant.tenant_id, old, until, now, policy))
    )
    await kit_mail.until(lambda: waits_for_a_lock(house))
    proceed.set()
    new = await granting
    assert new is not None
    assert await renewing is None
    routes = await house.db.read(lambda tx: store.route(tx, ["skewed@inbox.leasebox.test"]))
    assert [LeaseId.of(row["id"]) for row in routes] == [LeaseId.of(new["id"])]


async def test_a_renewal_that_came_first_keeps_the_address(house: House, tenant: Tenant) -> None:
    now = house.clock.now()
    old = await tenant.granted("kept", now - HOUR + timedelta(seconds=1))
    renewed, proceed = asyncio.Event(), asyncio.Event()

    async def renew_slowly(tx: Tx) -> Any:
        row = await store.renew(tx, tenant.tenant_id, old, now + 5 * HOUR, now, tenant.policy)
        renewed.set()
        await proceed.wait()
        return row

    renewing = asyncio.create_task(house.db.transact(renew_slowly))
    await renewed.wait()
    granting = asyncio.create_task(tenant.claim("kept", now + timedelta(seconds=2)))
    await kit_mail.until(lambda: waits_for_a_lock(house))
    proceed.set()
    assert await renewing is not None
    assert await granting is None


async def test_releasing_frees_the_name_for_its_tenant_and_holds_it_from_others(house: House, tenant: Tenant) -> None:
    now, policy = house.clock.now(), tenant.policy
    other = Tenant(house, await house.agent())
    lease_id = await tenant.granted("freed", now)
    row = await house.db.transact(lambda tx: store.release(tx, tenant.tenant_id, lease_id, now, policy))
    assert row is not None
    assert (row["state"], row["expires_at"], row["released_at"]) == ("released", now, now)
    again = await house.db.transact(lambda tx: store.release(tx, tenant.tenant_id, lease_id, now + HOUR, policy))
    assert again is None
    held = now + policy.name_hold
    assert await other.claim("freed", held - timedelta(seconds=1)) is None
    assert await other.claim("freed", held) is not None


async def test_changes_are_scoped_by_tenant(house: House, tenant: Tenant) -> None:
    now, policy = house.clock.now(), tenant.policy
    stranger = TenantId.new(now)
    lease_id = await tenant.granted("mine", now)

    async def body(tx: Tx) -> list[Any]:
        return [
            await store.find(tx, stranger, lease_id),
            await store.renew(tx, stranger, lease_id, now + 5 * HOUR, now, policy),
            await store.switch(tx, stranger, lease_id, "paused", now),
            await store.release(tx, stranger, lease_id, now, policy),
            await store.reset_password(tx, stranger, lease_id, "$other", now),
        ]

    assert await house.db.transact(body) == [None, None, None, None, 0]


@pytest.mark.parametrize("status", ["active", "paused", "frozen", "released", "expired", "ended"])
async def test_filters_agree_with_what_a_lease_says_of_itself(house: House, tenant: Tenant, status: str) -> None:
    now = house.clock.now()
    for number in range(8):
        lease_id = await tenant.granted(f"{status}-{number}", now if number % 2 else now - HOUR)
        state = ("active", "paused", "active", "released")[number // 2]
        frozen = now if number // 2 == 2 else None
        update = "UPDATE leases SET state = $2, frozen_at = $3 WHERE id = $1"
        await kit_mail.change(house, update, lease_id, state, frozen)
    wanted = Filter(tenant.tenant_id, None, now)
    wanted.status = status
    found = await house.db.read(lambda tx: store.listed(tx, wanted, None, 100))
    expected = {
        "active": {1},
        "paused": {3},
        "frozen": {5},
        "released": {6, 7},
        "expired": {0, 2, 4},
        "ended": {0, 2, 4, 6, 7},
    }
    assert {int(row["address"][-len("0@inbox.leasebox.test")]) for row in found} == expected[status]


async def test_quota_counts_add_up_under_concurrency(house: House, tenant: Tenant) -> None:
    lease_id = await tenant.granted("counted", house.clock.now())
    calls = [house.db.transact(lambda tx: store.use(tx, [lease_id], [10], [2])) for _ in range(20)]
    await asyncio.gather(*calls)
    row = await house.db.read(lambda tx: store.find(tx, tenant.tenant_id, lease_id))
    assert row is not None
    assert (row["used_bytes"], row["used_messages"]) == (200, 40)
    await house.db.transact(lambda tx: store.give_back(tx, lease_id, 1_000, 1))
    row = await house.db.read(lambda tx: store.find(tx, tenant.tenant_id, lease_id))
    assert row is not None
    assert (row["used_bytes"], row["used_messages"]) == (0, 39)


async def test_two_purges_at_once_take_different_leases(house: House, tenant: Tenant) -> None:
    now = house.clock.now()
    for number in range(4):
        await tenant.granted(f"purged-{number}", now - 200 * HOUR)

    async def both(first: Tx) -> tuple[set[LeaseId], set[LeaseId]]:
        mine = await store.due_for_purge(first, now - 100 * HOUR, 2)
        theirs = await house.db.transact(lambda second: store.due_for_purge(second, now - 100 * HOUR, 100))
        return set(mine), set(theirs)

    mine, theirs = await house.db.transact(both)
    assert len(mine) == 2
    assert len(theirs) >= 2
    assert not mine & theirs
    await house.db.transact(lambda tx: store.mark_purged(tx, sorted(mine | theirs), now))
    assert await house.db.transact(lambda tx: store.due_for_purge(tx, now - 100 * HOUR, 100)) == []


async def waits_for_a_lock(house: House) -> bool:
    """Whether a statement in this test's database waits for another transaction."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(await kit_mail.value(house, waiting)) > 0


async def test_a_purge_takes_leases_up_to_so_many_messages_and_one_at_least(house: House, tenant: Tenant) -> None:
    now = house.clock.now()
    ids = [await tenant.granted(f"filled-{number}", now - (300 - number) * HOUR) for number in range(4)]
    for lease_id, mails in zip(ids, (0, 900, 5, 0), strict=True):
        await house.db.transact(lambda tx, lease=lease_id, mails=mails: store.use(tx, [lease], [0], [mails]))

    async def due(messages: int) -> list[LeaseId]:
        return await house.db.transact(lambda tx: store.due_for_purge(tx, now - 100 * HOUR, 100, messages))

    assert sorted(await due(10)) == sorted(ids[:2])
    assert sorted(await due(901)) == sorted(ids[:3])
    assert sorted(await due(1_000)) == sorted(ids)
    await house.db.transact(lambda tx: store.mark_purged(tx, ids[:1], now))
    assert await due(1) == [ids[1]]

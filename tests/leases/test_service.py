"""Verbs of leases that other doors use: routing mail, taking it in groups, what may be read, purging."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from leasebox.infra.db import Tx
from leasebox.leases import service
from leasebox.leases.errors import MailboxFrozen, MailboxPaused
from leasebox.leases.inbound import Inbound, Slot, judge
from leasebox.leases.model import LeasePolicy
from leasebox.values.ids import LeaseId
from leasebox.wiring import process
from tests import kit_mail
from tests.kit import House

house = kit_mail.shared_house
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def policy_of(house: House, **changes: Any) -> LeasePolicy:
    return msgspec.structs.replace(process.lease_policy(house.settings), **changes)


@pytest.mark.parametrize(
    ("state", "frozen_at", "expires_at", "refusal"),
    [
        ("active", None, LATER, None),
        ("active", None, NOW, None),
        ("released", None, NOW, None),
        ("paused", None, LATER, MailboxPaused),
        ("paused", None, NOW, None),
        ("active", NOW, LATER, MailboxFrozen),
        ("active", NOW, NOW, MailboxFrozen),
        ("released", NOW, NOW, MailboxFrozen),
        ("paused", NOW, LATER, MailboxFrozen),
    ],
)
def test_what_a_lease_lets_be_read(
    state: str, frozen_at: datetime | None, expires_at: datetime, refusal: type[Exception] | None
) -> None:
    found = service.reading_refusal(state, frozen_at, expires_at, NOW)
    assert (type(found) if found else None) is refusal


async def test_an_address_leads_to_its_latest_lease(house: House) -> None:
    agent = await house.agent()
    policy = policy_of(house)
    assert await house.db.read(lambda tx: service.route(tx, "never@inbox.leasebox.test")) is None
    old = await agent.lease(local_part="routed")
    await agent.http.post(f"/v2/mailboxes/leases/{old['lease_id']}/release")
    ended = await house.db.read(lambda tx: service.route(tx, old["address"]))
    assert judge(ended, policy, house.clock.now()) is Inbound.ENDED
    new = await agent.lease(local_part="routed")
    route = await house.db.read(lambda tx: service.route(tx, old["address"]))
    assert route is not None
    assert str(route.lease_id) == new["lease_id"]
    assert judge(route, policy, house.clock.now()) is Inbound.TAKEN


async def test_a_group_is_decided_mail_by_mail_and_numbered(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    mine, theirs = await agent.lease(), await other.lease()
    wanted = [[mine["address"]], ["no@inbox.leasebox.test"], [mine["address"], theirs["address"]], [mine["address"]]]
    policy = policy_of(house, quota_messages=2)

    async def body(tx: Tx) -> list[tuple[Slot, ...] | Inbound]:
        return await service.take_mail(tx, wanted, [100, 100, 200, 1], policy, house.clock.now())

    first, unknown, both, over = await house.db.transact(body)
    assert (unknown, over) == (Inbound.UNKNOWN, Inbound.OVER_QUOTA)
    assert isinstance(first, tuple)
    assert isinstance(both, tuple)
    assert [str(slot.lease_id) for slot in first + both] == [mine["lease_id"], mine["lease_id"], theirs["lease_id"]]
    assert [str(slot.tenant_id) for slot in both] == [agent.session["tenant_id"], other.session["tenant_id"]]
    shown = (await agent.http.get(f"/v2/mailboxes/leases/{mine['lease_id']}")).json()
    assert (shown["used_bytes"], shown["used_messages"]) == (300, 2)


async def test_a_group_of_refusals_changes_nothing(house: House) -> None:
    async def body(tx: Tx) -> list[tuple[Slot, ...] | Inbound]:
        return await service.take_mail(tx, [["a@x.test"], ["b@x.test"]], [1, 1], policy_of(house), NOW)

    assert await house.db.transact(body) == [Inbound.UNKNOWN, Inbound.UNKNOWN]


async def test_a_quota_is_exact_whoever_asks_at_once(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    policy = policy_of(house, quota_messages=7, quota_bytes=10_000)

    async def one(tx: Tx) -> list[tuple[Slot, ...] | Inbound]:
        return await service.take_mail(tx, [[lease["address"]]] * 2, [10, 10], policy, house.clock.now())

    groups = await asyncio.gather(*(house.db.transact(one) for _ in range(10)))
    taken = [verdict for group in groups for verdict in group if isinstance(verdict, tuple)]
    assert len(taken) == 7


async def test_leases_that_cross_in_two_groups_do_not_lock_each_other_out(house: House) -> None:
    agent = await house.agent()
    first, second = (await agent.lease())["address"], (await agent.lease())["address"]
    policy = policy_of(house)

    async def group(tx: Tx, *addresses: str) -> list[tuple[Slot, ...] | Inbound]:
        return await service.take_mail(tx, [[address] for address in addresses], [1] * 2, policy, house.clock.now())

    there, back = (lambda tx: group(tx, first, second)), (lambda tx: group(tx, second, first))
    calls = [house.db.transact(each) for _ in range(15) for each in (there, back)]
    async with asyncio.timeout(20):
        groups = await asyncio.gather(*calls)
    assert all(isinstance(verdict, tuple) for group in groups for verdict in group)


async def test_the_purge_hands_over_leases_whose_retention_is_over(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=1)
    policy = policy_of(house)
    erased: list[str] = []

    async def erase(tx: Tx, lease_ids: Any) -> int:
        erased.extend(map(str, lease_ids))
        return 5 * len(lease_ids)

    async def purged_at(at: datetime) -> tuple[int, int]:
        return await house.db.transact(lambda tx: service.purge_due(tx, erase, policy, at, 500))

    end = house.clock.now() + timedelta(hours=73)
    await purged_at(end - timedelta(minutes=1))
    assert lease["lease_id"] not in erased
    erased.clear()
    count, messages = await purged_at(end + timedelta(minutes=1))
    assert lease["lease_id"] in erased
    assert (count, messages) == (len(erased), 5 * len(erased))
    assert await purged_at(end + timedelta(minutes=1)) == (0, 0)
    mark = "SELECT purged_at FROM leases WHERE id = $1"
    assert await kit_mail.value(house, mark, LeaseId.parse(lease["lease_id"])) is not None

"""Taking a group of mails with one statement: all of it or nothing, and exactly as much as the leases take."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from leasebox.leases import service as leases
from leasebox.leases.inbound import Inbound, Route, judge
from leasebox.leases.model import LeasePolicy
from leasebox.mail import intake_store
from leasebox.mail.intake_store import Load
from leasebox.mail.model import Recipient
from leasebox.mail.smtp_intake import Envelope, IncomingMail
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId
from leasebox.wiring import process
from tests import kit_mail
from tests.kit import House

shared_house = kit_mail.shared_house
CONTENT = b"Subject: x\r\n\r\n" + b"words \r\n" * 10
SIZE = len(CONTENT) + 1
_USED = "SELECT used_bytes, used_messages FROM leases WHERE id = $1"


def policy_of(house: House, **changes: Any) -> LeasePolicy:
    return msgspec.structs.replace(process.lease_policy(house.settings), **changes)


async def route_of(house: House, address: str) -> Route:
    return (await house.db.read(lambda tx: leases.routes(tx, [address])))[address]


async def take(house: House, routes: dict[str, Route], mails: Sequence[Sequence[str]], policy: LeasePolicy) -> bool:
    """Mails, each for some of the addresses."""
    now = house.clock.now()
    loads = {address: Load(address, route) for address, route in routes.items()}
    batch = []
    for addresses in mails:
        to = tuple(addresses)
        envelope = Envelope("a@shop.example", to, to, "client.example", "192.0.2.1", "ESMTP", None, False)
        mail = IncomingMail(envelope, now, b"T", CONTENT)
        for each in addresses:
            loads[each].add(SIZE)
        found = [routes[each] for each in addresses]
        recipients = [Recipient(MessageId.new(now), one.lease_id, one.mailbox_id, one.tenant_id) for one in found]
        batch.append((mail, MessageId.new(now), tuple(recipients)))
    return await house.db.at_once(lambda tx: intake_store.take(tx, loads.values(), batch, policy, now))


async def stored(house: House) -> int:
    return int(await kit_mail.value(house, "SELECT count(*) FROM mails"))


async def used(house: House, route: Route) -> tuple[int, int]:
    (row,) = await kit_mail.rows(house, _USED, route.lease_id)
    return row["used_bytes"], row["used_messages"]


async def test_a_group_is_stored_and_counted(shared_house: House) -> None:
    agent, other = await shared_house.agent(), await shared_house.agent()
    mine, theirs = (await agent.lease())["address"], (await other.lease())["address"]
    routes = {each: await route_of(shared_house, each) for each in (mine, theirs)}
    before = await stored(shared_house)
    assert await take(shared_house, routes, [[mine], [mine, theirs], [mine]], policy_of(shared_house))
    assert await stored(shared_house) == before + 3
    assert await used(shared_house, routes[mine]) == (3 * SIZE, 3)
    assert await used(shared_house, routes[theirs]) == (SIZE, 1)
    rows = await kit_mail.rows(
        shared_house, "SELECT * FROM mails WHERE accepted_for @> $1", [{"lease_id": routes[theirs].lease_id}]
    )
    assert [len(row["accepted_for"]) for row in rows] == [2]
    assert (rows[0]["trace"], rows[0]["content"], rows[0]["state"], rows[0]["tries"]) == (b"T", CONTENT, "pending", 0)
    assert (rows[0]["mail_from"], rows[0]["purpose"]) == ("a@shop.example", "lease")


CHANGES = {
    "released": "UPDATE leases SET state = 'released' WHERE id = $1",
    "paused": "UPDATE leases SET state = 'paused' WHERE id = $1",
    "frozen": "UPDATE leases SET frozen_at = started_at WHERE id = $1",
    "ended": "UPDATE leases SET expires_at = started_at WHERE id = $1",
    "full of bytes": "UPDATE leases SET used_bytes = 1048576 - 10 WHERE id = $1",
    "full of mails": "UPDATE leases SET used_messages = 5 WHERE id = $1",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_one_lease_that_takes_no_more_keeps_the_whole_group_out(shared_house: House, change: str) -> None:
    agent = await shared_house.agent()
    good, bad = (await agent.lease())["address"], (await agent.lease())["address"]
    routes = {each: await route_of(shared_house, each) for each in (good, bad)}
    policy = policy_of(shared_house, quota_bytes=1_048_576, quota_messages=5)
    await kit_mail.change(shared_house, CHANGES[change], routes[bad].lease_id)
    now, before = shared_house.clock.now(), await stored(shared_house)
    assert judge(await route_of(shared_house, bad), policy, now, SIZE) is not Inbound.TAKEN
    was = await used(shared_house, routes[bad])
    assert not await take(shared_house, routes, [[good], [bad]], policy)
    assert await stored(shared_house) == before
    assert (await used(shared_house, routes[good]), await used(shared_house, routes[bad])) == ((0, 0), was)
    assert await take(shared_house, {good: routes[good]}, [[good]], policy)


async def test_an_address_that_leads_elsewhere_by_now_takes_nothing(shared_house: House) -> None:
    agent = await shared_house.agent()
    first, second = await agent.lease(), await agent.lease()
    route, other = await route_of(shared_house, first["address"]), await route_of(shared_house, second["address"])
    now = shared_house.clock.now()
    for changes in (
        {"lease_id": other.lease_id},
        {"lease_id": LeaseId.new(now)},
        {"tenant_id": TenantId.new(now)},
        {"mailbox_id": MailboxId.new(now)},
    ):
        stale = msgspec.structs.replace(route, **changes)
        assert not await take(shared_house, {first["address"]: stale}, [[first["address"]]], policy_of(shared_house))
    assert await used(shared_house, other) == await used(shared_house, route) == (0, 0)


async def test_the_last_room_is_taken_to_the_byte(shared_house: House) -> None:
    address = (await (await shared_house.agent()).lease())["address"]
    routes = {address: await route_of(shared_house, address)}
    assert not await take(shared_house, routes, [[address]] * 2, policy_of(shared_house, quota_bytes=2 * SIZE - 1))
    assert await take(shared_house, routes, [[address]] * 2, policy_of(shared_house, quota_bytes=2 * SIZE))


async def test_of_many_groups_at_once_only_as_many_are_taken_as_fit(shared_house: House) -> None:
    agent = await shared_house.agent()
    one, two = (await agent.lease())["address"], (await agent.lease())["address"]
    routes = {each: await route_of(shared_house, each) for each in (one, two)}
    policy, before = policy_of(shared_house, quota_messages=7), await stored(shared_house)
    groups = [[[one], [two]] if number % 2 else [[two], [one]] for number in range(20)]
    taken = await asyncio.gather(*(take(shared_house, routes, group, policy) for group in groups))
    assert sum(taken) == 7
    assert await stored(shared_house) == before + 14
    assert [(await used(shared_house, each))[1] for each in routes.values()] == [7, 7]


async def test_it_sees_leases_also_where_its_connection_stood_behind_a_tenant(shared_house: House) -> None:
    address = (await (await shared_house.agent()).lease())["address"]
    routes = {address: await route_of(shared_house, address)}
    stranger = TenantId.new(shared_house.clock.now())
    await shared_house.db.read(lambda tx: tx.run(f"SET leasebox.tenant = '{stranger.hex}'"))
    try:
        assert await take(shared_house, routes, [[address]], policy_of(shared_house))
    finally:
        await shared_house.db.read(lambda tx: tx.run("SET leasebox.tenant = ''"))

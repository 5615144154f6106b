"""The life of leases as facts: one warning and one end each, whoever tells them, whatever happens meanwhile."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from leasebox.identity.model import Caller
from leasebox.leases import life, oversight
from leasebox.leases.life_jobs import tell_ends
from leasebox.leases.model import LeasePolicy
from leasebox.values.errors import NotFound
from leasebox.values.facts import LEASE_EXPIRED, LEASE_EXPIRING, LEASE_RELEASED
from leasebox.values.ids import LeaseId, MailboxId, SessionId, TenantId
from leasebox.wiring import process
from tests.kit import Agent, House
from tests.kit_mail import change, rows

LEASES = "/v2/mailboxes/leases"


async def told(house: House, lease: dict[str, Any]) -> list[str]:
    sql = "SELECT type FROM facts WHERE lease_id = $1 ORDER BY at, id"
    return [row["type"] for row in await rows(house, sql, LeaseId.parse(lease["lease_id"]))]


async def tell(house: House) -> int:
    return await tell_ends(house.db, house.clock)


def policy(house: House) -> LeasePolicy:
    return process.lease_policy(house.settings)


async def test_a_lease_is_told_to_end_soon_and_to_have_ended_once_each(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=1)
    house.clock.advance(minutes=54)
    assert await tell(house) == 0
    house.clock.advance(minutes=2)
    assert [await tell(house), await tell(house)] == [1, 0]
    assert await told(house, lease) == [LEASE_EXPIRING]
    house.clock.advance(minutes=5)
    assert [await tell(house), await tell(house)] == [1, 0]
    assert await told(house, lease) == [LEASE_EXPIRING, LEASE_EXPIRED]


async def test_the_facts_say_which_lease_and_when(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    house.clock.advance(minutes=56)
    await tell(house)
    (fact,) = await rows(house, "SELECT * FROM facts")
    assert fact["payload"] == {
        "lease_id": lease["lease_id"],
        "mailbox_id": lease["mailbox_id"],
        "expires_at": lease["expires_at"],
    }
    assert str(MailboxId.of(fact["mailbox_id"])) == lease["mailbox_id"]
    assert str(TenantId.of(fact["tenant_id"])) == agent.session["tenant_id"]


async def test_nobody_warns_of_an_end_that_has_come(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    house.clock.advance(hours=2)
    assert await tell(house) == 1
    assert await told(house, lease) == [LEASE_EXPIRED]


async def test_a_renewal_cancels_the_end_and_brings_a_new_warning(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=1)
    house.clock.advance(minutes=56)
    await tell(house)
    answer = await agent.http.post(f"{LEASES}/{lease['lease_id']}/renew", json={"ttl_hours": 2})
    assert answer.status_code == 200, answer.text
    house.clock.advance(minutes=10)
    assert await tell(house) == 0
    house.clock.advance(minutes=106)
    assert await tell(house) == 1
    house.clock.advance(minutes=10)
    assert await tell(house) == 1
    assert await told(house, lease) == [LEASE_EXPIRING, LEASE_EXPIRING, LEASE_EXPIRED]


async def test_a_renewal_that_changes_nothing_warns_of_nothing_anew(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=2)
    house.clock.advance(minutes=116)
    agent = await house.agent(agent.wallet)
    assert await tell(house) == 1
    await agent.http.post(f"{LEASES}/{lease['lease_id']}/pause")
    assert await tell(house) == 0
    sooner = timedelta(seconds=1)
    now = house.clock.now()
    caller = caller_of(agent)
    renewed = await house.db.transact(
        lambda tx: _renew(tx, caller, LeaseId.parse(lease["lease_id"]), sooner, policy(house), now)
    )
    assert renewed.expires_at.isoformat().replace("+00:00", "Z") == lease["expires_at"]
    assert await tell(house) == 0
    assert await told(house, lease) == [LEASE_EXPIRING]


async def _renew(tx: Any, caller: Caller, lease_id: LeaseId, ttl: timedelta, rules: LeasePolicy, now: Any) -> Any:
    from leasebox.leases import service

    return await service.renew(tx, caller, lease_id, ttl, rules, now, "req")


def caller_of(agent: Agent) -> Caller:
    tenant, session = TenantId.parse(agent.session["tenant_id"]), SessionId(int=1)
    return Caller(tenant, None, session, frozenset(), None, None, None, None, "active")


async def test_a_lease_that_was_told_to_have_ended_is_not_renewed(house: House) -> None:
    """Its worker's clock may be a little ahead of the one that renews."""
    agent = await house.agent()
    lease = await agent.lease()
    house.clock.advance(minutes=61)
    await tell(house)
    house.clock.advance(minutes=-2)
    answer = await agent.http.post(f"{LEASES}/{lease['lease_id']}/renew", json={"ttl_hours": 1})
    assert answer.status_code == 503, answer.text
    assert await told(house, lease) == [LEASE_EXPIRED]


@pytest.mark.parametrize("how", ["lease", "mailbox"])
async def test_giving_up_is_told_in_the_same_transaction(house: House, how: str) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    if how == "lease":
        answers = [await agent.http.post(f"{LEASES}/{lease['lease_id']}/release") for _ in range(2)]
        assert [each.status_code for each in answers] == [202, 202]
    else:
        assert (await agent.http.delete(f"/v2/mailboxes/accounts/{lease['account_id']}")).status_code == 204
    assert await told(house, lease) == [LEASE_RELEASED]
    house.clock.advance(hours=2)
    assert await tell(house) == 0


async def test_what_an_operator_takes_back_is_told_too(house: House) -> None:
    agent = await house.agent()
    leases = [await agent.lease() for _ in range(3)]
    now = house.clock.now()
    first = LeaseId.parse(leases[0]["lease_id"])
    frozen = LeaseId.parse(leases[1]["lease_id"])
    await change(house, "UPDATE leases SET frozen_at = started_at WHERE id = $1", frozen)
    for lease_id in (first, first, frozen):
        await house.db.transact(
            lambda tx, one=lease_id: oversight.release(  # type: ignore[misc]
                tx, one, "note", policy(house), actor="adm", at=now, request_id="req"
            )
        )
    tenant = TenantId.parse(agent.session["tenant_id"])
    assert await house.db.transact(lambda tx: oversight.release_all(tx, tenant, policy(house), now)) == 1
    assert [await told(house, each) for each in leases] == [[LEASE_RELEASED]] * 3


async def test_a_lease_ends_once_even_when_given_up_after_its_end(house: House) -> None:
    agent = await house.agent()
    told_before, told_after = await agent.lease(), await agent.lease()
    house.clock.advance(minutes=59)
    agent = await house.agent(agent.wallet)
    house.clock.advance(minutes=2)
    await agent.http.post(f"{LEASES}/{told_after['lease_id']}/release")
    await tell(house)
    await agent.http.post(f"{LEASES}/{told_before['lease_id']}/release")
    await tell(house)
    assert await told(house, told_before) == [LEASE_EXPIRED]
    assert await told(house, told_after) == [LEASE_RELEASED]


async def test_two_workers_renewals_and_releases_at_once_tell_each_end_once(house: House) -> None:
    agent = await house.agent()
    leases = await asyncio.gather(*(agent.lease(ttl_hours=1) for _ in range(5)))
    house.clock.advance(minutes=61)
    agent = await house.agent(agent.wallet)
    released = [agent.http.post(f"{LEASES}/{each['lease_id']}/release") for each in leases[:2]]
    await asyncio.gather(*(tell_ends(house.db, house.clock, batch=1) for _ in range(4)), *released)
    await tell(house)
    ends = [await told(house, each) for each in leases]
    assert all(len(each) == 1 for each in ends), ends
    assert {each[0] for each in ends[2:]} == {LEASE_EXPIRED}


async def test_mailboxes_know_when_their_last_lease_ended(house: House) -> None:
    agent = await house.agent()
    first, second = await agent.lease(), await agent.lease()
    tenant = TenantId.parse(agent.session["tenant_id"])
    boxes = [MailboxId.parse(each["mailbox_id"]) for each in (first, second)]

    async def end(*which: MailboxId) -> Any:
        return await house.db.read(lambda tx: life.last_end(tx, tenant, which))

    await agent.http.post(f"{LEASES}/{first['lease_id']}/release")
    assert await end(boxes[0]) is not None
    assert await end(*boxes) is None
    house.clock.advance(minutes=61)
    assert await end(*boxes) is None  # nobody has been told yet
    await tell(house)
    assert (await end(*boxes)).isoformat().replace("+00:00", "Z") == second["expires_at"]
    assert await end() is None


async def test_mailboxes_that_a_caller_may_hear_of(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    own, erased, theirs = await agent.lease(), await agent.lease(), await other.lease()
    await agent.http.delete(f"/v2/mailboxes/accounts/{erased['account_id']}")
    boxes = {name: MailboxId.parse(each["mailbox_id"]) for name, each in
             {"own": own, "erased": erased, "theirs": theirs}.items()}  # fmt: skip
    caller = caller_of(agent)
    limited = Caller(caller.tenant_id, None, caller.credential_id, frozenset(), frozenset({boxes["own"]}), None, None,
                     None, "active")  # fmt: skip

    async def may(who: Caller, *names: str) -> bool:
        try:
            await house.db.read(lambda tx: life.require_mailboxes(tx, who, [boxes[name] for name in names]))
        except NotFound:
            return False
        return True

    assert await may(caller)
    assert await may(caller, "own", "erased", "own")
    assert not await may(caller, "own", "theirs")
    assert await may(limited, "own")
    assert not await may(limited, "own", "erased")

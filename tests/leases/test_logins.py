"""A mailbox's own credentials: what they open, and what ends them."""

from typing import Any

import pytest

from leasebox.leases import logins
from leasebox.leases.logins import Login, Standing
from leasebox.values.ids import LeaseId, TenantId
from leasebox.values.secret import Secret
from tests.kit import Agent, House
from tests.kit_mail import change


async def found(house: House, lease: dict[str, Any]) -> Login:
    login = await house.db.read(lambda tx: logins.find(tx, lease["webmail_login"]))
    assert login is not None
    return login


@pytest.fixture
async def agent(house: House) -> Agent:
    return await house.agent()


@pytest.fixture
async def lease(agent: Agent) -> dict[str, Any]:
    return await agent.lease()


async def test_the_leased_address_and_its_password(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    login = await found(house, lease)
    assert logins.opens(login, Secret(lease["webmail_password"]))
    assert not logins.opens(login, Secret("wrong"))
    assert not logins.opens(None, Secret("nobody has this password"))
    assert login.standing(house.clock.now()) is Standing.GOOD
    assert await house.db.read(lambda tx: logins.find(tx, "nobody@inbox.leasebox.test")) is None
    assert lease["webmail_password"] not in repr(login)
    assert "argon2" not in repr(login)


@pytest.mark.parametrize(
    ("sql", "standing"),
    [
        ("UPDATE leases SET state = 'released' WHERE id = $1", Standing.GONE),
        ("UPDATE leases SET expires_at = started_at WHERE id = $1", Standing.GONE),
        ("UPDATE leases SET state = 'paused' WHERE id = $1", Standing.PAUSED),
        ("UPDATE leases SET frozen_at = started_at WHERE id = $1", Standing.FROZEN),
        ("UPDATE leases SET frozen_at = started_at, state = 'paused' WHERE id = $1", Standing.FROZEN),
        ("UPDATE leases SET password_set_at = started_at + interval '1 s' WHERE id = $1", Standing.GONE),
    ],
)
async def test_what_a_session_is_worth_then(house: House, lease: dict[str, Any], sql: str, standing: Standing) -> None:
    before = await found(house, lease)
    await change(house, sql, LeaseId.parse(lease["lease_id"]))
    now = await found(house, lease)
    assert before.still(now, house.clock.now()) is standing


@pytest.mark.parametrize("status", ["suspended", "closed"])
async def test_a_tenant_that_may_act_no_more(house: House, agent: Agent, lease: dict[str, Any], status: str) -> None:
    tenant = TenantId.parse(agent.session["tenant_id"])
    await change(house, "UPDATE tenants SET status = $2 WHERE id = $1", tenant, status)
    assert (await found(house, lease)).standing(house.clock.now()) is Standing.INACTIVE


async def test_an_agent_that_may_act_no_more(house: House, lease: dict[str, Any]) -> None:
    await change(house, "UPDATE agents SET status = 'disabled'")
    assert (await found(house, lease)).standing(house.clock.now()) is Standing.INACTIVE


async def test_the_clock_ends_it(house: House, lease: dict[str, Any]) -> None:
    login = await found(house, lease)
    house.clock.advance(hours=1)
    assert login.still(login, house.clock.now()) is Standing.GONE


async def test_a_newer_lease_is_another_login(house: House, agent: Agent) -> None:
    first = await agent.lease(local_part="again")
    before = await found(house, first)
    await agent.http.post(f"/v2/mailboxes/leases/{first['lease_id']}/release")
    house.clock.advance(seconds=1)
    await agent.lease(local_part="again")
    assert before.still(await found(house, first), house.clock.now()) is Standing.GONE
    assert before.still(None, house.clock.now()) is Standing.GONE


async def test_as_a_caller_it_reaches_its_mailbox_only(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    caller = (await found(house, lease)).caller("mail:send")
    assert (str(caller.tenant_id), caller.actor) == (agent.session["tenant_id"], agent.agent_id)
    assert (caller.scopes, {str(each) for each in caller.mailbox_ids or ()}) == ({"mail:send"}, {lease["mailbox_id"]})

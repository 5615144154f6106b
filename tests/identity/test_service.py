"""Verbs of identity on a real database: what they write, whom they refuse."""

from datetime import timedelta

import pytest
from eth_account import Account

from leasebox.identity import service
from leasebox.identity.errors import AgentDisabled, OwnAgent, TenantInactive
from leasebox.identity.model import SCOPES, Caller, Session, Signer
from leasebox.values.errors import NotFound, Unprocessable
from leasebox.values.ids import AgentId, KeyId, SessionId, TenantId
from tests.kit import House

SIGNER = Signer(Account.create().address, 84532, "sign-in")


async def signed_in(house: House, who: Signer = SIGNER) -> Session:
    return await house.db.transact(lambda tx: service.sign_in(tx, who, house.clock.now(), "req_1"))


def caller_of(session: Session) -> Caller:
    now = session.expires_at
    return Caller(
        session.tenant_id,
        session.agent_id,
        SessionId.new(now),
        frozenset(SCOPES),
        None,
        session.signer.address,
        84532,
        now,
        "active",
    )


async def test_the_first_sign_in_makes_tenant_wallet_and_agent(house: House) -> None:
    assert await house.db.at_once(lambda tx: service.sign_in_known(tx, SIGNER, house.clock.now(), "req_1")) is None
    first = await signed_in(house)
    assert await house.db.at_once(lambda tx: service.sign_in_known(tx, SIGNER, house.clock.now(), "req_1")) is not None
    again = await signed_in(house)
    assert (first.newcomer, again.newcomer) == (True, False)
    assert (first.tenant_id, first.agent_id) == (again.tenant_id, again.agent_id)
    assert first.token != again.token
    assert first.expires_at - house.clock.now() <= timedelta(hours=1)
    row = await house.db.read(lambda tx: tx.one("SELECT name, wallet_address FROM agents"))
    assert row is not None
    assert row["wallet_address"] == SIGNER.address.lower()
    assert row["name"].startswith(SIGNER.address[:6].lower())


async def test_a_wallets_spelling_does_not_matter(house: House) -> None:
    first = await signed_in(house)
    shouted = Signer("0x" + SIGNER.address[2:].upper(), 1, "sign-in")
    assert (await signed_in(house, shouted)).tenant_id == first.tenant_id


async def test_a_sign_in_that_fails_leaves_nothing(house: House) -> None:
    await signed_in(house)
    await house.db.transact(lambda tx: tx.run("UPDATE tenants SET status = 'closed'"))
    with pytest.raises(TenantInactive):
        await signed_in(house)
    await house.db.transact(lambda tx: tx.run("UPDATE tenants SET status = 'active'"))
    await house.db.transact(lambda tx: tx.run("UPDATE agents SET status = 'disabled'"))
    with pytest.raises(AgentDisabled) as refused:
        await signed_in(house)
    assert refused.value.fields["agent_id"].startswith("agt_")
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM sessions")) == 1


async def test_sessions_that_are_over_are_forgotten(house: House) -> None:
    await signed_in(house)
    house.clock.advance(hours=2)
    await signed_in(house)
    now = house.clock.now()
    assert await house.db.transact(lambda tx: service.forget_sessions(tx, now)) == 1
    assert await house.db.transact(lambda tx: service.forget_sessions(tx, now)) == 0
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM sessions")) == 1


async def test_an_api_key_does_not_sign_out(house: House) -> None:
    caller = caller_of(await signed_in(house))
    key = Caller(caller.tenant_id, None, KeyId.new(house.clock.now()), frozenset(), None, None, None, None, "active")
    with pytest.raises(Unprocessable):
        await house.db.transact(lambda tx: service.sign_out(tx, key, house.clock.now(), "req"))


async def test_agents_of_others_are_not_there(house: House) -> None:
    mine = caller_of(await signed_in(house))
    other = caller_of(await signed_in(house, Signer(Account.create().address, 84532, "sign-in")))
    assert other.agent_id is not None
    theirs = other.agent_id
    for verb in (
        lambda tx: service.require_agent(tx, mine.tenant_id, theirs),
        lambda tx: service.change_agent(tx, mine, theirs, "x", None, house.clock.now(), "req"),
        lambda tx: service.require_agent(tx, mine.tenant_id, AgentId.new(house.clock.now())),
        lambda tx: service.require_agent(tx, TenantId.new(house.clock.now()), theirs),
    ):
        with pytest.raises(NotFound):
            await house.db.transact(verb)  # type: ignore[arg-type]


async def test_a_disabled_agent_is_no_agent_to_lease_for(house: House) -> None:
    caller = caller_of(await signed_in(house))
    now = house.clock.now()
    made = await house.db.transact(lambda tx: service.make_agent(tx, caller, "task", now, "req"))
    await house.db.read(lambda tx: service.require_agent(tx, caller.tenant_id, made.agent_id))
    await house.db.transact(lambda tx: service.change_agent(tx, caller, made.agent_id, None, "disabled", now, "req"))
    with pytest.raises(NotFound):
        await house.db.read(lambda tx: service.require_agent(tx, caller.tenant_id, made.agent_id))


async def test_nobody_disables_itself(house: House) -> None:
    caller = caller_of(await signed_in(house))
    own = caller.agent_id
    assert own is not None
    with pytest.raises(OwnAgent):
        await house.db.transact(
            lambda tx: service.change_agent(tx, caller, own, None, "disabled", house.clock.now(), "req")
        )

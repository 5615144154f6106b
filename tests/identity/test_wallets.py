"""A tenant's wallets: bound once, to one tenant, the last one stays, and a removed one leaves no session behind."""

import asyncio

import pytest
from eth_account import Account

from leasebox.identity import service, wallets
from leasebox.identity.errors import LastWallet, WalletsBySession, WalletTaken
from leasebox.identity.model import Caller, Session, Signer
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound
from leasebox.values.ids import KeyId, SessionId
from tests.kit import House


def signer() -> Signer:
    return Signer(Account.create().address, 84532, "test")


async def signed_in(house: House, who: Signer) -> Session:
    return await house.db.transact(lambda tx: service.sign_in(tx, who, house.clock.now(), "req"))


async def caller_of(house: House, who: Signer) -> Caller:
    session = await signed_in(house, who)
    row = await house.db.read(lambda tx: tx.one("SELECT id FROM sessions WHERE agent_id = $1", session.agent_id))
    assert row is not None
    return Caller(
        session.tenant_id,
        session.agent_id,
        SessionId.of(row["id"]),
        frozenset(),
        None,
        who.address,
        84532,
        None,
        "active",
    )


async def bind(house: House, caller: Caller, who: Signer) -> None:
    await house.db.transact(lambda tx: wallets.bind_wallet(tx, caller, who, house.clock.now(), "req"))


async def unbind(house: House, caller: Caller, who: Signer) -> None:
    await house.db.transact(lambda tx: wallets.unbind_wallet(tx, caller, who.address, house.clock.now(), "req"))


async def addresses(house: House, caller: Caller) -> list[str]:
    return [each.address for each in await house.db.read(lambda tx: wallets.list_wallets(tx, caller.tenant_id))]


async def test_binding_is_once_however_often(house: House) -> None:
    first, second = signer(), signer()
    caller = await caller_of(house, first)
    house.clock.advance(seconds=1)
    await asyncio.gather(*(bind(house, caller, second) for _ in range(10)))
    assert await addresses(house, caller) == [first.address, second.address]
    acts = await house.db.read(lambda tx: tx.value("SELECT count(*) FROM audit_rows WHERE action = 'wallet.bind'"))
    assert acts == 1


async def test_of_two_tenants_that_bind_one_wallet_at_once_one_gets_it(house: House) -> None:
    callers, wanted = [await caller_of(house, signer()) for _ in range(8)], signer()
    found = await asyncio.gather(*(bind(house, each, wanted) for each in callers), return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["NoneType"] + ["WalletTaken"] * 7


async def test_a_bound_wallet_signs_in_as_the_tenant_and_one_of_another_is_taken(house: House) -> None:
    caller, second, other = await caller_of(house, signer()), signer(), signer()
    await bind(house, caller, second)
    assert (await signed_in(house, second)).tenant_id == caller.tenant_id
    await signed_in(house, other)
    with pytest.raises(WalletTaken):
        await bind(house, caller, other)


async def test_removing_ends_its_sessions_and_frees_it(house: House) -> None:
    first, second = signer(), signer()
    caller = await caller_of(house, first)
    await bind(house, caller, second)
    await signed_in(house, second)
    await unbind(house, caller, second)
    with pytest.raises(NotFound):
        await unbind(house, caller, second)
    assert await live_sessions(house, second) == 0
    assert await live_sessions(house, first) == 1
    assert (await signed_in(house, second)).tenant_id != caller.tenant_id, "from now on it is a tenant of its own"


async def live_sessions(house: House, who: Signer) -> int:
    sql = "SELECT count(*) FROM sessions WHERE lower(wallet_address) = lower($1) AND revoked_at IS NULL"
    return int(await house.db.read(lambda tx: tx.value(sql, who.address)))


async def test_a_sign_in_under_way_leaves_no_session_behind(house: House) -> None:
    """The sign-in has found the tenant but not committed yet when the wallet is removed."""
    first, second = signer(), signer()
    caller = await caller_of(house, first)
    await bind(house, caller, second)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await service.sign_in(tx, second, house.clock.now(), "req")
        begun.set()
        await may_end.wait()

    signing = asyncio.create_task(house.db.transact(slow))
    await begun.wait()
    removing = asyncio.create_task(unbind(house, caller, second))
    await asyncio.sleep(0.1)
    assert not removing.done()
    may_end.set()
    await asyncio.gather(signing, removing)
    assert await live_sessions(house, second) == 0


async def test_signing_in_binding_and_removing_at_once_never_deadlock_nor_lose_the_last(house: House) -> None:
    first, others = signer(), [signer() for _ in range(4)]
    caller = await caller_of(house, first)
    for each in others:
        await bind(house, caller, each)
    work = [unbind(house, caller, each) for each in (first, *others)]
    work += [signed_in(house, each) for each in others]  # type: ignore[misc]
    found = await asyncio.gather(*work, return_exceptions=True)
    assert {type(each) for each in found if isinstance(each, Exception)} <= {LastWallet, NotFound}
    assert len(await addresses(house, caller)) == 1


async def test_the_last_one_stays(house: House) -> None:
    only = signer()
    caller = await caller_of(house, only)
    with pytest.raises(LastWallet):
        await unbind(house, caller, only)


async def test_an_api_key_binds_a_first_wallet_only(house: House) -> None:
    caller = await caller_of(house, only := signer())
    key = Caller(
        caller.tenant_id, caller.agent_id, KeyId.new(house.clock.now()), frozenset(), None, None, None, None, "active"
    )
    for verb in (bind, unbind):
        with pytest.raises(WalletsBySession):
            await verb(house, key, only)
    await house.db.transact(lambda tx: tx.run("DELETE FROM wallets"))
    await bind(house, key, first := signer())
    assert await addresses(house, key) == [first.address], "a tenant without any wallet gets its first one"
    with pytest.raises(WalletsBySession):
        await bind(house, key, signer())

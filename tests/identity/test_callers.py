"""From a bearer token to a caller: remembered for less than a second, never longer, never without bound."""

import asyncio

import pytest

from leasebox.identity import callers as module
from leasebox.identity.callers import Callers
from leasebox.identity.errors import TenantInactive
from leasebox.infra.db import Database
from leasebox.values.errors import Unauthorized
from leasebox.values.secret import Secret, fingerprint
from tests.kit import House


class Counting(Database):
    """A database that counts how often it is asked."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self.asked = 0

    async def read(self, body):  # type: ignore[no-untyped-def]
        self.asked += 1
        return await self._real.read(body)


@pytest.fixture
def counting(house: House) -> Counting:
    return Counting(house.db)


@pytest.fixture
def callers(house: House, counting: Counting) -> Callers:
    return Callers(counting, house.clock)


async def bearer(house: House) -> str:
    return f"Bearer {(await house.agent()).session['access_token']}"


async def test_a_token_is_looked_up_once_a_second_at_most(house: House, callers: Callers, counting: Counting) -> None:
    header = await bearer(house)
    found = await asyncio.gather(*(callers.resolve(header) for _ in range(3)))
    first = counting.asked
    for _ in range(50):
        assert await callers.resolve(header) == found[0]
    assert counting.asked == first
    house.clock.advance(seconds=1)
    await callers.resolve(header)
    assert counting.asked == first + 1


async def test_a_clock_that_steps_back_trusts_nothing_old(house: House, callers: Callers, counting: Counting) -> None:
    header = await bearer(house)
    await callers.resolve(header)
    house.clock.advance(seconds=-600)
    await callers.resolve(header)
    assert counting.asked == 2


async def test_forgetting_is_at_once(house: House, callers: Callers) -> None:
    header = await bearer(house)
    caller = await callers.resolve(header)
    await house.db.transact(lambda tx: tx.run("UPDATE sessions SET revoked_at = now()"))
    assert await callers.resolve(header) == caller, "remembered"
    callers.forget(fingerprint(Secret(header.removeprefix("Bearer "))))
    with pytest.raises(Unauthorized):
        await callers.resolve(header)


async def test_forgetting_by_credential_is_too(house: House, callers: Callers) -> None:
    header = await bearer(house)
    caller = await callers.resolve(header)
    await house.db.transact(lambda tx: tx.run("DELETE FROM sessions"))
    callers.forget_credential(caller.credential_id)
    with pytest.raises(Unauthorized):
        await callers.resolve(header)


async def test_what_is_no_token_is_refused_without_a_look(callers: Callers, counting: Counting) -> None:
    for header in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "Bearer x",
        "Bearer lbs_" + "a" * 42,
        "lbs_" + "a" * 43,
    ):
        with pytest.raises(Unauthorized):
            await callers.resolve(header)
    assert counting.asked == 0


async def test_the_scheme_is_read_in_any_case(house: House, callers: Callers) -> None:
    token = (await house.agent()).session["access_token"]
    first = await callers.resolve(f"Bearer {token}")
    assert await callers.resolve(f"bearer   {token}") == first


async def test_unknown_tokens_are_not_remembered(callers: Callers, counting: Counting) -> None:
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await callers.resolve("Bearer lbs_" + "a" * 43)
    assert counting.asked == 2, "one that is made now must be good at once"
    assert len(callers._seen) == 0


async def test_memory_is_bounded(house: House, callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    headers = [await bearer(house) for _ in range(5)]
    for header in headers:
        await callers.resolve(header)
    assert len(callers._seen) == 3


async def test_a_suspended_tenant_is_told_so_within_a_second(house: House, callers: Callers) -> None:
    header = await bearer(house)
    await callers.resolve(header)
    await house.db.transact(lambda tx: tx.run("UPDATE tenants SET status = 'suspended'"))
    house.clock.advance(seconds=1)
    with pytest.raises(TenantInactive):
        await callers.resolve(header)

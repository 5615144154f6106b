"""SQL of custom domains: guarded statements under concurrency, and the index behind them."""

import asyncio
from datetime import datetime, timedelta

import asyncpg
import pytest

from leasebox.leases import domains_store as store
from leasebox.leases.domains_model import Domain, Finding
from leasebox.values.ids import DomainId, TenantId
from tests.kit import House
from tests.kit_mail import change, value


async def tenant(house: House) -> TenantId:
    return TenantId.parse((await house.agent()).session["tenant_id"])


async def add(house: House, tenant_id: TenantId, name: str, cap: int = 25) -> Domain | None:
    at = house.clock.now()
    return await house.db.transact(lambda tx: store.insert(tx, DomainId.new(at), tenant_id, name, "token", at, cap))


async def added(house: House, tenant_id: TenantId, name: str) -> Domain:
    made = await add(house, tenant_id, name)
    assert made is not None
    return made


async def verify(house: House, domain: Domain) -> Domain | None:
    at = house.clock.now()
    return await house.db.transact(lambda tx: store.verify(tx, domain.tenant_id, domain.domain_id, at))


async def test_the_cap_of_waiting_domains_holds_under_a_rush(house: House) -> None:
    mine, theirs = await tenant(house), await tenant(house)
    made = await asyncio.gather(*(add(house, mine, f"d{number}.test", 5) for number in range(30)))
    assert sum(each is not None for each in made) == 5
    assert await house.db.read(lambda tx: store.count_pending(tx, mine)) == 5
    assert await add(house, theirs, "d0.test", 5) is not None, "another tenant's cap is its own"


async def test_of_one_name_added_at_once_one_row_is_made(house: House) -> None:
    mine = await tenant(house)
    made = await asyncio.gather(*(add(house, mine, "one.test") for _ in range(10)))
    assert sum(each is not None for each in made) == 1


async def test_the_index_has_the_last_word_about_a_name(house: House) -> None:
    first, second = [await added(house, await tenant(house), "one.test") for _ in range(2)]
    assert await verify(house, first) is not None
    assert await verify(house, first) is None, "again: nothing"
    assert await verify(house, second) is None
    with pytest.raises(asyncpg.UniqueViolationError):
        await change(house, "UPDATE domains SET state = 'verified' WHERE id = $1", second.domain_id)


async def test_a_name_is_lost_only_after_enough_checks_over_enough_time(house: House) -> None:
    domain = await added(house, await tenant(house), "one.test")
    await verify(house, domain)
    start = house.clock.now()

    async def miss(at: datetime) -> None:
        noted = await house.db.transact(lambda tx: store.note_missed(tx, domain.tenant_id, domain.domain_id, {}, at))
        assert noted is not None
        assert noted.missing_since == start

    async def lose(checks: int, before: datetime) -> bool:
        return (
            await house.db.transact(lambda tx: store.lose(tx, domain.tenant_id, domain.domain_id, checks, before))
            is not None
        )

    assert not await lose(0, start + timedelta(days=9)), "never missed"
    for hours in (0, 1):
        await miss(start + timedelta(hours=hours))
    assert not await lose(3, start)
    assert not await lose(2, start - timedelta(microseconds=1))
    assert await lose(2, start)
    assert not await lose(2, start), "again: nothing"


async def test_findings_are_kept_as_they_were_found(house: House) -> None:
    domain = await added(house, await tenant(house), "one.test")
    found = {"MX one.test": Finding("wrong", ("5 other.test",)), "TXT one.test": Finding("missing")}
    at = house.clock.now()
    noted = await house.db.transact(lambda tx: store.note_seen(tx, domain.tenant_id, domain.domain_id, found, at))
    assert noted is not None
    assert (noted.found, noted.checked_at, noted.missing_since) == (found, at, None)
    assert await house.db.read(lambda tx: store.find(tx, domain.tenant_id, domain.domain_id)) == noted
    await house.db.transact(lambda tx: store.note_own(tx, "own.test", found, at))
    later = at + timedelta(days=1)
    await house.db.transact(lambda tx: store.note_own(tx, "own.test", {}, later))
    assert await house.db.read(lambda tx: store.own(tx, ["own.test", "x.test"])) == {"own.test": ({}, later)}


async def test_every_statement_of_a_tenant_is_narrowed_by_it(house: House) -> None:
    domain, strange, at = await added(house, await tenant(house), "one.test"), await tenant(house), house.clock.now()
    wanted = domain.domain_id
    for nothing in (
        await house.db.read(lambda tx: store.find(tx, strange, wanted)),
        await house.db.read(lambda tx: store.find_by_name(tx, strange, "one.test")),
        await house.db.transact(lambda tx: store.note_seen(tx, strange, wanted, {}, at)),
        await house.db.transact(lambda tx: store.note_missed(tx, strange, wanted, {}, at)),
        await house.db.transact(lambda tx: store.verify(tx, strange, wanted, at)),
        await house.db.transact(lambda tx: store.unverify(tx, strange, wanted)),
    ):
        assert nothing is None
    assert await house.db.read(lambda tx: store.listed(tx, strange, None, 9)) == []
    assert await house.db.transact(lambda tx: store.delete(tx, strange, wanted)) == 0
    assert not await house.db.transact(lambda tx: store.hold(tx, strange, "one.test"))
    assert await value(house, "SELECT count(*) FROM domains") == 1


async def test_only_verified_domains_that_nobody_looked_at_are_due(house: House) -> None:
    mine, at = await tenant(house), house.clock.now()
    made = [await added(house, mine, f"d{number}.test") for number in range(4)]
    for each in made[:3]:
        await verify(house, each)
    await house.db.transact(lambda tx: store.note_seen(tx, mine, made[0].domain_id, {}, at))

    async def due(before: datetime, above: DomainId, limit: int) -> list[str]:
        return [each.name for each in await house.db.read(lambda tx: store.due(tx, before, above, limit))]

    lowest = DomainId(int=0)
    assert await due(at - timedelta(hours=1), lowest, 9) == ["d1.test", "d2.test"]
    assert await due(at, lowest, 9) == ["d0.test", "d1.test", "d2.test"]
    assert await due(at, lowest, 1) == ["d0.test"]
    assert await due(at, made[1].domain_id, 9) == ["d2.test"]

"""SQL of DKIM keys: one pair signs, one waits, and no statement touches another domain's."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from leasebox.infra.db import Tx
from leasebox.leases import dkim_store as store
from leasebox.leases import domains_store
from leasebox.leases.dkim_keys import ALGORITHMS, SealedKey
from leasebox.values.ids import DomainId, TenantId
from tests.kit import House

NAME, OTHER = "acme.test", "other.test"


def pair(stem: str, kid: str = "k1") -> list[SealedKey]:
    return [SealedKey(f"{stem}-{each}", each, kid, b"sealed", "AAAA") for each in ALGORITHMS]


async def add(house: House, name: str, stem: str, state: str = "signing", domain_id: DomainId | None = None) -> int:
    at = house.clock.now()
    return await house.db.transact(lambda tx: store.insert(tx, name, domain_id, state, pair(stem), at))


async def signing(house: House, name: str, tenant_id: TenantId | None = None) -> list[str]:
    return [each.selector for each in await house.db.read(lambda tx: store.signing(tx, name, tenant_id))]


async def published(house: House, own: Sequence[str], domain_ids: Sequence[DomainId] = ()) -> list[tuple[str, str]]:
    since = house.clock.now() - timedelta(days=7)
    found = await house.db.read(lambda tx: store.published(tx, domain_ids, own, since))
    return [(key.selector.partition("-")[0], key.state) for _, _, key in found if key.algorithm == "rsa-sha256"]


async def domain_of(house: House, name: str) -> tuple[TenantId, DomainId]:
    agent = await house.agent()
    tenant_id, at = TenantId.parse(agent.session["tenant_id"]), house.clock.now()

    async def verified(tx: Tx) -> DomainId:
        made = await domains_store.insert(tx, DomainId.new(at), tenant_id, name, "token", at, 5)
        assert made is not None
        await domains_store.verify(tx, tenant_id, made.domain_id, at)
        return made.domain_id

    return tenant_id, await house.db.transact(verified)


async def test_of_many_pairs_at_once_one_is_kept_whole(house: House) -> None:
    made = await asyncio.gather(*(add(house, NAME, f"s{number}") for number in range(12)))
    assert sorted(made) == [0] * 11 + [2]
    selectors = await signing(house, NAME)
    assert [each.partition("-")[2] for each in selectors] == list(ALGORITHMS)
    assert len({each.partition("-")[0] for each in selectors}) == 1
    assert await house.db.read(lambda tx: store.without_keys(tx, [NAME, OTHER])) == [OTHER]


async def test_waiting_keys_step_forward_and_the_others_back(house: House) -> None:
    await add(house, NAME, "old")
    await add(house, OTHER, "theirs")
    at = house.clock.now()
    assert await house.db.transact(lambda tx: store.advance(tx, NAME, None, at)) == 0
    assert [each.partition("-")[0] for each in await signing(house, NAME)] == ["old", "old"], "none waits, none goes"
    await add(house, NAME, "new", "waiting")
    assert await published(house, [NAME]) == [("old", "signing"), ("new", "waiting")]
    moved = await asyncio.gather(*(house.db.transact(lambda tx: store.advance(tx, NAME, None, at)) for _ in range(5)))
    assert sorted(moved) == [0, 0, 0, 0, 2]
    assert await published(house, [NAME]) == [("new", "signing"), ("old", "retired")]
    assert [each.partition("-")[0] for each in await signing(house, OTHER)] == ["theirs", "theirs"]
    house.clock.advance(days=8)
    assert await published(house, [NAME]) == [("new", "signing")]
    before = house.clock.now() - timedelta(days=7)
    assert await house.db.transact(lambda tx: store.forget(tx, before)) == 2


async def test_a_tenants_keys_and_our_own_of_one_name_stay_apart(house: House) -> None:
    await add(house, NAME, "ours")
    tenant_id, domain_id = await domain_of(house, NAME)
    await add(house, NAME, "mine", domain_id=domain_id)
    await add(house, NAME, "next", "waiting", domain_id)
    assert await published(house, [NAME]) == [("ours", "signing")]
    assert await published(house, [], [domain_id]) == [("mine", "signing"), ("next", "waiting")]
    assert {each.partition("-")[0] for each in await signing(house, NAME, tenant_id)} == {"mine"}
    assert {each.partition("-")[0] for each in await signing(house, NAME)} == {"ours"}, "of whoever's mail that is"
    at = house.clock.now()
    await house.db.transact(lambda tx: store.advance(tx, NAME, None, at))
    assert await published(house, [], [domain_id]) == [("mine", "signing"), ("next", "waiting")]
    await house.db.transact(lambda tx: store.advance(tx, NAME, domain_id, at))
    assert await published(house, [NAME]) == [("ours", "signing")]
    assert {each.partition("-")[0] for each in await signing(house, NAME, tenant_id)} == {"next"}


async def test_only_what_is_sealed_with_the_named_key_is_replaced(house: House) -> None:
    await add(house, NAME, "s")
    found = await house.db.read(lambda tx: store.sealed_otherwise(tx, "k2", None, 10))
    assert [(row.key[0], row.kid) for row in found] == [(NAME, "k1")] * 2
    first = found[0].key
    assert [row.key for row in await house.db.read(lambda tx: store.sealed_otherwise(tx, "k2", first, 10))] == [
        found[1].key
    ]
    await house.db.transact(lambda tx: store.reseal(tx, "k2", [found[0]._replace(sealed=b"anew")]))
    assert await house.db.read(store.by_key) == {"k1": 1, "k2": 1}
    assert len(await house.db.read(lambda tx: store.sealed_otherwise(tx, "k2", None, 10))) == 1
    assert {each.sealed for each in await house.db.read(lambda tx: store.signing(tx, NAME, None))} == {
        b"anew",
        b"sealed",
    }

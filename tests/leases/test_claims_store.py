"""SQL of claims: what is found, what decides, what is forgotten."""

from datetime import UTC, datetime, timedelta

import pytest

from leasebox.leases import claims_store as store
from leasebox.leases.claims_model import CLAIM_TTL, Claim, ClaimId
from tests.kit import House

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=365)


async def put(house: House, name: str = "ann", at: datetime = NOON) -> ClaimId:
    claim = Claim(
        ClaimId.new(at), name, "inbox.leasebox.test", "192.0.2.1", "pending", None, at, at + CLAIM_TTL, *(None,) * 6
    )
    await house.db.transact(
        lambda tx: store.insert(tx, claim, b"token", claim.claim_id.bytes, b"key", "lb_hint", b"sealed")
    )
    return claim.claim_id


async def test_both_id_and_token_must_fit(house: House) -> None:
    one, other = await put(house), await put(house)
    row = await house.db.read(lambda tx: store.find(tx, one, b"token", LONG_AGO))
    assert row is not None
    assert (row["id"], row["asked_from"], row["tenant_id"]) == (one, "192.0.2.1", None)
    assert await house.db.read(lambda tx: store.find(tx, one, b"other", LONG_AGO)) is None
    assert await house.db.read(lambda tx: store.find(tx, ClaimId.new(NOON), b"token", LONG_AGO)) is None
    by_link = await house.db.read(lambda tx: store.find_by_link(tx, other.bytes, LONG_AGO))
    assert by_link is not None
    assert by_link["id"] == other


async def test_what_ended_before_the_asked_moment_is_not_found(house: House) -> None:
    claim_id = await put(house)
    ended = NOON + CLAIM_TTL
    assert await house.db.read(lambda tx: store.find(tx, claim_id, b"token", ended)) is None
    assert await house.db.read(lambda tx: store.find_by_link(tx, claim_id.bytes, ended)) is None


@pytest.mark.parametrize("first", ["approve", "decline"])
async def test_the_first_decision_is_the_only_one(house: House, first: str) -> None:
    claim_id = await put(house)
    decide = getattr(store, first)
    assert await house.db.transact(lambda tx: decide(tx, claim_id, NOON))
    assert await house.db.transact(lambda tx: store.approve(tx, claim_id, NOON)) is None
    assert await house.db.transact(lambda tx: store.decline(tx, claim_id, NOON)) == 0


async def test_nothing_is_decided_after_the_end(house: House) -> None:
    claim_id, ended = await put(house), NOON + CLAIM_TTL
    assert await house.db.transact(lambda tx: store.approve(tx, claim_id, ended)) is None
    assert await house.db.transact(lambda tx: store.decline(tx, claim_id, ended)) == 0
    just_before = ended - timedelta(microseconds=1)
    row = await house.db.transact(lambda tx: store.approve(tx, claim_id, just_before))
    assert row is not None
    assert (row["state"], row["key_hash"], row["key_hint"]) == ("approved", b"key", "lb_hint")


async def test_a_taken_name_is_declined_by_the_same_statement(house: House) -> None:
    agent = await house.agent()
    await agent.lease(local_part="ann")
    at = house.clock.now()
    claim_id = await put(house, "ann", at)
    assert await house.db.read(lambda tx: store.is_taken(tx, "ann@inbox.leasebox.test", at))
    assert not await house.db.read(lambda tx: store.is_taken(tx, "bob@inbox.leasebox.test", at))
    row = await house.db.transact(lambda tx: store.approve(tx, claim_id, at))
    now = await house.db.read(lambda tx: store.again(tx, claim_id))
    assert row is not None
    assert now is not None
    assert (row["state"], now["reason"], now["decided_at"]) == ("declined", "address_taken", at)


async def test_a_name_that_is_held_or_was_generated_is_taken(house: House) -> None:
    agent = await house.agent()
    chosen, generated = await agent.lease(local_part="ann"), await agent.lease()
    for lease in (chosen, generated):
        await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
    later = house.clock.now() + timedelta(days=1)
    much_later = house.clock.now() + timedelta(days=91)
    assert await house.db.read(lambda tx: store.is_taken(tx, chosen["address"], later))
    assert not await house.db.read(lambda tx: store.is_taken(tx, chosen["address"], much_later))
    assert await house.db.read(lambda tx: store.is_taken(tx, generated["address"], much_later))


_KEY = """
INSERT INTO api_keys (id, token_hash, hint, tenant_id, name, scopes, made_by, created_at, awaited)
SELECT id, 'key', 'lb_hint', tenant_id, 'x', '{}', 'x', now(), true FROM agents LIMIT 1
"""


@pytest.mark.parametrize(
    "end", ["SELECT use_key('key')", "UPDATE api_keys SET revoked_at = now() WHERE hint = 'lb_hint'"]
)
async def test_a_key_is_collected_from_its_approval_until_it_is_used_or_gone(house: House, end: str) -> None:
    await house.agent()
    await house.db.transact(lambda tx: tx.run(_KEY))
    claim_id = await put(house)

    async def collect(token: bytes = b"token", decided_since: datetime = LONG_AGO) -> tuple[bytes, bool] | None:
        return await house.db.transact(lambda tx: store.collect(tx, claim_id, token, decided_since, NOON))

    assert await collect() is None
    await house.db.transact(lambda tx: store.approve(tx, claim_id, NOON))
    assert await collect(token=b"other") is None
    assert await collect(decided_since=NOON) is None
    assert [await collect(), await collect()] == [(b"sealed", True), (b"sealed", False)]
    await house.db.transact(lambda tx: tx.run(end))
    assert await collect() is None


async def test_old_claims_are_forgotten_a_few_at_a_time(house: House) -> None:
    for _ in range(3):
        await put(house)
    kept = await put(house, at=NOON + timedelta(hours=1))
    assert await house.db.transact(lambda tx: store.forget(tx, NOON + CLAIM_TTL, 2)) == 2
    assert await house.db.transact(lambda tx: store.forget(tx, NOON + CLAIM_TTL, 2)) == 1
    assert await house.db.read(lambda tx: tx.value("SELECT id FROM claims")) == kept

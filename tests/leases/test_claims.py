"""Verbs of claims: what an approval makes, what it makes only once, what is written down."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from leasebox.infra import db
from leasebox.leases import claims
from leasebox.leases.claims_errors import ClaimOver, NameTaken, NoSuchClaim
from leasebox.leases.claims_model import CLAIM_TTL, KEPT_FOR, ClaimOrder, Started
from leasebox.leases.claims_seal import new_token
from leasebox.leases.errors import AddressTaken
from leasebox.values.errors import LeaseboxError
from leasebox.values.secret import Secret
from leasebox.wiring.process import lease_policy
from tests.kit import House

DOMAIN = "inbox.leasebox.test"


async def start(house: House, name: str = "ann") -> Started:
    order, at = ClaimOrder(name, DOMAIN, "192.0.2.1"), house.clock.now()
    return await house.db.transact(lambda tx: claims.start(tx, order, at, "req_start"))


async def approve(house: House, started: Started, database: db.Database | None = None) -> Any:
    policy, at = lease_policy(house.settings), house.clock.now()
    return await (database or house.db).transact(
        lambda tx: claims.approve(tx, started.claim, policy, at, "req_approve")
    )


async def decline(house: House, started: Started) -> Any:
    at = house.clock.now()
    return await house.db.transact(lambda tx: claims.decline(tx, started.claim, at, "req_decline"))


async def collect(house: House, started: Started) -> Secret | None:
    at = house.clock.now()
    return await house.db.transact(lambda tx: claims.collect(tx, started.claim, started.token, at, "req_collect"))


async def count(house: House, table: str) -> int:
    return int(await house.db.read(lambda tx: tx.value(f"SELECT count(*) FROM {table}")))


async def attempted(step: Any) -> Any:
    try:
        return await step
    except LeaseboxError as refusal:
        return refusal


async def test_an_approval_makes_tenant_agent_lease_and_key_together(house: House) -> None:
    started = await start(house)
    assert await count(house, "tenants") == 0
    claim = await approve(house, started)
    assert claim.status(house.clock.now()) == "approved"
    assert claim.lease_expires_at == claim.decided_at + timedelta(hours=24)
    row = await house.db.read(
        lambda tx: tx.one(
            "SELECT k.tenant_id, k.agent_id, k.mailbox_ids, k.scopes, k.expires_at, m.address, l.agent_id AS lessee, "
            "t.status FROM api_keys k JOIN tenants t ON t.id = k.tenant_id JOIN leases l ON l.tenant_id = t.id "
            "JOIN mailboxes m ON m.id = l.mailbox_id"
        )
    )
    assert row is not None
    assert (row["tenant_id"], row["agent_id"], row["lessee"]) == (claim.tenant_id, claim.agent_id, claim.agent_id)
    assert row["mailbox_ids"] == [claim.mailbox_id]
    assert set(row["scopes"]) == {"mail:allocate", "mail:read", "mail:send", "keys:write"}
    assert (row["address"], row["status"], row["expires_at"]) == (f"ann@{DOMAIN}", "active", None)
    assert await count(house, "wallets") == 0


async def test_approving_again_gives_the_same_and_makes_nothing(house: House) -> None:
    started = await start(house)
    first = await approve(house, started)
    house.clock.advance(hours=1)
    assert await approve(house, started) == first
    assert await count(house, "tenants") == 1


async def test_of_fifty_approvals_at_once_on_two_pools_one_makes_a_tenant(house: House) -> None:
    started = await start(house)
    assert house.settings.database_url is not None
    other = await db.connect(house.settings.database_url.reveal(), at_most=8)
    try:
        made = await asyncio.gather(*(approve(house, started, (house.db, other)[n % 2]) for n in range(50)))
    finally:
        await other.close()
    assert len({claim.lease_id for claim in made}) == 1
    for table in ("tenants", "agents", "leases", "mailboxes", "api_keys"):
        assert await count(house, table) == 1


async def test_approving_races_with_declining(house: House) -> None:
    for number in range(10):
        started = await start(house, f"ann-{number}")
        one, two = await asyncio.gather(attempted(approve(house, started)), attempted(decline(house, started)))
        assert [type(each) for each in (one, two)].count(ClaimOver) == 1
    leases = await count(house, "leases")
    assert await count(house, "tenants") == leases
    assert await count(house, "claims WHERE state = 'approved'") == leases


async def test_two_claims_to_one_name_make_one_tenant(house: House) -> None:
    first, second = await start(house), await start(house)
    made = await asyncio.gather(attempted(approve(house, first)), attempted(approve(house, second)))
    assert await count(house, "tenants") == 1
    assert sum(getattr(each, "state", "") == "approved" for each in made) == 1
    loser, late = (second, made[1]) if getattr(made[0], "state", "") == "approved" else (first, made[0])
    if getattr(late, "state", "") != "declined":  # it lost in the very moment of leasing, and is still pending
        late = await approve(house, loser)
    assert (late.state, late.reason, late.lease_id) == ("declined", "address_taken", None)


async def test_a_name_leased_in_the_very_moment_leaves_the_claim_pending(house: House) -> None:
    """The lease is written but not committed when the approval looks; so it waits, loses, and undoes all it made."""
    agent, started = await house.agent(), await start(house)
    holding, let_go = asyncio.Event(), asyncio.Event()
    sql = (
        "INSERT INTO addresses SELECT $1, l.tenant_id, l.mailbox_id, l.id, 'chosen', l.expires_at, l.expires_at "
        "FROM leases l LIMIT 1"
    )
    await agent.lease()

    async def lessee(tx: db.Tx) -> None:
        await tx.run(sql, f"ann@{DOMAIN}")
        holding.set()
        await let_go.wait()

    leasing = asyncio.create_task(house.db.transact(lessee))
    await holding.wait()
    approving = asyncio.create_task(attempted(approve(house, started)))
    await asyncio.sleep(0.1)
    let_go.set()
    await leasing
    refusal = await approving
    assert isinstance(refusal, NameTaken)
    assert refusal.code == "address_taken"
    assert await count(house, "tenants") == 1
    assert await count(house, "claims WHERE state = 'pending'") == 1
    assert (await approve(house, started)).reason == "address_taken"


async def test_a_taken_name_cannot_be_asked_for(house: House) -> None:
    await approve(house, await start(house))
    with pytest.raises(AddressTaken):
        await start(house)


@pytest.mark.parametrize("step", [approve, decline])
async def test_nothing_is_decided_after_half_an_hour(house: House, step: Any) -> None:
    started = await start(house)
    house.clock.advance(minutes=30)
    with pytest.raises(ClaimOver) as caught:
        await step(house, started)
    assert caught.value.fields == {"claim_status": "expired"}
    assert await count(house, "tenants") == 0


async def test_a_decision_is_final(house: House) -> None:
    yes, no = await start(house, "ann"), await start(house, "bob")
    await approve(house, yes)
    declined = await decline(house, no)
    assert (declined.state, declined.reason) == ("declined", "by_person")
    assert await decline(house, no) == declined
    for step, started, status in ((decline, yes, "approved"), (approve, no, "declined")):
        with pytest.raises(ClaimOver) as caught:
            await step(house, started)
        assert caught.value.fields == {"claim_status": status}


async def test_the_key_is_the_same_each_time_until_it_is_used_and_then_it_is_gone(house: House) -> None:
    started = await start(house)
    assert await collect(house, started) is None
    await approve(house, started)
    keys = await asyncio.gather(*(collect(house, started) for _ in range(20)))
    (found,) = {key.reveal() for key in keys if key is not None}
    assert None not in keys
    assert await count(house, "audit_rows WHERE action = 'claim.collect'") == 1
    async with house.client({"authorization": f"Bearer {found}"}) as http:
        me = (await http.get("/v2/auth/me")).json()
    assert me["credential_type"] == "api_key"
    assert await count(house, "claims WHERE sealed_key IS NOT NULL") == 0
    assert await count(house, "api_keys WHERE awaited") == 0
    assert await collect(house, started) is None


async def test_a_key_that_nobody_uses_is_shown_for_a_day(house: House) -> None:
    started = await start(house)
    await approve(house, started)
    house.clock.advance(hours=23, minutes=59)
    assert await collect(house, started) is not None
    house.clock.advance(minutes=1)
    assert await collect(house, started) is None


async def test_neither_secret_nor_key_stands_in_the_database(house: House) -> None:
    started = await start(house)
    await approve(house, started)
    dump = ""
    for sql in (
        "SELECT t::text FROM claims t",
        "SELECT t::text FROM api_keys t",
        "SELECT t::text FROM audit_rows t",
    ):
        dump += str(await house.db.read(lambda tx, sql=sql: tx.all(sql)))  # type: ignore[misc]
    key = await collect(house, started)
    assert key is not None
    for secret in (started.token, started.link, key):
        assert secret.reveal() not in dump
        assert secret.reveal().encode().hex() not in dump
    assert started.claim.claim_id.hex in dump.replace("-", "")


async def test_secrets_fit_their_own_claim_only_and_for_a_day(house: House) -> None:
    one, other = await start(house, "ann"), await start(house, "bob")

    async def find(started: Started, token: Secret) -> Any:
        return await house.db.read(lambda tx: claims.find(tx, started.claim.claim_id, token, house.clock.now()))

    async def look(link: Secret) -> Any:
        return await house.db.read(lambda tx: claims.look(tx, link, house.clock.now()))

    assert await find(one, one.token) == await look(one.link) == one.claim
    for token in (other.token, new_token()):
        with pytest.raises(NoSuchClaim):
            await find(one, token)
    for link in (Secret(""), Secret("x" * 100), Secret(one.token.reveal()), Secret("0" * 40)):
        with pytest.raises(NoSuchClaim):
            await look(link)
    house.clock.advance(seconds=(CLAIM_TTL + KEPT_FOR).total_seconds())
    with pytest.raises(NoSuchClaim):
        await find(one, one.token)
    with pytest.raises(NoSuchClaim):
        await look(one.link)


async def test_old_claims_go_when_new_ones_come(house: House) -> None:
    started = await start(house)
    await approve(house, started)
    house.clock.advance(hours=24, minutes=31)
    await start(house, "bob")
    assert await count(house, "claims") == 1
    assert await count(house, "leases") == 1


async def test_every_step_is_audited_with_the_tenant_it_made(house: House) -> None:
    started = await start(house)
    claim = await approve(house, started)
    await approve(house, started)
    await collect(house, started)
    await decline(house, await start(house, "bob"))
    rows = await house.db.read(
        lambda tx: tx.all(
            "SELECT action, actor, tenant_id, outcome, request_id FROM audit_rows "
            "WHERE request_id LIKE 'req_%' ORDER BY id"
        )
    )
    told = {row["action"]: row for row in rows if row["action"] != "claim.start"}
    assert set(told) == {
        "tenant.create",
        "lease.grant",
        "api_key.create",
        "claim.approve",
        "claim.collect",
        "claim.decline",
    }
    assert len(rows) == len(told) + 2
    assert told["claim.approve"]["tenant_id"] == claim.tenant_id
    assert told["claim.approve"]["actor"] == f"claim:{claim.claim_id}"
    assert told["lease.grant"]["actor"] == str(claim.agent_id)
    assert {told[each]["request_id"] for each in ("tenant.create", "lease.grant", "api_key.create")} == {"req_approve"}

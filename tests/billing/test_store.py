"""The database's side of prices and proofs: what it keeps apart, and what it refuses by itself."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from leasebox.billing import store
from leasebox.billing.prices import DEFAULT_PRICES, Meter
from leasebox.infra.db import Database, Tx
from leasebox.values.ids import EventId
from tests.billing.payer import LEASE, READ, Payer
from tests.fakes.clock import FakeClock


async def test_ids_of_the_database_sort_like_ours(db: Database, clock: FakeClock) -> None:
    now = clock.now()
    made: uuid.UUID = await db.read(lambda tx: tx.value("SELECT id_at($1)", now))
    later: uuid.UUID = await db.read(lambda tx: tx.value("SELECT id_at($1)", now + timedelta(milliseconds=1)))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == EventId.new(now).int >> 80
    assert made < later


@pytest.mark.parametrize(
    ("span", "end"),
    [("hour", "2026-11-20 11:00+00"), ("day", "2026-11-21 00:00+00"), ("month", "2026-12-01 00:00+00")],
)
async def test_windows_are_utc_whatever_the_servers_zone(db: Database, span: str, end: str) -> None:
    async def body(tx: Tx) -> bool:
        await tx.run("SET LOCAL TIME ZONE 'Asia/Kolkata'")
        found: bool = await tx.value(
            "SELECT window_end($1, '2026-11-20 10:02:24+00') = $2::text::timestamptz", span, end
        )
        return found

    assert await db.transact(body)


async def test_versions_of_a_meter_are_numbered_on(db: Database, clock: FakeClock) -> None:
    price = DEFAULT_PRICES.of(Meter.MESSAGE_SEND)
    numbers = [await db.transact(lambda tx: store.add_price(tx, price, "x", clock.now())) for _ in range(2)]
    assert numbers == [2, 3]
    assert (await db.read(lambda tx: store.last_of_book(tx, "x"))) == {"message.send": price.digest()}


async def test_who_only_asks_at_an_exhausted_allowance_holds_nobody_up(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    for _ in range(5):
        await payer.use(now)
    text = await payer.text(now)

    async def asks(tx: Tx) -> int:
        row = await store.admit(tx, payer.caller, payer.demand(now, LEASE, None, 1), EventId.new(now), None)
        assert row["outcome"] == "unpaid"
        return (await asyncio.wait_for(payer.use(now, proof=text), 2)).paid_quantity

    assert await payer.db.transact(asks) == 1


async def test_meters_and_tenants_do_not_wait_for_one_another(payer: Payer, clock: FakeClock) -> None:
    now, other = clock.now(), await Payer.new(payer.db, clock.now())

    async def takes(tx: Tx) -> tuple[int, int]:
        await store.admit(tx, payer.caller, payer.demand(now, LEASE, None, 1), EventId.new(now), None)
        reading = await asyncio.wait_for(payer.use(now, READ), 2)
        stranger = await asyncio.wait_for(other.use(now), 2)
        return reading.free_quantity, stranger.free_quantity

    assert await payer.db.transact(takes) == (1, 1)


async def test_one_proof_backs_one_event_by_the_schema_too(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    for _ in range(5):
        await payer.use(now)
    await payer.use(now, proof=await payer.text(now))
    copy = """
    INSERT INTO usage_events SELECT gen_random_uuid(), tenant_id, agent_id, credential_id, method, path, meter,
        price_version, unit_price_micros, free_quantity, paid_quantity, amount_micros, proof_id, request_id, occurred_at
    FROM usage_events WHERE proof_id IS NOT NULL
    """
    with pytest.raises(asyncpg.UniqueViolationError):
        await payer.db.transact(lambda tx: tx.run(copy))


EVENT = """
INSERT INTO usage_events (id, tenant_id, credential_id, method, path, meter, price_version, unit_price_micros,
                          free_quantity, paid_quantity, amount_micros, proof_id, request_id, occurred_at)
VALUES (gen_random_uuid(), $1, $1, 'GET', '/v2/messages', 'message.read', 1, 100, $2, $3, $4, $5, 'r', $6)
"""


@pytest.mark.parametrize(
    ("free", "paid", "amount", "proven"),
    [(0, 0, 0, None), (-1, 2, 200, uuid.uuid4()), (0, 1, 99, uuid.uuid4()), (0, 1, 100, None), (1, 0, 100, None)],
)
async def test_no_event_contradicts_itself(
    payer: Payer, clock: FakeClock, free: int, paid: int, amount: int, proven: Any
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await payer.db.transact(
            lambda tx: tx.run(EVENT, payer.caller.tenant_id, free, paid, amount, proven, clock.now())
        )


async def test_a_proof_of_another_tenant_has_no_state(payer: Payer, clock: FakeClock) -> None:
    held, other = await payer.hold(clock.now()), await Payer.new(payer.db, clock.now())
    assert await payer.db.read(lambda tx: store.proof_state(tx, payer.caller.tenant_id, held.proof_id)) == "held"
    assert await payer.db.read(lambda tx: store.proof_state(tx, other.caller.tenant_id, held.proof_id)) is None

"""Statements as they are drawn up: canonical bytes, lines, hash, CSV, one proof per event."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasebox.audit import merkle
from leasebox.billing.proof import ProofId
from leasebox.billing.statement import (
    EventProof,
    ForeignEvent,
    InvoiceId,
    Statement,
    StatementLine,
    UsageEvent,
    draw_up,
    event_bytes,
    leaf_of,
    prove_event,
    sum_up,
    to_csv,
    verify_event,
)
from leasebox.values.ids import EventId, TenantId
from leasebox.values.money import MOST_MICROS, ZERO, MoneyOutOfRange, Usdc

MONTH_START = datetime(2026, 11, 1, tzinfo=UTC)
MONTH_SECONDS = 30 * 86_400
INVOICE = InvoiceId(int=7 << 76 | 2 << 62 | 1)
TENANT = TenantId(int=7 << 76 | 2 << 62 | 2)
STRANGER = TenantId(int=7 << 76 | 2 << 62 | 3)
METERS = {
    ("mailbox.lease", 1): 1_000,
    ("mailbox.lease", 2): 1_500,
    ("message.read", 1): 100,
    ("message.send", 1): 1_000,
}


def event(number: int, seed: int = 0) -> UsageEvent:
    """The event of that number, always the same: of the 30 days of November 2026, ids in order of numbers."""
    dice = random.Random(f"{seed}/{number}")
    at = MONTH_START + timedelta(seconds=dice.randrange(MONTH_SECONDS), microseconds=dice.choice([0, 1, 999_999]))
    (meter, version), price = dice.choice(sorted(METERS.items()))
    free, paid = dice.choice([(1, 0), (0, 1), (2, 3), (0, 7)])
    return UsageEvent(
        event_id=EventId(int=number << 80 | 7 << 76 | 2 << 62 | dice.getrandbits(40)),
        tenant_id=TENANT,
        occurred_at=at,
        meter=meter,
        price_version=version,
        unit_price=Usdc(price),
        free_quantity=free,
        paid_quantity=paid,
        proof_id=ProofId(int=number) if paid else None,
    )


def statement(count: int, seed: int = 0) -> Statement:
    return draw_up(INVOICE, TENANT, "2026-11", [event(number, seed) for number in range(count)])


PLAIN = UsageEvent(
    event_id=EventId(int=5),
    tenant_id=TENANT,
    occurred_at=datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC),
    meter="message.read",
    price_version=1,
    unit_price=Usdc(100),
    free_quantity=0,
    paid_quantity=2,
    proof_id=ProofId(int=6),
)


def test_an_events_bytes_are_as_written_down() -> None:
    """Pinned: a payer's own program must find the same leaf next year."""
    cells = ["2026-11-20T10:02:24Z", "message.read", "1", "0.000100", "0", "2", "0.000200"]
    event_id, proof_id = "evt_00000000000000000000000005", "prf_00000000000000000000000006"
    texts = ["leasebox-usage/1", str(TENANT), event_id, *cells, proof_id]
    assert event_bytes(PLAIN) == b"".join(len(text).to_bytes(4) + text.encode() for text in texts)
    assert leaf_of(PLAIN) == sha256(b"\x00" + event_bytes(PLAIN)).digest()
    assert leaf_of(PLAIN).hex() == "8fca8f702fc51a6285c5187a6dae110b341c07c082dd2e3129d8863694fa9a4d"


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": EventId(int=6)},
        {"tenant_id": STRANGER},
        {"occurred_at": PLAIN.occurred_at + timedelta(microseconds=1)},
        {"meter": "message.send"},
        {"price_version": 2},
        {"unit_price": Usdc(101)},
        {"free_quantity": 1},
        {"paid_quantity": 3},
        {"proof_id": None},
        {"proof_id": ProofId(int=7)},
    ],
    ids=str,
)
def test_any_change_is_another_leaf(change: dict[str, Any]) -> None:
    assert leaf_of(replace(PLAIN, **change)) != leaf_of(PLAIN)


def test_the_same_moment_in_another_zone_is_the_same_leaf() -> None:
    there = PLAIN.occurred_at.astimezone(datetime.fromisoformat("2026-11-20T00:00:00+05:30").tzinfo)
    assert leaf_of(replace(PLAIN, occurred_at=there)) == leaf_of(PLAIN)


def test_lines_are_the_sums_per_meter_and_version() -> None:
    new = replace(PLAIN, price_version=2, unit_price=Usdc(250))
    quantities = [(PLAIN, 1, 0), (PLAIN, 0, 2), (new, 1, 1), (new, 0, 3)]
    events = [replace(base, free_quantity=free, paid_quantity=paid) for base, free, paid in quantities]
    assert sum_up(events) == (
        StatementLine("message.read", 1, Usdc(100), 1, 2, Usdc(200)),
        StatementLine("message.read", 2, Usdc(250), 1, 4, Usdc(1_000)),
    )


@given(st.integers(0, 60), st.integers(0, 50))
@settings(max_examples=60)
def test_head_lines_and_events_agree_to_the_micro(count: int, seed: int) -> None:
    made = statement(count, seed)
    assert made.head.total == Usdc.total(line.amount for line in made.lines)
    assert made.head.total.micros == sum(each.unit_price.micros * each.paid_quantity for each in made.events)
    assert made.head.event_count == len(made.events) == count
    assert made.head.statement_hash == merkle.root_of(leaf_of(each) for each in made.events)


def test_the_order_of_arrival_is_no_matter() -> None:
    events = [event(number) for number in range(20)]
    random.Random(1).shuffle(events)
    assert to_csv(draw_up(INVOICE, TENANT, "2026-11", events)) == to_csv(statement(20))


def test_a_month_of_nothing_is_a_statement_too() -> None:
    made = statement(0)
    assert (made.head.event_count, made.head.total, made.head.statement_hash) == (0, ZERO, merkle.EMPTY_ROOT)


@pytest.mark.parametrize(
    "foreign",
    [
        replace(event(1), tenant_id=STRANGER),
        replace(event(1), occurred_at=MONTH_START - timedelta(microseconds=1)),
        replace(event(1), occurred_at=datetime(2026, 12, 1, tzinfo=UTC)),
        replace(event(1), occurred_at=datetime(2025, 11, 20, tzinfo=UTC)),
        replace(event(1), event_id=event(0).event_id),
        replace(event(0), event_id=event(1).event_id, unit_price=Usdc(1)),
    ],
    ids=["tenant", "a microsecond before", "a month later", "last year", "twice", "another price"],
)
def test_a_foreign_event_is_refused(foreign: UsageEvent) -> None:
    with pytest.raises(ForeignEvent):
        draw_up(INVOICE, TENANT, "2026-11", [event(0), foreign])


def test_the_first_and_the_last_microsecond_belong_to_the_month() -> None:
    first = replace(event(1), occurred_at=MONTH_START)
    last = replace(event(2), occurred_at=datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC))
    assert draw_up(INVOICE, TENANT, "2026-11", [first, last]).events == (first, last)


def test_an_amount_beyond_the_ledger_is_refused() -> None:
    with pytest.raises(MoneyOutOfRange):
        draw_up(INVOICE, TENANT, "2026-11", [replace(PLAIN, unit_price=Usdc(MOST_MICROS))])


def test_a_csv_is_three_plain_tables() -> None:
    made = draw_up(INVOICE, TENANT, "2026-11", [PLAIN])
    columns = "meter,price_version,unit_price_usdc,free_quantity,paid_quantity,amount_usdc"
    cells = "message.read,1,0.000100,0,2,0.000200"
    assert to_csv(made).split("\r\n") == [
        "record,name,value",
        "head,format,leasebox-statement/1",
        f"head,invoice_id,{INVOICE}",
        f"head,tenant_id,{TENANT}",
        "head,period,2026-11",
        "head,events,1",
        "head,total_usdc,0.000200",
        f"head,statement_hash,{leaf_of(PLAIN).hex()}",
        f"record,{columns}",
        f"line,{cells}",
        f"record,seq,event_id,occurred_at,{columns},proof_id,leaf_hash",
        f"event,0,{PLAIN.event_id},2026-11-20T10:02:24Z,{cells},{PLAIN.proof_id},{leaf_of(PLAIN).hex()}",
        "",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 32, 33])
def test_every_event_is_proved_and_no_other(count: int) -> None:
    made = statement(count)
    for each in made.events:
        proof = prove_event(made, each.event_id)
        assert proof is not None
        assert verify_event(each, proof, made.head)
        assert not verify_event(replace(each, paid_quantity=each.paid_quantity + 1), proof, made.head)
        assert not verify_event(replace(each, tenant_id=STRANGER), proof, made.head)
        assert not verify_event(each, EventProof(proof.index + 1, proof.path), made.head)
        assert not verify_event(each, proof, replace(made.head, event_count=count * 2))
        assert not verify_event(each, proof, replace(made.head, tenant_id=STRANGER))
        assert not verify_event(replace(each, unit_price=Usdc(MOST_MICROS), paid_quantity=2), proof, made.head)
    assert prove_event(made, event(count).event_id) is None
